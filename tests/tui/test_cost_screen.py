"""The cost screen: from an amount to the runs behind it."""

from __future__ import annotations

from pathlib import Path

from fleetprompt.client.opening import open_console
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.cost import CostScreen
from fleetprompt.tui.screens.runs import RunsScreen
from tests.client.client_kit import place_at
from tests.tui.test_runs_screen import until
from tests.tui.test_state_cost import spent
from tests.tui.tui_kit import NOW, put, reading


async def test_a_workflow_leads_to_its_runs(tmp_path: Path) -> None:
    (tmp_path / ".fleet").mkdir()
    async with reading(tmp_path / ".fleet") as client:
        await put(client, spent(1, "audit", "s", 30, NOW - 60), spent(2, "deploy now", "s", 70, NOW - 50))
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "attach"), who="ana", now=lambda: NOW, link="cost")
    async with app.run_test(size=(100, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, CostScreen) and app.screen.cost.loaded)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        await until(pilot, lambda: screen.runs is not None and screen.runs.filter == 'wf:"deploy now"')
    assert app.client is not None
    await app.client.close()
