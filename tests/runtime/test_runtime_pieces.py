"""Answers while they are being received: who comes late, who is slow, what is void and what is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from fleetprompt.engine.ports.live import Piece
from fleetprompt.engine.ports.model import Delta
from fleetprompt.engine.runtime import pieces as module
from fleetprompt.engine.runtime.pieces import Pieces
from fleetprompt.engine.runtime.secrets import Secrets

KEY = "sre/llm/0"


class Ear:
    """One who watches a run, and takes what there is when it is told to."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self._next: asyncio.Future[Sequence[Piece]] | None = None

    async def listen(self) -> None:
        """Begin to watch."""
        self._next = asyncio.ensure_future(anext(self._batches))
        await asyncio.sleep(0)

    async def hear(self) -> list[tuple[str, ...]]:
        """What came: kind and text, with the key where it is another one."""
        if self._next is None:
            await self.listen()
        assert self._next is not None
        async with asyncio.timeout(60):
            found = await self._next
        self._next = None
        return [(each.kind, each.text, *([each.key] if each.key != KEY else [])) for each in found]

    async def deaf(self) -> bool:
        """Whether there is nothing to be heard."""
        if self._next is None:
            await self.listen()
        for _ in range(5):
            await asyncio.sleep(0)
        assert self._next is not None
        return not self._next.done()


@asynccontextmanager
async def ear(pieces: Pieces, run: str = "r1") -> AsyncIterator[Ear]:
    async with aclosing(pieces.watch(run, 0.0)) as batches:
        made = Ear(batches)
        await made.listen()
        yield made
        if made._next is not None:
            made._next.cancel()
            await asyncio.gather(made._next, return_exceptions=True)


def say(pieces: Pieces, text: str, kind: Any = "text", key: str = KEY, call: int = 0) -> None:
    pieces.put("r1", "ask", key, Delta(kind, text, call))


async def test_who_comes_late_hears_all_so_far_and_then_what_comes() -> None:
    pieces = Pieces()
    say(pieces, "The pool ")
    say(pieces, "hm", "reasoning")
    say(pieces, "is ")
    async with ear(pieces) as late:
        assert await late.hear() == [("text", "The pool is "), ("reasoning", "hm")]
        assert await late.deaf()
        say(pieces, "em")
        say(pieces, "pty")
        assert await late.hear() == [("text", "empty")]
        async with ear(pieces) as later, ear(pieces, "r2") as other:
            assert await later.hear() == [("text", "The pool is empty"), ("reasoning", "hm")]
            assert await other.deaf()


async def test_an_answer_that_is_whole_ends_and_is_held_no_longer() -> None:
    pieces = Pieces()
    async with ear(pieces) as one:
        say(pieces, "yes")
        pieces.done("r1", "ask", KEY)
        say(pieces, "and", key="sre/llm/1")
        assert await one.hear() == [("text", "yes"), ("end", ""), ("text", "and", "sre/llm/1")]
        pieces.done("r1", "ask", KEY)
        assert await one.deaf()
    async with ear(pieces) as late:
        assert await late.hear() == [("text", "and", "sre/llm/1")]


async def test_another_attempt_voids_what_came_of_the_last_one() -> None:
    pieces = Pieces()
    async with ear(pieces) as quick, ear(pieces) as slow:
        say(pieces, "", "reset")
        assert await quick.deaf()
        say(pieces, "", key="first/llm/0")
        assert await slow.hear() == await quick.hear() == [("text", "", "first/llm/0")]
        say(pieces, "The pi")
        say(pieces, "else", key="other/llm/0")
        assert await quick.hear() == [("text", "The pi"), ("text", "else", "other/llm/0")]
        say(pieces, "", "reset")
        say(pieces, "The pool")
        assert await quick.hear() == [("reset", ""), ("text", "The pool")]
        assert await slow.hear() == [("text", "else", "other/llm/0"), ("reset", ""), ("text", "The pool")]
    async with ear(pieces) as late:
        assert await late.hear() == [("text", "", "first/llm/0"), ("text", "else", "other/llm/0"), ("text", "The pool")]


