"""The audit log as a console sees it: what it notes of who uses it, and what it lets administrators read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from fleetprompt.client.identity import Identity
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.audit import AuditEntry, AuditNote, Verdict, digest_of
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports.audit import AuditQuery

if TYPE_CHECKING:
    from fleetprompt.engine.ports import Clock, Store

_log = logging.getLogger(__name__)
MINUTE: Final = 60.0
"""Seconds within which the same is told once, with how often."""
MOST: Final = 200
"""Different ones that are told one by one in a minute: nobody fills a disk by being refused."""
OTHERS: Final = "(others)"

ACTIONS: Final[dict[str, tuple[str, str]]] = {
    types.START: ("start", "run"),
    types.CANCEL: ("command/cancel", "run"),
    types.PAUSE: ("command/pause", "run"),
    types.RESUME: ("command/resume", "run"),
    types.RETRY: ("command/retry", "run"),
    types.RESOLVE: ("command/resolve", "run"),
    types.RAISE: ("command/raise", "run"),
    types.VOTE: ("vote", "approval"),
    types.ESCALATE: ("escalate", "approval"),
    types.REVOKE: ("revoke", "grant"),
    types.SET_WORKFLOW: ("set_workflow", "workflow"),
    types.REMEMBER: ("remember", "memory"),
    types.FORGET: ("forget", "memory"),
    types.FIRE: ("fire", "schedule"),
    types.SET_SCHEDULE: ("set_schedule", "schedule"),
    types.SET_SWITCH: ("set_switch", "fleet"),
    types.DISMISS: ("dismiss_letters", "dead letter"),
    types.REDELIVER: ("replay_letter", "dead letter"),
}
"""The method of a console that sends a command of this type, and what it is about."""


class Repeats:
    """Tells the audit log of what comes over and over, refusals and signals of other systems: the same once a minute,
    with how often, and so many different ones."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until = 0.0
        self._seen: dict[tuple[str, ...], AuditNote] = {}
        """What was told in this minute, with how often it was seen since."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, note: AuditNote) -> None:
        """Tell it, or count it."""
        for told in (*self._turned(note.at), *self._first(note)):
            await self._write(told)

    def first(self, note: AuditNote) -> bool:
        """Whether it is to be told by who does what it tells of: it is the first such one in a while, else counted."""
        others, found = self._turned(note.at), self._first(note)
        mine = bool(found) and found[0] is note
        others += [] if mine else found
        if others:
            self._begin(self._write_all(others))
        return mine

    def _turned(self, at: float) -> list[AuditNote]:
        """What was only counted in the minute that is over, if it is over."""
        if at < self._until:
            return []
        self._until = at + MINUTE
        return self._counted()

    def _counted(self) -> list[AuditNote]:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted, self._seen = [note for note in self._seen.values() if note.count], {}
        return counted

    def _first(self, note: AuditNote) -> list[AuditNote]:
        """What is told of it at once; nothing where it is only counted."""
        key = (note.tenant, note.by, note.via, note.action, note.kind, note.code)
        if key not in self._seen and len(self._seen) >= MOST:
            note = replace(note, by=OTHERS, role="", credential="", object="", kind="", detail="")
            key = (note.tenant, OTHERS, note.via, "", "", "")
        seen = self._seen.get(key)
        if seen is not None:
            self._seen[key] = replace(seen, at=note.at, count=seen.count + 1)
            self._wait()
            return []
        self._seen[key] = replace(note, count=0)
        return [note]

    def later(self, note: AuditNote) -> None:
        """The same for who cannot wait."""
        self._begin(self.add(note))

    async def flush(self) -> None:
        """Tell what was only counted."""
        await self._write_all(self._counted())

    async def close(self) -> None:
        """Tell all that is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.flush()

    def _wait(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(MINUTE, self._overdue)

    def _overdue(self) -> None:
        self._timer = None
        self._begin(self.flush())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_all(self, notes: Sequence[AuditNote]) -> None:
        for note in notes:
            await self._write(note)

    async def _write(self, note: AuditNote) -> None:
        try:
            await self._store.audit.add(note)
        except FleetError as error:
            # What was refused stays refused where it cannot be told; that there is a gap, the log of the process says.
            told = f"{note.action} by {note.by} ({note.outcome}{f', {note.count} times' if note.count > 1 else ''})"
            _log.warning("the audit log lacks %s: %s", told, error)


class Auditing:
    """The part of a console that looks after the audit log."""

    store: Store
    clock: Clock
    tenant: str
    identity: Identity | None
    refusals: Repeats
    published: Repeats
    """Signals of other systems."""

    async def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Entries of this tenant, the newest first."""
        return await self.store.audit.list(query, self.tenant)

    async def verify_audit(self, known: str = "") -> Verdict:
        """Walk through the chain of this tenant."""
        return await self.store.audit.verify(self.tenant, known)

    def noted(self, action: str, kind: str, object: str, arguments: Any, by: str = "") -> AuditNote | None:
        """What the audit log is to tell of something that who uses this console does; None for the engine itself."""
        who = self.identity
        if who is None:
            return None
        return AuditNote(
            tenant=self.tenant,
            at=self.clock.now(),
            by=who.name if by in ("", who.name) else f"{who.name} as {by}",
            role=who.role,
            via=who.via,
            credential=who.credential,
            action=action,
            kind=kind,
            object=object,
            detail=digest_of(arguments),
        )

    def noted_signal(self, signal: Signal) -> AuditNote | None:
        """The same of a signal that is published; None where one was told of just now. What people publish is told one
        by one; systems that send over HTTP may send thousands a second."""
        note = self.noted("publish", f"signal {signal.type}", signal.id, None, signal.by)
        if note is None or (note.via == "http" and not self.published.first(note)):
            return None
        return replace(note, detail=digest_of([signal.subject, signal.data]))

    def noted_command(self, type_: str, id_: str, subject: str, data: Any, by: str) -> AuditNote | None:
        """The same of a command that is sent as a signal."""
        action, kind = ACTIONS.get(type_, (type_, "signal"))
        object = str(mapping(data).get("approval") or "") if kind == "approval" else subject
        return self.noted(action, kind, object or (id_ if kind == "run" else ""), data, by)

    def refused(self, action: str, kind: str, object: str, code: str) -> AuditNote | None:
        """What the audit log is to tell of something that was refused."""
        note = self.noted(action, kind, object, None)
        return None if note is None else replace(note, outcome="refused", code=code, detail="")
