"""Where a call of a tool takes place, as the tool sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.core.evolve_work import PROCESS
from fleetprompt.engine.ports.budget import Allowance
from fleetprompt.engine.ports.memory import ToolMemory
from fleetprompt.engine.ports.tool import Startable
from fleetprompt.engine.ports.work import WorkContext


class Room:
    """See `ports.tool.ToolRoom`."""

    def __init__(
        self,
        ctx: WorkContext,
        settings: Mapping[str, Any],
        *,
        key: str = "",
        bound: Any = None,
        timeout: float | None = None,
        memory: ToolMemory | None = None,
        own: Sequence[Allowance] = (),
        call: str = "",
        traceparent: str = "",
    ) -> None:
        """`own`: limits of whoever calls, within those of the step. `call`: under which key programs of the call are
        noted; empty: none are. `traceparent`: see `ToolRoom`."""
        self._ctx = ctx
        self.settings = settings
        self.key = key
        self.bound = bound
        self.timeout = timeout
        self.traceparent = traceparent
        self._memory = memory
        self._own = own
        self._call = call

    @property
    def root(self) -> Path:
        return self._ctx.workspace

    @property
    def run(self) -> str:
        return self._ctx.effect.run

    @property
    def tenant(self) -> str:
        return self._ctx.effect.tenant

    def log(
        self,
        text: str,
        level: Literal["debug", "info", "warning", "error", "stdout", "stderr"] = "info",
        data: Any = None,
    ) -> None:
        """Write to the step's log."""
        self._ctx.log(text, level, data)

    def secret(self, name: str) -> str:
        """The value of a secret. Raises `NotFound`."""
        return self._ctx.secret(name)

    async def startable(self, workflow: str, inputs: Mapping[str, Any]) -> Startable:
        """A workflow with these inputs. Raises `NotFound`, `Refused`, `InvalidInput`."""
        return await self._ctx.startable(workflow, inputs, self._own)

    @property
    def memory(self) -> ToolMemory:
        """What is remembered from one run to the next. Raises `Refused`."""
        if self._memory is None:
            raise Refused("this agent has no memory", hint="add `memory: {scope: agent}` to it")
        return self._memory

    async def runs(self, process: Mapping[str, Any]) -> None:
        """Note a program of the call before it may do anything."""
        if self._call:
            await self._ctx.record((PROCESS, self._call, dict(process)))

    async def in_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a blocking function."""
        return await self._ctx.in_thread(function, *args, **kwargs)

    async def keep(self, content: bytes) -> str:
        """Keep what a call is about to replace."""
        return await self._ctx.keep(content)

    async def kept(self, digest: str) -> bytes:
        """What was kept under that digest. Raises `NotFound`."""
        return await self._ctx.kept(digest)
