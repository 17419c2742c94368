"""Tools of MCP servers: a program that we start, or an address. What they say of themselves is never trusted.

A server is started when it is first needed and kept; one that dies leaves its calls in doubt and is started again,
later and later where it keeps dying. Its whole list of tools is pinned (`mcp_pins.py`), and looked at again before
every call.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import msgspec

from fleetprompt.engine.core.errors import Failure, FleetError, InvalidInput, NotFound, Refused
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.outside.process import identity
from fleetprompt.engine.ports.model import ToolSpec
from fleetprompt.engine.ports.tool import Preview, ToolInfo, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome, Unknown
from fleetprompt.engine.tools._mcp_http import Refusals
from fleetprompt.engine.tools._mcp_settings import McpSettings
from fleetprompt.engine.tools._mcp_told import (
    MOST_PAGES,
    MOST_TOOLS,
    Told,
    check_arguments,
    content_told,
    text_told,
    tool_told,
)
from fleetprompt.engine.tools._settings import Misfit, dotted, misfits, no_table, read_section
from fleetprompt.engine.tools.declare import refused, summary_of
from fleetprompt.engine.tools.mcp_pins import Pins, SeenServer, seen_tool

SERVER_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,31}$")
BUILT_IN = frozenset({"fs", "git", "sql", "http", "shell", "memory", "human", "workflow", "agent"}) | {
    *("delegate", "handoff", "notify", "vars")
}
LONGEST_PID = 24
"""Bytes that a pid and the end of its line have at most."""
LONGEST_BACKOFF = 60.0
ERRORS_KEPT = 64 * 1024
SHELL = "/bin/sh"
TELLS_PID = 'echo "$$" >&2 && exec "$@"'
"""Has a program tell its pid in the first line of its errors: the SDK tells it nobody."""
NO_REASON = "Server returned an error response"
"""What the SDK says of every status that it does not know better."""
KEY = "fleetprompt/idempotency-key"

Spawn = Callable[[Coroutine[Any, Any, None]], Any]
"""Runs a coroutine as a task that the caller owns."""


def misfits_of_servers(servers: Mapping[str, Any]) -> Iterator[Misfit]:
    """All that is to be said about `[mcp]`."""
    for name, table in servers.items():
        path = ("mcp", name)
        if not SERVER_NAME.match(name) or name in BUILT_IN:
            hint = "a-z, 0-9, - and _" if name not in BUILT_IN else "tools of ours begin with it: choose another"
            yield Misfit(path, f"[{dotted(path)}]: this cannot be the name of a server", hint)
        if isinstance(table, Mapping):
            yield from misfits(path, McpSettings, table)
        else:
            yield no_table(path)


class McpServers:
    """All servers of a project."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        root: Path,
        pins: Pins,
        secret: Callable[[str], str],
        spawn: Spawn,
    ) -> None:
        """`settings` is the table `[mcp]`. Raises `InvalidInput` where it does not fit."""
        self.servers: dict[str, McpServer] = {}
        for name, table in settings.items():
            known = read_section(("mcp", name), McpSettings, table)
            self.servers[name] = McpServer(name, known, root=root, pins=pins, secret=secret, spawn=spawn)

    async def tools(self, server: str) -> list[McpTool]:
        """The tools of a server, started if needed. Raises `NotFound`, `Refused`, `InvalidInput`."""
        return await self.server(server).tools()

    def server(self, name: str) -> McpServer:
        """One of them. Raises `NotFound`."""
        if name not in self.servers:
            known = ", ".join(self.servers) or "none"
            raise NotFound(f"there is no MCP server `{inert(name)}`", hint=f"servers: {known}")
        return self.servers[name]

    async def close(self) -> None:
        """End all of them."""
        for server in self.servers.values():
            await server.close()


class _Session:
    """A connection that is open."""

    def __init__(self, client: Any, process: Mapping[str, Any] | None) -> None:
        self.client = client
        self.process = process
        """By what a later engine knows the program; None where there is none, or it cannot be told."""
        self.over = asyncio.Event()
        """Set to end it."""


