"""What every command starts from: the project, who is at the keyboard, and the console it speaks through."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from fleetprompt.cli.terminal import Terminal
    from fleetprompt.client.identity import Identity
    from fleetprompt.client.names import AgencySettings, ProjectNames
    from fleetprompt.client.opening import Place
    from fleetprompt.client.protocol import Console
    from fleetprompt.settings import Project

T = TypeVar("T")


class Front:
    """One invocation of `fleet`."""

    def __init__(self, *, utc: bool = False, database: str = "", directory: str = "", tenant: str = "") -> None:
        self.utc = utc
        self.database = database
        self.tenant = tenant
        """Whose runs and all else it is about; empty for that of the project itself."""
        self.directory = Path(directory) if directory else None
        self.engine_messages: list[str] = []
        """What the engine of this process has complained about."""

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

        database = self.project.database
        path = database.removeprefix("sqlite:///") if database.startswith("sqlite:///") else database
        if "://" not in path and not Path(path).exists():
            raise NotFound(
                "there is nothing here yet",
                where=str(self.project.root),
                hint="`fleet run FILE` starts a run, `fleet init` makes a project",
            )

    @asynccontextmanager
    async def opened(
        self, mode: Literal["engine", "prefer", "attach"] = "attach", *, what: str = "fleet", recover: bool = False
    ) -> AsyncGenerator[Console]:
        """A console, closed at the end."""
        from fleetprompt.client.opening import open_console

        console = self.guarded(await open_console(self.place, mode, what=what, recover=recover))
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

        with engine_log(self.project.state) as log:
            self.engine_messages = log.messages
            return asyncio.run(work)
