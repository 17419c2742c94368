"""The fleet's switch through every face: moved on the command line and over HTTP, seen in the console and by probes."""

from __future__ import annotations

import json
from pathlib import Path

from cli_kit import QUICK, Fleet
from daemon_kit import served
from textual.widgets import Static

from fleetprompt.client.identity import Identity
from fleetprompt.client.opening import open_console
from fleetprompt.daemon.access import Rules
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import ConfirmWithReason
from fleetprompt.tui.widgets.bars import TopBar
from fleetprompt.tui.widgets.lines import Lines
from fleetprompt.tui.widgets.run_bars import RunBar
from tests.client.client_kit import place_at, start_of
from tests.tui.test_runs_screen import runs_of, until


def test_it_is_moved_and_shown_on_the_command_line(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml")
    assert "the fleet is on" in fleet.ok("switch")
    said = fleet("switch", "pause", "--reason", "incident 7")
    assert said.code == 0
    assert "recorded" in said.err, "no engine runs that could carry it out"
    fleet("recover")
    assert fleet("run", "quick.yaml", "--no-wait").code == 3
    for shown in (fleet.ok("runs", "status:pending"), fleet.ok("show", "last")):
        assert "waits: the fleet is paused" in shown
    why = "waits: the fleet is paused"
    assert [row["reason"] for row in fleet.runs("status:pending")] == [why]
    assert json.loads(fleet.ok("show", "last", "--json"))["reason"] == why
    assert fleet("run", "quick.yaml", "--no-wait", "--json", "--quiet").json["reason"] == why
    assert why in fleet("run", "quick.yaml", "--no-wait").err
    shown = fleet.ok("switch")
    assert "the fleet is paused: nothing new starts" in shown
    assert "incident 7" in shown
    found = json.loads(fleet.ok("switch", "--json"))
    assert (found["position"], found["reason"]) == ("paused", "incident 7")
    assert found["by"]
    assert "would be stopped" in fleet("switch", "off").err, "nobody can be asked"
    fleet("switch", "on")
    assert fleet("run", "quick.yaml").code == 0
    assert "the fleet is on" in fleet.ok("switch")


def test_who_watches_a_run_is_told_that_the_fleet_stands_still(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml")
    fleet("switch", "pause")
    fleet("recover")
    terminal = fleet.terminal("run", "quick.yaml")
    terminal.expect("waits: the fleet is paused")
    fleet.ok("switch", "on")
    terminal.expect("✓ result")
    assert terminal.wait() == 0


async def test_it_is_moved_over_http_by_those_who_operate_and_probes_see_it(tmp_path: Path) -> None:
    tokens = {role: Identity(name=role, tenant="default", role=role, via="http") for role in ("viewer", "operator")} | {
        "acme": Identity(name="acme", tenant="acme", role="admin", via="http")
    }
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens) as daemon:

        def as_(name: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {name}"}

        body = {"position": "draining", "reason": "new version"}
        assert (await daemon.http.put("/api/switch", json=body, headers=as_("viewer"))).status_code == 403
        assert (await daemon.http.put("/api/switch", json={"position": "up"}, headers=as_("operator"))).status_code in (
            400,
            422,
        )
        assert (await daemon.http.get("/healthz")).json()["switch"] == "on"
        moved = (await daemon.http.put("/api/switch", json=body, headers=as_("operator"))).json()
        assert (moved["position"], moved["by"], moved["reason"]) == ("draining", "operator", "new version")
        health = (await daemon.http.get("/healthz")).json()
        assert (health["status"], health["switch"]) == ("ok", "draining")
        seen = (await daemon.http.get("/api/switch", headers=as_("acme"))).json()
        assert seen["position"] == "draining"
        await daemon.http.put("/api/switch", json={"position": "on"}, headers=as_("acme"))
        assert (await daemon.http.get("/healthz")).json()["switch"] == "draining", "a tenant moves its own"


async def test_the_top_of_every_screen_shows_it(tmp_path: Path) -> None:
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "prefer"), who="ana")
    async with app.run_test(size=(120, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert app.client is not None

        def top() -> str:
            return "".join(segment.text for segment in app.screen.query_one(TopBar).render_line(0))

        assert "fleet" not in top().replace("FleetPrompt", "")
        await app.client.set_switch("paused", by="ana", reason="incident 7")
        await until(pilot, lambda: "fleet paused" in top())
        assert any("incident 7" in message.text for message in app.fleet.messages)
        (tmp_path / "quick.yaml").write_text(QUICK)
        run = await app.client.start(start_of(tmp_path / "quick.yaml"))
        lines = app.screen.query(Lines).first()
        why = "waits: the fleet is paused"
        await until(pilot, lambda: why in "".join(segment.text for segment in lines.render_line(0)))
        await app.go_to(f"run {run}")
        await until(pilot, lambda: why in "".join(part for part, _ in app.screen.query_one(RunBar).parts(110)))
        await pilot.press("escape")
        await app.client.set_switch("on", by="ana")
        await until(pilot, lambda: "fleet paused" not in top())
        await until(pilot, lambda: why not in "".join(segment.text for segment in lines.render_line(0)))
    await app.door.close()


async def test_the_console_moves_it_from_everywhere_and_asks_before_it_stops_anything(tmp_path: Path) -> None:
    app = FleetConsole(lambda: open_console(place_at(tmp_path), "prefer"), who="ana")
    async with app.run_test(size=(120, 24)) as pilot:
        await until(pilot, lambda: app.client is not None and runs_of(app).loaded)
        assert app.client is not None

        async def do(words: str) -> None:
            await pilot.press("colon", *["space" if letter == " " else letter for letter in words], "enter")

        await do("stop the fleet")
        await until(pilot, lambda: isinstance(app.screen, ConfirmWithReason))
        assert "in doubt" in "".join(str(said.content) for said in app.screen.query(Static))
        await pilot.press("n")
        assert (await app.client.switch()).position == "on"
        await do("health")
        await do("stop the fleet")
        await until(pilot, lambda: isinstance(app.screen, ConfirmWithReason))
        await pilot.press("r", *"fire", "enter")
        await until(pilot, lambda: app.fleet.switch == "off")
        found = await app.client.switch()
        assert (found.position, found.by, found.reason) == ("off", "ana", "fire")
        await do("stop the fleet")
        await until(pilot, lambda: any("off already" in message.text for message in app.fleet.messages))
        await do("switch the fleet on")
        await until(pilot, lambda: app.fleet.switch == "on")
    await app.door.close()
