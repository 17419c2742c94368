"""Consoles of tests, reached over HTTP: a daemon serves the engine, and all is asked of it from without."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.guarded import RULES, guarded
from fleetprompt.client.http.address import address_of
from fleetprompt.client.http.console import RemoteConsole, connect
from fleetprompt.client.opening import Place
from fleetprompt.daemon.access import Rules
from fleetprompt.daemon.daemon import daemon
from fleetprompt.daemon.serving import Address

asked = False
"""Whether tests ask over HTTP: see `conftest.py`."""
_served: dict[Path, str] = {}


class Far:
    """A console behind HTTP, and for whatever is not of the protocol the one that holds the store."""

    def __init__(self, near: EmbeddedConsole | AttachedConsole, remote: RemoteConsole, *more: AsyncExitStack) -> None:
        self.near = near
        self.remote = remote
        self._more = more

    def __getattr__(self, name: str) -> Any:
        return getattr(self.remote if name in RULES else self.near, name)

    async def close(self) -> None:
        await self.remote.close()
        for each in self._more:
            await each.aclose()
        await self.near.close()


def url(place: Place) -> str:
    """Of the daemon that serves a place; empty where there is none."""
    return _served.get(place.root, "")


async def serve(console: EmbeddedConsole, place: Place) -> Far:
    """A daemon around an engine, and a console at the other end of HTTP."""
    stack = AsyncExitStack()
    ready = asyncio.Event()
    over = asyncio.Event()
    found: list[str] = []

    async def no_token(token: str) -> None:
        return None

    async def run() -> None:
        # In a task of its own: what it opens has to be closed by whoever has opened it.
        async with daemon(
            console,
            place.root,
            place.root / "no-workflows",
            Address(port=0),
            Rules(operator="ana"),
            console_for=lambda identity: guarded(console, identity),
            authenticate=no_token,
            has_tokens=lambda: asyncio.sleep(0, False),
            counts=lambda id_: asyncio.sleep(0, False),
            told=lambda files: None,
        ) as served:
            found.append(served.url)
            ready.set()
            await over.wait()

    task = asyncio.create_task(run())
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        await task
    _served[place.root] = found[0]

    async def end() -> None:
        _served.pop(place.root, None)
        over.set()
        await task

    stack.push_async_callback(end)
    return Far(console, await connect(address_of(found[0])), stack)
