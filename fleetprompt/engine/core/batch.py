"""Facts on their way to the journal: spilled where they are large, encoded once, folded into the run.

A run never sees a fact in another form than the one that is stored, so folding the journal gives the same run.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from math import inf
from typing import Any

import msgspec
from msgspec.structs import replace

from fleetprompt.engine.core.advance import advance
from fleetprompt.engine.core.codec import canonical, encode, mapping
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.core.expr_json import weigh
from fleetprompt.engine.core.expr_values import Refusal
from fleetprompt.engine.core.facts import AnyFact, Blob
from fleetprompt.engine.core.names import HYDRATE_BYTES
from fleetprompt.engine.core.run import evolve
from fleetprompt.engine.core.state import Run

SPILL_BYTES = 64 * 1024
"""A fact whose JSON is larger has its value moved to a blob."""
CACHE_BYTES = 16 * HYDRATE_BYTES
"""How much of the loaded values a run keeps between decisions."""
HEAD_BYTES = 16 * 1024
"""How much of a value that is too large to be loaded stays readable, about."""
_FIELDS = ("output", "input", "items", "inputs", "value")


class Batch:
    """What one append will hold."""

    __slots__ = ("blobs", "encoded", "facts", "needs")

    def __init__(self) -> None:
        self.facts: list[AnyFact] = []
        self.encoded: list[bytes] = []
        self.blobs: list[tuple[str, bytes]] = []
        self.needs = ""
        """Digest of a blob that must be loaded before more can be decided."""

    def add(self, run: Run, facts: Iterable[AnyFact]) -> None:
        """Take facts up and fold them into the run."""
        for fact in facts:
            data = encode(fact)
            if len(data) > SPILL_BYTES:
                fact, data = self._spill(run, fact, data)
            self.facts.append(fact)
            self.encoded.append(data)
            evolve(run, fact)

    def settle(self, run: Run, now: float, limit: int = 1000, *, heard: float = inf) -> None:
        """Decide until nothing is left to decide, a large value is needed, or about `limit` facts are there.

        `heard`: up to when the run has been told what was recorded, see `advance`.
        """
        self.needs = ""
        try:
            while len(self.facts) < limit:
                facts = advance(run, now, heard)
                if not facts:
                    break
                self.add(run, facts)
        except NeedsValue as needs:
            self.needs = needs.digest
            return
        _forget(run)

    def _spill(self, run: Run, fact: AnyFact, data: bytes) -> tuple[AnyFact, bytes]:
        for field in _FIELDS:
            value: Any = getattr(fact, field, None)
            if value is None or not hasattr(fact, "blob"):
                continue
            blob = self.keep(run, value)
            if blob is None:
                continue
            keeps = field == "value" or (field == "output" and blob.size > HYDRATE_BYTES)
            head = _head(value) if keeps else None
            fact = replace(fact, **{field: head, "blob": blob})
            return fact, encode(fact)
        return fact, data

    def keep(self, run: Run, value: Any) -> Blob | None:
        """Make a blob of a value; None when it is too small to be worth it."""
        content = canonical(value)
        if len(content) <= SPILL_BYTES // 2:
            return None
        blob = Blob(sha256(content).hexdigest(), len(content))
        # Its name is that of the canonical bytes; what is kept, and read by people, has the author's order.
        self.blobs.append((blob.digest, msgspec.json.encode(value)))
        remember(run, blob.digest, value, len(content))
        return blob


def _head(value: Any) -> dict[str, Any] | None:
    """The small members of a mapping that is too large to be loaded: of a large answer, its status and headers."""
    head: dict[str, Any] = {}
    left = HEAD_BYTES
    for key, item in mapping(value).items():
        try:
            left -= len(key) + weigh(item, left - len(key))
        except Refusal:
            continue
        head[key] = item
    return head or None


def remember(run: Run, digest: str, value: Any, size: int) -> None:
    """Keep a loaded value for expressions until what needs it is decided: one decision may need many."""
    if size <= HYDRATE_BYTES:
        run.blobs[digest] = value


def _forget(run: Run) -> None:
    """Drop the oldest of the loaded values; they can be loaded again."""
    while len(run.blobs) > CACHE_BYTES // HYDRATE_BYTES:
        run.blobs.pop(next(iter(run.blobs)))
