"""What models say in an execution, as one listener is told it: the answer to each request once, and whole. PURE.

Pieces come at most so often, and some may be missing; the fact that records an answer waits for none of them. So what
is left of an answer is told when its fact comes, and no piece of it after that.
"""

from __future__ import annotations

from collections.abc import Iterable

from fleetprompt.daemon.events import Told, deltas
from fleetprompt.daemon.step_ids import Ids
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.evolve_work import REQUESTED
from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.core.spending import COMPLETED
from fleetprompt.engine.ports import Piece

WORDS = frozenset({"delta", "progress"})
"""Events that tell of them."""
Request = tuple[str, str]
"""Path of the step, and key of the request."""


class Words:
    """What one listener was told of the words of one execution."""

    def __init__(self, run: str, ids: Ids, wanted: frozenset[str]) -> None:
        """`wanted`: names of events, all where it is empty."""
        self._run = run
        self._ids = ids
        self._wanted = wanted
        self._said: dict[Request, str] = {}
        """Answers so far."""
        self._over: set[Request] = set()
        """Requests whose answers were told whole."""
        self._ended: set[Request] = set()
        """Requests of which no more pieces come, and whose fact has not come."""

    def said(self, pieces: Iterable[Piece]) -> bytes:
        """The events of some pieces."""
        return self._wire([piece for piece in pieces if self._counts(piece)])

    def _counts(self, piece: Piece) -> bool:
        request = piece.path, piece.key
        if request == ("", ""):
            self._said.clear()
            return True
        if piece.kind == "end":
            if request in self._over:
                self._forget(request)
            else:
                self._ended.add(request)
            return False
        if request in self._over:
            return False
        if piece.kind == "reset":
            self._said.pop(request, None)
        elif piece.kind == "text":
            self._said[request] = self._said.get(request, "") + piece.text
        return True

    def recorded(self, facts: Iterable[AnyFact]) -> bytes:
        """The events that have to come before facts of the execution: what is left of the answers that they record."""
        left: list[Piece] = []
        for fact in facts:
            if not isinstance(fact, StepNoted):
                continue
            request = fact.path, fact.key
            if fact.kind == REQUESTED:
                self._forget(request)
            elif fact.kind in COMPLETED:
                left += self._rest(request, str(mapping(fact.value).get("text") or ""))
        return self._wire(left)

    def _rest(self, request: Request, text: str) -> Iterable[Piece]:
        said = self._said.get(request, "")
        if text.startswith(said) and len(text) > len(said):
            yield Piece(path=request[0], key=request[1], kind="text", text=text[len(said) :])
        ended = request in self._ended
        self._forget(request)
        if not ended:
            self._over.add(request)

    def _forget(self, request: Request) -> None:
        self._said.pop(request, None)
        self._over.discard(request)
        self._ended.discard(request)

    def _wire(self, pieces: Iterable[Piece]) -> bytes:
        told: Iterable[Told] = deltas(self._run, pieces, self._ids)
        return b"".join(each.wire for each in told if not self._wanted or each.event in self._wanted)
