"""The rules for signals, ready to be applied: which hold for a type, how many may come, and what is masked. PURE."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from msgspec import Struct

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.signal import type_matches
from fleetprompt.engine.core.signal_settings import Rate, SignalRule, read_rate

MASK: Final = "•••"
MAX_BUCKETS: Final = 10_000
"""Sources and types whose rate is kept in mind. Of more, those that were silent for longest are forgotten."""
MAX_TYPES: Final = 4096

Check = Callable[[Any], str]
"""What is wrong with the data of a signal; empty where nothing is."""


class Rule(Struct, frozen=True):
    """One rule, ready."""

    pattern: str
    check: Check | None = None
    rate: Rate | None = None
    redact: tuple[tuple[str, ...], ...] = ()
    """Paths, segment by segment; `*` is every member or item."""


class Rules:
    """All of them."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._by_type: dict[str, tuple[Rule, ...]] = {}

    def of(self, type_: str) -> tuple[Rule, ...]:
        """Those that hold for a type of signals: every one whose pattern matches."""
        if not self._rules:
            return ()
        found = self._by_type.get(type_)
        if found is None:
            if len(self._by_type) >= MAX_TYPES:
                self._by_type.clear()
            found = self._by_type[type_] = tuple(rule for rule in self._rules if type_matches(rule.pattern, type_))
        return found


def compiled(rules: Mapping[str, SignalRule], checks: Mapping[str, Check]) -> Rules:
    """The rules of `fleet.toml`, with the checks of those that have a schema. Raises `ValueError`."""
    return Rules(
        Rule(
            pattern,
            checks.get(pattern),
            read_rate(rule.rate) if rule.rate else None,
            tuple(_segments(pointer) for pointer in rule.redact),
        )
        for pattern, rule in rules.items()
    )


def _segments(pointer: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


class Buckets:
    """Token buckets: each holds as many as may come in its time, and is filled evenly."""

    def __init__(self, most: int = MAX_BUCKETS) -> None:
        self._most = most
        self._left: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()
        """What is left in each, and when that was so."""

    def take(self, wanted: Iterable[tuple[tuple[str, ...], Rate]], now: float) -> float:
        """Take one from each of these, or from none of them: seconds until that is possible; 0: it was."""
        found = [(key, rate, self._at(key, rate, now)) for key, rate in wanted]
        wait = max((_missing(left, rate) for _, rate, left in found), default=0.0)
        if wait > 0:
            return wait
        for key, _, left in found:
            self._left[key] = (left - 1, now)
            self._left.move_to_end(key)
        while len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0

    def _at(self, key: tuple[str, ...], rate: Rate, now: float) -> float:
        left, at = self._left.get(key, (float(rate.amount), now))
        # A clock that was set back gives nothing, and takes nothing.
        return min(float(rate.amount), left + max(0.0, now - at) * rate.amount / rate.seconds)


def _missing(left: float, rate: Rate) -> float:
    # What is computed of tenths does not add up to one.
    return 0.0 if left >= 1 - 1e-9 else (1 - left) * rate.seconds / rate.amount


def masked(value: Any, paths: Iterable[tuple[str, ...]]) -> Any:
    """A JSON value with what is at these paths masked. The value itself stays as it is."""
    for path in paths:
        value = _masked(value, path)
    return value


def _masked(value: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return MASK
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        known = mapping(value)
        names = list(known) if first == "*" else [first] if first in known else []
        return {**known, **{name: _masked(known[name], rest) for name in names}} if names else known
    if isinstance(value, list):
        return [
            _masked(item, rest) if first in ("*", str(at)) else item for at, item in enumerate(cast("list[Any]", value))
        ]
    return value
