"""Opening a console on a project: with an engine if wanted and free, otherwise beside the one that runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.changing import Equipment
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.identity import DEFAULT_TENANT
from fleetprompt.client.names import ProjectNames
from fleetprompt.client.right import EngineRight
from fleetprompt.engine.core.delivery import Subscriptions
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.core.signal_settings import SignalRule
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings
from fleetprompt.engine.ports import Store
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.engine import Engine, Limits
from fleetprompt.engine.runtime.lock import EngineIsRunning, EngineLock, engine_holder
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.runtime.signal_schemas import read_rules
from fleetprompt.engine.runtime.wire import Wire

if TYPE_CHECKING:
    from fleetprompt.client.beside import BesideConsole
    from fleetprompt.engine.runtime.admission import Admission
    from fleetprompt.engine.telemetry.observing import Observer

Mode = Literal["engine", "prefer", "attach", "process"]
"""`engine`: hold the engine or fail. `prefer`: hold it if nobody does. `attach`: never hold it. `process`: start a
process that holds it, if nobody does."""


STORE = "fleet.db"
"""Name of a project's store."""
NEW_SECONDS = 0.1
"""The file of a new store is empty for a fraction of this."""


class Place(Struct, frozen=True, kw_only=True):
    """A project, as the client needs to know it."""

    root: Path
    state: Path
    database: str
    max_runs: int | None = None
    pools: Mapping[str, int] = {}
    threads: int = 64
    grace: float = 10.0
    groups: Mapping[str, list[str]] = {}
    agency: AgencySettings = AgencySettings()
    """What agents have at hand: models, tools, policy."""
    aliases: frozenset[str] = frozenset()
    """Models that are written in the settings, those that cannot be used among them."""
    signals: Mapping[str, SignalRule] = {}
    """What is checked and changed as signals come in, by pattern of their types."""
    subscriptions: Mapping[str, SubscriptionSettings] = {}
    """Who is told of signals that leave runs, by name."""
    zone: tzinfo = UTC
    """Where the days of filters such as `since:today` begin."""

    @property
    def file(self) -> Path | None:
        """The SQLite file of the store; None where it is on a server."""
        text = self.database.removeprefix("sqlite:///")
        return None if "://" in text else Path(text)

    @property
    def equipment(self) -> Equipment:
        """What it has at hand, for a look at a call without an engine."""
        return Equipment(self.root, self.agency, self.state / "secrets.toml")

    def admission(self, now: Callable[[], float]) -> Admission:
        """The door for signals of a process without an engine. Raises `InvalidInput` for rules that cannot be read."""
        from fleetprompt.engine.runtime.admission import Admission

        secrets = Secrets(self.state / "secrets.toml")
        return Admission(read_rules(self.signals, self.root), now=now, redact=secrets.redact_value)

    def names(self, tenant: str = DEFAULT_TENANT) -> ProjectNames:
        """What it has by name now for a tenant, for files that name it."""
        return ProjectNames(self.root, self.agency, self.file, self.aliases, self.groups, tenant)

    @property
    def lock(self) -> Path:
        """The lock of the engine: beside the store, because there is one engine for each."""
        return self._beside("lock")

    @property
    def socket(self) -> Path:
        """Where the engine listens."""
        return self._beside("sock")

    def _beside(self, suffix: str) -> Path:
        """Told by the file alone: whoever opens it, from whatever project and by whatever path, meets the same lock.

        Of a store on a server it is known to this project, and who else works on it is known to the server.
        """
        if self.file is None:
            return self.state / f"server-{sha256(self.database.encode()).hexdigest()[:12]}.{suffix}"
        file = self.file.resolve()
        return file.with_name(f"{'engine' if file.name == STORE else file.name}.{suffix}")


def load() -> None:
    """Import all that opening a store takes, for who has something to show meanwhile. Blocks."""
    from fleetprompt.engine.store.database import SqlStore

    _ = SqlStore


def open_store(place: Place) -> Store:
    """The store of a place, not connected yet. Raises `StoreUnavailable` for a URL or path that nothing can open."""
    from fleetprompt.engine.store.database import SqlStore

    make_state(place.state)
    if place.file is None:
        return SqlStore(place.database, zone=place.zone)
    folder = place.file.parent
    if not folder.is_dir():
        said = "is not a folder" if folder.exists() else "is missing"
        raise StoreUnavailable(f"the folder of the store {said}", where=str(folder), hint="make it, or check the path")
    _require_content(place, place.file)
    return SqlStore(place.file, zone=place.zone)


