"""What every command starts from: the project, who is at the keyboard, and the console it speaks through."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from fleetprompt.cli.connection import HERE, Connection

if TYPE_CHECKING:
    from fleetprompt.cli.terminal import Terminal
    from fleetprompt.client.http.address import Address
    from fleetprompt.client.http.console import RemoteConsole
    from fleetprompt.client.identity import Identity
    from fleetprompt.client.names import AgencySettings, ProjectNames
    from fleetprompt.client.opening import Place
    from fleetprompt.client.protocol import Console
    from fleetprompt.settings import Project

T = TypeVar("T")
Mode = Literal["engine", "prefer", "attach"]


class Front:
    """One invocation of `fleet`."""

    def __init__(
        self,
        *,
        utc: bool = False,
        database: str = "",
        directory: str = "",
        tenant: str = "",
        connection: Connection = HERE,
    ) -> None:
        self.utc = utc
        self.database = database
        self.tenant = tenant
        """Whose runs and all else it is about; empty for that of the project itself."""
        self.directory = Path(directory) if directory else None
        self.connection = connection
        """The daemon that is asked, where the project is not of this folder."""
        self._groups: list[str] | None = None
        """Of who is at the keyboard, as the daemon knows them."""
        self.engine_messages: list[str] = []
        """What the engine of this process has complained about."""

    @cached_property
    def elsewhere(self) -> Address | None:
        """The daemon that is asked; None where this process opens the store itself. Raises `InvalidInput`."""
        return self.connection.address(self.here) or self._daemon_of_another_user()

    def _daemon_of_another_user(self) -> Address | None:
        """The daemon's socket where the store is not of who is at the keyboard: to open that, as root can, would leave
        files beside it that its owner cannot write, and the daemon would not know who has asked for what."""
        import os

        if self.database or self.connection.local:
            return None
        socket, store = (self.project.state / name for name in ("fleet.sock", "fleet.db"))
        try:
            of_another = socket.is_socket() and store.stat().st_uid != os.getuid()
        except OSError:
            return None
        if not of_another:
            return None
        from fleetprompt.client.http.address import UNIX, address_of

        return address_of(f"{UNIX}{socket}")

    @cached_property
    def terminal(self) -> Terminal:
        """Where output goes."""
        from fleetprompt.cli.terminal import Terminal

        return Terminal(utc=self.utc)

    @cached_property
    def project(self) -> Project:
        """The project of this folder."""
        from fleetprompt.settings import load_project

        self._require_folder()
        return load_project(self.directory, database=self.database)

    def tolerate(self) -> Project:
        """The project with what of its settings can be used, from now on, whatever is wrong with the rest: that is told
        with it."""
        from fleetprompt.settings import read_project

        self._require_folder()
        self.project = read_project(self.directory, database=self.database)
        return self.project

    def _require_folder(self) -> None:
        from fleetprompt.engine.core.errors import NotFound

        if self.directory is not None and not self.directory.is_dir():
            raise NotFound(f"there is no folder {self.directory}")

    @cached_property
    def me(self) -> str:
        """Who is at the keyboard."""
        from fleetprompt.settings import operator

        return operator()

    @cached_property
    def identity(self) -> Identity:
        """The same for consoles: whoever is at the keyboard may do everything."""
        from fleetprompt.client.identity import DEFAULT_TENANT, checked_name, local_identity

        return local_identity(self.me, "cli", checked_name(self.tenant or DEFAULT_TENANT, "the name of a tenant"))

    def guarded(self, console: Console) -> Console:
        """A console that was opened here, in the hands of who is at the keyboard."""
        from fleetprompt.client.guarded import guarded

        return guarded(console, self.identity, own=True)

    @property
    def here(self) -> Path:
        """Where relative paths start."""
        return self.directory or Path()

    def groups_of(self, person: str) -> list[str]:
        """The groups of operators that a person belongs to."""
        if self._groups is not None:
            return self._groups
        return [name for name, members in self.project.settings.groups.items() if person in members]

    @cached_property
    def agency(self) -> AgencySettings:
        """What agents of the project have at hand."""
        from fleetprompt.client.names import AgencySettings

        settings = self.project.settings
        return AgencySettings(
            models=settings.models,
            tools=settings.tools,
            mcp=settings.mcp,
            policy=settings.policy,
            guardrails=settings.guardrails.compiled,
            workflows=(self.project.workflows,),
        )

    @cached_property
    def place(self) -> Place:
        """The project, as the client needs to know it."""
        from fleetprompt.client.opening import Place

        project, settings = self.project, self.project.settings
        return Place(
            root=project.root,
            state=project.state,
            database=project.database,
            max_runs=settings.max_runs,
            pools=settings.pools,
            threads=settings.threads,
            grace=settings.grace,
            groups=settings.groups,
            agency=self.agency,
            aliases=project.aliases,
            signals=settings.signals,
            subscriptions=settings.subscriptions,
            zone=self.terminal.times.tzinfo,
        )

    @property
    def names(self) -> ProjectNames:
        """What the project has by name, for files that name it."""
        from fleetprompt.client.names import ProjectNames

        path = self.project.database.removeprefix("sqlite:///")
        project, whose = self.project, self.identity.tenant
        store = None if "://" in path else Path(path)
        return ProjectNames(project.root, self.agency, store, project.aliases, project.settings.groups, whose)

    def require_store(self) -> None:
        """Refuse to make a project where somebody only looks. Raises `NotFound`."""
        from fleetprompt.engine.core.errors import NotFound

        if self.elsewhere is not None:
            return
        database = self.project.database
        path = database.removeprefix("sqlite:///") if database.startswith("sqlite:///") else database
        if "://" not in path and not Path(path).exists():
            raise NotFound(
                "there is nothing here yet",
                where=str(self.project.root),
                hint="`fleet run FILE` starts a run, `fleet init` makes a project",
            )

    async def open(self, mode: Mode = "attach", *, what: str = "fleet", recover: bool = False) -> Console:
        """A console: of the project here, or of the daemon elsewhere, which decides itself what may be done.

        Raises `FleetError`.
        """
        if self.elsewhere is not None:
            return (await self.connect()).as_console
        from fleetprompt.client.opening import open_console

        return self.guarded(await open_console(self.place, mode, what=what, recover=recover))

    async def connect(self) -> RemoteConsole:
        """A console of the daemon elsewhere. From now on who is at the keyboard is who they are there.

        Raises `Disconnected`, `Refused`, `InvalidInput`, `NotFound`.
        """
        from fleetprompt.client.http.console import connect

        assert self.elsewhere is not None
        console = await connect(self.elsewhere, tenant=self.tenant)
        self.me, self.tenant, self._groups = console.hello.name, console.hello.tenant, [*console.hello.groups]
        console.link.told = self._tell_lost
        return console

    def _tell_lost(self, lost: str) -> None:
        self.terminal.say(f"{lost}; trying again…" if lost else "connected again")

    @asynccontextmanager
    async def opened(
        self, mode: Mode = "attach", *, what: str = "fleet", recover: bool = False
    ) -> AsyncGenerator[Console]:
        """A console, closed at the end."""
        console = await self.open(mode, what=what, recover=recover)
        try:
            yield console
        finally:
            await console.close()

    def ask(self, work: Callable[[Console], Coroutine[Any, Any, T]]) -> T:
        """Do something with a console that holds no engine, in a loop of its own."""
        self.require_store()
        return self.run(self._attached(work))

    async def _attached(self, work: Callable[[Console], Coroutine[Any, Any, T]]) -> T:
        async with self.opened() as console:
            return await work(console)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; what the engine logs meanwhile goes to its file."""
        import asyncio

        from fleetprompt.cli.engine_log import engine_log

        with engine_log(self.project.state if self.elsewhere is None else None) as log:
            self.engine_messages = log.messages
            return asyncio.run(work)
