"""The door to the world of a check: it looks, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports.budget import Allowance
from fleetprompt.engine.ports.work import Decision, Note, NoteValue, Question
from fleetprompt.engine.runtime.work import WorkContext


class CheckContext(WorkContext):
    """What a step type that records its work sees while it finds out what became of another's, whose notes are not its
    own. It is made again after a crash, so nothing has to be recorded; it spends nothing, and waits for nobody."""

    __slots__ = ()

    @property
    def allowances(self) -> Sequence[Allowance]:
        return ()

    @property
    def decisions(self) -> Mapping[str, Decision]:
        return {}

    async def notes(self) -> list[Note]:
        """None."""
        return []

    async def record(self, *notes: NoteValue, reserves: Collection[str] = ()) -> Sequence[NoteValue]:
        """The notes as they would have been recorded."""
        del reserves
        return [(kind, key, self._engine.secrets.redact_value(value)) for kind, key, value in notes]

    async def ask(self, questions: Sequence[Question]) -> NoReturn:
        """Raises `Refused`."""
        raise Refused(f"a check waits for nobody, and this has to be asked: {questions[0].message}")

    async def wait_for_child(self, call: str, workflow: str, timeout: float | None) -> NoReturn:
        """Raises `Refused`."""
        raise Refused(f"a check waits for no run, and this starts {workflow}")

    async def start_child(self, call: str, workflow: str) -> str:
        """Raises `Refused`."""
        raise Refused(f"a check starts no run, and this starts {workflow}")

    async def wait_until(self, at: float) -> NoReturn:
        """Raises `Refused`."""
        raise Refused("a check does not wait")

    async def doubt(self, call: str, reason: str) -> NoReturn:
        """Raises `Refused`."""
        raise Refused(f"the check came to nothing: {reason}")

    async def go_on(self) -> None:
        """At once, also while the run is paused: it changes nothing."""
