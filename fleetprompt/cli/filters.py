"""Filters on the command line: words joined to one filter, and runs picked by it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import tzinfo
from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.ports import Page, RunHead

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console

BATCH = 500
MOST = 100_000
"""Runs that one command may touch."""
_MARKS = (":", "<", ">", "=", "/", '"')


def joined(words: Sequence[str] | None) -> str:
    """The filter in these words. Raises `InvalidInput` for what looks like an option that does not exist."""
    for word in words or ():
        if word.startswith("--") or word == "-h":
            raise InvalidInput(f"no such option: {word}", hint="--help shows them; quote a filter: 'status:failed'")
    return " ".join(words or ())


def is_filter(words: Sequence[str]) -> bool:
    """Whether these words are a filter and not the id of one run."""
    return len(words) != 1 or words[0].startswith(("-", "!")) or any(mark in words[0] for mark in _MARKS)


def begin(text: str, now: float, zone: tzinfo) -> float:
    """The time that a text such as `24h` or `today` means. Raises `InvalidInput`."""
    from fleetprompt.engine.core.query_fields import RUN_FIELDS
    from fleetprompt.engine.core.query_values import read_moment, span

    field = RUN_FIELDS.find("since")
    assert field is not None
    try:
        return span(read_moment(field, text), now, zone)[0]
    except ValueError as error:
        raise InvalidInput(str(error)) from None


async def pages(console: Console, filter_: str, most: int, *, oldest_first: bool = False) -> list[RunHead]:
    """The matching runs, at most so many."""
    found: list[RunHead] = []
    cursor = ""
    while len(found) < most:
        page = Page(limit=min(BATCH, most - len(found)), cursor=cursor, oldest_first=oldest_first)
        heads, cursor = await console.runs(filter_, page)
        found += heads
        if not cursor or not heads:
            break
    return found


async def picked(console: Console, words: Sequence[str]) -> tuple[list[RunHead], bool]:
    """The runs to act on, and whether a filter has picked them. Raises `NotFound`, `InvalidInput`."""
    if not is_filter(words):
        return [await console.run(await console.find(words[0]))], False
    if named := await _named(console, words):
        return named, False
    return await pages(console, joined(words), MOST), True


async def _named(console: Console, words: Sequence[str]) -> list[RunHead]:
    """The runs, where each of several words means one; none where the words are a filter."""
    if any(is_filter([word]) for word in words):
        return []
    with suppress(NotFound):
        ids = dict.fromkeys([await console.find(word) for word in words])
        return [await console.run(id_) for id_ in ids]
    return []
