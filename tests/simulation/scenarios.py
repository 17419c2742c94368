"""The workflows of the crash simulation: between them every construct of the language, and an operator at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from world import Deed, Scenario, World

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.runtime.engine import Limits

# ---------------------------------------------------------------- what the operator does


def command(name: str, type_: str, when: Callable[[World], bool], run: str = "run-0", *, key: bool = True) -> Deed:
    """A command about a run, sent again until it is answered: with a key, or (harder) without."""
    return Deed(name, when, lambda world: world.command(type_, run, key=f"deed {name}" if key else ""))


def news(name: str, type_: str, when: Callable[[World], bool], data: Any = None, subject: str = "") -> Deed:
    """A signal from outside, published with a key until that succeeds."""

    def signal(world: World) -> Signal:
        return Signal(
            id=world.new_id("news"), type=type_, source="test", at=world.now(), data=data, subject=subject, key=name
        )

    return Deed(name, when, signal, command=False)


def status_of(path: str, *wanted: str, run: str = "run-0") -> Callable[[World], bool]:
    """Whether a step has one of these statuses."""
    return lambda world: (step := world.step(run, path)) is not None and step.status in wanted


def listens(path: str, run: str = "run-0") -> Callable[[World], bool]:
    """Whether a step of a run waits for a signal, durably."""
    return lambda world: (run, path) in world.disk.waits


def is_over(run: str = "run-0") -> Callable[[World], bool]:
    return lambda world: (head := world.disk.runs.get(run)) is not None and head.finished_at is not None


def paused(run: str = "run-0") -> Callable[[World], bool]:
    return lambda world: run in world.disk.runs and world.run(run).paused


def both(*conditions: Callable[[World], bool]) -> Callable[[World], bool]:
    return lambda world: all(condition(world) for condition in conditions)


# ---------------------------------------------------------------- the workflows

LINE = Scenario(
    "line",
    ["""
name: line
inputs: {start: {type: integer, default: 1}}
steps:
  - {id: a, type: python, call: "world:act", with: {value: "${{ inputs.start }}"}}
  - {id: b, type: python, call: "world:act", with: {value: "${{ steps.a.output + 1 }}"}}
  - {id: c, type: transform, output: {sum: "${{ steps.a.output + steps.b.output }}"}}
  - {id: d, type: python, call: "world:act", repeat: safe, with: {value: "${{ steps.c.output.sum }}", repeat: safe}}
output: "${{ steps.d.output }}"
"""],
    [("line", {}), ("line", {"start": 5})],
    expect={"line": ["completed", "completed"]},
)  # fmt: skip

RETRIES = Scenario(
    "retries",
    ["""
name: retries
steps:
  - {id: a, type: python, call: "world:act", retry: {max_attempts: 3, backoff: 2s}, with: {fails: 2}}
  - id: b
    type: python
    call: "world:act"
    repeat: safe
    retry: {max_attempts: 2, backoff: 1s}
    with: {fails: 1, retry_after: 7, repeat: safe}
  - {id: c, type: python, call: "world:act", on_error: continue, with: {permanent: true}}
  - {id: d, type: python, call: "world:act", with: {permanent: true}}
  - {id: rescue, type: python, call: "world:act", needs: [d.failed], with: {value: saved}}
  - {id: never, type: transform, needs: [d.completed], output: unreachable}
  - {id: polled, type: python, call: "world:act", needs: [rescue], repeat: safe,
     poll: {until: result >= 3, every: 5s}, with: {enough: 3, repeat: safe}}
"""],
    [("retries", {})],
    expect={"retries": ["completed"]},
)  # fmt: skip

PARALLEL = Scenario(
    "parallel",
    ["""
