"""What models are just saying in a run: kept until it is recorded, and dropped where it is said anew. PURE."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from fleetprompt.client.wording import sign
from fleetprompt.engine.core.evolve_work import REPLIES
from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.live import Piece
from fleetprompt.tui.state.lines import Part

LONGEST = 4_000
"""Characters of a text that are kept: its end is what is being said."""
ANSWERED = 256
"""Requests whose answers are recorded that are remembered, in case what was said comes later."""
Place = tuple[str, str]
"""Path of the step and key of the request."""


class Words:
    """What has come of one answer: texts by kind and number of the call, in the order in which they began."""

    __slots__ = ("ended", "texts")

    def __init__(self) -> None:
        self.texts: dict[tuple[str, int], str] = {}
        self.ended = False
        """Nothing more comes of it; its fact does."""

    def add(self, piece: Piece) -> None:
        """More of it."""
        kind = (piece.kind, piece.call)
        self.texts[kind] = (self.texts.get(kind, "") + piece.text)[-LONGEST:]


class Speech:
    """Everything that is being said in a run."""

    def __init__(self) -> None:
        self.version = 0
        """Rises when something else is being said."""
        self._words: OrderedDict[Place, Words] = OrderedDict()
        """What was said last stands last."""
        self._answered: OrderedDict[Place, None] = OrderedDict()

    def apply(self, pieces: Iterable[Piece]) -> None:
        """Take up what was said, in its order."""
        for piece in pieces:
            self._apply(piece)
            self.version += 1

    def _apply(self, piece: Piece) -> None:
        place = (piece.path, piece.key)
        match piece.kind:
            case "reset" if not piece.path:
                self._words.clear()
            case "reset":
                self._words.pop(place, None)
                self._answered.pop(place, None)
            case "end":
                self._settle(place)
            case _:
                self._words.setdefault(place, Words()).add(piece)
                self._words.move_to_end(place)

    def _settle(self, place: Place) -> None:
        if place in self._answered:
            self._words.pop(place, None)
        elif place in self._words:
            self._words[place].ended = True

    def note(self, fact: AnyFact) -> None:
        """A fact was recorded: an answer that has ended is there as a whole."""
        if not isinstance(fact, StepNoted) or fact.kind not in REPLIES:
            return
        place = (fact.path, fact.key)
        words = self._words.get(place)
        if words is not None and words.ended:
            del self._words[place]
            self.version += 1
            return
        self._answered[place] = None
        self._answered.move_to_end(place)
        if len(self._answered) > ANSWERED:
            self._answered.popitem(last=False)

    def forget(self) -> None:
        """Nobody listens any more."""
        if self._words:
            self.version += 1
        self._words.clear()

    def latest(self) -> Words | None:
        """What was said last, wherever in the run."""
        return next(reversed(self._words.values()), None)

    def of(self, path: str, key: str = "") -> tuple[str, Words] | None:
        """What is said in a step, or in everything below a key in it: the latest, with its own key."""
        for (where, place), words in reversed(self._words.items()):
            if where == path and (not key or place == key or place.startswith(f"{key}/")):
                return place, words
        return None


def told(key: str) -> str:
    """Who says it, for people: `sre, turn 3`."""
    agent, found, turn = key.rpartition("/llm/")
    if not found:
        return "at work"
    return f"{agent.rpartition('/')[2].partition('#')[0]}, turn {int(turn) + 1 if turn.isdecimal() else turn}"


def lines(words: Words) -> Sequence[tuple[Part, ...]]:
    """What is said, line by line and inert: what is done before, what is thought, then the text, then the calls."""
    found: list[tuple[Part, ...]] = []
    names: dict[int, str] = {}
    for kind, style in (("status", "dim"), ("reasoning", "comment"), ("text", "")):
        text = words.texts.get((kind, 0), "")
        found += [((inert(line), style),) for line in text.splitlines()]
    for (kind, call), text in words.texts.items():
        if kind == "tool_name":
            names[call] = text
    for (kind, call), text in words.texts.items():
        if kind == "tool_args":
            name = names.pop(call, "")
            found.append(((f"{sign('→')} ", "dim"), (inert(name), "accent"), (f" {inert(text)}", "dim")))
    found += [((f"{sign('→')} ", "dim"), (inert(name), "accent")) for name in names.values()]
    return found
