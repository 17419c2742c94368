"""What an agent does next. Pure: from its transcript, what people have decided, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from msgspec import Struct

from fleetprompt.engine.agents.decisions import circling, out_of_turns
from fleetprompt.engine.agents.stuck import stuck
from fleetprompt.engine.agents.transcript import Call, Transcript, Turn, open_calls, undecided
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.codec import items
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.ports.work import Decision

REPAIRS = 2
"""How often a model is told that its answer does not fit before the agent fails."""
CUT_OFF = "your answer was cut off at its limit of tokens; nothing of it was carried out. Answer again, shorter."
EMPTY = "your answer was empty. Call a tool, or give the result."
WRAP_UP = "wrap_up"
"""Why an agent is told to finish with what it has."""
FINISH = "a limit is reached: no more tools can be called. Give your result now, from what you know."


class AskModel(Struct, frozen=True):
    """Make a request to the model."""

    turn: int
    wrap_up: bool = False
    """Without tools: it has to come to an end."""
    decided: Mapping[str, Any] | None = None
    """By which rule, as it is noted; and so below."""


class Propose(Struct, frozen=True):
    """Look at the calls of an answer: what each would do, and whether it may."""

    turn: int


class AskPeople(Struct, frozen=True):
    """Ask people about calls; nothing of the turn happens before."""

    calls: tuple[Call, ...]


class Perform(Struct, frozen=True):
    """Perform calls; those that stand beside each other may be performed so."""

    calls: tuple[Call, ...]


class Say(Struct, frozen=True):
    """Tell the model something that is neither the user's nor a tool's."""

    text: str
    why: str
    """`repair`, `cut_off`, `stuck`, `wrap_up`."""
    answers: str = ""
    """The question that people have answered so."""
    decided: Mapping[str, Any] | None = None


class Finish(Struct, frozen=True):
    """The goal is reached."""

    output: Any


class HandOver(Struct, frozen=True):
    """Another agent goes on."""

    call: Call | None
    agent: str
    message: str = ""
    decided: Mapping[str, Any] | None = None


class AskForHelp(Struct, frozen=True):
    """People have to say how to go on."""

    why: str
    key: str
    decided: Mapping[str, Any] | None = None


class GiveUp(Struct, frozen=True):
    """The step fails."""

    error: Failure
    unmade: tuple[Call, ...] = ()
    """Calls that have no result, and are not made."""
    answers: str = ""
    """The question that people have answered so."""
    decided: Mapping[str, Any] | None = None


Action = AskModel | Propose | AskPeople | Perform | Say | Finish | HandOver | AskForHelp | GiveUp


class Situation(Struct, frozen=True, kw_only=True):
    """What a decision depends on besides the transcript."""

    agent: Agent
    max_iterations: int
    decisions: Mapping[str, Decision] = {}
    check: Callable[[str], tuple[Any, str]]
    """The output that an answer's text is, and what is wrong with it."""
    waiting_tools: Collection[str] = ()
    """Tools that wait for others."""
    reads: Collection[str] = ()
    """Tools that only read, for `batch: run_reads`."""
    kept: str = ""
    """Why it has to end its task itself; empty where it may hand it over."""
    finishes: bool = False
    """It may answer once more, without tools, when it has had all its turns."""


def decide(transcript: Transcript, at: Situation) -> Action:
    """The next thing to do."""
    turn = transcript.last
    if turn is None:
        return AskModel(0, wrap_up=wraps_up(transcript))
    if turn.answer is None:
        return AskModel(turn.number, wrap_up=_is_last(transcript, turn, at))
    if turn.remarks:
        return _next_turn(transcript, turn, at)
    if turn.finish == "length":
        return _after_remarks(transcript, "cut_off", CUT_OFF, "the answers of the model are cut off")
    if turn.asked_for and _is_last(transcript, turn, at):
        # It calls tools that it was not given.
        return (
            _result(transcript, turn, at) if turn.text.strip() else _after_remarks(transcript, "repair", FINISH, EMPTY)
        )
    if len(turn.calls) < len(turn.asked_for):
        return Propose(turn.number)
    if turn.calls:
        return _with_calls(transcript, turn, at)
    return _result(transcript, turn, at)


def _with_calls(transcript: Transcript, turn: Turn, at: Situation) -> Action:
    ended = next((call for call in turn.calls if _ends(at.decisions.get(call.key))), None)
    if ended is not None:
        # Nothing of the answer happens any more, whatever was allowed or approved of it.
        return GiveUp(_ended_by(ended, at.decisions[ended.key]), tuple(open_calls(turn)), ended.key)
    waiting = undecided(turn.calls, at.decisions)
    if waiting and at.agent.approval.batch == "run_reads":
        reads = [call for call in open_calls(turn) if call.tool in at.reads and call.verdict == "allow"]
        if reads:
            return Perform(tuple(reads))
    if waiting:
        return AskPeople(tuple(waiting))
    left = open_calls(turn)
    if left:
        return Perform(tuple(left))
    return _go_round(transcript, turn, at)


