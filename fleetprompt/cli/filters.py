"""Filters on the command line: words joined to one filter, and runs picked by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetprompt.engine.core.errors import InvalidInput
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


async def picked(console: Console, words: Sequence[str]) -> list[RunHead]:
    """The run, or the runs, that somebody wants to act on. Raises `NotFound`, `InvalidInput`."""
    if is_filter(words):
        return await pages(console, joined(words), MOST)
    return [await console.run(await console.find(words[0]))]
