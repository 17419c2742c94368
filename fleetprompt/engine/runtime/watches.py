"""File watches: what has changed is looked at when the kernel tells of it, and from time to time; a change that has
settled is recorded with its signal.

What is recorded is all there is: an engine that dies in between finds it, or looks again and comes to the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.core.firing import GRACE, Firing, Standing
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.watching import (
    Change,
    Files,
    Found,
    Watch,
    before,
    begun,
    firing_of,
    late,
    meanwhile,
    signal_of,
    watches_of,
)
from fleetprompt.engine.outside.changes import changes
from fleetprompt.engine.ports import Conflict
from fleetprompt.engine.triggers.watch import Place, places, scan

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

LOOK_SECONDS = 5.0
"""How often files are looked at although nobody told of a change: not every file system tells."""
LATER_SECONDS = 60.0
"""How often where nothing can be told, or looking has failed."""
KEPT_SECONDS = 600.0
"""How often it is recorded up to when all changes are decided about. What was decided is recorded at once."""
GATHER_SECONDS = 0.1
"""Changes come in crowds: how long the first waits for the others."""
AT_MOST_BUSY = 10.0
"""Looking may take one part in so many of the time."""
Key = tuple[str, str, str]


class Kept:
    """A watch that this engine looks after."""

    __slots__ = ("files", "nameless", "places", "standing", "took", "watch")

    def __init__(self, watch: Watch, places: list[Place]) -> None:
        self.watch = watch
        self.places = places
        self.files: Files | None = None
        """None: nobody has looked yet."""
        self.standing: Standing | None = None
        self.nameless: set[str] = set()
        """Files that nobody can be told of: recorded."""
        self.took = 0.0
        """Seconds that looking took."""

    @property
    def key(self) -> Key:
        return self.watch.tenant, self.watch.workflow, self.watch.trigger


class Watches:
    """What makes changes of files start runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._root = Path(engine.directory).absolute()
        self._kept: dict[Key, Kept] = {}
        self._stale = True
        """Workflows may have changed."""
        self._changed = asyncio.Event()
        self._told: set[tuple[Key, str]] = set()
        """Watches that cannot be looked after, and why: told once."""

    @property
    def keys(self) -> set[Key]:
        """The watches that there are, by tenant, workflow and trigger."""
        active = self._engine.workflows.active
        found = [watch for each in active for watch in watches_of(each.plan, each.tenant)]
        return {(each.tenant, each.workflow, each.trigger) for each in found}

    def look(self) -> None:
        """Something has changed that watches depend on."""
        self._stale = True
        self._changed.set()

    async def live(self) -> None:
        """Let changes of files start runs, until the engine closes."""
        engine, telling = self._engine, None
        try:
            while not engine.draining:
                try:
                    if self._stale:
                        self._stale = False
                        await self._refresh()
                        telling = self._tell_anew(telling)
                    pause = await self._round()
                except Exception as error:
                    engine.trouble("file watches", error)
                    self._stale = True
                    pause = LATER_SECONDS if not isinstance(error, StoreUnavailable) else 1.0
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._changed.wait()
                        # Others follow at once.
                        await asyncio.sleep(GATHER_SECONDS)
                self._changed.clear()
        finally:
            if telling is not None:
                telling.cancel()

    async def close(self) -> None:
        """Record until when changes are decided about: whoever comes next looks from there."""
        for kept in self._kept.values():
            with suppress(FleetError):
                await self._keep(kept)

    # ------------------------------------------------------------ looking

    async def _round(self) -> float:
        """Look at all files, record what has settled; seconds until it is to be done again."""
        engine = self._engine
        wake, took = inf, 0.0
        for kept in list(self._kept.values()):
            if engine.draining:
                break
            now = engine.now()
            found = await self._look(kept)
            took += kept.took
            if found is None:
                continue
            if kept.files is None:
                await self._begin(kept, found, now)
            assert kept.files is not None
            files, kept.files = kept.files, None
            files.look(found, now)
            # Until it is recorded nothing has been decided about, whoever ends this or asks meanwhile: what cannot be
            # recorded is found again from where all was.
            await self._fire(kept, files.settled(now))
            kept.files = files
            if kept.standing is not None and now - kept.standing.upto > KEPT_SECONDS:
                await self._keep(kept)
            wake = min(wake, kept.files.next or inf)
        if not self._kept:
            return LATER_SECONDS
        pause = min(LOOK_SECONDS, max(0.0, wake - engine.now()))
        return max(pause, took * AT_MOST_BUSY)

    async def _look(self, kept: Kept) -> Found | None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        try:
            found, nameless = await asyncio.to_thread(scan, kept.places, self._root)
        except FleetError as error:
            self._tell(kept.watch, error)
            return None
        finally:
            kept.took = loop.time() - before
        for name in nameless:
            if name not in kept.nameless:
                await self._refuse(kept.watch, name)
                kept.nameless.add(name)
        return found

    async def _refuse(self, watch: Watch, name: str) -> None:
        now = self._engine.now()
        reason = f"the name of {name[-200:]} is no UTF-8: no run can be told of it"
        firing = Firing(
            workflow=watch.workflow,
            trigger=watch.trigger,
            tenant=watch.tenant,
            kind="watch",
            scheduled=f"nameless:{name[-200:]}",
            due=now,
            at=now,
            outcome="failed",
            reason=reason,
        )
        await self._engine.store.firings.add(firing)

    def _tell(self, watch: Watch, error: FleetError) -> None:
        known = (watch.tenant, watch.workflow, watch.trigger), error.message
        if known not in self._told:
            self._told.add(known)
            self._engine.trouble(f"watch {watch.name}", error)

    # ------------------------------------------------------------ recording

    async def _begin(self, kept: Kept, found: Found, now: float) -> None:
        """Begin with files as they are; where the watch was looked after before, with what has changed since."""
        watch, store = kept.watch, self._engine.store.firings
        standing = await store.standing(watch.workflow, watch.trigger, watch.tenant)
        known = next((each for each in self._engine.workflows.known if (each.tenant, each.name) == kept.key[:2]), None)
        active = known.active_since if known is not None else 0.0
        if standing is None or standing.rhythm != watch.rhythm:
            # Since it was registered, if that was just now: looking has taken a moment to begin.
            registered = max(active, known.updated_at) if known is not None else now
            standing = begun(watch, standing, found, registered if 0 <= now - registered <= GRACE else now)
            with suppress(Conflict):  # Another engine has begun.
                await store.record(standing)
        since = max(standing.upto, active)
        names = (watch.workflow, watch.trigger, watch.tenant)
        changes = [
            change for change in meanwhile(watch, found, since) if await store.get(*names, scheduled=change.key) is None
        ]
        restless = [change for change in changes if now - change.at < watch.settle]
        wanted, missed = late(watch, [change for change in changes if change not in restless], now)
        for firing in missed:
            await store.add(firing)
        await self._fire(kept, wanted)
        # Only now: where one of these fails, it is begun anew.
        kept.standing = standing
        kept.files = Files(watch, before(found, restless), since if restless else now)
        await self._keep(kept)

    async def _fire(self, kept: Kept, changes: Iterable[Change]) -> None:
        """Record changes, each with its signal: whoever finds the same one later, finds it recorded. A watch that is
        paused lets them go by."""
        engine, watch, found = self._engine, kept.watch, [*changes]
        names = (watch.workflow, watch.trigger, watch.tenant)
        # Read anew: it may have been paused by another engine.
        standing = await engine.store.firings.standing(*names) if found else None
        if standing is not None and standing.paused:
            reason = f"paused by {standing.by or 'somebody'}" + (f": {standing.reason}" if standing.reason else "")
            for change in found:
                with suppress(Conflict):  # Another engine was as fast.
                    await engine.store.firings.add(firing_of(watch, change, engine.now(), "skipped", reason))
            engine.feed.mark(signals=True, workflows=True)
            return
        for change in found:
            firing = firing_of(watch, change, engine.now(), "fired")
            signal = engine.bus.admission.redacted(signal_of(watch, change, firing))
            stored = await engine.patient(f"watch {watch.name}", lambda f=firing, s=signal: self._add(f, s))
            if stored is None:
                reason = "the same file was there before, and has come back"
                again = firing_of(watch, change, engine.now(), "duplicate", reason)
                await engine.store.firings.add(replace(again, scheduled=f"{change.key}#{int(change.at)}"))
            elif stored.signal:
                engine.bus.notice((signal,), ())
                engine.feed.mark(signals=True, workflows=True)

    async def _add(self, firing: Firing, signal: Signal) -> Firing | None:
        try:
            return await self._engine.store.firings.add(firing, signal)
        except Conflict:
            return None  # Another engine was as fast.

    async def _keep(self, kept: Kept) -> None:
        standing = kept.standing
        if standing is None or kept.files is None:
            return
        upto = kept.files.upto
        # What was there when it was registered is not looked at again, unless a clock that was ahead has been set back.
        upto = max(upto, standing.upto) if standing.upto <= self._engine.now() else upto
        further = replace(standing, n=standing.n + 1, upto=upto)
        try:
            await self._engine.store.firings.record(further)
        except Conflict:
            watch = kept.watch
            kept.standing = await self._engine.store.firings.standing(watch.workflow, watch.trigger, watch.tenant)
        else:
            kept.standing = further

    # ------------------------------------------------------------ which there are

    async def _refresh(self) -> None:
        """Look after the watches that there are now."""
        kept: dict[Key, Kept] = {}
        for active in self._engine.workflows.active:
            found = watches_of(active.plan, active.tenant)
            if not found:
                continue
            file = await self._engine.workflows.file(active.plan.name, active.tenant)
            base = (self._root / file).parent if file else self._root
            for watch in found:
                try:
                    each = Kept(watch, places(watch.paths, base, self._root))
                except FleetError as error:
                    self._tell(watch, error)
                    continue
                before = self._kept.get(each.key)
                same = before is not None and before.watch == watch and _folders([before]) == _folders([each])
                kept[each.key] = before if same and before is not None else each
        self._kept = kept

    def _tell_anew(self, telling: asyncio.Task[None] | None) -> asyncio.Task[None] | None:
        if telling is not None:
            telling.cancel()
        folders = _folders(self._kept.values())
        return asyncio.get_running_loop().create_task(self._follow(folders)) if folders else None

    async def _follow(self, folders: Sequence[Path]) -> None:
        """Look when the kernel tells of a change in these folders, or below them; those that are not there (yet) are
        looked at from time to time."""
        try:
            async for _ in changes(folders, _counts, debounce=200, step=20):
                self._changed.set()
        except (OSError, RuntimeError) as error:
            hint = f"changes are found within {LOOK_SECONDS:g} s all the same"
            self._engine.trouble("file watches", FleetError(f"the kernel tells of no changes: {error}", hint=hint))


def _folders(kept: Iterable[Kept]) -> list[Path]:
    return list(dict.fromkeys(place.folder for each in kept for place in each.places))


def _counts(path: str) -> bool:
    """The engine writes to its own folder all the time."""
    return "/.fleet/" not in path and "/.git/" not in path
