"""The table of actions: each is done at every place that it names, and offered where it can be done."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from rich.cells import cell_len

from fleetprompt.client.opening import open_console
from fleetprompt.tui import screens
from fleetprompt.tui.actions import ACTIONS, BY_ID, at, method
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.links import SCREENS
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.widgets.bars import FootBar
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.log_view import LogLines
from tests.client.client_kit import place_at
from tests.tui.test_runs_screen import console, until


def test_ids_are_unique() -> None:
    assert len(BY_ID) == len(ACTIONS)


def test_a_place_knows_its_actions_in_the_order_of_the_table() -> None:
    found = at(["runs"])
    assert BY_ID["run.cancel"] in found
    assert BY_ID["approval.edit"] not in found
    assert [ACTIONS.index(action) for action in found] == sorted(ACTIONS.index(action) for action in found)
    assert method("run.cancel") == "do_run_cancel"


def every_screen(kind: type[ConsoleScreen] = ConsoleScreen) -> Iterator[type[ConsoleScreen]]:
    for module in iter_modules(screens.__path__):
        import_module(f"{screens.__name__}.{module.name}")
    for known in kind.__subclasses__():
        yield known
        yield from every_screen(known)


def doing(tmp_path: Path) -> dict[str, list[type]]:
    """The classes that do what is to be done at a place."""
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "none"), who="ana")
    found: dict[str, list[type]] = {
        "console": [type(part) for part in app.parts],
        "list": [Lines],
        "log": [LogLines],
    }
    for screen in every_screen():
        for place in screen.PLACES:
            found.setdefault(place, []).append(screen)
    return found


def test_every_action_is_done_at_every_place_that_it_names(tmp_path: Path) -> None:
    classes = doing(tmp_path)
    missing = [
        (action.id, place)
        for action in ACTIONS
        for place in action.where
        if not any(hasattr(each, method(action.id)) for each in classes[place])
    ]
    assert missing == []


def test_nothing_is_done_that_is_not_in_the_table(tmp_path: Path) -> None:
    known = {method(action.id) for action in ACTIONS}
    done = {
        name for classes in doing(tmp_path).values() for each in classes for name in dir(each) if name.startswith("do_")
    }
    assert done <= known


@pytest.mark.parametrize("width", [80, 60, 40])
async def test_the_footer_of_every_screen_fits_and_ends_with_the_way_out(tmp_path: Path, width: int) -> None:
    async with console(tmp_path, (width, 24)) as (app, pilot):
        for place in SCREENS:
            if place in ("run", "logs", "view", "chat"):
                continue
            await app.go_to(place)
            name = "signals" if place == "signal" else place
            await until(pilot, lambda name=name: getattr(app.screen, "NAME", "") == name)
            parts = app.screen.query_one(FootBar).parts(width - 2)
            keys = [text for text, style in parts if style == "accent"]
            assert keys[-2:] == ["?", "q"]
            assert ":" in keys or width < 80
            assert ("/" in keys) == hasattr(app.screen, "do_filter_edit")
            assert len({*keys}) == len(keys)
            assert cell_len("".join(text for text, _ in parts).rstrip()) <= width - 2
            assert place != "help" or "space" not in keys
            assert ("↵" in keys) == hasattr(app.screen, "on_lines_opened")
