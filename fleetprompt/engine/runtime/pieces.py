"""Answers while they are being received: shown to those who watch a run, and kept nowhere.

What has come so far of an answer is held until it is recorded, so that whoever comes late sees all of it. A slow
watcher gets fewer and larger pieces, and one that does not keep up at all begins anew with what is held: what waits for
it is bounded, and nobody waits for it.

An answer comes in pieces that mean nothing, so a secret may be cut by them: what may be the beginning of one is held
back until it is known to be none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from fleetprompt.engine.ports.live import Piece
from fleetprompt.engine.ports.model import Delta
from fleetprompt.engine.runtime.secrets import SHORTEST

MOST = 256 * 1024
"""Characters of an answer that are held; of a longer one its end."""
MOST_MARKS = 1_000
"""Pieces of different kinds or requests that wait for a watcher before it begins anew."""
Place = tuple[str, str, str, int]
"""Path of the step, key of the request, kind and number of the call."""
Whose = tuple[str, str]
"""Tenant and run: who watches for another tenant hears as little as of a run that there is not."""
Part = Callable[[str], tuple[str, str]]
"""Given a text that goes on, what can be shown of it, and what has to wait for more."""
EVERYTHING = Piece(path="", key="", kind="reset")
"""All that was told before is void."""


class Held:
    """What has come so far of one place."""

    __slots__ = ("_size", "_texts", "rest")

    def __init__(self) -> None:
        self.rest = ""
        """What is held back of it."""
        self._texts: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """More of it. What is over `MOST` is forgotten now and then, not with every piece."""
        self._texts.append(text)
        self._size += len(text)
        if self._size > 2 * MOST:
            self._texts = [self.text]
            self._size = MOST

    @property
    def text(self) -> str:
        return "".join(self._texts)[-MOST:]


class Watcher:
    """Somebody who watches a run: what has come since it was taken last."""

    __slots__ = ("_fresh", "_lost", "_open", "_size", "event")

    def __init__(self) -> None:
        self._fresh: list[tuple[Place, list[str]]] = []
        self._open: dict[Place, list[str]] = {}
        """Of `_fresh`, what more can be added to."""
        self._size = 0
        self._lost = False
        """It did not keep up."""
        self.event = asyncio.Event()

    def add(self, place: Place, text: str) -> None:
        """A piece has come."""
        texts = self._open.get(place)
        if texts is None:
            texts = self._open[place] = []
            self._fresh.append((place, texts))
        texts.append(text)
        self._size += len(text)
        self._told()

    def end(self, path: str, key: str) -> None:
        """Nothing more comes of a request."""
        self._open = {place: texts for place, texts in self._open.items() if place[:2] != (path, key)}
        self._fresh.append(((path, key, "end", 0), []))
        self._told()

    def void(self, path: str, key: str) -> None:
        """What came of a request does not count any more."""
        self._fresh = [each for each in self._fresh if each[0][:2] != (path, key)]
        self._open = {place: texts for place, texts in self._open.items() if place[:2] != (path, key)}
        self._fresh.append(((path, key, "reset", 0), []))
        self._told()

    def _told(self) -> None:
        if self._lost or self._size > MOST or len(self._fresh) > MOST_MARKS:
            self._lost = True
            self._forget()
        self.event.set()

    def _forget(self) -> None:
        self._fresh, self._open, self._size = [], {}, 0

    def take(self, held: Mapping[Place, Held]) -> list[Piece]:
        """Everything new, what belongs together in one piece; everything that is held for one that did not keep up."""
        if self._lost:
            found = [EVERYTHING, *(_piece(place, each.text) for place, each in held.items())]
        else:
            found = [_piece(place, "".join(texts)) for place, texts in self._fresh]
        self._lost = False
        self._forget()
        self.event.clear()
        return found


def _piece(place: Place, text: str) -> Piece:
    path, key, kind, call = place
    return Piece(path=path, key=key, kind=kind, call=call, text=text)


class Pieces:
    """What is being received, by tenant and run."""

    def __init__(self, part: Part = lambda text: (text, "")) -> None:
        self._part = part
        self._held: dict[Whose, dict[Place, Held]] = {}
        self._watchers: dict[Whose, set[Watcher]] = {}
        self._closed = False

    def close(self) -> None:
        """Nothing more comes: whoever watches is told so."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.event.set()

    def put(self, run: str, path: str, key: str, delta: Delta, tenant: str = "default") -> None:
        """A piece has come. `reset`: what came before of that request is void."""
        whose = (tenant, run)
        if delta.kind == "reset":
            if self._drop(whose, path, key):
                for watcher in self._watchers.get(whose, ()):
                    watcher.void(path, key)
            return
        place = (path, key, delta.kind, delta.call)
        held = self._held.setdefault(whose, {})
        kept = held.get(place)
        if kept is None:
            kept = held[place] = Held()
        for other, each in held.items():
            if each.rest and len(each.rest) < SHORTEST and other[:2] == place[:2] and other != place:
                # The answer goes on with something else, and no secret is as short as that.
                self._say(whose, other, each, each.rest, "")
        self._say(whose, place, kept, *self._part(kept.rest + delta.text))

    def _say(self, whose: Whose, place: Place, kept: Held, text: str, rest: str) -> None:
        kept.rest = rest
        if text or not rest:
            kept.add(text)
            for watcher in self._watchers.get(whose, ()):
                watcher.add(place, text)

    def done(self, run: str, path: str, key: str, tenant: str = "default") -> None:
        """It is recorded, or came to nothing: nobody needs the pieces any more, nor what was held back of them."""
        whose = (tenant, run)
        if self._drop(whose, path, key):
            for watcher in self._watchers.get(whose, ()):
                watcher.end(path, key)

    def _drop(self, whose: Whose, path: str, key: str) -> bool:
        """Forget what is held of a request; whether there was anything."""
        held = self._held.get(whose)
        if held is None:
            return False
        places = [place for place in held if place[:2] == (path, key)]
        for place in places:
            del held[place]
        if not held:
            del self._held[whose]
        return bool(places)

    async def watch(self, run: str, seconds: float, tenant: str = "default") -> AsyncGenerator[Sequence[Piece]]:
        """What comes, at most once in so many seconds, until it is closed; at first everything that has come so far."""
        whose = (tenant, run)
        watcher = Watcher()
        for place, held in self._held.get(whose, {}).items():
            watcher.add(place, held.text)
        self._watchers.setdefault(whose, set()).add(watcher)
        now = asyncio.get_running_loop().time
        try:
            while True:
                await watcher.event.wait()
                if self._closed:
                    return
                due = now() + seconds
                yield watcher.take(self._held.get(whose, {}))
                await asyncio.sleep(max(0.0, due - now()))
        finally:
            watchers = self._watchers.get(whose)
            if watchers is not None:
                watchers.discard(watcher)
                if not watchers:
                    del self._watchers[whose]