name: parallel
steps:
  - id: every
    type: parallel
    branches:
      x: [{id: x1, type: python, call: "world:act", with: {value: 1}}, {id: x2, type: transform, output: 2}]
      y: [{id: y1, type: python, call: "world:act", repeat: safe, with: {takes: 2, value: 3, repeat: safe}}]
  - id: first
    type: parallel
    until: any
    branches:
      fast: [{id: f1, type: python, call: "world:act", repeat: safe, with: {repeat: safe}}]
      slow: [{id: s1, type: python, call: "world:act", repeat: safe, with: {takes: 500, repeat: safe}}]
  - id: two
    type: parallel
    until: 2
    branches:
      p: [{id: p1, type: python, call: "world:act", with: {takes: 1, permanent: true}}]
      q: [{id: q1, type: delay, for: 3s}]
      r: [{id: r1, type: delay, for: 4s}]
  - {id: last, type: python, call: "world:act", needs: [two], with: {value: "${{ steps.every.output }}"}}
"""],
    [("parallel", {})],
    expect={"parallel": ["completed"]},
)  # fmt: skip

LOOPS = Scenario(
    "loops",
    ["""
name: loops
vars: {n: 0}
steps:
  - id: each
    type: loop
    over: [1, 2, 3, 4]
    concurrency: 2
    on_item_error: continue
    steps:
      - {id: one, type: python, call: "world:act", with: {value: "${{ item * 10 }}", permanent: "${{ item == 3 }}"}}
      - {id: two, type: transform, output: "${{ steps.one.output + index }}"}
  - id: again
    type: loop
    while: vars.n < 3
    steps:
      - {id: step, type: python, call: "world:act", repeat: safe, set: {n: vars.n + 1},
         with: {value: "${{ vars.n }}", repeat: safe}}
  - {id: end, type: transform, output: {each: "${{ steps.each.output }}", again: "${{ steps.again.output }}"}}
"""],
    [("loops", {})],
    expect={"loops": ["completed"]},
)  # fmt: skip

CHOICES = Scenario(
    "choices",
    ["""
name: choices
inputs: {kind: string}
steps:
  - id: check
    type: condition
    if: inputs.kind == 'a'
    then: [{id: yes, type: python, call: "world:act", with: {value: was a}}]
    else: [{id: no, type: python, call: "world:act", with: {value: was not a}}]
  - id: pick
    type: switch
    value: inputs.kind
    cases:
      b: [{id: b1, type: python, call: "world:act"}]
      c: [{id: c1, type: stop, status: failed, message: "c is bad"}]
    default: [{id: d1, type: delay, for: 1m}]
  - {id: skipped, type: python, call: "world:act", if: inputs.kind == 'z'}
  - {id: after, type: python, call: "world:act", needs: [skipped, pick]}
  - {id: either, type: transform, needs: [check.then, check.else], join: any, output: "${{ steps.check.output }}"}
"""],
    [("choices", {"kind": "a"}), ("choices", {"kind": "b"}), ("choices", {"kind": "c"})],
    expect={"choices": ["completed", "completed", "failed"]},
)  # fmt: skip

APPROVALS = Scenario(
    "approvals",
    ["""
name: approvals
steps:
  - {id: gate, type: approval, message: "Go on?", approvers: ["group:oncall"], timeout: 1h}
  - {id: go, type: python, call: "world:act", needs: [gate.approved]}
  - {id: guarded, type: python, call: "world:act", needs: [go], approval: {message: "Really?"}, with: {value: 7}}
  - {id: no, type: approval, message: "And this?", needs: [guarded]}
  - {id: instead, type: python, call: "world:act", needs: [no.rejected]}
  - {id: late, type: approval, message: "Anybody?", needs: [instead], timeout: 1h, on_timeout: approve}
  - {id: end, type: python, call: "world:act", needs: [late.approved]}
"""],
    [("approvals", {})],
    votes={"no": "rejected", "late": ""},
    expect={"approvals": ["completed"]},
)  # fmt: skip

SIGNALS = Scenario(
    "signals",
    ["""
name: signals
steps:
  - {id: one, type: wait, signal: "go.*", key: mine, match: "data.n == 1"}
  - {id: two, type: wait, signal: go.now, key: mine}
  - {id: work, type: python, call: "world:act",
     with: {value: ["${{ steps.one.output.data.n }}", "${{ steps.two.output.data.n }}"]}}
  - {id: late, type: wait, signal: never.comes, timeout: 10m}
  - {id: handled, type: python, call: "world:act", needs: [late.timeout]}
