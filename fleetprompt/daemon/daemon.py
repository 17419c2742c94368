"""A whole daemon: the engine, its files, and its door on the network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.hooks import Hooks
from fleetprompt.client.reloading import Reloaded, Reloading
from fleetprompt.client.workflow_files import WorkflowFiles
from fleetprompt.daemon.access import Access, Authenticate, Counts, Failed, HasTokens, Rules
from fleetprompt.daemon.app import make_app
from fleetprompt.daemon.service import About, ConsoleFor, Measure, Service
from fleetprompt.daemon.serving import Address, serving
from fleetprompt.engine.core.audit import AuditNote
from fleetprompt.engine.core.errors import InvalidInput

FOLDERS = ("workflows", "agents", "schemas")
"""Folders of a project in which a change may change a workflow."""


class Daemon(Struct, kw_only=True):
    """One that answers."""

    url: str
    files: Reloaded
    """What was found as it began."""


@asynccontextmanager
async def daemon(
    console: EmbeddedConsole,
    root: Path,
    folder: Path,
    address: Address,
    rules: Rules,
    *,
    console_for: ConsoleFor,
    authenticate: Authenticate,
    has_tokens: HasTokens,
    counts: Counts,
    told: Callable[[Reloaded], None],
    measure: Measure | None = None,
) -> AsyncGenerator[Daemon]:
    """Serve the engine of a console while this lasts. `counts` tells whether a token still does by which somebody was
    let in, `told` is given what changes of files have brought, `measure` takes the metrics.

    Raises `InvalidInput` for an address that others can reach without tokens and TLS, `Refused` for one that is taken.
    """
    require_safe(address, rules, has_tokens=await has_tokens())
    closing = asyncio.Event()
    names = console.names
    files = WorkflowFiles(root, folder, None if names is None else lambda: names(console.tenant))
    reloading = Reloading(console, files, console.engine.trouble)
    found = await reloading.look()
    async with asyncio.TaskGroup() as group:
        service = Service(
            console_for,
            Access(
                rules,
                authenticate,
                has_tokens,
                failed=_noting(console),
                counts=counts,
            ),
            Hooks(console.engine),
            closing,
            group,
            answers=console.store.kept_answers,
            measure=measure,
        )
        service.about = About(root.resolve().name, console.engine.groups_of)
        watched = tuple(dict.fromkeys((folder, *(root / name for name in FOLDERS))))
        watching = group.create_task(_follow(reloading, watched, told))
        try:
            async with serving(make_app(service), address, closing) as url:
                yield Daemon(url=url, files=found)
        finally:
            closing.set()
            watching.cancel()


def _noting(console: EmbeddedConsole) -> Failed:
    """Tells the audit log of who was not let in."""

    async def failed(address: str, status: int) -> None:
        note = AuditNote(
            tenant=console.tenant,
            at=console.clock.now(),
            by=address,
            via="http",
            action="authenticate",
            outcome="refused",
            code=str(status),
        )
        await console.refusals.add(note)

    return failed


async def _follow(reloading: Reloading, folders: tuple[Path, ...], told: Callable[[Reloaded], None]) -> None:
    async for found in reloading.follow(folders):
        told(found)


def require_safe(address: Address, rules: Rules, *, has_tokens: bool) -> None:
    """Refuse to be reached by others without knowing who they are, or in the clear. Raises `InvalidInput`."""
    if not address.is_public:
        return
    if address.certificate is None:
        raise InvalidInput(
            f"{address.host} can be reached by others, and tokens would travel in the clear",
            hint="give --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that speaks TLS",
        )
    if not has_tokens:
        raise InvalidInput(
            f"{address.host} can be reached by others, and there is no token",
            hint="make one first: fleet token create NAME --role operator",
        )
