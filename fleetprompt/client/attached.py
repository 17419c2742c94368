"""The console beside an engine that another process holds, or nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from fleetprompt.client.changing import ELSEWHERE, Equipment, seen, seen_here, unseen
from fleetprompt.client.changing import SILENT as NO_ANSWER
from fleetprompt.client.files import WorkflowFile
from fleetprompt.client.identity import Identity
from fleetprompt.client.listening import Listening
from fleetprompt.client.overhearing import Overhearing
from fleetprompt.client.protocol import QUEUED, Progress, Where
from fleetprompt.client.store_console import StoreConsole
from fleetprompt.client.talking import Talk
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.signal_rules import Rules
from fleetprompt.engine.ports import (
    REGISTERED,
    Approval,
    Change,
    Corrupt,
    EngineHealth,
    LogLine,
    Piece,
    Store,
    Stored,
    Workflow,
)
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.runtime.admission import Admission, Origin
from fleetprompt.engine.runtime.clock import SystemClock
from fleetprompt.engine.runtime.files import kept
from fleetprompt.engine.runtime.health import store_health
from fleetprompt.engine.runtime.lock import engine_holder, engine_left
from fleetprompt.engine.runtime.wire import ask_edited, ask_health, ask_holds, nudge

ANSWER_SECONDS = 10.0
"""How long another engine may take to answer a command."""
POLL_SECONDS = 0.1
ELSEWHERE_SECONDS = 3.0
"""Between two looks for an engine on another machine."""
ENDED = "recorded, but the engine ended before it answered; the next one carries it out (fleet recover)"
SILENT = "recorded, but the engine does not answer; it carries it out when it can (fleet doctor)"


class AttachedConsole(StoreConsole):
    """The engine is in another process, or nowhere: signals are left in the store and answered from there."""

    def __init__(self, store: Store, root: Path, lock: Path, socket: Path | None) -> None:
        super().__init__(store, SystemClock())
        self._root = root
        self._lock = lock
        self._elsewhere: Mapping[str, Any] | None = None
        """Who held the engine on another machine, when that was looked for."""
        self._look_at = 0.0
        self.socket = socket
        self._writes = [0]
        """Shared by all consoles on this store."""
        self.closed = False
        self.listening: set[Talk] = set()
        self.equipment: Equipment | None = None
        """What the project has at hand, where that is known."""
        self.admission: Callable[[Callable[[], float]], Admission] = lambda now: Admission(Rules(), now=now)
        """Makes the door that signals from here pass: of the project's rules, which are read when one is published."""
        self._admission: Admission | None = None

    def bound(self, identity: Identity) -> Self:
        """Another console on the same store; closing it hangs up what is heard through it alone."""
        other = super().bound(identity)
        other.listening = set()
        return other

    @property
    def written(self) -> int:
        """How often this process has written to the store."""
        return self._writes[0]

    def _wrote(self) -> None:
        self._writes[0] += 1

    @property
    def _holder(self) -> Mapping[str, Any] | None:
        return engine_holder(self._lock) or self._elsewhere

    @property
    def driven(self) -> bool:
        """Whether somebody holds the engine."""
        return self._holder is not None

    @property
    def was_left(self) -> bool:
        """Whether the engine that ran last has ended in order."""
        return not self.driven and engine_left(self._lock)

    @property
    def where(self) -> Where:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "attached" if self.driven else "none"

    @property
    def holder(self) -> str:
        found = self._holder
        if found is None:
            return "nobody"
        host = f" on {inert(str(found['host']))}" if found.get("host") else ""
        return f"pid {found.get('pid', '?')}{host} ({found.get('what', 'fleet')})"

    async def look_elsewhere(self) -> None:
        """Look now and then whether an engine on any machine drives the runs of a store that is on a server."""
        lease = self.store.lease()
        now = asyncio.get_running_loop().time()
        if lease is None or now < self._look_at:
            return
        self._look_at = now + ELSEWHERE_SECONDS
        with suppress(StoreUnavailable):
            self._elsewhere = await lease.holder()

    async def close(self) -> None:
        """Disconnect."""
        self.closed = True
        for talk in self.listening:
            talk.hang_up()
        if not self._lent:
            await self.refusals.close()
            await self.published.close()
            await self.store.close()

    async def _nudge(self) -> bool:
        return self.socket is not None and await nudge(self.socket)

    async def _send(self, signal: Signal) -> Result:
        publication = await self.store.signals.publish(signal)
        self._wrote()
        signal = publication.signal
        nudged = await self._nudge()
        run = signal.id if signal.type in (types.START, types.RETRY) else signal.subject
        asked = "engine" if nudged else self._holder
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ANSWER_SECONDS
        while True:
            # Before its results are looked for: what an engine does last is seen when it is gone.
            holder = self._holder
            routed, results = await self.store.signals.results(signal.id, self.tenant)
            if results:
                return results[0]
            if routed:
                return Result(signal=signal.id, status="accepted", run=run)
            if holder is None or loop.time() > deadline:
                why = SILENT if holder is not None else ENDED if asked else QUEUED
                return Result(signal=signal.id, status="accepted", run=run, reason="queued", data=why)
            await asyncio.sleep(POLL_SECONDS / 10 if nudged else POLL_SECONDS)

    async def _edited(self, approval: Approval, values: Mapping[str, Any]) -> EditedCall | None:
        if self.socket is not None:
            looked = await ask_edited(self.socket, approval.run, approval.id, dict(values))
            if looked is not None:
                return seen(looked)
        executed = await self.value(approval) if approval.blob is not None else approval.input
        if self.driven or self.equipment is None:
            return unseen(approval, executed, values, NO_ANSWER if self.driven else ELSEWHERE)
        return await seen_here(self.store, self.equipment, approval, executed, values)

    async def _register(self, file: WorkflowFile) -> str:
        catalog = self.store.catalog
        digest = await catalog.put(file.plan, source=file.text, tenant=self.tenant)
        known = await catalog.workflow(file.plan.name, self.tenant)
        path = kept(file.file, self._root)
        if known is None or known.plan != digest or known.file != path:
            await catalog.set_workflow(
                Workflow(
                    name=file.plan.name,
                    tenant=self.tenant,
                    status=known.status if known is not None else "active",
                    plan=digest,
                    file=path,
                    updated_at=self.clock.now(),
                    max_runs=file.plan.max_runs,
                    active_since=known.active_since if known is not None else self.clock.now(),
                ),
                self.noted("register", "workflow", file.plan.name, digest),
                only=REGISTERED,
            )
            self._wrote()
        return digest

    async def admitted(self, signal: Signal, origin: Origin) -> tuple[Signal, bool]:
        """Publish a signal from there. Rates are those of this process."""
        if self._admission is None:
            self._admission = self.admission(self.clock.now)
        publication = await self.store.signals.publish(self._admission.admit(signal, origin))
        self._wrote()
        await self._nudge()
        return publication.signal, publication.duplicate

    async def watch(self, run: str = "", after: int = 0) -> AsyncIterator[Stored | Progress]:
        """Facts from the engine's socket, or from the store where there is none."""
        journal, logs = self.store.journal, self.store.logs
        seq, n, logged, token = after, 0, 0, 0
        told = False
        if self.socket is not None:
            async for entry in _from_socket(self.socket, run, after, self.tenant):
                if isinstance(entry, Stored):
                    seq = entry.seq
                told = told or isinstance(entry, Progress)
                yield entry
        if told:
            # The engine is gone, which has told the lines so far: none is told twice.
            _, logged = await logs.read(run, tail=True, limit=1, tenant=self.tenant)
        while True:
            # Up to there the facts of others are not looked through once more.
            upto = 0 if run else await journal.position()
            while entries := await self._entries(run, n, seq):
                for entry in entries:
                    n = entry.n
                    if entry.seq > seq:
                        seq = entry.seq
                        if isinstance(entry, Stored):
                            yield entry
            seq = max(seq, upto)
            while run:
                lines, logged = await logs.read(run, after=logged, tenant=self.tenant)
                for line in lines:
                    yield Progress(run, line)
                if not lines:
                    break
            token = await self._change_after(token)

    async def _entries(self, run: str, n: int, seq: int) -> list[Stored | Corrupt]:
        """What follows in the journal."""
        if run:
            return await self.store.journal.facts(run, after=n, tenant=self.tenant)
        return await self.store.journal.since(seq, tenant=self.tenant)

    def changes(self, seconds: float = 0.05) -> AsyncGenerator[Change]:
        """What changes, told by the engine's socket, or seen in the store where there is none."""
        return Listening(self).changes(seconds)

    def pieces(self, run: str, seconds: float = 0.05) -> AsyncGenerator[Sequence[Piece]]:
        """What models are just saying in a run, told by the engine's socket; nothing where there is none."""
        return Overhearing(self, run).pieces(seconds)

    async def _change_after(self, token: int) -> int:
        """Until another process has written. SQLite tells only when it is asked."""
        while (now := await self.store.changed(token)) == token:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return now

    async def holds(self) -> Mapping[str, str]:
        """Runs that the engine does nothing for any more, and why; nothing is known of one that does not answer."""
        found = await ask_holds(self.socket, self.tenant) if self.socket is not None else None
        return found or {}

    async def health(self) -> EngineHealth:
        """How the engine is, or what can be seen from outside of one that does not answer."""
        found = await ask_health(self.socket, self.tenant) if self.socket is not None else None
        if found is not None:
            return await self._shown(found)
        await self.look_elsewhere()
        holder = self._holder
        store = await store_health(self.store)
        if holder is None:
            return EngineHealth(state="none", store=store, at=self.clock.now())
        pid = holder.get("pid")
        return EngineHealth(
            state="elsewhere" if holder is self._elsewhere else "silent",
            store=store,
            at=self.clock.now(),
            pid=pid if isinstance(pid, int) else 0,
            what=str(holder.get("what") or "fleet"),
            host=str(holder.get("host") or ""),
        )


class _Line(msgspec.Struct):
    fact: Stored | None = None
    run: str = ""
    log: LogLine | None = None


async def _from_socket(path: Path, run: str, after: int, tenant: str) -> AsyncIterator[Stored | Progress]:
    """The live feed of the engine behind a socket; ends when it hangs up."""
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024)
    except (OSError, ValueError):
        return
    decoder = msgspec.json.Decoder(_Line)
    try:
        writer.write(msgspec.json.encode({"op": "watch", "after": after, "run": run, "tenant": tenant}) + b"\n")
        await writer.drain()
        while line := await reader.readline():
            entry = decoder.decode(line)
            if entry.fact is not None:
                yield entry.fact
            elif entry.log is not None:
                yield Progress(entry.run, entry.log)
    except (OSError, ValueError, msgspec.DecodeError):
        return
    finally:
        writer.close()
