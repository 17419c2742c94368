"""A console whose engine and store are elsewhere: everything is asked of a daemon, as somebody it knows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

import msgspec

from fleetprompt.client.guarded import RULES
from fleetprompt.client.http.address import Address
from fleetprompt.client.http.link import Link, OtherVersion
from fleetprompt.client.http.messages import Hello, Told
from fleetprompt.client.http.methods import Method, method
from fleetprompt.client.identity import Face, Identity
from fleetprompt.client.protocol import Console, Disconnected, Progress, Published, ReplayRange, TakenUp, Where
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.run import fold
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Change, Piece, Stored
from fleetprompt.engine.runtime.pieces import EVERYTHING


class RemoteConsole:
    """Satisfies the `Console` protocol: methods that are not written down here are asked for by their name."""

    taken_up = TakenUp()
    where: Where = "attached"
    """Also while the daemon cannot be reached: what it does meanwhile is not known here, see `lost`."""

    def __init__(self, link: Link, hello: Hello) -> None:
        self.link = link
        self.hello = hello
        """What the daemon said when it was opened."""

    @property
    def identity(self) -> Identity:
        """Who acts here, as the daemon knows them."""
        said = self.hello
        return Identity(name=said.name, role=said.role, tenant=said.tenant, via=self.face)

    @property
    def face(self) -> Face:
        return self.link.face

    @face.setter
    def face(self, face: Face) -> None:
        self.link.face = face

    @property
    def holder(self) -> str:
        return f"fleet serve at {self.link.address.shown} (pid {self.hello.pid})"

    @property
    def lost(self) -> str:
        """Why the daemon cannot be reached; empty while it can."""
        return self.link.lost

    @property
    def refused(self) -> bool:
        """It was reached, and does not let one in: for its token or its version."""
        return self.link.refused

    async def close(self) -> None:
        """Hang up. The daemon goes on."""
        await self.link.close()

    # ------------------------------------------------------------ asking

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found = method(name)
        if found is None or found.streams:
            # What goes on is written down below: each has its own way to go on after a gap.
            raise AttributeError(f"a console of elsewhere has no `{name}`")
        call = self.__dict__[name] = self._call(found)
        return call

    def _call(self, found: Method) -> Callable[..., Awaitable[Any]]:
        changes = RULES[found.name].needs != "read"

        async def call(*args: Any, **kwargs: Any) -> Any:
            answer = await self.link.ask(found.name, found.pack(args, kwargs), changes=changes)
            try:
                return found.read(answer)
            except msgspec.DecodeError as error:
                raise OtherVersion(f"the daemon's answer to `{found.name}` is not understood here: {error}") from None

        return call

    async def state(self, run: str, *, upto: int | None = None) -> Run:
        """The run as its facts make it: folded here."""
        asked = cast("Console", self)
        head = await asked.run(run)
        program = Program(await asked.plan(head.plan), head.plan)
        return fold(program, [stored.fact for stored in await asked.facts(run, upto=upto)])

    async def holds(self) -> Mapping[str, str]:
        """Runs for which the engine does nothing any more; nothing is known while the daemon cannot be reached."""
        found = method("holds")
        assert found is not None
        try:
            return await self._call(found)()
        except Disconnected:
            return {}

    # ------------------------------------------------------------ streams

    def _told(self, name: str, *args: Any, **kwargs: Any) -> AsyncGenerator[Told]:
        found = method(name)
        assert found is not None
        return self.link.stream(name, found.pack(args, kwargs))

    async def watch(self, run: str = "", after: int = 0) -> AsyncIterator[Stored | Progress]:
        """Facts after a position, each once, however often the connection is lost meanwhile."""
        seq = after
        while not self.link.closed:
            try:
                async with aclosing(self._told("watch", run, seq)) as lines:
                    async for told in lines:
                        if told.fact is not None and told.fact.seq > seq:
                            seq = told.fact.seq
                            yield told.fact
                        elif told.progress is not None:
                            yield told.progress
            except Disconnected:
                await self._back(seq)

    async def _back(self, seq: int) -> None:
        """Until there is a connection again. Raises `Refused` where the journal at its other end is another one."""
        while not self.link.closed:
            if not await self.link.back():
                continue
            try:
                end = await cast("Console", self).position()
            except Disconnected:
                continue
            if end < seq:
                raise Refused(
                    f"the journal at {self.link.address.shown} ends at {end}, and {seq} were read: it is another one",
                    hint="its store was replaced, or put back from a backup; begin anew",
                )
            return

    async def changes(self, seconds: float = 0.05) -> AsyncGenerator[Change]:
        """What changes; see `Console.changes`. That the daemon cannot be reached is told as an engine that is gone, and
        again when the reason is another one."""
        while not self.link.closed:
            try:
                async with aclosing(self._told("changes", seconds)) as lines:
                    async for told in lines:
                        if told.change is not None:
                            yield told.change
            except Disconnected:
                said = None
                while not self.link.closed:
                    if self.lost != said:
                        said = self.lost
                        yield Change(engine=False)
                    if await self.link.back():
                        break

    async def pieces(self, run: str, seconds: float = 0.05) -> AsyncGenerator[Sequence[Piece]]:
        """What models are just saying in a run; see `Console.pieces`."""
        while not self.link.closed:
            heard = False
            try:
                async with aclosing(self._told("pieces", run, seconds)) as lines:
                    async for told in lines:
                        if told.pieces is not None:
                            heard = True
                            yield told.pieces
            except Disconnected:
                if heard and not self.link.closed:
                    # Nobody ends the sentence: whoever says it is told from the beginning.
                    yield (EVERYTHING,)
                while not self.link.closed and not await self.link.back():
                    pass

    async def replay_range(self, wanted: ReplayRange, *, by: str) -> AsyncGenerator[Published]:
        """Say many signals again; see `Console.replay_range`. Raises `Disconnected` where the line is cut: the same
        replay goes on where it was."""
        async with aclosing(self._told("replay_range", wanted, by=by)) as lines:
            async for told in lines:
                if told.published is not None:
                    yield told.published

    @property
    def as_console(self) -> Console:
        """The same, to be used as what it is."""
        return cast("Console", self)


async def connect(address: Address, *, tenant: str = "") -> RemoteConsole:
    """A console on a daemon elsewhere. `tenant`: whose, where no token says it.

    Raises `Unauthorized`, `OtherVersion`, `Disconnected`; `Refused` for a token of another tenant; `InvalidInput` and
    `NotFound` for files of the address.
    """
    link = Link(address, tenant)
    try:
        hello = await link.hello()
        if tenant and hello.tenant != tenant:
            raise Refused(
                f"the token is of the tenant `{hello.tenant}`, not of `{tenant}`",
                hint="leave --tenant out, or use a token of that tenant",
            )
    except BaseException:
        await link.close()
        raise
    return RemoteConsole(link, hello)