"""],
    [("signals", {})],
    deeds=[
        news("other key", "go.now", listens("one"), {"n": 1}, "yours"),
        news("no match", "go.now", listens("one"), {"n": 0}, "mine"),
        news("first", "go.now", both(listens("one"), lambda w: "no match" in w.acknowledged), {"n": 1}, "mine"),
        news("second", "go.now", listens("two"), {"n": 2}, "mine"),
    ],
    expect={"signals": ["completed"]},
)  # fmt: skip

CHILDREN = Scenario(
    "children",
    ["""
name: parent
steps:
  - {id: work, type: workflow, workflow: child, with: {n: 2}}
  - {id: broken, type: workflow, workflow: child, with: {n: 0}, on_error: continue}
  - {id: aside, type: workflow, workflow: grandchild, with: {n: 9}, wait: false}
  - {id: end, type: python, call: "world:act", with: {value: "${{ steps.work.output }}"}}
""", """
name: child
inputs: {n: integer}
steps:
  - {id: do, type: python, call: "world:act", with: {value: "${{ inputs.n }}", permanent: "${{ inputs.n == 0 }}"}}
  - {id: deeper, type: workflow, workflow: grandchild, with: {n: "${{ steps.do.output }}"}}
""", """
name: grandchild
inputs: {n: integer}
steps:
  - {id: deep, type: python, call: "world:act", with: {value: "${{ inputs.n * inputs.n }}"}}
"""],
    [("parent", {})],
    expect={"child": ["completed", "failed"], "grandchild": ["completed", "completed"], "parent": ["completed"]},
)  # fmt: skip

TIMEOUTS = Scenario(
    "timeouts",
    ["""
name: timeouts
steps:
  - {id: never, type: python, call: "world:act", timeout: 2s, with: {takes: 60}}
  - {id: safe, type: python, call: "world:act", timeout: 2s, repeat: safe, on_error: continue,
     retry: {max_attempts: 2, backoff: 1s}, with: {takes: 60, repeat: safe}}
  - id: region
    type: parallel
    timeout: 5s
    on_error: continue
    branches:
      x: [{id: x1, type: python, call: "world:act", repeat: safe, with: {takes: 60, repeat: safe}}]
      y: [{id: y1, type: delay, for: 1s}]
  - {id: end, type: python, call: "world:act"}
"""],
    [("timeouts", {})],
    answers={"never": "skip"},
    expect={"timeouts": ["completed"]},
)  # fmt: skip

COMPENSATION = Scenario(
    "compensation",
    ["""
name: compensation
on_failure: compensate
steps:
  - {id: a, type: python, call: "world:act", compensate: {type: python, call: "world:act", with: {value: undo a}}}
  - {id: b, type: python, call: "world:act",
     compensate: {type: python, call: "world:act", repeat: safe, retry: {max_attempts: 2, backoff: 1s},
                  with: {fails: 1, repeat: safe}}}
  - {id: c, type: transform, output: nothing to undo}
  - {id: d, type: python, call: "world:act", with: {permanent: true}}
"""],
    [("compensation", {})],
    expect={"compensation": ["failed"]},
)  # fmt: skip

GROUPS = Scenario(
    "groups",
    ["""
name: queued
concurrency: {group: one-at-a-time}
steps:
  - {id: a, type: python, call: "world:act", with: {tag: queued}}
  - {id: pause, type: delay, for: 30s}
  - {id: b, type: python, call: "world:act", with: {tag: queued}}
""", """
name: sections
max_runs: 2
steps:
  - {id: free, type: python, call: "world:act", with: {tag: sections}}
  - {id: inside, type: python, call: "world:act", concurrency: {group: section}, with: {tag: section}}
  - {id: out, type: python, call: "world:act", with: {fails: 1}, retry: {max_attempts: 2, backoff: 20s}}
"""],
    [("queued", {}), ("sections", {}), ("sections", {}), ("sections", {}), ("queued", {})],
    expect={"queued": ["completed", "completed"], "sections": ["completed", "completed", "completed"]},
)  # fmt: skip

CONFLICTS = Scenario(
    "conflicts",
    ["""
