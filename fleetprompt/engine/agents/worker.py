"""One agent at work on a goal: what `decide` says is done, recorded and looked at again, until there is a result.

Nothing is kept here that is not in the notes: the same loop begins, goes on after a crash, and goes on after people
have answered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from fleetprompt.engine.agents import tracking
from fleetprompt.engine.agents.attempts import NoAnswer, asked_models
from fleetprompt.engine.agents.calls import Calls
from fleetprompt.engine.agents.consulting import more_budget, whether_to_go_on
from fleetprompt.engine.agents.conversation import SHORTER, messages
from fleetprompt.engine.agents.decide import (
    FINISH,
    WRAP_UP,
    Action,
    AskForHelp,
    AskModel,
    AskPeople,
    Finish,
    GiveUp,
    HandOver,
    Perform,
    Propose,
    Say,
    Situation,
    decide,
    wraps_up,
)
from fleetprompt.engine.agents.decisions import ANSWERS, DECISION, answered, at_limit
from fleetprompt.engine.agents.equipment import Equipment
from fleetprompt.engine.agents.limits import over_limit, refused_more
from fleetprompt.engine.agents.memory import AgentMemory, Place, told
from fleetprompt.engine.agents.messages import (
    Said,
    from_people,
    requested,
    taken_up,
)
from fleetprompt.engine.agents.output import Check, checker
from fleetprompt.engine.agents.requests import OverLimit, Requests, Wanted
from fleetprompt.engine.agents.spare import Spare
from fleetprompt.engine.agents.transcript import (
    ENDED,
    FAILED,
    HANDED_OVER,
    RECALLED,
    REMARK,
    SESSION,
    Call,
    Record,
    Transcript,
    llm_key,
)
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.errors import Failure, FleetError, NotFound
from fleetprompt.engine.core.keys import call_key
from fleetprompt.engine.ports.budget import Allowance, BudgetRefused, Caps
from fleetprompt.engine.ports.model import ModelRequest, ModelTarget
from fleetprompt.engine.ports.work import NoteValue, WorkContext
from fleetprompt.engine.ports.world import Done, Failed, Outcome

MAX_DEPTH = 3
"""How deep agents may delegate to others."""
RECALLED_CHARS = 2_000
"""Characters of each memory that are put into a prompt; `memory.recall` gives the whole."""
MAX_DELEGATIONS = 20
"""Tasks that the agents of one step may give to others in all."""


class Task(Struct, frozen=True, kw_only=True):
    """What an agent is to do."""

    agent: str
    """Its name, under which its part of the record stands."""
    inline: Agent | None = None
    """The agent itself, where it is none of the plan's."""
    goal: str
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the result."""
    max_iterations: int = 10
    max_handoffs: int = 4
    on_limit: str = "fail"
    history: tuple[Mapping[str, Any], ...] = ()
    """Messages before the goal: `{role, text}`."""
    goal_type: str = ""


class Limit(NamedTuple):
    """What an agent's file allows it, and with it all whom it gives a part of its task."""

    allowance: Allowance
    on_limit: str


class Team:
    """The agents of one step, one of which has the task at a time."""

    def __init__(self, ctx: WorkContext, task: Task, record: Record) -> None:
        self.ctx = ctx
        self.task = task
        self.record = record


