"""What an agent has done so far, folded from the notes of its step. Pure: the same notes give the same transcript.

Keys are positions, never a model's own ids: `<agent>/llm/<turn>` for what was asked of the model,
`<agent>/tool/<turn>.<i>` for the i-th call of that turn's answer. An agent that was delegated to stands below the call
that did so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from fleetprompt.engine.agents.messages import COMMUNICATION
from fleetprompt.engine.agents.tracking import STATE, MoveType, State, state
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.ports.model import ToolCall
from fleetprompt.engine.ports.work import Decision, Note, NoteValue

SESSION = kinds.BEGUN
PROPOSED = "tool.proposed"
COMPLETED = "tool.completed"
TOOL_FAILED = "tool.failed"
RECONCILED = "tool.reconciled"
REMARK = "remark"
"""Something that we say to the model: that an answer did not fit, that it goes in circles, that a limit is near."""
HANDED_OVER = kinds.HANDED_OVER
ENDED = kinds.FINISHED
FAILED = kinds.GAVE_UP
REDEFINED = "definition"
"""Somebody lets an agent go on although it, or what it can call, is no longer what it was when it began."""

PROBED = "model.probed"
"""Whether a model that was only found on this machine calls tools, by the request before which it was tried out."""
RECALLED = "memory.recalled"
"""What an agent remembers about its goal, as it was when it began: it is told so whenever it goes on."""

CallStatus = Literal["proposed", "started", "done", "failed", "doubt"]
_KEY = re.compile(r"^(?P<agent>.+)/(?P<what>llm|tool)/(?P<turn>\d+)(\.(?P<call>\d+))?$")


def llm_key(agent: str, turn: int) -> str:
    """Key of what is asked of the model in a turn."""
    return f"{agent}/llm/{turn}"


def call_key(agent: str, turn: int, index: int) -> str:
    """Key of a call of a turn's answer."""
    return f"{agent}/tool/{turn}.{index}"


def agent_path(key: str) -> str:
    """Where the transcript stands of whoever made the call of a key."""
    place = _KEY.match(key)
    return place["agent"] if place is not None else key


class Call:
    """A call that the model asked for."""

    __slots__ = (
        "approval",
        "arguments",
        "at",
        "begun",
        "child",
        "edited",
        "error",
        "index",
        "key",
        "killed",
        "output",
        "proposal",
        "ran",
        "repeat",
        "reserve",
        "resolved",
        "retaken",
        "retry_after",
        "status",
        "taints",
        "tool",
        "untrusted",
    )

    def __init__(self, key: str, index: int, proposal: Mapping[str, Any]) -> None:
        self.key = key
        self.index = index
        self.proposal = proposal
        self.tool = str(proposal.get("tool", ""))
        self.arguments: Any = proposal.get("arguments")
        self.repeat = str(proposal.get("repeat", "never"))
        self.status: CallStatus = "proposed"
        self.output: Any = None
        self.error: Mapping[str, Any] | None = None
        self.retry_after: float | None = None
        """Seconds that the other side asked us to wait before it is asked again."""
        self.ran = False
        """It was begun, whatever came of it."""
        self.at = 0.0
        """When it was begun last."""
        self.begun = 0
        """How often that was recorded."""
        self.retaken = 0
        """How often it was made again since this process took it up, without being begun anew."""
        self.untrusted = False
        """What came of it is told as data, not as instructions."""
        self.taints = False
        """It has brought something from outside into this work."""
        self.edited = False
        self.approval = ""
        self.reserve: Mapping[str, Any] = {}
        """The budget that it holds."""
        self.child: Mapping[str, Any] | None = None
        """What its child run ended with."""
        self.killed: Mapping[str, Any] = {}
        """A program of it that was left running by an engine which died, and was killed."""
        self.resolved: Mapping[str, Any] | None = None
        """What an operator answered when it was in doubt."""

    @property
    def problem(self) -> str:
        """Why it cannot be made as the model wrote it; empty where it can."""
        return str(self.proposal.get("problem", ""))

    @property
    def verdict(self) -> str:
        """`allow`, `ask` or `deny`."""
        return str(self.proposal.get("verdict", "ask"))

    @property
    def retries(self) -> int:
        """How often it was made again, as far as it is known."""
        return max(0, self.begun - 1) + self.retaken

    @property
    def settled(self) -> bool:
        return self.status in ("done", "failed")