name: skips
concurrency: {group: skipping, on_conflict: skip}
steps:
  - {id: a, type: wait, signal: finish.skips}
""", """
name: replaces
concurrency: {group: replacing, on_conflict: cancel_running}
inputs: {n: integer}
steps:
  - {id: a, type: python, call: "world:act", repeat: safe,
     with: {takes: "${{ 100000 if inputs.n == 1 else 1 }}", repeat: safe}}
  - {id: b, type: python, call: "world:act"}
""", """
name: step-skips
steps:
  - {id: a, type: wait, signal: finish.other}
  - {id: b, type: python, call: "world:act", concurrency: {group: skipping, on_conflict: skip}}
"""],
    [("skips", {}), ("replaces", {"n": 1}), ("step-skips", {})],
    deeds=[
        Deed("second skips", listens("a"), lambda w: _start(w, "skips", "run-10", {})),
        Deed("replace", status_of("a", "running", run="run-1"), lambda w: _start(w, "replaces", "run-11", {"n": 2})),
        news("other", "finish.other", both(listens("a"), listens("a", "run-2"))),
        news("skips", "finish.skips", both(is_over("run-2"), is_over("run-10"), is_over("run-11"))),
    ],
    expect={"replaces": ["cancelled", "completed"], "skips": ["cancelled", "completed"], "step-skips": ["completed"]},
)  # fmt: skip


def _start(world: World, workflow: str, run: str, inputs: dict[str, Any]) -> Signal:
    data = {"workflow": workflow, "inputs": inputs}
    return Signal(id=run, type=types.START, source="test", at=world.now(), key=run, by="ana", data=data)


PAUSES = Scenario(
    "pauses",
    ["""
name: pauses
steps:
  - {id: a, type: python, call: "world:act", with: {takes: 4}}
  - {id: b, type: python, call: "world:act", repeat: safe, retry: {max_attempts: 9, backoff: 3s},
     with: {takes: 2, fails_until: pause again, repeat: safe}}
  - {id: c, type: delay, for: 1h}
  - {id: d, type: python, call: "world:act"}
"""],
    [("pauses", {}), ("pauses", {})],
    deeds=[
        command("pause", types.PAUSE, status_of("a", "running", "in_doubt")),
        command("resume", types.RESUME, both(paused(), status_of("a", "completed", "pending"))),
        command("pause again", types.PAUSE, status_of("b", "waiting"), key=False),
        command("resume again", types.RESUME, both(paused(), lambda w: "pause again" in w.acknowledged), key=False),
        command("cancel", types.CANCEL, status_of("c", "waiting", run="run-1"), run="run-1"),
    ],
    expect={"pauses": ["cancelled", "completed"]},
)  # fmt: skip

TRIGGERS = Scenario(
    "triggers",
    ["""
name: source
steps:
  - {id: a, type: python, call: "world:act", with: {value: 3}}
  - {id: tell, type: emit, signal: build.done, subject: mine, data: {n: "${{ steps.a.output }}"}}
  - {id: again, type: emit, signal: build.done, key: only-once, data: {n: 4}}
  - {id: more, type: emit, signal: build.done, key: only-once, data: {n: 5}}
  - {id: b, type: python, call: "world:act"}
""", """
name: sink
triggers: [{type: signal, match: "build.*", if: "data.n > 2"}]
inputs: {n: integer}
steps:
  - {id: a, type: python, call: "world:act", with: {value: "${{ inputs.n }}"}}
""", """
name: after
triggers:
  - {type: completion, workflow: source, inputs: {what: "${{ data.status }}"}}
  - {type: completion, workflow: sink, status: [completed, failed], if: "data.status == 'completed'"}
inputs: {what: {default: nothing}}
steps:
  - {id: a, type: transform, output: "${{ inputs.what }}"}
"""],
    [("source", {})],
    expect={"after": ["completed"] * 3, "sink": ["completed"] * 2, "source": ["completed"]},
)  # fmt: skip

AGAIN = Scenario(
    "again",
    ["""