def _ends(decision: Decision | None) -> bool:
    return decision is not None and decision.ends


def _ended_by(call: Call, decision: Decision) -> Failure:
    who = f" by {', '.join(decision.by)}" if decision.by else ""
    message = f"the agent was ended{who} when it asked for `{call.tool}`"
    if decision.comment:
        message += f": {decision.comment}"
    return Failure("APPROVAL_REJECTED", message, retryable=False, data={"call": call.key, "approval": decision.id})


def _go_round(transcript: Transcript, turn: Turn, at: Situation) -> Action:
    """All calls of a turn have their results."""
    why = stuck(transcript.calls, at.agent.stuck, at.waiting_tools)
    if why:
        return _stuck(transcript, turn, why, at)
    return _next_turn(transcript, turn, at)


def _stuck(transcript: Transcript, turn: Turn, why: str, at: Situation) -> Action:
    told = [remark for each in transcript.turns for remark in each.remarks if remark.get("why") == "stuck"]
    if not told:
        text = f"you seem to go in circles: {why}. Try something else, or give the result with what you have."
        return Say(text, "stuck", decided=circling(why, "tell", "the first time"))
    settings = at.agent.stuck
    rule = f"on_stuck: {settings.on_stuck}"
    if settings.on_stuck == "handoff" and settings.handoff and not at.kept:
        return HandOver(None, settings.handoff, f"it went in circles: {why}", circling(why, "handoff", rule))
    failure = Failure("AGENT_ERROR", f"the agent goes in circles: {why}", retryable=False, data={"stuck": why})
    if settings.on_stuck in ("fail", "handoff"):
        rule += f", but {at.kept}" if at.kept and settings.on_stuck == "handoff" else ""
        return GiveUp(failure, decided=circling(why, "fail", rule))
    key = f"{transcript.path}/stuck/{turn.number}"
    decision = at.decisions.get(key)
    if decision is None or not decision.decision:
        return AskForHelp(why, key, circling(why, "ask", rule))
    if decision.decision != "approved":
        return GiveUp(failure, answers=key)
    advice = str(decision.values.get("advice") or decision.comment or "an operator says: go on")
    return Say(advice, "stuck", answers=key)


def _next_turn(transcript: Transcript, turn: Turn, at: Situation) -> Action:
    number = turn.number + 1
    if number < at.max_iterations:
        return AskModel(number, wrap_up=wraps_up(transcript))
    if number == at.max_iterations and (at.finishes or wraps_up(transcript)):
        return AskModel(number, wrap_up=True, decided=out_of_turns(at.max_iterations, "wrap_up"))
    message = f"no result after {at.max_iterations} turns"
    failure = Failure("AGENT_ERROR", message, hint="raise `max_iterations`", retryable=False)
    return GiveUp(failure, decided=out_of_turns(at.max_iterations, "fail"))


def _is_last(transcript: Transcript, turn: Turn, at: Situation) -> bool:
    return wraps_up(transcript) or turn.number >= at.max_iterations


def wraps_up(transcript: Transcript) -> bool:
    """Whether a limit is reached at which the agent finishes with what it has."""
    return any(remark.get("why") == WRAP_UP for remark in transcript.remarks)


def _result(transcript: Transcript, turn: Turn, at: Situation) -> Action:
    if not turn.text.strip():
        return _after_remarks(transcript, "repair", EMPTY, "the model answers nothing")
    output, problem = at.check(turn.text)
    if not problem:
        return Finish(output)
    text = f"your result does not fit: {problem}. Give it again; nothing but the JSON value."
    return _after_remarks(transcript, "repair", text, f"the result does not fit its schema: {problem}")


def _after_remarks(transcript: Transcript, why: str, text: str, message: str) -> Action:
    told = sum(remark.get("why") == why for turn in transcript.turns for remark in turn.remarks)
    if told < REPAIRS:
        return Say(text, why)
    return GiveUp(Failure("AGENT_ERROR", f"{message} ({told + 1} times)", retryable=True))


def failure_of(turn: Turn) -> Mapping[str, Any]:
    """The last failure of a turn's requests."""
    return turn.failures[-1] if turn.failures else {}


def asked_calls(turn: Turn) -> list[Any]:
    """What the answer of a turn asks for, as it was recorded."""
    return items(turn.answer.get("calls")) if turn.answer is not None else []
