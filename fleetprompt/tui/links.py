"""Deep links: where to go in one line, as the palette takes it and `fleet --open` does.

runs status:failed          run 8f3a1c22 deploy[2].restart        approvals
signals type:order.*        workflows nightly                     cost
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.screens.base import ConsoleScreen
    from fleetprompt.tui.screens.signals import SignalsScreen

S = TypeVar("S", bound="ConsoleScreen")


class Link(Struct, frozen=True):
    """A place in the console."""

    screen: str
    rest: str = ""
    """A filter, or what is to be shown there."""

    @classmethod
    def parse(cls, text: str) -> Link:
        """Read a link. Raises `InvalidInput` for a place that does not exist."""
        screen, _, rest = text.strip().lstrip(":").partition(" ")
        name = _ALIASES.get(screen, screen)
        if name not in SCREENS:
            from fleetprompt.engine.definition.problems import did_you_mean

            hint = did_you_mean(screen, SCREENS) or f"places are {', '.join(SCREENS)}"
            raise InvalidInput(f"there is no place `{screen}`", hint=hint)
        return cls(name, rest.strip())

    def __str__(self) -> str:
        return f"{self.screen} {self.rest}".strip()


async def _shown(app: FleetConsole, kind: type[S]) -> S:
    """The screen of a kind: the one that is open already, with what was opened from it closed, or a new one."""
    found = next((screen for screen in app.screen_stack if isinstance(screen, kind)), None)
    if found is None:
        found = kind()
        await app.push_screen(found)
    while app.screen is not found:
        await app.pop_screen()
    return found


async def _runs(app: FleetConsole, rest: str) -> None:
    from fleetprompt.tui.screens.runs import RunsScreen

    while len(app.screen_stack) > 1:
        await app.pop_screen()
    home = app.screen
    if rest and isinstance(home, RunsScreen):
        await home.apply_filter(rest)


async def _approvals(app: FleetConsole, rest: str) -> None:
    """What waits, filtered, or one approval by its id."""
    from fleetprompt.tui.screens.approvals import ApprovalsScreen

    screen = await _shown(app, ApprovalsScreen)
    if app.client is None or not rest:
        return
    if rest.startswith("ap-") and " " not in rest:
        approval, _ = await app.client.approval(rest)
        await screen.seek(approval)
    else:
        await screen.apply_filter(rest)


async def _workflows(app: FleetConsole, rest: str) -> None:
    """The list, with the cursor on a workflow, or filtered."""
    from fleetprompt.tui.screens.workflows import WorkflowsScreen

    screen = await _shown(app, WorkflowsScreen)
    if rest:
        await screen.seek(rest)


async def _signals(app: FleetConsole, rest: str) -> None:
    """The stream, filtered."""
    await (await _stream(app)).apply_filter(rest)


async def _signal(app: FleetConsole, rest: str) -> None:
    """The stream, with the cursor on a signal."""
    screen = await _stream(app)
    if rest:
        await screen.seek(rest)


async def _stream(app: FleetConsole) -> SignalsScreen:
    from fleetprompt.tui.screens.signals import SignalsScreen

    return await _shown(app, SignalsScreen)


def _screen(module: str, name: str) -> Callable[[FleetConsole, str], Awaitable[None]]:
    """Open a screen that needs nothing, or the one that is open already."""

    async def show(app: FleetConsole, rest: str) -> None:
        await _shown(app, getattr(import_module(f"fleetprompt.tui.screens.{module}"), name))

    return show


async def _run(app: FleetConsole, rest: str) -> None:
    from fleetprompt.tui.screens.run import RunScreen

    run, _, path = rest.partition(" ")
    await app.push_screen(RunScreen(run or "last", path.strip()))


SCREENS: dict[str, Callable[[FleetConsole, str], Awaitable[None]]] = {
    "runs": _runs,
    "run": _run,
    "cost": _screen("cost", "CostScreen"),
    "health": _screen("health", "HealthScreen"),
    "approvals": _approvals,
    "workflows": _workflows,
    "signals": _signals,
    "signal": _signal,
    "messages": _screen("messages", "MessagesScreen"),
    "help": _screen("help", "HelpScreen"),
}
_ALIASES = {"wf": "workflows", "ap": "approvals", "sig": "signals", "home": "runs", "msg": "messages"}


async def follow(app: FleetConsole, link: Link) -> None:
    """Go there. Raises `FleetError` when that is not possible."""
    await SCREENS[link.screen](app, link.rest)
