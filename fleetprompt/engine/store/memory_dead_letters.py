"""Dead letters in the memory store."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from msgspec.structs import asdict, replace

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.query import Query
from fleetprompt.engine.core.query_match import matcher
from fleetprompt.engine.ports import Page
from fleetprompt.engine.store import paging
from fleetprompt.engine.store.memory_queries import select_page
from fleetprompt.engine.store.memory_state import State


class MemoryDeadLetters:
    """See `ports.dead_letter.DeadLetters`."""

    def __init__(self, state: State, zone: tzinfo) -> None:
        self._state = state
        self._zone = zone

    async def get(self, letter: str, tenant: str = "default") -> DeadLetter | None:
        return self._state.dead_letters.get((tenant, letter))

    async def list(
        self, query: Query, page: Page, *, now: float, tenant: str = "default"
    ) -> tuple[builtins.list[DeadLetter], str]:
        return select_page(self._of(tenant), _row, _position, query, page, now, self._zone)

    async def ids(self, query: Query, *, now: float, tenant: str = "default") -> builtins.list[str]:
        holds = matcher(query.require(), now, self._zone)
        found = [each for each in self._of(tenant) if holds(_row(each))]
        return [each.id for each in sorted(found, key=_position, reverse=True)]

    async def of_signals(self, signals: Sequence[str], tenant: str = "default") -> builtins.list[DeadLetter]:
        return sorted((each for each in self._of(tenant) if each.signal in signals), key=_position)

    async def dismiss(self, letters: Sequence[str], *, by: str, at: float, tenant: str = "default") -> int:
        known = [self._state.dead_letters.get((tenant, id_)) for id_ in letters]
        dead = {each.id: each for each in known if each is not None and each.status == "dead"}
        for each in dead.values():
            self._state.dead_letters[(tenant, each.id)] = replace(each, status="dismissed", settled_at=at, by=by)
        return len(dead)

    def _of(self, tenant: str) -> Iterable[DeadLetter]:
        return [each for each in self._state.dead_letters.values() if each.tenant == tenant]


def _row(letter: DeadLetter) -> Mapping[str, Any]:
    """A letter as the filter language sees it (`DEAD_LETTER_FIELDS`)."""
    return asdict(letter) | {"created_at": letter.at}


def _position(letter: DeadLetter) -> paging.Position:
    return letter.seq, letter.id
