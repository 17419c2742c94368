"""Records journals of today's shapes into `tests/golden/v1`. Run by hand, once per version of the format:

    python tests/core/record_golden.py

What is recorded must fold for ever, so a file that exists is never written again: a new shape gets a new file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from play import Play, act, ask, calc, call, delay, each, emit, fan, listen, plan

from fleetprompt.engine.agents.decisions import decision, handed, out_of_turns
from fleetprompt.engine.agents.messages import Said, requested, to_people
from fleetprompt.engine.agents.messages import answered as comes_back
from fleetprompt.engine.agents.tracking import MoveType, State, action, session, state
from fleetprompt.engine.core import command
from fleetprompt.engine.core.agent import Agent, Function
from fleetprompt.engine.core.codec import encode
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    BudgetRaised,
    RunCancelRequested,
    RunPaused,
    RunResumed,
    Slot,
    Source,
    StepFailed,
    StepNoted,
    StepStarted,
    StepWaiting,
    Within,
)
from fleetprompt.engine.core.fork import fork
from fleetprompt.engine.core.keys import call_child_id, effect_key
from fleetprompt.engine.core.outcome import recovered
from fleetprompt.engine.core.plan import Concurrency, Guardrails, Plan, Poll, Reconcile, Retry, encode_plan
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.core.working import ask_about_call, call_in_doubt

FOLDER = Path(__file__).parents[1] / "golden" / "v1"


def summary(program: Program, facts: list[AnyFact]) -> dict[str, Any]:
    """What a journal means: everything that is promised about it, nothing of how it is kept in memory."""
    run = fold(program, facts)
    return {
        "status": run.status,
        "waiting_on": run.waiting_on,
        "facts": run.n,
        "ignored": run.ignored,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "output": run.output,
        "output_blob": run.output_blob,
        "error": run.error,
        "vars": run.vars,
        "generation": run.generation,
        "cost_nano": run.cost_nano,
        "tokens": run.tokens,
        "pending": list(run.pending),
        "undo": [step.path for step in run.undo],
        "steps": {path: _step(run, path) for path in run.steps},
        "past": [fold(program, facts[:n]).status for n in range(1, len(facts) + 1)],
    }


def _step(run: Run, path: str) -> dict[str, Any]:
    step = run.steps[path]
    return {
        "status": step.status,
        "attempt": step.attempt,
        "role": step.role,
        "input": step.input,
        "output": step.output,
        "blob": step.blob,
        "error": step.error,
        "port": step.port,
        "reason": step.reason,
        "approval": step.gate and [step.gate.id, step.gate.decision, sorted(step.gate.votes)],
        "notes": len(step.notes or ()),
        "key": effect_key(run, step),
    }


# ---------------------------------------------------------------- the journals


def agents() -> Play:
    """An agent that thinks, acts, decides and talks, asks for money and for permission."""
    play = Play(
        plan(
            act("diagnose", type="agent", config={"agent": "sre", "prompt": "why?"}, set={"cause": "result.cause"}),
            ask(
                "gate", "Restart?", approvers=["group:oncall"], quorum=2, form={"when": {"type": "string"}}, timeout=60
            ),
            act("restart", type="http", needs=["gate.approved"], repeat="never"),
            vars={"cause": ""},
        ),
        {"service": "checkout"},
        trigger={"kind": "manual", "signal": "s-1"},
        correlation="c-1",
        owner="ana",
        project="shop",
        session="chat-7",
        priority=3,
        labels={"team": "sre"},
        source=Source(file="workflows/incident.yaml", digest="ab" * 32, commit="cd" * 20, dirty=True),
        slots=(Slot("workflow:flow", 2), Slot("runs", 8, 1)),
        last_run={"output": {"cause": "disk"}},
    )
    play.grant()
    for kind, value in AGENT_NOTES:
        note = StepNoted(at=play.now, path="diagnose", kind=kind, key=f"diagnose/a1/sre/{kind}/1", value=value)
        play.tell([note])
    large = StepNoted(at=play.now, path="diagnose", kind="message", key="diagnose/a1/sre/llm/2", value=["x" * 70_000])
    play.tell([large])
    play.now += 1
    play.tell([StepWaiting(at=play.now, path="diagnose", on="budget", ref="run/cost")])
    play.now += 60
    raised = BudgetRaised(at=play.now, scope="run", limit="cost_nano", amount=500_000_000, by="ana", reason="worth it")
    play.tell([raised, StepStarted(at=play.now, path="diagnose", attempt=2)])
    talk = {"from": "dba-1", "to": "sre-1", "type": "answer", "content": "yes", "is_request": False}
    play.tell([StepNoted(at=play.now, path="diagnose", kind="communication", key="c/2", value=talk, attempt=2)])
    play.ok("diagnose", {"cause": "pool"}, usage={"cost_nano": 12_000_000, "tokens": 3_400}, port="sure")
    play.grant()
    play.now += 5
    play.vote("gate", "bo", groups=["oncall"], comment="go", values={"when": "now"}, via="terminal")
    play.vote("gate", "cy", groups=["oncall"])
    play.grant()
    play.ok("restart", {"status": 200})
    return play


AGENT_NOTES: list[tuple[str, Any]] = [
    (
        "session",
        {
            "agent_id": "sre-1", "agent_type": "sre", "goal": "find the cause", "goal_type": "diagnosis",
            "codebase": "shop@cd", "triggered_by": "alert", "metadata": {"alert": 7}, "parent": None,
            "root": "diagnose", "task": "t-2", "root_task": "t-1", "phase": "analysis",
        },
    ),
    (
        "state",
        {
            "from": "idle", "to": "thinking", "sequence": 1, "reason": "started", "type": "normal",
            "triggered_by_event": "alert", "state_data": {"turn": 1},
        },
    ),
    (
        "action",
        {
            "type": "llm_call", "name": "chat", "tool": None, "capability": "reason", "input": {"messages": 2},
            "output": {"text": "look at the pool"}, "status": "completed", "retry_count": 0, "max_retries": 2,
            "cost_nano": 9_000_000, "tokens": {"input": 900, "output": 80}, "started_at": 1.0, "finished_at": 2.5,
        },
    ),
    (
        "action",
        {
            "type": "tool_execution", "name": "grep", "tool": "grep", "capability": "search", "input": {"q": "pool"},
            "output": ["a.log:3"], "status": "completed", "retry_count": 1, "max_retries": 2, "cost_nano": 0,
            "tokens": {}, "started_at": 2.5, "finished_at": 2.6,
        },
    ),
    (
        "decision",
        {
            "type": "root_cause", "question": "what is it?", "options": ["disk", "pool"], "chosen": "pool", "index": 1,
            "reasoning": "connections are exhausted", "confidence": 0.9, "method": "llm_based",
            "rules_applied": ["r1"], "rejected": [{"option": "disk", "reason": "12 % used"}],
        },
    ),
    (
        "communication",
        {
            "from": "sre-1", "to": "dba-1", "type": "question", "content": "seen this?", "is_request": True,
            "request_id": "q-1", "in_response_to": None, "channel": "internal", "sent_at": 3.0, "received_at": 3.1,
            "responded_at": 3.4,
        },
    ),
    ("reservation", {"scope": "run", "cost_nano": 15_000_000, "settled": 12_000_000, "uncertain": 0}),
]  # fmt: skip


def saga() -> Play:
    """A failure, retries, work that was interrupted, compensations of which one fails."""
    undo = act("undo", type="http", config={"id": "${{ steps.charge.output.id }}", "auth": "${{ secrets.PAY }}"})
    play = Play(
        plan(
            act("reserve", compensate=act("release", type="http")),
            act("charge", repeat="never", compensate=undo, retry=Retry(3, backoff=5)),
            act("ship", needs=["charge"], repeat="never"),
            act("mail", needs=["charge"]),
            act("late", needs=["mail"], when=False),
            on_failure="compensate",
        )
    )
    play.ok("reserve")
    play.fail("charge", "RATE_LIMIT", "slow down", usage={"requests": 1})
    play.wake()
    play.fail("charge", "TOOL_ERROR", "busy", retry_after=30.0)
    play.wake()
    play.ok("charge", {"id": 77})
    error = Failure("TOOL_ERROR", "no such address", hint="check it", path="mail", retryable=False, data={"code": 550})
    play.tell([StepFailed(at=play.now, path="mail", error=error, port="bounced")])
    play.wake()
    play.ok("charge@compensate")
    play.fail("reserve@compensate")
    return play


def loops() -> Play:
    """Iterations, branches, another attempt at a composite, time limits, polls, signals, dead paths, large items."""
    branches = {"x": [act("b")], "y": [listen("w", "deploy.*", key="eu", timeout=30), emit("e", "deploy.seen")]}
    play = Play(
        plan(
            each("l", "inputs.items", [act("a"), calc("n", "${{ item.n }}", set={"sum": "vars.sum + 1"})], at_once=2),
            fan("p", branches, retry=Retry(2, backoff=2), timeout=20),
            act("fix", needs=["p.failed"]),
            delay("d", 10, needs=["p"]),
            act("poll", needs=["d"], poll=Poll("result == 'done'", 5)),
            act("slow", needs=["poll"], concurrency=Concurrency("g", on_conflict="skip")),
            vars={"sum": 0},
        ),
        {"items": [{"n": 1, "text": "x" * 40_000}, {"n": 2, "text": "y" * 40_000}]},
    )
    play.ok("l[1].a")
    play.ok("l[0].a", "x" * 70_000)
    play.tick(20)
    play.wake()
    play.hear("deploy.done", {"ok": True}, subject="eu")
    play.ok("p#2.b")
    play.tick(10)
    play.ok("poll", "soon")
    play.tick(5)
    play.ok("poll", "done")
    play.refuse("slow")
    return play


def doubts() -> Play:
    """Crashes, checks and answers; critical sections; an answer that sets a variable."""
    check = Reconcile("http", {"method": "GET"}, "result.found")
    steps = [act(name, repeat="never", concurrency=Concurrency("db")) for name in ("a", "b", "c")]
    play = Play(
        plan(
            *steps,
            act("d", repeat="never", reconcile=check, set={"id": "result.id"}),
            act("e", repeat="never"),
            vars={"id": 0},
        )
    )
    for name, answer in (("a", "happened"), ("b", "run"), ("c", "skip")):
        play.grant(name)
        play.crash()
        play.now += 10
        play.resolve(name, answer, {"told": "by a person"} if answer == "happened" else None)
        if answer == "run":
            play.crash()
            told = command.resolve(play.run, play.now, path=name, answer="run", by="bo", comment="once more")
            play.tell(told)
            play.ok(name)
    play.crash()
    play.reconciled("d", None, Failure("TOOL_ERROR", "down"))
    play.resolve("d", "happened", {"id": 9, "text": "z" * 70_000})
    play.unknown("e", "the line broke")
    play.pause()
    play.resolve("e", "abort")
    return play


def forks() -> Play:
    """A run that failed in an iteration, done again from there."""
    first = Play(plan(each("l", [1, 2, 3], [act("a", repeat="never")], on_item_error="continue"), act("b")), run="r0")
    for i in range(3):
        first.ok(f"l[{i}].a", i)
    first.fail("b")
    facts = fork(first.run, first.facts, new="r1", at=first.now + 100, by="bo", start="l[0].a")
    assert isinstance(facts, list)
    play = Play(first.program.plan, facts=facts, now=first.now + 100)
    play.ok("l[0].a", "again")
    play.ok("b")
    return play


def children() -> Play:
    """A child run with a deadline, paused and resumed; approvals that escalate and are withdrawn; out of money."""
    gate = {"message": "Run it?", "show": "a text", "approvers": ["ana"], "timeout": 60, "on_timeout": "escalate"}
    gate |= {"escalate": {"to": ["boss"], "timeout": 600, "on_timeout": "fail"}}
    play = Play(
        plan(
            call("sub", "audit", inputs={"deep": True}, timeout=900.0),
            act("gated", config={"token": "Bearer ${{ secrets.T }}", "text": "${{ inputs.text }}"}, approval=gate),
            act("open", needs=[], repeat="never"),
        ),
        {"text": "x" * 70_000},
        tenant="acme",
        root="r-root",
        key_root="r-root/sub#1",
        parent="r-parent",
        parent_path="sub",
        depth=2,
        retry_of="r-old",
        children={"audit": "ef" * 32},
        deadline=Play(plan()).now + 5_000,
    )
    play.tell([RunPaused(at=play.now, by="ana", reason="lunch")])
    play.now += 5
    play.tell([RunResumed(at=play.now, by="ana")])
    play.child("sub", output=["y" * 70_000])
    play.tick(60)
    error = Failure("BUDGET_EXCEEDED", "no money left", retryable=False)
    asked = RunCancelRequested(at=play.now, by="fleet", reason="budget", status="failed", error=error)
    play.tell([asked])
    play.tick(10)
    return play


def answered() -> Play:
    """Approved steps with their inputs, a large result of the run."""
    play = Play(
        plan(
            act(
                "a",
                config={"text": "${{ inputs.text }}", "key": "${{ secrets.K }}"},
                approval={"message": "ok?", "show": 1},
            ),
            act("small", config={"n": 1}, approval={"message": "ok?", "approvers": ["user:ana"]}),
            output="${{ steps.a.output }}",
        ),
        {"text": "x" * 70_000},
    )
    play.vote("a", comment="yes")
    play.ok("a", ["y" * 70_000])
    play.vote("small")
    play.ok("small")
    return play


def retried() -> Play:
    """Done again twice: what was cut off is in doubt, and its time is counted anew."""
    play = Play(
        plan(act("a"), act("b", repeat="never"), act("c"), grace=5.0, guardrails=Guardrails(timeout=60)), run="r0"
    )
    play.ok("a", 1)
    play.cancel()
    play.tick(5)
    for new in ("r1", "r2"):
        facts = fork(play.run, play.facts, new=new, at=play.now + 100, by="bo")
        assert isinstance(facts, list)
        play = Play(play.program.plan, facts=facts, now=play.now + 100)
        play.resolve("b", "happened", 2) if new == "r1" else play.ok("c", 3)
        if new == "r1":
            play.fail("c")
    return play


def work() -> Play:
    """Work that is put aside: it asks models and people, waits for a child run, is interrupted, and is in doubt."""
    sre = Agent(name="sre", system="You look after shops.", tools=("fs.*",), functions=(Function("deploy", "deploy"),))
    play = Play(
        plan(
            act("diagnose", type="agent", config={"agent": "sre", "prompt": "why?"}, resumes=True, timeout=600),
            agents={"sre": sre},
            guardrails=Guardrails(cost_nano=400_000_000, on_limit="ask"),
        )
    )
    money = {
        "id": "r1/diagnose/a1/sre/llm/0#0",
        "allowances": [{"scope": "run/r1", "caps": {"cost_nano": 400_000_000}}],
        "amounts": {"requests": 1, "tokens": 5_000, "cost_nano": 9_000_000},
    }

    def note(kind: str, key: str, value: Any) -> None:
        play.now += 1
        attempt = play.step("diagnose").attempt
        play.tell([StepNoted(at=play.now, path="diagnose", kind=kind, key=key, value=value, attempt=attempt)])

    def asked(call: str, about: str, **fields: Any) -> str:
        step = play.step("diagnose")
        request = ask_about_call(
            play.run, step, play.now, call=call, about=about, message="May I?", show={"argv": ["rm", "x"]}, **fields
        )
        play.tell([request])
        return request.id

    def vote(approval: str, decision: str = "approved", **fields: Any) -> None:
        play.now += 1
        play.tell(command.vote(play.run, play.now, approval=approval, by="boss", decision=decision, **fields))

    note("session", "sre", {"fresh": True, "agent_id": "sre", "goal": "why?"})
    note("llm.started", "sre/llm/0", {"model": "openai/x", "mode": "live", "reserve": money})
    play.crash()
    forfeit = {"id": money["id"], "uncertain": money["amounts"]}
    lost = {"model": "openai/x", "uncertain_nano": 9_000_000, "uncertain_tokens": 5_000, "settle": forfeit}
    note("llm.failed", "sre/llm/0", lost)
    answer = {"model": "openai/x", "text": "let me see", "tokens": 800, "cost_nano": 2_000_000, "finish": "tool_calls"}
    note("llm.completed", "sre/llm/0", answer)
    escalate = {"to": ["user:boss"], "timeout": 600}
    tool = {"tool": "shell.run", "arguments": {"argv": ["rm", "x"]}}
    first = asked("sre/tool/0.0", "tool", approvers=("user:ana",), seconds=60.0, escalate=escalate, input=tool)
    second = asked("sre/tool/0.1", "tool", input=tool)
    play.wake()
    vote(first, grant="run", values={})
    vote(second, "rejected", comment="not this one", ends=True)
    note("tool.started", "sre/tool/0.0", {"tool": "shell.run", "repeat": "never", "approval": first})
    play.tell([call_in_doubt(play.step("diagnose"), "sre/tool/0.0", play.now, "the line broke")])
    play.resolve("diagnose", "happened", {"exit": 0})
    note("tool.completed", "sre/tool/0.0", {"tool": "shell.run", "output": {"exit": 0}})
    note("tool.started", "sre/tool/1.0", {"tool": "deploy", "workflow": "deploy", "with": {}, "repeat": "safe"})
    child = call_child_id("r1", "diagnose", 1, "sre/tool/1.0")
    waiting = StepWaiting(
        at=play.now, path="diagnose", on="child", ref=child, until=play.now + 90, call="sre/tool/1.0", workflow="deploy"
    )
    play.tell([waiting])
    play.child("diagnose", output={"version": 7})
    more = asked("sre/budget/0", "budget", input={"scope": "run/r1", "limit": "cost_nano"}, form={"amount": {}})
    vote(more, values={"amount": 0.5}, comment="worth it")
    play.ok("diagnose", {"cause": "pool"})
    return play


def apart() -> Play:
    """A run whose starter may not approve it."""
    who = {"any_of": ["ana", "bo"], "not": ["run.starter"]}
    play = Play(plan(ask("gate", approvers=who)), owner="ana", starters=("ana",))
    play.vote("gate", "bo")
    return play


def spared() -> Play:
    """A child within budgets above it, whose agent keeps something for its last request and is cancelled."""
    play = Play(
        plan(
            act("look", type="agent", config={"agent": "a", "prompt": "why?"}, resumes=True),
            agents={"a": Agent(name="a")},
        ),
        parent="r-parent",
        parent_path="sub",
        within=(Within("run/r-parent", requests=9, on_limit="wrap_up"), Within("step/r-parent/sub", cost_nano=5)),
    )
    spare = {"id": "r1/look/a1/a/spare/0", "allowances": [{"scope": "run/r-parent", "caps": {"requests": 9}}]}
    spare["amounts"] = {"requests": 1}
    for kind, key, value in (
        ("session", "a", {"fresh": True, "agent_id": "a", "goal": "why?"}),
        ("budget.spare", "a", {"reserve": spare}),
        ("llm.started", "a/llm/0", {"model": "openai/x", "mode": "live"}),
    ):
        play.now += 1
        play.tell([StepNoted(at=play.now, path="look", kind=kind, key=key, value=value, attempt=1)])
    play.cancel()
    return play


def traced() -> Play:
    """A run in the trace of its caller, done again in a trace of its own that is linked to it."""
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    play = Play(plan(act("a")), run="r0", traceparent=caller)
    play.fail("a")
    facts = fork(play.run, play.facts, new="r1", at=play.now + 100, by="bo")
    assert isinstance(facts, list)
    again = Play(play.program.plan, facts=[msgspec.structs.replace(facts[0], traceparent=caller), *facts[1:]])
    again.ok("a")
    return again


def changed() -> Play:
    """A call that is approved as somebody has changed it, a program that is left running, limits that are raised, and
    an agent that is ended while it asks more than one thing."""
    play = Play(
        plan(
            act("fix", type="agent", config={"agent": "a", "prompt": "fix it"}, resumes=True, on_error="continue"),
            agents={"a": Agent(name="a")},
            guardrails=Guardrails(requests=3, on_limit="ask"),
        )
    )

    def note(kind: str, key: str, value: Any) -> None:
        play.now += 1
        play.tell([StepNoted(at=play.now, path="fix", kind=kind, key=key, value=value, attempt=1)])

    def asked(call: str, about: str = "tool", **fields: Any) -> str:
        request = ask_about_call(
            play.run, play.step("fix"), play.now, call=call, about=about, message="May I?", **fields
        )
        play.tell([request])
        return request.id

    form = {"path": {"type": "string", "default": "a"}}
    tool = {"tool": "fs.write", "arguments": {"path": "a"}}
    note("session", "a", {"fresh": True, "agent_id": "a", "goal": "fix it"})
    first = asked("a/tool/0.0", show={"does": "-x"}, input=tool, form=form)
    play.now += 1
    digests = {"edited": "ab" * 32, "previewed": "cd" * 32}
    play.tell(
        command.vote(play.run, play.now, approval=first, by="ana", decision="approved", values={"path": "b"}, **digests)
    )
    note("tool.started", "a/tool/0.0", {"tool": "fs.write", "repeat": "never", "approval": first})
    who = {"pid": 4711, "start_time": "99", "argv0": "git", "boot_id": "b", "engine": 12}
    note("process", "a/tool/0.0", who)
    play.run = play.folded()
    play.tell(recovered(play.run, play.now, "the engine stopped", [("fix", "a/tool/0.0", who)]))
    note("tool.completed", "a/tool/0.0", {"tool": "fs.write", "output": {}})
    asked("a/budget/0", "budget", show={}, input={"scope": "run/r1", "limit": "requests"}, form={"amount": {}})
    play.now += 1
    play.tell(command.raise_limits(play.run, play.now, by="ana", step="", amounts={"requests": 3}, reason="go on"))
    second = asked("a/tool/1.0", show={"does": "-y"}, input=tool)
    asked("a/tool/1.1", show={"does": "-z"}, input=tool)
    play.now += 1
    play.tell(command.vote(play.run, play.now, approval=second, by="ana", decision="rejected", ends=True))
    play.fail("fix")
    return play


def waiting() -> Play:
    """A run that is not over: it has to be folded and driven on."""
    branches = {"x": [ask("g", quorum=2)], "y": [listen("w")], "z": [act("a", retry=Retry(3))]}
    play = Play(plan(fan("p", branches, until=2), act("b")))
    play.vote("p.g")
    play.fail("p.a")
    return play


def tracked() -> Play:
    """Everything that is noted of an agent's way: sessions, states, actions, decisions and messages."""
    play = Play(plan(act("look", type="agent", config={"agent": "sre", "prompt": "why?"}, resumes=True)))

    def note(kind: str, key: str, value: Any) -> None:
        play.now += 1
        play.tell([StepNoted(at=play.now, path="look", kind=kind, key=key, value=value)])

    def move(before: str, after: State, sequence: int, event: str, type: MoveType = "normal") -> None:
        note(
            "state", "sre", state(before, after, sequence, "so it is", event=event, type=type, data={"turns": sequence})
        )

    names = {"trigger": {"kind": "manual", "by": "ana"}}
    begun = session(
        "sre", "why?", names=names, codebase="shop@abcdef012345+", definition="d", tools={"fs.read": "1"}, fresh=True,
        goal_type="diagnosis", task="sre", root_task="sre",
    )  # fmt: skip
    note("session", "sre", begun)
    move("", "planning", 0, "session")
    call, asks = "sre/tool/0.0", ("allow", "ask", "deny")
    trying = action("llm_call", "default", capability="answer", status="running", max_retries=3)
    note("llm.started", "sre/llm/0", {"model": "simulated/a", "mode": "simulated", "action": trying})
    lost = action("llm_call", "default", capability="answer", status="failed", max_retries=3)
    note("llm.failed", "sre/llm/0", {"model": "simulated/a", "mode": "simulated", "action": lost})
    again = action("llm_call", "default", capability="answer", status="completed", retry_count=1, max_retries=3)
    note("llm.completed", "sre/llm/0", {"model": "simulated/a", "mode": "simulated", "text": "", "action": again})
    move("planning", "executing", 1, "tool.proposed")
    asked = decision("policy", "may fs.write be called?", asks, "ask", method="rule_based", reasoning="r", rules=["r"])
    note("tool.proposed", call, {"tool": "fs.write", "arguments": {"path": "a"}, "verdict": "ask", "decision": asked})
    yes = decision("approval", "write a", ("approved", "rejected"), "approved", method="user_input", by=["ana"])
    running = action("file_write", "fs.write", tool="fs.write", capability="fs", status="running")
    note("tool.started", call, {"tool": "fs.write", "repeat": "safe", "action": running, "decision": yes})
    ended = action("file_write", "fs.write", tool="fs.write", capability="fs", status="completed")
    note("tool.completed", call, {"tool": "fs.write", "output": "written", "action": ended})
    cause = decision(
        "root_cause", "what is it?", ["disk", "pool"], "pool", method="llm_based", reasoning="it is empty",
        confidence=0.9, rejected={"disk": "12 % used"},
    )  # fmt: skip
    note("decision", "sre/tool/0.1", cause)
    at = play.now
    note(*requested(Said("task_delegation", "sre", "look at locks"), "dba", "sre/tool/0.2", sent=at))
    note(*comes_back(Said("result", "dba", "none"), "sre", "sre/tool/0.2", sent=at, received=at + 1))
    note(*to_people(Said("question", "sre", "restart?"), "sre/tool/0.3", "sre/tool/0.3", ["ana"], at))
    move("executing", "wrapping_up", 2, "remark", "skip")
    note("remark", "sre", {"text": "no more", "why": "wrap_up", "at": at, "decision": out_of_turns(2, "wrap_up")})
    move("wrapping_up", "failed", 3, "agent.failed", "error")
    note("agent.failed", "sre", {"code": "AGENT_ERROR", "message": "no", "resumes": True})
    move("failed", "planning", 4, "session", "retry")
    move("planning", "handed_over", 5, "handoff", "jump")
    note("handoff", "sre", {"to": "dba", "reason": "locks", "call": "", "decision": handed(["dba"], "dba", "locks")})
    play.ok("look", "done")
    return play


JOURNALS: dict[str, Callable[[], Play]] = {
    made.__name__: made
    for made in (
        agents,
        saga,
        loops,
        doubts,
        forks,
        retried,
        children,
        answered,
        work,
        spared,
        changed,
        waiting,
        tracked,
        traced,
        apart,
    )
}


def stored(plan_: Plan, play: Play) -> bytes:
    """The expectation beside a journal."""
    whole = {"plan": msgspec.Raw(encode_plan(plan_)), "run": summary(play.program, play.facts)}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def record(names: Iterable[str]) -> None:
    """Write what does not exist yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names:
        journal = FOLDER / f"{name}.jsonl"
        if journal.exists():
            continue
        play = JOURNALS[name]()
        assert play.run.ignored == 0
        journal.write_bytes(b"".join(encode(fact) + b"\n" for fact in play.facts))
        journal.with_suffix(".run.json").write_bytes(stored(play.program.plan, play))


if __name__ == "__main__":
    record(sys.argv[1:] or JOURNALS)