class McpServer:
    """One server."""

    def __init__(
        self,
        name: str,
        settings: McpSettings,
        *,
        root: Path,
        pins: Pins,
        secret: Callable[[str], str],
        spawn: Spawn,
    ) -> None:
        self.name = name
        self.settings = settings
        self._root = root
        self._pins = pins
        self._secret = secret
        self._spawn = spawn
        self._session: _Session | None = None
        self._starting: asyncio.Future[_Session] | None = None
        self._ended = asyncio.Event()
        self._ended.set()
        self._failures = 0
        self._not_before = 0.0
        self._errors: IO[str] | None = None
        self._words: int | None = None
        """Where in its errors the program's own words begin, once that is known."""
        self._refusals = Refusals(name)

    async def tools(self) -> list[McpTool]:
        """Its tools, as they were accepted. Raises `Refused` where they are others now."""
        told = await self.list()
        return [McpTool(self, each) for each in told if any(fnmatchcase(each.name, p) for p in self.settings.allow)]

    async def list(self) -> list[Told]:
        """All tools that it has now. Raises `Refused` unless they are what was accepted."""
        told = await self._listed()
        found = self._pins.check(self.name, self._seen(told))
        if found:
            more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
            raise Refused(
                f"the MCP server `{self.name}` is not what was accepted: {'; '.join(found[:5])}{more}",
                hint=f"its tools are not offered until an operator looks at this: `fleet tools accept {self.name}`",
            )
        return told

    async def _listed(self) -> list[Told]:
        was_open = self._session
        session = await self._open()
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await self._told(session)
        except FleetError:
            raise
        except Exception as error:
            self._lose(session)
            self._failed()
            if session is was_open:
                # It died while nobody used it. To list its tools changes nothing, so it may be tried again.
                return await self._listed()
            raise Refused(f"the MCP server `{self.name}` does not list its tools: {self._reason(error)}") from None

    async def differences(self) -> list[str]:
        """What is different from what was accepted; a server that nobody has seen before is recorded as it is."""
        return self._pins.check(self.name, self._seen(await self._listed()))

    async def accept(self) -> list[str]:
        """Accept the server as it is now; what was different."""
        told = await self._listed()
        seen = self._seen(told)
        found = self._pins.check(self.name, seen)
        self._pins.accept(self.name, seen)
        return found

    async def call(self, tool: str, arguments: Mapping[str, Any], room: ToolRoom) -> Any:
        """The SDK's result. Raises what the SDK raises; a connection that is lost is given up."""
        session = await self._open()
        before = len(self._refusals.statuses)
        if session.process is not None:
            await room.runs(session.process)
        try:
            async with asyncio.timeout(self.settings.timeout + 5):
                result = await session.client.call_tool(
                    tool, dict(arguments), read_timeout_seconds=self.settings.timeout, meta={KEY: room.key}
                )
        except BaseException as error:
            if not _is_answer(error):
                self._lose(session)
                self._failed()
            elif self._refusals.unsure(before):
                raise ConnectionError(self._refusals.told()) from error
            raise
        self._failures = 0
        return result

    async def close(self) -> None:
        """End it, and wait until it has."""
        if self._session is not None:
            self._lose(self._session)
        await self._ended.wait()

    def reason(self, error: BaseException) -> str:
        """What went wrong, with the last words of the program."""
        return self._reason(error)

    async def _open(self) -> _Session:
        while self._starting is None and not self._ended.is_set():
            if self._session is not None:
                return self._session
            await self._ended.wait()
        if self._starting is None:
            wait = self._not_before - asyncio.get_running_loop().time()
            if wait > 0:
                raise Refused(
                    f"the MCP server `{self.name}` failed {self._failures} times in a row; it is started again in "
                    f"{wait:.0f} s at the earliest. {self._last_words()}".rstrip()
                )
            self._starting = asyncio.get_running_loop().create_future()
            self._ended.clear()
            self._spawn(self._own(self._starting))
        starting = self._starting
        try:
            async with asyncio.timeout(self.settings.start_timeout):
                return await asyncio.shield(starting)
        except TimeoutError:
            raise Refused(
                f"the MCP server `{self.name}` did not start within {self.settings.start_timeout:g} s. "
                f"{self._last_words()}".rstrip()
            ) from None
        except FleetError:
            raise
        except Exception as error:
            raise Refused(f"the MCP server `{self.name}` does not start: {self._reason(error)}") from None

    async def _own(self, started: asyncio.Future[_Session]) -> None:
        """The connection's own task: the SDK wants it closed where it was opened."""
        session: _Session | None = None
        try:
            client = await self._client()
            async with asyncio.timeout(self.settings.start_timeout) as limit, client:
                limit.reschedule(None)
                session = self._session = _Session(client, self._process())
                self._starting = None
                if not started.done():
                    started.set_result(session)
                await session.over.wait()
        except asyncio.CancelledError:
            if not started.done():
                started.cancel()
            raise
        except BaseException as error:
            if session is None:
                self._failed()
                if not started.done():
                    started.set_exception(error if isinstance(error, Exception) else RuntimeError(str(error)))
                    # Who waited may have given up already.
                    started.exception()
        finally:
            if self._session is session:
                self._session = None
            self._starting = None
            self._ended.set()

    async def _client(self) -> Any:
        mcp: Any = await asyncio.to_thread(import_module, "mcp")
        settings = self.settings
        if settings.url is not None:
            http: Any = await asyncio.to_thread(import_module, "mcp.client.streamable_http")
            transport = http.streamable_http_client(settings.url, http_client=await self._http_client())
        else:
            stdio: Any = await asyncio.to_thread(import_module, "mcp.client.stdio")
            transport = stdio.stdio_client(self._program(stdio), errlog=self._open_errors())
        about: Any = (await asyncio.to_thread(import_module, "mcp.types")).Implementation
        return mcp.Client(
            transport,
            read_timeout_seconds=settings.timeout,
            cache=None,
            client_info=about(name="fleetprompt", version="1"),
        )

    async def _http_client(self) -> Any:
        httpx2: Any = await asyncio.to_thread(import_module, "httpx2")
        headers = {header: self._secret(secret).strip() for header, secret in self.settings.secrets.items()}
        times = httpx2.Timeout(self.settings.timeout + 5, connect=10.0)
        self._refusals = Refusals(self.name)
        hooks = {"response": [self._refusals.notice]}
        return httpx2.AsyncClient(headers=headers, timeout=times, follow_redirects=False, event_hooks=hooks)

    def _program(self, stdio: Any) -> Any:
        assert self.settings.command is not None
        program, *arguments = self.settings.command
        self._words = None
        env = {name: os.environ[name] for name in self.settings.env if name in os.environ}
        env |= {variable: self._secret(secret) for variable, secret in self.settings.secrets.items()}
        if self._there(program, env.get("PATH") or os.environ.get("PATH")):
            program, arguments = SHELL, ["-c", TELLS_PID, "sh", program, *arguments]
        return stdio.StdioServerParameters(command=program, args=arguments, env=env, cwd=self._root)

    def _there(self, program: str, path: str | None) -> bool:
        """Whether it can be started, as far as that can be told: what cannot is complained about by whoever tries."""
        if "/" in program:
            return os.access(self._root / program, os.X_OK)
        return sys.platform != "win32" and shutil.which(program, path=path) is not None

    def _process(self) -> dict[str, Any] | None:
        """The program that was started last, once it has told its pid."""
        if self.settings.command is None or self._errors is None:
            return None
        said = os.pread(self._errors.fileno(), LONGEST_PID, 0).partition(b"\n")
        if not said[1] or not said[0].isdigit():
            return None
        self._words = len(said[0]) + 1
        return identity(int(said[0]), self.settings.command[0]) | {"shared": True}

    def _open_errors(self) -> IO[str]:
        if self._errors is not None:
            self._errors.close()
        self._errors = TemporaryFile("a+", encoding="utf-8", errors="replace", prefix="fleet-mcp-")  # noqa: SIM115 kept open
        return self._errors

    async def _told(self, session: _Session) -> list[Told]:
        told: list[Told] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await session.client.list_tools(cursor=cursor)
            told += [tool_told(tool, self.name) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None or len(told) > MOST_TOOLS:
                break
        if len(told) > MOST_TOOLS or cursor is not None:
            raise InvalidInput(f"the MCP server `{self.name}` has more than {MOST_TOOLS} tools")
        if len({each.name for each in told}) < len(told):
            raise InvalidInput(f"the MCP server `{self.name}` has two tools of the same name")
        return told

    def _seen(self, told: list[Told]) -> SeenServer:
        start = self.settings.url or msgspec.json.encode(self.settings.command).decode()
        return SeenServer(start=start, tools={each.name: seen_tool(each.whole) for each in told})

    def _lose(self, session: _Session) -> None:
        session.over.set()
        if self._session is session:
            self._session = None

    def _failed(self) -> None:
        self._failures += 1
        # One that dies once is started again at once.
        wait = min(LONGEST_BACKOFF, 2.0 ** (self._failures - 2)) if self._failures > 1 else 0.0
        self._not_before = asyncio.get_running_loop().time() + wait

    def _reason(self, error: BaseException) -> str:
        inner: Any = error
        while hasattr(inner, "exceptions"):
            inner = inner.exceptions[0]
        text = str(inner) or type(inner).__name__
        if text.rstrip(".") == NO_REASON:
            text = self._refusals.told() or text
        text = inert(self._scrubbed(text)).rstrip(".")[:300]
        return f"{text}. {self._last_words()}".rstrip()

    def _last_words(self) -> str:
        """The end of what the program wrote to its errors, which is kept no longer than that."""
        if self._errors is None or self._errors.closed:
            return ""
        fd = self._errors.fileno()
        end = os.fstat(fd).st_size
        if self._words is None:
            # It has not come so far that anybody asked for its pid.
            self._process()
        text = os.pread(fd, 2000, max(self._words or 0, end - 2000)).decode("utf-8", "replace")
        if end > ERRORS_KEPT:
            os.ftruncate(fd, 0)
            self._words = 0
        lines = [line for line in text.splitlines() if line.strip()][-3:]
        return f"It wrote: {inert(self._scrubbed(' / '.join(lines)))[:500]}" if lines else ""

    def _scrubbed(self, text: str) -> str:
        for secret in self.settings.secrets.values():
            try:
                value = self._secret(secret).strip()
            except FleetError:
                continue
            text = text.replace(value, "•••") if len(value) >= 4 else text
        return text


def _is_answer(error: BaseException) -> bool:
    """Whether the server answered, with an error; anything else means that the connection is not what it was."""
    code = getattr(error, "code", None)
    return type(error).__name__.endswith("MCPError") and isinstance(code, int) and -32700 <= code <= -32600


class McpTool:
    """A tool of a server."""

    def __init__(self, server: McpServer, told: Told) -> None:
        self._server = server
        self._told = told
        safe = any(fnmatchcase(told.name, pattern) for pattern in server.settings.safe)
        self.info = ToolInfo(
            spec=ToolSpec(f"{server.name}.{told.name}", told.description or told.name, told.schema),
            reach="read" if safe else "write",
            repeat="safe" if safe else "never",
            verdict="ask",
            untrusted=True,
            origin=f"mcp {server.name}",
        )

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Whether arguments fit the server's schema. Raises `InvalidInput`."""
        check_arguments(self.info.spec.name, self._told.schema, arguments)

    async def preview(self, arguments: Mapping[str, Any], room: ToolRoom) -> Preview:
        """The arguments, bound to what the server says that the tool is."""
        del room
        self.check(arguments)
        given = dict(arguments)
        return Preview(
            summary=f"{self.info.spec.name} {summary_of(given)}",
            show=given,
            risk="" if self.info.reach == "read" else f"whatever the server `{self._server.name}` makes of it",
            bound={"tool": seen_tool(self._told.whole).digest},
            subject=given,
            covers=given,
        )

    async def call(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome:
        """Call it, if its server still is what was accepted."""
        name = self.info.spec.name
        try:
            self.check(arguments)
            now = {each.name: each for each in await self._server.list()}.get(self._told.name)
            if now is None or seen_tool(now.whole) != seen_tool(self._told.whole):
                raise Refused(f"the tool `{name}` has changed since it was offered", hint="look at it again")
            if room.bound is not None and room.bound != {"tool": seen_tool(now.whole).digest}:
                raise Refused(f"the tool `{name}` has changed since the call was decided", hint="look at it again")
        except FleetError as error:
            return refused(error)
        try:
            result = await self._server.call(self._told.name, arguments, room)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            reason = self._server.reason(error)
            room.log(f"{name}: {reason}", "warning")
            if _is_answer(error):
                return Failed(Failure("TOOL_ERROR", f"`{name}` answered with an error: {reason}", retryable=False))
            return Unknown(f"`{name}` was called, and no answer came: {reason}")
        if result.is_error:
            return Failed(Failure("TOOL_ERROR", f"`{name}` failed: {text_told(result) or 'it does not say why'}"))
        return Done(content_told(result))

    async def reconcile(self, arguments: Mapping[str, Any], room: ToolRoom) -> Outcome | None:
        """Nobody can tell."""
        del arguments, room
        return None
