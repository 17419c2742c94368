"""`fleet` alone: the operator console, with the engine in it, beside it, or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.protocol import Console

EngineChoice = Literal["embedded", "process", "none"]


def open_in_terminal(front: Front, engine: EngineChoice, *, read_only: bool = False, link: str = "") -> int:
    """Show the console until the operator leaves it; its exit code. Raises `FleetError`."""
    _require_project(front)
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.settings import load_settings
    from fleetprompt.tui.state.views import FILE as VIEWS
    from fleetprompt.tui.state.views import Views

    async def show() -> int:
        app = FleetConsole(
            lambda: _open(front, engine),
            who=front.me,
            groups=front.groups_of(front.me),
            times=front.terminal.times,
            settings=load_settings(),
            read_only=read_only,
            link=link,
            views=Views(front.project.state / VIEWS),
        )
        try:
            code = await app.run_async()
        finally:
            if app.client is not None:
                await _close(front, app.client)
        return code or 0

    return front.run(show())


async def _open(front: Front, engine: EngineChoice) -> Console:
    import asyncio
    from importlib import import_module

    # The loop goes on meanwhile: keys are heard, and the frame answers.
    opening = await asyncio.to_thread(import_module, "fleetprompt.client.opening")
    await asyncio.to_thread(opening.load)
    from fleetprompt.client.opening import make_state, open_console

    make_state(front.project.state)
    return await open_console(
        front.place, "attach" if engine == "none" else "prefer", what="fleet console", recover=True
    )


async def _close(front: Front, console: Console) -> None:
    await console.close()


def _require_project(front: Front) -> None:
    """Refuse to make a project where somebody only looks. Raises `NotFound`."""
    from fleetprompt.engine.core.errors import NotFound
    from fleetprompt.settings import FILE, STATE

    root = front.project.root
    if not front.database and not (root / FILE).is_file() and not (root / STATE).is_dir():
        raise NotFound(
            "there is no project here",
            where=str(root),
            hint="`fleet init` makes one, `fleet demo` shows one at work, `fleet --help` lists the commands",
        )
