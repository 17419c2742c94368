"""Notifies those who are not looking, beside the engine and never in its way.

Each channel reads the journal from where it has come, so nothing is lost while no engine runs or a receiver is away,
and one that is away holds up no other. Where it has come is kept once a message was taken: a message may be sent twice,
and then has the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import RunFinished
from fleetprompt.engine.core.notice import Notice, linked, message, notice_of, wanted
from fleetprompt.engine.core.notice_settings import SECRET, NoticeSettings
from fleetprompt.engine.outside.notices import NotSent, by_apprise, post
from fleetprompt.engine.ports import Stored
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.runtime.stuck import STUCK_SECONDS, stuck_runs

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine

CURSOR: Final = "notify/"
BATCH: Final = 1000
"""Facts that are read at a time."""
MOST: Final = 200
"""Notices in one message: what is over is told in the next."""
RETRY_SECONDS: Final = (5.0, 30.0, 120.0, 600.0)
"""Pauses between attempts; the last is repeated."""
LOOK_SECONDS: Final = 60.0
"""How often stuck runs are looked for."""
HOUR: Final = 3600.0


class ChannelState(Struct, kw_only=True):
    """How a channel does."""

    name: str
    behind: int = 0
    """Facts that it has not looked at yet."""
    sent: int = 0
    """Messages since the engine was opened."""
    failures: int = 0
    """Attempts in a row that came to nothing."""
    error: str = ""
    """What the last of them came to."""


class Notifier:
    """All channels of an engine."""

    def __init__(
        self, engine: Engine, channels: Mapping[str, NoticeSettings], stuck_after: float = STUCK_SECONDS
    ) -> None:
        self._engine = engine
        self._stuck_after = stuck_after
        self.channels = {name: Channel(engine, name, settings) for name, settings in channels.items()}

    async def run(self) -> None:
        """Notify for as long as the engine lives."""
        async with asyncio.TaskGroup() as group:
            for channel in self.channels.values():
                group.create_task(self._keep(channel))
            group.create_task(self._look_for_stuck())

    async def _keep(self, channel: Channel) -> None:
        while True:
            try:
                await channel.run()
            except Exception as error:
                # A mistake about one fact must not silence a channel until the process is started again.
                self._engine.trouble(f"notifications to {channel.state.name}", error)
                await asyncio.sleep(RETRY_SECONDS[-1])

    async def _look_for_stuck(self) -> None:
        told: set[str] = set()
        while True:
            try:
                found = stuck_runs(self._engine, self._stuck_after)
                for run, why in found.items():
                    if run not in told:
                        await self._tell_stuck(run, why)
                told = set(found)
            except Exception as error:
                # Nor must a mistake about one run end all channels.
                self._engine.trouble("looking for stuck runs", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell_stuck(self, run: str, why: str) -> None:
        engine = self._engine
        head = await engine.patient("notifications", lambda: engine.store.runs.get(run))
        if head is None:
            return
        of = {"run": run, "workflow": head.workflow, "tenant": head.tenant}
        notice = Notice(kind="stuck", at=engine.now(), text=why, command=f"fleet show {run}", **of)
        for channel in self.channels.values():
            channel.add(notice)


class Channel:
    """Tells one receiver."""

    def __init__(self, engine: Engine, name: str, settings: NoticeSettings) -> None:
        self._engine = engine
        self._settings = settings
        self.state = ChannelState(name=name)
        self._extra: list[Notice] = []
        """Of what no fact tells."""
        self._woken = asyncio.Event()
        self._sent: list[float] = []
        """When messages were sent in the last hour, on the loop's clock."""

    def add(self, notice: Notice) -> None:
        """Tell of something that no fact tells of; it is forgotten where the process ends before."""
        if self._wants(notice):
            self._extra.append(self._finished(notice))
            self._woken.set()

    def _wants(self, notice: Notice) -> bool:
        return wanted(notice, self._settings.on, self._settings.workflows, self._settings.tenant)

    async def run(self) -> None:
        """Tell, from where it has come, for as long as the engine lives."""
        engine, store = self._engine, self._engine.store
        name = CURSOR + self.state.name
        at = await engine.patient("notifications", lambda: store.operations.cursor(name))
        if at is None:
            # Who is new is not told of what was before.
            at = await engine.patient("notifications", store.journal.position)
            await engine.patient("notifications", lambda: store.operations.set_cursor(name, at or 0))
        reader = engine.feed.subscribe("", at)
        try:
            while True:
                notices, reached = await self._gather(at)
                if notices:
                    await self._tell(notices, f"{self.state.name}/{at}/{reached}")
                if reached > at:
                    at = reached
                    await engine.patient("notifications", partial(store.operations.set_cursor, name, at))
                    continue
                # What comes meanwhile is read from the journal: it only says that there is something.
                reader.entries.clear()
                await self._something(reader.wait())
                await asyncio.sleep(self._settings.within)
                reader.entries.clear()
        finally:
            engine.feed.unsubscribe(reader)

    async def _something(self, waiting: Awaitable[None]) -> None:
        """Until there are facts, or something that no fact tells."""
        loop = asyncio.get_running_loop()
        tasks = [asyncio.ensure_future(waiting), loop.create_task(self._woken.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._woken.clear()

    # ------------------------------------------------------------ what is told

    async def _gather(self, at: int) -> tuple[list[Notice], int]:
        """What is to be told of the facts behind a position, and up to which position that is."""
        engine = self._engine
        found, self._extra = self._extra, []
        while len(found) < MOST:
            entries = await engine.patient("notifications", partial(engine.store.journal.since, at, BATCH))
            for entry in entries:
                at = entry.seq
                if isinstance(entry, Stored):
                    notice = await self._notice(entry)
                    found += [notice] if notice is not None else []
            if len(entries) < BATCH:
                break
        return found, at

    async def _notice(self, entry: Stored) -> Notice | None:
        # Whether anybody cares is seen before the run is asked for.
        draft = notice_of(entry.fact, entry.run, "", "default", child=False)
        if draft is None or draft.kind not in self._settings.on:
            return None
        store = self._engine.store
        head = await self._engine.patient("notifications", lambda: store.runs.get(entry.run))
        if head is None or (head.finished_at is not None and not isinstance(entry.fact, RunFinished)):
            # Of a run that is over there is nothing left to decide.
            return None
        notice = notice_of(entry.fact, entry.run, head.workflow, head.tenant, child=bool(head.parent))
        if notice is None or not self._wants(notice) or not await self._is_open(notice):
            return None
        return self._finished(notice)

    def _finished(self, notice: Notice) -> Notice:
        text = self._engine.secrets.redact(notice.text)
        return replace(notice, text=text, link=linked(self._settings.link, notice))

    async def _is_open(self, notice: Notice) -> bool:
        """Whether it is still so: who comes back after a weekend is not asked what others have decided."""
        if not notice.approval:
            return True
        found = await self._engine.patient("notifications", lambda: self._engine.store.approvals.get(notice.approval))
        return found is not None and found.status == "pending"

    # ------------------------------------------------------------ telling it

    async def _tell(self, notices: list[Notice], about: str) -> None:
        """Send a message, again and again until it is taken."""
        await self._turn()
        id_ = sha256(about.encode()).hexdigest()[:32]
        while True:
            try:
                await send(self._engine.secrets, self._settings, id_, notices, self._engine.now())
            except FleetError as error:
                state = self.state
                state.error = self._engine.unsent[state.name] = self._engine.secrets.redact(error.message)
                if not state.failures:
                    # Once, and not at every attempt.
                    self._engine.trouble(f"notifications to {state.name}, tried again until they are taken", error)
                pause = RETRY_SECONDS[min(state.failures, len(RETRY_SECONDS) - 1)]
                state.failures += 1
                await asyncio.sleep(pause)
            else:
                self.state.failures, self.state.error = 0, ""
                self._engine.unsent.pop(self.state.name, None)
                self.state.sent += 1
                return

    async def _turn(self) -> None:
        """Until another message may be sent."""
        now = asyncio.get_running_loop().time
        self._sent = [at for at in self._sent if at > now() - HOUR]
        if len(self._sent) >= self._settings.per_hour:
            await asyncio.sleep(self._sent[0] + HOUR - now())
        self._sent.append(now())


async def send(secrets: Secrets, settings: NoticeSettings, id_: str, notices: list[Notice], at: float) -> None:
    """Send a message about some notices. Raises `NotSent`, `NotFound` for a secret that is not there."""

    def value(text: str) -> str:
        return secrets.get(text.removeprefix(SECRET)) if text.startswith(SECRET) else text

    title, text = message(notices)
    title, text = secrets.redact(title), secrets.redact(text)
    try:
        if settings.apprise:
            await by_apprise(value(settings.apprise), title, text)
        else:
            secret = secrets.get(settings.signed_by) if settings.signed_by else ""
            await post(value(settings.webhook), secret, id_, title, text, notices, at)
    except FleetError:
        raise
    except Exception as error:
        raise NotSent(f"{type(error).__name__}: {error}") from error
