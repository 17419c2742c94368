"""What `fleet.toml` says about signals: `[signals."<types>"]`, what is checked and changed as they come in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from fleetprompt.engine.core.signal import MAX_PATTERN, PATTERN

_PATTERN: Final = re.compile(PATTERN)
_RATE: Final = re.compile(r"([1-9]\d{0,8})/([smhd])")
_POINTER: Final = re.compile(r"(/([^~/]|~[01])+)+")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Text: TypeAlias = Annotated[str, Meta(description='text in quotes, such as "schemas/deploy.json"')]
RateText: TypeAlias = Annotated[str, Meta(description='a rate, such as "100/s"')]
Pointers: TypeAlias = Annotated[list[str], Meta(description='a list of JSON pointers, such as ["/card"]')]


class SignalRule(Struct, frozen=True, kw_only=True):
    """What holds for signals whose type matches."""

    schema: Text = ""
    """File of the JSON Schema that their data fits, from the project's folder."""
    rate: RateText = ""
    """How many a source may send of each type: `100/s`, `10/m`, `500/h`, `1000/d`. As many may come at once."""
    redact: Pointers = []
    """JSON pointers of what is masked in their data before anything is stored; `*` is every member or item."""


class Rate(Struct, frozen=True):
    """So many in so many seconds."""

    amount: int
    seconds: float


def read_rate(text: str) -> Rate:
    """A rate as it is written. Raises `ValueError`."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is not a rate")
    return Rate(int(found[1]), _SECONDS[found[2]])


def signal_faults(rules: Mapping[str, SignalRule]) -> Iterator[tuple[list[str], str, str]]:
    """What each value alone does not show: the keys that lead to it, what is wrong, what to do."""
    for pattern, rule in rules.items():
        if len(pattern) > MAX_PATTERN or not _PATTERN.fullmatch(pattern):
            yield [pattern], f"`{pattern}` matches no type of signals", "words and dots, such as deploy.* or deploy.**"
        if rule.rate and not _RATE.fullmatch(rule.rate):
            yield [pattern, "rate"], f"`{rule.rate}` is not a rate", "such as 100/s, 10/m, 500/h or 1000/d"
        for pointer in rule.redact:
            if not _POINTER.fullmatch(pointer):
                yield [pattern, "redact"], f"`{pointer}` is not a JSON pointer", "such as /card or /items/*/card"
