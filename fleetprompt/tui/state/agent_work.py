"""What agents have done in a step, in the order in which they did it: requests to models, calls of tools, messages, and
what they asked people. Folded from the step's facts when somebody first looks at them. PURE.

An agent that was given a part of the task stands inside the call that gave it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from fleetprompt.client.values import one_line_json
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import AnyFact, ApprovalDecided, ApprovalRequested, StepNoted, StepWaiting
from fleetprompt.engine.core.state import Step

What = Literal["turn", "call", "agent", "said"]

SETTLED = {"tool.completed": "completed", "tool.reconciled": "completed", "tool.failed": "failed"} | {
    kinds.BROKEN_OFF: "cancelled"
}
SAID = {"communication", "remark", "definition", kinds.GRANTED}
"""Kinds of notes that are entries of their own."""
TOLD = {kinds.BEGUN, kinds.CHILD_FINISHED, "tool.proposed", kinds.CALLED, "agent.completed", "agent.failed"} | {
    *SAID, *SETTLED, *kinds.REQUESTS, *kinds.REPLIES
}  # fmt: skip
"""Kinds of notes that say something about the work of agents."""
_KEY = re.compile(r"^(?:(?P<agent>.+)/)?(?P<what>llm|tool|image|embedding)/\d+(\.\d+)?$")
_DELEGATE = re.compile(r"^(?P<call>.+/tool/\d+\.\d+)/[^/]+$")
ARGUMENTS = 120
"""Characters of arguments that are told on a line."""


class Entry:
    """One thing that was done, and what is inside it."""

    __slots__ = (
        "asked",
        "began",
        "child",
        "cost_nano",
        "decided",
        "ended",
        "facts",
        "failures",
        "inside",
        "key",
        "mode",
        "model",
        "name",
        "settled",
        "started",
        "tokens",
        "uncertain_nano",
        "what",
    )

    def __init__(self, key: str, what: What, at: float, name: str = "") -> None:
        self.key = key
        self.what: What = what
        self.name = name
        """Of the agent or the tool; of what was said its kind."""
        self.inside: list[Entry] = []
        self.facts: list[StepNoted] = []
        """What was noted about it, in order."""
        self.started = at
        self.began = False
        """A request or a call is under way, or was when it was interrupted."""
        self.ended: float | None = None
        self.child = ""
        """Id of a run that the call has started."""
        self.settled = ""
        """How it ended: the status of a step."""
        self.failures = 0
        """Requests that came to nothing."""
        self.model = ""
        self.mode = ""
        self.cost_nano = 0
        self.tokens = 0
        self.uncertain_nano = 0
        self.asked: ApprovalRequested | None = None
        """What people were asked about it."""
        self.decided: ApprovalDecided | None = None

    def value(self, *wanted: str) -> dict[str, Any]:
        """The last note of these kinds, as far as it is not kept apart."""
        note = self.note(*wanted)
        return mapping(note.value) if note is not None else {}

    def note(self, *wanted: str) -> StepNoted | None:
        """The last note of these kinds."""
        return next((fact for fact in reversed(self.facts) if fact.kind in wanted), None)

    @property
    def spent(self) -> tuple[int, int, int]:
        """Cost, tokens and what may have been spent besides, with all that is inside."""
        cost, tokens, uncertain = self.cost_nano, self.tokens, self.uncertain_nano
        for each in self.inside:
            if each.what != "said":
                more = each.spent
                cost, tokens, uncertain = cost + more[0], tokens + more[1], uncertain + more[2]
        return cost, tokens, uncertain

    def status(self, step: Step, *, over: bool) -> str:
        """The status of a step that says best how it is. `over`: nothing goes on with it any more."""
        if self.what == "agent":
            return self.settled or ("cancelled" if over else step.status)
        if self.settled:
            return self.settled
        if self.asked is not None and self.decided is None:
            return "withdrawn" if over else "waiting"
        if self.what == "said":
            return self.decided.decision if self.decided is not None else ""
        if over:
            return "cancelled" if self.began else "failed" if self.failures else "skipped"
        if not self.began and self.decided is not None and self.decided.decision == "rejected":
            return "rejected"
        if not self.began:
            # It waits for its turn, or until a request is made once more.
            return "waiting" if self.failures else "pending"
        if step.work is not None and step.work.doubt == self.key and step.status == "in_doubt":
            return "in_doubt"
        waits = step.work is not None and step.work.call == self.key
        return "waiting" if waits or step.status in ("waiting", "in_doubt") else "running"

    @property
    def open(self) -> bool:
        """It has not come to an end."""
        if self.what == "said":
            return self.asked is not None and self.decided is None
        return not self.settled


class AgentWork:
    """One piece of work of the agents of a step: a retry that begins anew is another one."""

    def __init__(self, number: int, attempt: int, at: float) -> None:
        self.number = number
        self.attempt = attempt
        """The attempt at the step in which it was begun."""
        self.root = Entry("", "agent", at)
        """The agent that was given the task; what others did who had the whole of it is inside, too."""
        self._agents: dict[str, Entry] = {}
        self._entries: dict[str, Entry] = {}
        self._asked: dict[str, Entry] = {}
        self._said = 0

    def apply(self, fact: AnyFact) -> None:
        """Take up a fact about the step."""
        if isinstance(fact, StepNoted):
            self._note(fact)
        elif isinstance(fact, ApprovalRequested):
            entry = self._entries.get(fact.call)
            if entry is None or (entry.asked is not None and entry.asked.id != fact.id):
                entry = self._say(self._around(fact.call), fact.about or "asks", fact.at)
            entry.asked = fact
            self._asked[fact.id] = entry
        elif isinstance(fact, ApprovalDecided) and (entry := self._asked.get(fact.id)) is not None:
            entry.decided = fact
            if entry.what == "said":
                entry.ended = fact.at
        elif isinstance(fact, StepWaiting) and (entry := self._entries.get(fact.call)) is not None:
            entry.child = fact.ref

    def _note(self, fact: StepNoted) -> None:
        place = _KEY.match(fact.key)
        if place is None:
            self._note_agent(fact)
            return
        entry = self._entries.get(fact.key)
        if entry is None:
            around = self.agent(place["agent"] or "", fact.at)
            entry = self._entries[fact.key] = Entry(fact.key, "call" if place["what"] == "tool" else "turn", fact.at)
            if entry.what == "turn":
                entry.name = "turn" if place["what"] == "llm" else place["what"]
            around.inside.append(entry)
        if fact.kind in SAID:
            self._say(entry, fact.kind, fact.at, fact)
            return
        entry.facts.append(fact)
        (self._turn if entry.what == "turn" else self._call)(entry, fact)

    def _note_agent(self, fact: StepNoted) -> None:
        agent = self.agent(fact.key, fact.at)
        if fact.kind in SAID:
            self._say(agent, fact.kind, fact.at, fact)
            return
        agent.facts.append(fact)
        if fact.kind == kinds.BEGUN:
            agent.name = str(mapping(fact.value).get("agent_id") or agent.name)
            agent.settled, agent.ended = "", None
        elif fact.kind in ("agent.completed", "agent.failed"):
            agent.settled, agent.ended = fact.kind.removeprefix("agent."), fact.at

    def agent(self, path: str, at: float) -> Entry:
        """What an agent did: inside the call that asked it, at the top for the first, below that for whoever has the
        task after it."""
        found = self._agents.get(path) or self._entries.get(path)
        if found is None:
            place = _DELEGATE.match(path)
            call = self._entries.get(place["call"]) if place is not None else None
            if not self._agents:
                found = self.root
                found.key = path
            else:
                found = Entry(path, "agent", at, path.rpartition("/")[2].partition("#")[0])
                (call or self.root).inside.append(found)
            self._agents[path] = found
        return found

    def _around(self, key: str) -> Entry:
        """The agent of which something is said."""
        found = [path for path in self._agents if key.startswith(f"{path}/") or key == path]
        return self._agents[max(found, key=len)] if found else self.root

    def _say(self, around: Entry, kind: str, at: float, fact: StepNoted | None = None) -> Entry:
        self._said += 1
        entry = Entry(f"{around.key}!{self._said}", "said", at, kind)
        if fact is not None:
            entry.facts.append(fact)
            entry.ended = at
        around.inside.append(entry)
        return entry

    def _turn(self, entry: Entry, fact: StepNoted) -> None:
        value = mapping(fact.value)
        entry.model = str(value.get("model") or entry.model)
        entry.mode = str(value.get("mode") or entry.mode)
        entry.uncertain_nano += _number(value, "uncertain_nano")
        if fact.kind in kinds.REQUESTS:
            entry.began, entry.settled = True, ""
            if not entry.failures:
                entry.started = fact.at
            return
        entry.began, entry.ended = False, fact.at
        if fact.kind.endswith(".failed"):
            entry.failures += 1
            return
        entry.settled = "completed"
        entry.cost_nano += _number(value, "cost_nano")
        entry.tokens += _number(value, "tokens")

    def _call(self, entry: Entry, fact: StepNoted) -> None:
        value = mapping(fact.value)
        entry.name = str(value.get("tool") or entry.name)
        if fact.kind == kinds.CALLED:
            if not entry.began:
                entry.started = fact.at
            entry.began = True
        elif fact.kind in SETTLED:
            refused = mapping(value.get("error")).get("code") == "APPROVAL_REJECTED"
            entry.settled = "rejected" if refused else SETTLED[fact.kind]
            entry.ended = fact.at


class Works:
    """All that the agents of a step have done, told fact by fact, and folded when it is looked at."""

    __slots__ = ("_facts", "_folded", "_found")

    def __init__(self) -> None:
        self._facts: list[AnyFact] = []
        self._folded = 0
        self._found: list[AgentWork] = []

    def add(self, fact: AnyFact) -> None:
        """One more fact about the step."""
        self._facts.append(fact)

    def found(self) -> list[AgentWork]:
        """The pieces of work, the last one first begun last."""
        facts, found = self._facts, self._found
        for fact in facts[self._folded :]:
            fresh = isinstance(fact, StepNoted) and fact.kind == kinds.BEGUN and mapping(fact.value).get("fresh")
            if fresh or not found:
                attempt = fact.attempt if isinstance(fact, StepNoted) else 1
                found.append(AgentWork(len(found), attempt, fact.at))
            found[-1].apply(fact)
        self._folded = len(facts)
        return found


def is_told(fact: AnyFact) -> bool:
    """Whether a fact says something about the work of agents. Messages to and from people, channels and child runs are
    told by what they are about: the approval, the call."""
    if isinstance(fact, StepNoted):
        elsewhere = fact.kind == "communication" and mapping(fact.value).get("channel", "run") != "run"
        return fact.kind in TOLD and not elsewhere
    return isinstance(fact, (ApprovalRequested, StepWaiting)) and bool(fact.call)


def entries(entry: Entry) -> Iterator[Entry]:
    """It and everything inside it."""
    yield entry
    for each in entry.inside:
        yield from entries(each)


def told_arguments(arguments: Any) -> str:
    """Arguments on a line: `path="shop.log" pattern="ERROR"`. Not inert."""
    given = mapping(arguments)
    if not given:
        return str(arguments)[:ARGUMENTS] if isinstance(arguments, str) else ""
    told = ""
    for name, value in given.items():
        told += f"{' ' if told else ''}{name}={' '.join(one_line_json(value)[:ARGUMENTS].split())}"
        if len(told) > ARGUMENTS:
            break
    return told[:ARGUMENTS]


def _number(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    return found if type(found) is int and found > 0 else 0
