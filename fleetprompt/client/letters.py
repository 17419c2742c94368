"""What a face asks about deliveries and dead letters: which there are, to have them done again, and to let them be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from fleetprompt.client.protocol import Published
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.delivery import Delivery
from fleetprompt.engine.core.errors import NotFound, Refused
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import DEAD_LETTER_FIELDS, DELIVERY_FIELDS
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Clock, Page, Store

PREFIX = "dl-"
"""How the ids of dead letters begin."""


class Letters(ABC):
    """The part of a console that looks after dead letters."""

    store: Store
    clock: Clock
    tenant: str

    @abstractmethod
    async def replay(self, id_: str, *, by: str, only: str = "", key: str = "", deliver: bool = False) -> Published: ...
    @abstractmethod
    def _signal(self, type_: str, subject: str, data: dict[str, Any], by: str, key: str = "") -> Signal: ...
    @abstractmethod
    async def _send(self, signal: Signal) -> Result: ...

    async def dead_letters(self, filter_: str, page: Page) -> tuple[list[DeadLetter], str]:
        """Matching letters, those that failed first last, and the next cursor."""
        query = parse(filter_, DEAD_LETTER_FIELDS)
        return await self.store.dead_letters.list(query, page, now=self.clock.now(), tenant=self.tenant)

    async def dead_letter_ids(self, filter_: str) -> list[str]:
        """The ids of all matching letters."""
        query = parse(filter_, DEAD_LETTER_FIELDS)
        return await self.store.dead_letters.ids(query, now=self.clock.now(), tenant=self.tenant)

    async def dead_letter(self, id_: str) -> DeadLetter:
        """One letter."""
        found = await self.store.dead_letters.get(id_, self.tenant)
        if found is None:
            raise NotFound(f"there is no dead letter {inert(id_[:80])}", hint="`fleet signals dead` lists them")
        return found

    async def letters_of(self, signals: Sequence[str]) -> list[DeadLetter]:
        """The letters about these signals, whatever became of them."""
        return await self.store.dead_letters.of_signals(signals, self.tenant)

    async def replay_letter(self, id_: str, *, by: str) -> Result:
        """Have done what a letter is about, for the place alone that missed it."""
        letter = await self.dead_letter(id_)
        if letter.status != "dead":
            hint = f"`fleet signals replay {letter.signal}` says it again to everyone who listens"
            raise Refused(f"{letter.id} was {letter.status}", hint=hint)
        if letter.kind == "subscription":
            return await self._send(self._signal(types.REDELIVER, letter.id, {"letters": [letter.id]}, by))
        only = f"{letter.target}/{letter.trigger}" if letter.trigger else letter.target
        # Nothing came of it yet, so what comes of it now is news: subscriptions hear of it. The key: once per attempt.
        key = f"replay/{letter.id}/{letter.attempts}"
        published = await self.replay(letter.signal, by=by, only=only, key=key, deliver=True)
        refused = next((each for each in published.results if each.status == "refused"), None)
        if refused is not None:
            return refused
        if not published.routed:
            return Result(published.signal.id, "accepted", reason="queued")
        again = await self.dead_letter(id_)
        if again.status == "dead":
            return Result(published.signal.id, "refused", reason=again.reason)
        return next(iter(published.results), Result(published.signal.id, "accepted"))

    async def deliveries(self, filter_: str, page: Page) -> tuple[list[Delivery], str]:
        """Matching deliveries, the newest first, and the next cursor."""
        query = parse(filter_, DELIVERY_FIELDS)
        return await self.store.deliveries.list(query, page, now=self.clock.now(), tenant=self.tenant)

    async def dismiss_letters(self, ids: Sequence[str], *, by: str) -> Result:
        """Let letters be. `data` of the result says how many were `dismissed`: those that were dead."""
        return await self._send(self._signal(types.DISMISS, "", {"letters": [*ids]}, by))