name: again
max_runs: 1
steps:
  - {id: a, type: python, call: "world:act", concurrency: {group: again}, with: {value: 1}}
  - {id: tell, type: emit, signal: again.told}
  - {id: b, type: python, call: "world:act", with: {value: "${{ steps.a.output + 1 }}", broken_until: again}}
  - {id: c, type: python, call: "world:act", concurrency: {group: again}}
""", """
name: hears
triggers: [{type: signal, match: again.told}]
steps:
  - {id: a, type: transform, output: 1}
"""],
    [("again", {})],
    deeds=[command("again", types.RETRY, is_over())],
    expect={"again": ["completed", "failed"], "hears": ["completed"]},
)  # fmt: skip

SLOTS = Scenario(
    "slots",
    ["""
name: slots
steps:
  - {id: a, type: python, call: "world:act", with: {tag: fleet}}
  - {id: gate, type: approval, message: "Go on?"}
  - {id: b, type: python, call: "world:act", needs: [gate], with: {tag: fleet}}
  - {id: nap, type: delay, for: 5s}
  - {id: c, type: python, call: "world:act", with: {tag: fleet, fails: 1}, retry: {max_attempts: 2, backoff: 5s}}
"""],
    [("slots", {}), ("slots", {}), ("slots", {})],
    limits=Limits(max_runs=1, pools={"python": 1}, grace=5.0),
    expect={"slots": ["completed"] * 3},
)  # fmt: skip

DEADLINES = Scenario(
    "deadlines",
    ["""
name: deadlines
deadline: 2h
on_failure: compensate
steps:
  - {id: a, type: python, call: "world:act", compensate: {type: python, call: "world:act", with: {value: undone}}}
  - id: both
    type: parallel
    branches:
      x: [{id: wait, type: wait, signal: nothing}]
      y: [{id: sub, type: workflow, workflow: sleeper}]
""", """
name: sleeper
steps:
  - {id: nap, type: delay, for: 10h}
  - {id: never, type: python, call: "world:act"}
"""],
    [("deadlines", {})],
    expect={"deadlines": ["timeout"], "sleeper": ["timeout"]},
)  # fmt: skip

RECONCILED = Scenario(
    "reconciled",
    ["""
name: reconciled
steps:
  - id: a
    type: python
    call: "world:act"
    with: {value: paid}
    reconcile:
      type: python
      call: "world:check"
      with: {key: "${{ key }}"}
      happened: result.happened
      output: "${{ result.value }}"
  - {id: b, type: python, call: "world:act", with: {value: "${{ steps.a.output }}"}}
"""],
    [("reconciled", {})],
    expect={"reconciled": ["completed"]},
)  # fmt: skip

LARGE = Scenario(
    "large",
    ["""
name: large
steps:
  - {id: a, type: python, call: "world:act", with: {size: 100000}}
  - {id: b, type: transform, output: "${{ steps.a.output + 'y' }}"}
  - {id: list, type: transform, output: ["${{ steps.b.output }}", short]}
  - {id: c, type: loop, over: steps.list.output, steps: [{id: d, type: transform, output: "${{ item }}"}]}
  - {id: big, type: python, call: "world:act", with: {size: 1200000}}
  - {id: size, type: transform, output: "${{ steps.big.output.size }}"}
  - {id: e, type: workflow, workflow: small, with: {text: "${{ steps.b.output }}"}}
""", """
name: small
inputs: {text: string}
steps:
  - {id: a, type: transform, output: "${{ inputs.text }}"}
"""],
    [("large", {})],
    expect={"large": ["completed"], "small": ["completed"]},
)  # fmt: skip

SCENARIOS = [
    LINE, RETRIES, PARALLEL, LOOPS, CHOICES, APPROVALS, SIGNALS, CHILDREN, TIMEOUTS, COMPENSATION, GROUPS, CONFLICTS,
    PAUSES, TRIGGERS, AGAIN, SLOTS, DEADLINES, RECONCILED, LARGE,
]  # fmt: skip