class Turn:
    """One request to the model, the attempts at it, its answer and its calls."""

    __slots__ = ("answer", "calls", "failures", "number", "remarks", "started")

    def __init__(self, number: int) -> None:
        self.number = number
        self.started: Mapping[str, Any] | None = None
        """The attempt that is under way, or was when it was interrupted."""
        self.failures: list[Mapping[str, Any]] = []
        self.answer: Mapping[str, Any] | None = None
        self.calls: list[Call] = []
        self.remarks: list[Mapping[str, Any]] = []
        """What is said to the model after this turn, in order."""

    @property
    def finish(self) -> str:
        return str(self.answer.get("finish", "")) if self.answer is not None else ""

    @property
    def text(self) -> str:
        return str(self.answer.get("text", "")) if self.answer is not None else ""

    @property
    def asked_for(self) -> list[ToolCall]:
        """The calls of the answer as the model wrote them; none of an answer that was cut off."""
        if self.answer is None or self.finish == "length":
            return []
        return [
            ToolCall(str(call.get("name", "")), str(call.get("arguments", "")), str(call.get("id", "")))
            for call in map(mapping, items(self.answer.get("calls")))
        ]


class Transcript:
    """One agent's part."""

    __slots__ = (
        "agent",
        "answered",
        "before",
        "definition",
        "ended",
        "failed",
        "handed_over",
        "moves",
        "path",
        "recalled",
        "session",
        "spare",
        "spares",
        "state",
        "tools",
        "turns",
    )

    def __init__(self, path: str) -> None:
        self.path = path
        self.session: Mapping[str, Any] = {}
        self.agent = ""
        """Its name."""
        self.definition = ""
        """Digest of what it is, as far as its work goes."""
        self.tools: Mapping[str, str] = {}
        """Digests of what it can call, by name."""
        self.turns: list[Turn] = []
        self.recalled: Mapping[str, Any] | None = None
        """What it remembers about its goal."""
        self.answered: set[str] = set()
        """Questions of it to people of which it has noted the answer."""
        self.before: list[Mapping[str, Any]] = []
        """Remarks before the first turn."""
        self.ended: Mapping[str, Any] | None = None
        self.failed: Mapping[str, Any] | None = None
        """Why an attempt at its goal failed, and whether another one can go on with what was done."""
        self.spare = ""
        """Id of the reservation that it keeps for its last request."""
        self.spares = 0
        """How often that has changed."""
        self.handed_over: Mapping[str, Any] | None = None
        """To whom it has handed over the task, and what with."""

        self.state = ""
        self.moves = 0
        """How often its state has changed."""

    def moved(self, to: State, reason: str, event: str, type_: MoveType = "normal", data: Any = None) -> NoteValue:
        """The note that its state changes; `event` is the kind of the note that comes with it."""
        return STATE, self.path, state(self.state, to, self.moves, reason, event=event, type=type_, data=data)

    @property
    def last(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    @property
    def calls(self) -> list[Call]:
        """All calls in order."""
        return [call for turn in self.turns for call in turn.calls]

    @property
    def remarks(self) -> Iterator[Mapping[str, Any]]:
        """All remarks in order."""
        yield from self.before
        for turn in self.turns:
            yield from turn.remarks

    def remark(self, value: Mapping[str, Any]) -> None:
        """Something is said to the model, after all that it has answered."""
        answered = [turn for turn in self.turns if turn.answer is not None]
        (answered[-1].remarks if answered else self.before).append(value)

    def turn(self, number: int) -> Turn:
        """The turn of a number, which begins with the first note about it."""
        while len(self.turns) <= number:
            self.turns.append(Turn(len(self.turns)))
        return self.turns[number]


class Record:
    """Everything that the agents of one step have done: transcripts by their paths."""

    __slots__ = ("agents", "attempt", "calls")

    def __init__(self) -> None:
        self.agents: dict[str, Transcript] = {}
        self.calls: dict[str, Call] = {}
        self.attempt = 1
        """The attempt at the step in which this work began: a later one may go on with it."""

    @property
    def tainted(self) -> bool:
        """Something from outside was read in this work, or is remembered from work in which it was."""
        recalled = (mapping(each.recalled).get("untrusted") for each in self.agents.values())
        return any(call.taints for call in self.calls.values()) or any(recalled)

    def fold(self, kind: str, key: str, value: Any) -> None:
        """Take up a note that has just been recorded."""
        _fold(self, Note(kind, key, value, self.attempt))

    def of(self, path: str) -> Transcript:
        """The transcript of an agent, empty where it has done nothing."""
        found = self.agents.get(path)
        if found is None:
            found = self.agents[path] = Transcript(path)
        return found


def read(notes: Iterable[Note]) -> Record:
    """The work that is going on: what was noted since it was begun last."""
    record = Record()
    for note in notes:
        if note.kind == SESSION and mapping(note.value).get("fresh"):
            record = Record()
            record.attempt = note.attempt
        _fold(record, note)
    return record


def _fold(record: Record, note: Note) -> None:
    value = mapping(note.value)
    place = _KEY.match(note.key)
    if note.kind.startswith("embedding."):
        return
    if place is None:
        _fold_agent(record.of(note.key), note.kind, value) if note.key else None
        return
    transcript = record.of(place["agent"])
    turn = transcript.turn(int(place["turn"]))
    if place["what"] == "llm":
        _fold_turn(turn, note.kind, value)
    elif note.kind == PROPOSED:
        _propose(record, turn, note.key, int(place["call"] or 0), value)
    elif (call := record.calls.get(note.key)) is not None:
        _fold_call(call, note.kind, value)


def _fold_agent(transcript: Transcript, kind: str, value: Mapping[str, Any]) -> None:
    if kind == SESSION:
        _begin(transcript, value)
    elif kind == REMARK:
        transcript.remark(value)
    elif kind == kinds.SPARED:
        transcript.spares += 1
        transcript.spare = str(mapping(value.get("reserve")).get("id", ""))
    elif kind == REDEFINED:
        transcript.definition, transcript.tools = str(value.get("definition", "")), mapping(value.get("tools"))
    elif kind == STATE:
        transcript.state, transcript.moves = str(value.get("to", "")), transcript.moves + 1
    elif kind == COMMUNICATION:
        transcript.answered.add(str(value.get("in_response_to", "")))
    elif kind == HANDED_OVER:
        transcript.handed_over = value
    elif kind == RECALLED:
        transcript.recalled = value
    elif kind == ENDED:
        transcript.ended = value
    elif kind == FAILED:
        transcript.failed = value


def _begin(transcript: Transcript, value: Mapping[str, Any]) -> None:
    last = transcript.last
    if transcript.session and last is not None and last.answer is None:
        # Another attempt at the step goes on with it: what failed before may be tried again.
        last.failures = []
    if not transcript.session:
        transcript.session = value
        transcript.definition, transcript.tools = str(value.get("definition", "")), mapping(value.get("tools"))
    transcript.agent = str(transcript.session.get("agent_id", ""))


def _fold_turn(turn: Turn, kind: str, value: Mapping[str, Any]) -> None:
    if kind == kinds.REQUESTED:
        turn.started = value
    elif kind == kinds.FAILED:
        turn.started = None
        turn.failures.append(value)
    elif kind == kinds.ANSWERED:
        turn.started = None
        turn.answer = value


def _propose(record: Record, turn: Turn, key: str, index: int, value: Mapping[str, Any]) -> None:
    known = record.calls.get(key)
    if known is None:
        known = record.calls[key] = Call(key, index, value)
        turn.calls.append(known)
        return
    # Somebody has edited it: the position stays, and what is to be done is another thing. Or the policy has changed.
    known.proposal, known.arguments = value, value.get("arguments")
    known.edited = known.edited or "edited_by" in value
    known.repeat = str(value.get("repeat", "never"))


def _fold_call(call: Call, kind: str, value: Mapping[str, Any]) -> None:
    if kind == kinds.CALLED:
        call.status, call.ran, call.resolved, call.killed = "started", True, None, {}
        call.begun += 1
        call.at = float(value.get("at") or 0.0)
        call.reserve = mapping(value.get("reserve"))
        call.approval = str(value.get("approval", ""))
    elif kind in (COMPLETED, RECONCILED):
        call.status, call.output, call.retry_after = "done", value.get("output"), value.get("retry_after")
        _mark(call, value)
    elif kind in (TOOL_FAILED, kinds.BROKEN_OFF):
        call.status, call.error = "failed", mapping(value.get("error")) or {"message": str(value.get("reason", ""))}
        _mark(call, value)
    elif kind == kinds.KILLED:
        call.killed = value
    elif kind == kinds.CHILD_FINISHED:
        call.child = value
    elif kind == kinds.RESOLVED:
        call.resolved = value


def _mark(call: Call, value: Mapping[str, Any]) -> None:
    call.untrusted = bool(value.get("untrusted"))
    call.taints = call.untrusted and not value.get("delegated")


def open_calls(turn: Turn) -> Sequence[Call]:
    """Calls of a turn that have no result yet."""
    return [call for call in turn.calls if not call.settled]


def undecided(calls: Iterable[Call], decisions: Mapping[str, Decision]) -> list[Call]:
    """Calls that people have to be asked about first, and that nobody has decided."""
    found: list[Call] = []
    for call in calls:
        if call.status != "proposed" or call.problem or call.verdict != "ask" or call.edited:
            continue
        decision = decisions.get(call.key)
        if decision is None or not decision.decision:
            found.append(call)
    return found