async def test_the_end_of_one_attempt_stands_before_what_comes_of_the_next() -> None:
    pieces = Pieces()
    async with ear(pieces) as one:
        say(pieces, "a")
        pieces.done("r1", "ask", KEY)
        say(pieces, "", "reset")
        say(pieces, "b")
        assert await one.hear() == [("text", "a"), ("end", ""), ("text", "b")]


async def test_the_parts_of_several_calls_are_told_apart() -> None:
    pieces = Pieces()
    async with ear(pieces) as one:
        say(pieces, "fs_read", "tool_name", call=0)
        say(pieces, '{"a"', "tool_args", call=0)
        say(pieces, '{"b"', "tool_args", call=1)
        say(pieces, ":1}", "tool_args", call=0)
        assert await one.hear() == [("tool_name", "fs_read"), ("tool_args", '{"a":1}'), ("tool_args", '{"b"')]


async def test_who_does_not_keep_up_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 100)
    pieces = Pieces()
    async with ear(pieces) as quick, ear(pieces) as stuck:
        say(pieces, "first ")
        assert await stuck.hear() == await quick.hear() == [("text", "first ")]
        for i in range(1000):
            say(pieces, f"{i:04} ")
        assert await quick.hear() == [("reset", "", ""), ("text", "".join(f"{i:04} " for i in range(980, 1000)))]
        watchers = pieces._watchers["default", "r1"]
        assert all(len(watcher._fresh) == 0 for watcher in watchers)
        say(pieces, "x")
        assert await quick.hear() == [("text", "x")]
        reset, rest = await stuck.hear()
        assert (reset, rest[1][-7:], len(rest[1])) == (("reset", "", ""), " 0999 x", 100)


async def test_many_answers_that_nobody_takes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MARKS", 10)
    pieces = Pieces()
    async with ear(pieces) as stuck:
        say(pieces, "first")
        await stuck.hear()
        pieces.done("r1", "ask", KEY)
        for i in range(100):
            say(pieces, "x", key=f"sre/llm/{i}")
            pieces.done("r1", "ask", f"sre/llm/{i}")
        assert await stuck.hear() == [("reset", "", "")]


async def test_of_a_long_answer_its_end_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    pieces = Pieces()
    for i in range(100):
        say(pieces, f"{i:02}")
    async with ear(pieces) as late:
        assert await late.hear() == [("text", "9596979899")]


async def test_nothing_is_left_of_who_has_gone() -> None:
    pieces = Pieces()
    async with ear(pieces):
        say(pieces, "x")
    pieces.done("r1", "ask", KEY)
    assert (pieces._held, pieces._watchers) == ({}, {})


async def test_whoever_watches_is_told_that_nothing_more_comes() -> None:
    pieces = Pieces()
    async with aclosing(pieces.watch("r1", 0.0)) as batches:
        made = Ear(batches)
        await made.listen()
        pieces.close()
        with pytest.raises(StopAsyncIteration):
            await made.hear()


async def test_a_secret_that_is_cut_by_pieces_is_not_shown() -> None:
    secrets = Secrets()
    secrets.learn("hunter2-hunter2")
    pieces = Pieces(secrets.redact_part)
    async with ear(pieces) as heard:
        for word in ("it is hun", "ter2-", "hunter2 and hunt"):
            pieces.put("r1", "a", KEY, Delta("text", word))
        assert await heard.hear() == [("text", "it is ••• and ")]
        pieces.put("r1", "a", KEY, Delta("text", "ing h"))
        pieces.put("r1", "a", KEY, Delta("tool_name", "fs_read"))
        assert await heard.hear() == [("text", "hunting h"), ("tool_name", "fs_read")]
        pieces.put("r1", "a", KEY, Delta("text", "hunter2-hu"))
        pieces.put("r1", "a", KEY, Delta("reset"))
        pieces.put("r1", "a", KEY, Delta("text", "nter2 once more"))
        assert await heard.hear() == [("reset", ""), ("text", "nter2 once more")]
