"""Deep links: where to go in one line, as the palette takes it and `fleet --open` does.

runs status:failed          run 8f3a1c22 deploy[2].restart        approvals
signals type:order.*        workflows nightly                     cost
agents sre                  chat sre
schedules nightly-audit
view needs you              logs last
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from fleetprompt.engine.core.errors import FleetError, InvalidInput

if TYPE_CHECKING:
    from textual.screen import Screen

    from fleetprompt.tui.app import FleetConsole
    from fleetprompt.tui.screens.base import ConsoleScreen
    from fleetprompt.tui.screens.signals import SignalsScreen

MOST_OPEN = 12
"""Screens that are open at once. Who goes from run to run for longer leaves the last one for the next."""
S = TypeVar("S", bound="ConsoleScreen")
Go = Callable[["FleetConsole", str, bool], Awaitable[None]]
"""Goes to a place: what is to be shown there, and whether it is jumped to (see `follow`)."""


class Link(Struct, frozen=True):
    """A place in the console."""

    screen: str
    rest: str = ""
    """A filter, or what is to be shown there."""

    @classmethod
    def parse(cls, text: str) -> Link:
        """Read a link. Raises `InvalidInput` for a place that does not exist."""
        screen, _, rest = text.strip().lstrip(":").partition(" ")
        name = ALIASES.get(screen, screen)
        if name not in SCREENS:
            from fleetprompt.engine.core.closest import did_you_mean

            hint = did_you_mean(screen, SCREENS) or f"places are {', '.join(SCREENS)}"
            raise InvalidInput(f"there is no place `{screen}`", hint=hint)
        return cls(name, rest.strip())

    def __str__(self) -> str:
        return f"{self.screen} {self.rest}".strip()


async def _shown(app: FleetConsole, kind: type[S], jump: bool) -> S:
    """The screen of a kind: the one that is open already, with what was opened from it closed, or a new one."""
    found = next((screen for screen in app.screen_stack if isinstance(screen, kind)), None)
    if found is None:
        found = kind()
        await _open(app, found, jump)
    await return_to(app, found)
    return found


async def _open(app: FleetConsole, screen: ConsoleScreen, jump: bool) -> None:
    """Show a new screen. One that is jumped to takes the place of another that was: esc leads to where the first jump
    was from, however many there were."""
    screen.jumped = jump
    top = app.underneath()
    if jump and top is not None and top.jumped and app.screen is top:
        await app.switch_screen(screen)
        return
    if len(app.screen_stack) >= MOST_OPEN:
        await app.pop_screen()
    await app.push_screen(screen)


async def return_to(app: FleetConsole, screen: Screen[Any]) -> None:
    """Close what is open above a screen."""
    while app.screen is not screen and screen in app.screen_stack:
        await app.pop_screen()


async def _runs(app: FleetConsole, rest: str, jump: bool) -> None:
    """The home, filtered; for who comes there from what the runs are about, a list of its own: esc leads back."""
    from fleetprompt.tui.screens.runs import RunsScreen

    home = app.screen_stack[0]
    if jump or not rest:
        await return_to(app, home)
        if rest and isinstance(home, RunsScreen):
            await home.apply_filter(rest)
        return
    found = next((each for each in app.screen_stack if isinstance(each, RunsScreen) and each.base == rest), None)
    if found is not None:
        await return_to(app, found)
    else:
        await _open(app, RunsScreen(rest), jump)


async def _view(app: FleetConsole, rest: str, jump: bool) -> None:
    """Runs, as they were saved under a name."""
    from fleetprompt.tui.screens.runs import RunsScreen

    view = app.views.named(rest)
    if view is None:
        from fleetprompt.engine.core.closest import did_you_mean

        names = [view.name for view in app.views.all()]
        raise InvalidInput(
            f"there is no view `{rest}`", hint=did_you_mean(rest, names) or f"views are {', '.join(names)}"
        )
    home = app.screen_stack[0]
    await return_to(app, home)
    if isinstance(home, RunsScreen):
        await home.show_view(view)


async def _approvals(app: FleetConsole, rest: str, jump: bool) -> None:
    """What waits, filtered, or one approval by its id."""
    from fleetprompt.tui.screens.approvals import ApprovalsScreen

    screen = await _shown(app, ApprovalsScreen, jump)
    if app.client is None or not rest:
        return
    if rest.startswith("ap-") and " " not in rest:
        approval, _ = await app.client.approval(rest)
        await screen.seek(approval)
    else:
        await screen.apply_filter(rest)


async def _workflows(app: FleetConsole, rest: str, jump: bool) -> None:
    """The list, with the cursor on a workflow, or filtered."""
    from fleetprompt.tui.screens.workflows import WorkflowsScreen

    screen = await _shown(app, WorkflowsScreen, jump)
    if rest:
        await screen.seek(rest)


async def _agents(app: FleetConsole, rest: str, jump: bool) -> None:
    """The list, with the cursor on an agent, or filtered."""
    from fleetprompt.tui.screens.agents import AgentsScreen

    screen = await _shown(app, AgentsScreen, jump)
    if rest:
        await screen.seek(rest)


async def _schedules(app: FleetConsole, rest: str, jump: bool) -> None:
    """The list, with the cursor on a schedule, or filtered."""
    from fleetprompt.tui.screens.schedules import SchedulesScreen

    screen = await _shown(app, SchedulesScreen, jump)
    if rest:
        await screen.seek(rest)


async def _chat(app: FleetConsole, rest: str, jump: bool) -> None:
    """A conversation with an agent or a workflow. Raises `NotFound` where none of that name takes messages."""
    from fleetprompt.tui.screens.chat import ChatScreen
    from fleetprompt.tui.state.chat import conversations_with

    if not rest:
        await _agents(app, "", jump)
        return
    if app.client is not None:
        await conversations_with(app.client, rest)
    found = next((each for each in app.screen_stack if isinstance(each, ChatScreen) and each.agent == rest), None)
    if found is not None:
        await return_to(app, found)
    else:
        await _open(app, ChatScreen(rest), False)


async def _signals(app: FleetConsole, rest: str, jump: bool) -> None:
    """The stream, filtered."""
    await (await _stream(app, jump)).apply_filter(rest)


async def _signal(app: FleetConsole, rest: str, jump: bool) -> None:
    """The stream, with the cursor on a signal."""
    screen = await _stream(app, jump)
    if rest:
        await screen.seek(rest)


async def _stream(app: FleetConsole, jump: bool) -> SignalsScreen:
    from fleetprompt.tui.screens.signals import SignalsScreen

    return await _shown(app, SignalsScreen, jump)


def _screen(module: str, name: str) -> Go:
    """Open a screen that needs nothing, or the one that is open already."""

    async def show(app: FleetConsole, rest: str, jump: bool) -> None:
        await _shown(app, getattr(import_module(f"fleetprompt.tui.screens.{module}"), name), jump)

    return show


async def _run(app: FleetConsole, rest: str, jump: bool) -> None:
    """A run: on the screen that shows it already, or on a new one; with the cursor on a step."""
    from fleetprompt.tui.screens.run import RunScreen

    wanted, _, path = rest.partition(" ")
    run = await _found(app, wanted or "last")
    found = next((screen for screen in app.screen_stack if isinstance(screen, RunScreen) and screen.run == run), None)
    if found is not None:
        await return_to(app, found)
        found.seek(path.strip())
        return
    await _open(app, RunScreen(run, path.strip()), False)


async def _logs(app: FleetConsole, rest: str, jump: bool) -> None:
    """What a run has said."""
    from fleetprompt.tui.screens.run import RunScreen

    await _run(app, rest, jump)
    if isinstance(app.screen, RunScreen):
        app.screen.show_log()


async def _found(app: FleetConsole, wanted: str) -> str:
    """The id of a run; where there is none, its screen says so."""
    try:
        return await app.client.find(wanted) if app.client is not None else wanted
    except FleetError:
        return wanted


SCREENS: dict[str, Go] = {
    "runs": _runs,
    "run": _run,
    "logs": _logs,
    "view": _view,
    "cost": _screen("cost", "CostScreen"),
    "health": _screen("health", "HealthScreen"),
    "approvals": _approvals,
    "workflows": _workflows,
    "agents": _agents,
    "chat": _chat,
    "schedules": _schedules,
    "signals": _signals,
    "signal": _signal,
    "messages": _screen("messages", "MessagesScreen"),
    "help": _screen("help", "HelpScreen"),
}
ALIASES = {
    "wf": "workflows",
    "workflow": "workflows",
    "agent": "agents",
    "ap": "approvals",
    "schedule": "schedules",
    "sig": "signals",
    "home": "runs",
    "msg": "messages",
}


async def follow(app: FleetConsole, link: Link, *, jump: bool = False) -> None:
    """Go there. Raises `FleetError` when that is not possible.

    `jump`: by the name of the place, and not from what has to do with it on the screen.
    """
    await SCREENS[link.screen](app, link.rest, jump)