class Worker:
    """One agent that works on a goal."""

    def __init__(
        self,
        team: Team,
        path: str,
        name: str,
        goal: str,
        task: Task,
        *,
        depth: int,
        again: bool = False,
        request: NoteValue | None = None,
        within: Sequence[Limit] = (),
    ) -> None:
        """`request`: the message by which another agent has asked for it, to be recorded as it is taken up. `within`:
        the limits of those for whom it does a part of a task."""
        self._team = team
        self._ctx = team.ctx
        self._task = task
        self._goal = goal
        self._depth = depth
        self._again = again
        self._request = request
        self.agent: Agent = task.inline if task.inline is not None else _known(team.ctx, name)
        self._path = path
        self._check: Check = checker(task.schema)
        self._equipment = Equipment(team.ctx, self.agent, task.schema)
        self._within = (*within, *self._limits())
        self._own = tuple(each.allowance for each in self._within)
        self._spare = self._spared()
        self._requests = Requests(team.ctx, (*team.ctx.allowances, *self._own), self._spare, self._noted)
        self._calls = self._caller()

    @property
    def _transcript(self) -> Transcript:
        return self._team.record.of(self._path)

    async def run(self) -> Outcome | None:
        """Until there is a result; None where the task was handed over."""
        transcript = self._transcript
        if transcript.ended is not None:
            return Done(transcript.ended.get("output"))
        if transcript.handed_over is not None:
            return await self._left()
        await self._equipment.find(transcript.tools)
        self._calls = self._caller()
        await self._begin()
        await self._heard()
        await self._recall()
        try:
            while True:
                action = decide(transcript, self._situation())
                outcome = await self._do(action)
                if outcome is not None:
                    return outcome
                if transcript.handed_over is not None:
                    return await self._left()
        except OverLimit as over:
            return await self._at_limit(over.refused)
        except BudgetRefused as refused:
            return await self._at_limit(refused)
        except NoAnswer as error:
            return await self._give_up(error.outcome(self._ctx.now()), resumes=True)
        except FleetError as error:
            # Such as a policy that cannot be read, or a server that has changed: once that is put right, it can go on.
            failure = Failure(error.code, error.message, hint=error.hint, retryable=False)
            return await self._give_up(Failed(failure), resumes=True)

    def _situation(self) -> Situation:
        return Situation(
            agent=self.agent,
            max_iterations=self._task.max_iterations,
            decisions=self._ctx.decisions,
            check=self._check,
            waiting_tools=self._equipment.toolbox.waiting,
            reads=self._equipment.toolbox.reads,
            kept=self._kept(),
            finishes="wrap_up" in (self.agent.limits.on_limit, self._ctx.on_limit(self._step)),
        )

    # ------------------------------------------------------------ the beginning

    def _caller(self) -> Calls:
        record, toolbox = self._team.record, self._equipment.toolbox
        own, kept = self._own, self._kept()
        return Calls(self._ctx, self.agent, toolbox, record, self._transcript, self._delegate, own, kept=kept)

    def _kept(self) -> str:
        """Why it has to end the task itself; empty where it may hand it over."""
        if self._depth:
            return "this is a part of a task, and only whoever has the whole of it can hand it over: give your result"
        times = self._path.rpartition("#")[2] if "#" in self._path else "0"
        if int(times) < self._task.max_handoffs:
            return ""
        return (
            f"the task has been handed over {times} times, which is the most (`max_handoffs`): give the result yourself"
        )

    def _limits(self) -> tuple[Limit, ...]:
        """What the agent's own file allows it, within what its step may spend."""
        limits = self.agent.limits
        caps = Caps(limits.requests, limits.tokens, limits.tool_calls, limits.cost_nano)
        if caps == Caps():
            return ()
        return (Limit(Allowance(f"{self._step}/{self._path}", caps), limits.on_limit),)

    @property
    def _step(self) -> str:
        """The scope of its step."""
        return f"step/{self._ctx.effect.run}/{self._ctx.effect.path}"

    def _on_limit(self, scope: str) -> str:
        own = next((each for each in self._within if each.allowance.scope == scope), None)
        return own.on_limit if own is not None else self._ctx.on_limit(scope)

    def _spared(self) -> Spare | None:
        """What it keeps for its last request, where it has to finish with what it has at any limit."""
        allowances = (*self._ctx.allowances, *self._own)
        limiting = [each for each in allowances if msgspec.structs.replace(each.caps, tool_calls=None) != Caps()]
        if not any(self._on_limit(each.scope) == "wrap_up" for each in limiting):
            return None
        return Spare(self._ctx, allowances, self._transcript)

    async def _begin(self) -> None:
        transcript, record = self._transcript, self._team.record
        if transcript.session and (let_go := await self._equipment.same(self._path, transcript)):
            await self._noted(*let_go)
        if transcript.session and not self._again:
            return
        value = tracking.session(
            self.agent.name,
            self._goal,
            names=self._ctx.names,
            codebase=self._ctx.codebase,
            definition=self._equipment.definition(),
            tools=self._equipment.tools(),
            fresh=not transcript.session and self._depth == 0 and "#" not in self._path,
            goal_type=self._task.goal_type,
            parent=self._path.rpartition("/tool/")[0],
            root=self._team.task.agent,
            task=self._path,
            root_task=self._team.task.agent,
            request=str(self._request[2]["request_id"]) if self._request is not None else "",
            history=[dict(said) for said in self._task.history],
        )
        attempt = {"attempt": self._ctx.effect.attempt}
        if transcript.session:
            moved = transcript.moved("planning", "another attempt goes on with it", SESSION, "retry", attempt)
        else:
            moved = transcript.moved("planning", "it was given a goal", SESSION, data=attempt)
        if value["fresh"]:
            record.attempt = self._ctx.effect.attempt
        taken = [taken_up(self._request, self._ctx.now())] if self._request and not transcript.session else []
        await self._noted(*taken, (SESSION, self._path, value), moved)
        self._again = False

    async def _heard(self) -> None:
        """What people have said when they were asked for more budget is recorded as it is taken up."""
        new = [
            note
            for decision in self._ctx.decisions.values()
            if decision.about == "budget" and decision.call.startswith(f"{self._path}/budget/")
            if decision.call not in self._transcript.answered
            for note in [
                *from_people(self._path, self.agent.name, decision, self._ctx.now()),
                (DECISION, self._path, answered(decision, "raise the limit?")),
            ]
            if decision.decision in ANSWERS
        ]
        if new:
            await self._noted(*new)

    async def _recall(self) -> None:
        """What it remembers about its goal is recorded before anything is asked, and is the same from then on."""
        memory, transcript = self.agent.memory, self._transcript
        if memory is None or not memory.recall or transcript.recalled is not None or transcript.turns:
            return
        found = await self._memory("recall").recall(self._goal, limit=memory.recall)
        value = {
            "memories": [told(each, RECALLED_CHARS) for each in found],
            "untrusted": any(each.untrusted for each in found),
        }
        await self._noted((RECALLED, self._path, value))

    def _memory(self, what: str) -> AgentMemory:
        record = self._team.record
        key = call_key(self._ctx.effect.key, record.attempt, f"{self._path}/{what}")
        place = Place(f"{self._path}/{what}", key, "")
        return AgentMemory(self._ctx, self.agent, place, untrusted=record.tainted, own=self._own)

    # ------------------------------------------------------------ what is done

    async def _do(self, action: Action) -> Outcome | None:
        transcript = self._transcript
        match action:
            case AskModel():
                await self._ask_model(action)
            case Propose(turn):
                await self._calls.propose(transcript.turns[turn])
            case AskPeople(calls):
                await self._ctx.ask(self._calls.questions(calls))
            case Perform(calls):
                await self._calls.perform(calls, self._ctx.decisions)
            case Say(text, why, answers, decided):
                await self._say(text, why, decided or self._decided(answers), self._answer(answers))
            case AskForHelp():
                await self._ctx.ask([whether_to_go_on(self.agent, self._path, action, self._ctx.now())])
            case HandOver():
                await self._hand_over(action)
            case Finish(output):
                return await self._finish(output)
            case GiveUp(error, unmade, answers, decided):
                notes = [*self._answer(answers), *self._calls.unmade(unmade, error.message)]
                return await self._give_up(Failed(error), notes, decided or self._decided(answers))
        return None

    async def _ask_model(self, action: AskModel) -> None:
        transcript, instructions = self._transcript, self._equipment.instructions()
        turn = transcript.turn(action.turn)
        name = self.agent.model or "default"
        request = ModelRequest(
            target=ModelTarget(name=name, model=name),
            messages=messages(transcript, instructions),
            tools=() if action.wrap_up else self._equipment.toolbox.specs(),
            max_tokens=self.agent.max_tokens,
            temperature=self.agent.temperature,
            schema=self._task.schema,
            choice="none" if action.wrap_up else "auto",
            about=self._about(action.turn),
        )
        wanted = Wanted(
            request,
            asked_models(name, self._ctx.models.fallbacks(name)),
            shorter=tuple(messages(transcript, instructions, most) for most in SHORTER if action.wrap_up),
            last=action.wrap_up,
            decided=action.decided,
        )
        await self._requests.answer(wanted, turn, llm_key(self._path, action.turn))

    def _about(self, turn: int) -> dict[str, Any]:
        """For scripts and recordings: where in the work this is, and what the tools have given."""
        results = [
            {
                "tool": call.tool,
                "arguments": call.arguments,
                "result": call.output if call.status == "done" else {"error": call.error},
            }
            for call in self._transcript.calls
            if call.settled
        ]
        return dict(self._ctx.names) | {
            "agent": self.agent.name,
            "agent_path": self._path,
            "turn": turn,
            "goal": self._goal,
            "results": results,
        }

    async def _say(
        self, text: str, why: str, decided: Mapping[str, Any] | None = None, notes: Sequence[NoteValue] = ()
    ) -> None:
        value = {"text": text, "why": why, "at": self._ctx.now()} | _with(decided)
        await self._noted(*notes, (REMARK, self._path, value))

    def _answer(self, question: str) -> list[NoteValue]:
        """What people have answered to a question of this agent; nothing where it asked none."""
        given = self._ctx.decisions.get(question)
        asked = given if given is not None and given.about != "tool" else None
        return from_people(self._path, self.agent.name, asked, self._ctx.now())

    def _decided(self, question: str) -> Mapping[str, Any] | None:
        """What people have decided, as it is noted."""
        given = self._ctx.decisions.get(question)
        return answered(given, "go on?") if given is not None else None

    async def _hand_over(self, wanted: HandOver) -> None:
        value = {"to": wanted.agent, "reason": wanted.message, "call": "", "at": self._ctx.now()}
        moved = self._transcript.moved("handed_over", wanted.message, HANDED_OVER, "jump", {"to": wanted.agent})
        await self._noted(*self._given_back(), moved, (HANDED_OVER, self._path, value | _with(wanted.decided)))

    async def _delegate(self, call: Call, name: str, goal: str) -> Outcome:
        """Another agent does a part of the task, below the call that asked for it."""
        record = self._team.record
        path = f"{call.key}/{name}"
        if self._depth + 1 > MAX_DEPTH:
            return _refused(f"agents delegate {MAX_DEPTH} deep at most")
        # One that was begun before goes on.
        if path not in record.agents and sum("/tool/" in each for each in record.agents) >= MAX_DELEGATIONS:
            return _refused(f"the agents of a step delegate {MAX_DELEGATIONS} times at most")
        said = Said("task_delegation", self.agent.name, goal)
        request = requested(said, name, call.key, sent=call.at or self._ctx.now())
        task = Task(agent=name, goal=goal, max_iterations=self._task.max_iterations)
        depth, within = self._depth + 1, self._within
        worker = Worker(self._team, path, name, goal, task, depth=depth, request=request, within=within)
        outcome = await worker.run()
        if outcome is None:
            # It was begun by an engine that let it do so.
            return _refused(f"{name} handed a part of a task over, which only whoever has the whole of it can do")
        return outcome

    async def _noted(self, *notes: NoteValue, reserves: Collection[str] = ()) -> Sequence[NoteValue]:
        noted = await self._ctx.record(*notes, reserves=reserves)
        for note in noted:
            self._team.record.fold(*note)
        return noted

    def _given_back(self) -> list[NoteValue]:
        return self._spare.given_back() if self._spare is not None else []

    # ------------------------------------------------------------ the end

    async def _left(self) -> None:
        """The task is another agent's now, which needs what this one kept."""
        if back := self._given_back():
            await self._noted(*back)

    async def _finish(self, output: Any) -> Outcome:
        turns = {"turns": len(self._transcript.turns)}
        moved = self._transcript.moved("completed", "it has a result", ENDED, data=turns)
        value = {"output": output} | turns
        if self.agent.memory is not None and self.agent.memory.remember == "conversation":
            value["remembered"] = await self._memory("remember").conversation(self._goal, output)
        await self._noted(*self._given_back(), moved, (ENDED, self._path, value))
        return Done(output)

    async def _give_up(
        self,
        failed: Failed,
        notes: Sequence[NoteValue] = (),
        decided: Mapping[str, Any] | None = None,
        *,
        resumes: bool = False,
    ) -> Outcome:
        failure = failed.error
        data = {"code": failure.code, "turns": len(self._transcript.turns)}
        moved = self._transcript.moved("failed", failure.message, FAILED, "error", data)
        value = {"code": failure.code, "message": failure.message, "resumes": resumes} | _with(decided)
        await self._noted(*notes, *self._given_back(), moved, (FAILED, self._path, value))
        return failed

    async def _at_limit(self, refused: BudgetRefused) -> Outcome | None:
        """A limit is reached: fail, ask for more, or finish with what there is."""
        on_limit = self._on_limit(refused.scope)
        if on_limit == "wrap_up" and not wraps_up(self._transcript):
            left_out = {"scope": refused.scope, "limit": refused.limit}
            moved = self._transcript.moved("wrapping_up", refused.message, REMARK, "skip", left_out)
            await self._say(FINISH, WRAP_UP, at_limit(refused, "wrap_up", f"on_limit: {on_limit}"), [moved])
            return await self.run()
        if on_limit == "ask" and not refused_more(self._ctx):
            ctx = self._ctx
            await ctx.ask([more_budget(self.agent, self._path, refused, ctx.decisions, ctx.now())])
        tried = {"wrap_up": ", which it has done", "ask": ", and nobody raised it"}
        rule = f"on_limit: {on_limit}{tried.get(on_limit, '')}"
        return await self._give_up(Failed(over_limit(refused)), decided=at_limit(refused, "fail", rule), resumes=True)


def _known(ctx: WorkContext, name: str) -> Agent:
    agent = ctx.agents.get(name)
    if agent is None:
        raise NotFound(f"the plan has no agent `{name}`", hint=f"write agents/{name}.yaml, or put it under `agents:`")
    return agent


def _with(decided: Mapping[str, Any] | None) -> dict[str, Any]:
    """A decision as a part of the note of what comes of it."""
    return {DECISION: decided} if decided is not None else {}


def _refused(message: str) -> Failed:
    return Failed(Failure("AGENT_ERROR", message, retryable=False))