def _require_content(place: Place, file: Path) -> None:
    """Refuse an empty file where an engine has worked before: it was a store. SQLite would begin a new one."""

    def emptied() -> bool:
        return file.exists() and not file.stat().st_size

    worked = [path for path in (place.lock, place.socket) if path.exists()]
    if worked and emptied() and engine_holder(place.lock) is None:
        # Somebody may be making it at this moment.
        time.sleep(NEW_SECONDS)
        if emptied():
            raise StoreUnavailable(
                f"the store is empty, but an engine has worked on it ({worked[0].name} is there): it was cut off",
                where=str(file),
                hint=f"put the file or a backup back; to start anew, delete {file.name}",
            )


def make_state(state: Path) -> None:
    """The folder of the project's state: for its owner only, ignored by git. Raises `StoreUnavailable`."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        said = "it is not a folder" if isinstance(error, FileExistsError) else (error.strerror or str(error)).lower()
        hint = "check who owns it and the folder above it, and the space on the disk"
        raise StoreUnavailable(f"the state cannot be kept: {said}", where=str(state), hint=hint) from error


async def open_console(
    place: Place,
    mode: Mode,
    *,
    what: str = "fleet",
    recover: bool = False,
    fires: bool = False,
    observers: Sequence[Observer] = (),
) -> EmbeddedConsole | AttachedConsole:
    """A console. `fires`: the engine, where this process holds it, lets schedules and file watches start runs; one that
    is held for a single run does not. `observers` are told of all that it commits.

    Raises `EngineIsRunning` in mode `engine`, `StoreUnavailable` when the store cannot be opened, and in mode `process`
    whatever keeps the engine from being ready."""
    if mode == "process":
        console = await open_beside(place, recover=recover)
        try:
            await console.begin()
        except BaseException:
            await console.close()
            raise
        return console
    store = open_store(place)
    if mode in ("engine", "prefer"):
        right = EngineRight(EngineLock(place.lock), store.lease())
        try:
            await right.acquire(what)
        except EngineIsRunning:
            if mode == "engine":
                raise
        else:
            return await _embed(place, store, right, what, observers, recover=recover, fires=fires)
    await store.open()
    console = AttachedConsole(store, place.root, place.lock, place.socket)
    await console.look_elsewhere()
    console.workflow_folders, console.names = place.agency.workflows, place.names
    console.equipment = place.equipment
    console.admission = place.admission
    return console


async def open_beside(place: Place, *, recover: bool = False) -> BesideConsole:
    """A console on a store, whose engine is yet to `begin`: something can be shown meanwhile.

    Raises `StoreUnavailable`.
    """
    from fleetprompt.client.beside import BesideConsole

    store = open_store(place)
    await store.open()
    return BesideConsole(store, place, recover=recover)


async def _embed(
    place: Place,
    store: Store,
    right: EngineRight,
    what: str,
    observers: Sequence[Observer] = (),
    *,
    recover: bool,
    fires: bool,
) -> EmbeddedConsole:
    limits = Limits(max_runs=place.max_runs, pools=place.pools, threads=place.threads, grace=place.grace)
    secrets = Secrets(place.state / "secrets.toml")
    try:
        rules = read_rules(place.signals, place.root)
    except FleetError:
        await right.release()
        raise
    engine = Engine(
        store,
        limits=limits,
        secrets=secrets,
        agency=Agency(secrets, place.agency, root=place.root),
        groups=place.groups,
        directory=place.root,
        recover=recover,
        fires=fires,
        rules=rules,
        subscriptions=Subscriptions(place.subscriptions),
        observers=observers,
    )
    engine.vitals.what = what
    wire = None
    try:
        await engine.open()
        wire = Wire(engine, place.socket)
        await wire.open()
    except BaseException:
        await EmbeddedConsole(engine, right, wire).close()
        raise
    console = EmbeddedConsole(engine, right, wire)
    console.workflow_folders, console.names = place.agency.workflows, place.names
    return console
