"""What the screens beside the list of runs look like, as in `test_snapshots.py`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from fleetprompt.client.workflow_files import WorkflowFiles
from fleetprompt.engine.ports import EngineHealth, GroupHealth, LogLine, PoolHealth, StoreHealth, Trouble
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.tui.screens.health import HealthScreen
from fleetprompt.tui.widgets.lines import Lines
from tests.tui.conftest import Act, Looks
from tests.tui.recorded import NOW, RecordedProject, Tape
from tests.tui.recorded_console import pressing, settled, still


def run(name: str, path: str = "") -> str:
    """The link of the run that was recorded under a name."""
    return f"run {Tape(name).run} {path}".strip()


# ---------------------------------------------------------------- workflows

BROKEN = """
name: restart-shop
inputs: {service: {type: strin}}
steps:
  - {id: stop, type: shell, argv: [sh, -c, "echo stopped"], repeat: safe}
  - {id: start, type: shel, needs: [stopp], argv: [sh, -c, "echo started"]}
  - {id: look, type: http, url: "${{ inputs.servce }}"}
"""


@pytest.fixture
def files(project: RecordedProject) -> WorkflowFiles:
    """The files of the shop, one of which is broken."""
    folder = project.root / "workflows"
    (folder / "restart-shop.yaml").write_text(BROKEN)
    return WorkflowFiles(project.root, folder)


@pytest.mark.parametrize("size", ["small", "usual", "wide", "huge"])
def test_workflows_and_what_is_wrong_with_a_file(looks: Looks, files: WorkflowFiles, size: str) -> None:
    looks(link="workflows restart-shop", files=files, size=size)


def test_a_workflow_that_fails_now_and_then(looks: Looks, files: WorkflowFiles) -> None:
    looks(link="workflows publish-docs", files=files, size="wide")


def test_the_form_that_starts_a_workflow(looks: Looks, files: WorkflowFiles) -> None:
    looks("S", link="workflows deploy-canary", files=files, size="wide")


def test_the_source_of_a_workflow(looks: Looks, files: WorkflowFiles) -> None:
    looks("v", link="workflows deploy-canary", files=files)


def test_the_question_before_a_workflow_is_archived(looks: Looks, files: WorkflowFiles) -> None:
    looks("A", link="workflows deploy-canary", files=files)


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("size", ["small", "huge"])
def test_signals_where_there_is_little_room_and_much(looks: Looks, size: str) -> None:
    looks("g", "s", size=size)


def test_a_signal_what_it_carries_and_what_it_caused(looks: Looks) -> None:
    looks("down", "tab", "down", "down", link="signals type:fleet.approval.vote", size="wide")


def test_a_signal_that_is_written(looks: Looks) -> None:
    looks("g", "s", "n", "text:deploy.finished")


def test_the_question_before_many_signals_are_replayed(looks: Looks) -> None:
    looks("space", "space", "R", link="signals type:order.*")


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("times", [1, 2, 3], ids=["step", "model", "day"])
def test_cost_by(looks: Looks, times: int) -> None:
    looks("g", "c", *["b"] * times, size="wide")


@pytest.mark.parametrize("size", ["small", "huge"])
def test_cost_where_there_is_little_room_and_much(looks: Looks, size: str) -> None:
    looks("g", "c", "b", size=size)


def test_cost_where_nothing_was_spent(looks: Looks) -> None:
    looks("g", "c", app=still(RecordedProject(Path("empty"))))


# ---------------------------------------------------------------- health

SIZE = (3_407_872, 524_288)
"""Bytes of the store and of what is written ahead of it: SQLite decides them, and differs from version to version."""
BUSY = EngineHealth(
    state="running",
    store=StoreHealth(where=""),
    pid=4711,
    what="fleet console",
    host="shop-1",
    uptime=7_265.0,
    live_runs=14,
    effects=9,
    timers=3,
    waiting_for_slots=2,
    pools={"http": PoolHealth(8, 8, 3), "shell": PoolHealth(16, 1, 0), "llm": PoolHealth(4, 0, 0)},
    groups=(GroupHealth("deploy/prod", 1, 2),),
    commits=182_340,
    facts=540_112,
    appending=1,
    readers=2,
    lag=0.063,
    troubles=(
        Trouble(NOW - 5_400, "socket", "a client left in the middle of an answer"),
        Trouble(NOW - 61, "logs of run 3f21c0de", "there is no room to write"),
    ),
    holds={Tape("retries").run: "the journal is damaged at fact 7: unknown type `StepMoved`"},
)


def examined(health: EngineHealth | None = None) -> Act:
    """Look at the health of a store, and at an engine that was busy for a minute."""

    async def act(pilot: Pilot[Any]) -> None:
        await pressing("g", "h")(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, HealthScreen)
        found = await screen.client.health()
        store = replace(found.store, bytes=SIZE[0], log_bytes=SIZE[1])
        found = replace(found, pid=4711 if found.pid else 0, store=store)
        if health is not None:
            for second in range(61):
                busy = second * (40 + second % 7 * 9)
                looked = replace(health, store=store, at=NOW - 60 + second)
                screen.health.take(replace(looked, commits=looked.commits + busy, facts=looked.facts + busy * 3))
        else:
            screen.health.take(found)
        screen.query_one(Lines).renew()
        await settled(pilot)

    return act


@pytest.mark.parametrize("size", ["small", "usual", "wide"])
def test_health(looks: Looks, size: str) -> None:
    looks(act=examined(BUSY), size=size)


def test_health_where_no_engine_runs(looks: Looks) -> None:
    looks(act=examined(), engine="none")


def test_health_where_the_engine_does_not_answer(looks: Looks) -> None:
    looks(act=examined(), engine="attached")


def test_health_of_a_store_that_cannot_be_opened(looks: Looks) -> None:
    broken = RecordedProject(Path("broken"))
    Path(broken.place.database).write_text("this is no database, but long enough to look like one" * 20)
    looks("g", "h", app=still(broken))


# ---------------------------------------------------------------- logs

TOLD = (
    ("stdout", "starting the mirror 日本語 🚀 with e\u0301 and a\u0308"),
    ("stdout", "\x1b[2J\x1b[31mred and cleared\x1b[0m \u202etxt.exe\u202c [bold]markup[/] [@click=app.quit]x[/]"),
    ("debug", "resolved mirror.example to 10.0.0.7"),
    ("warning", "the mirror is slow: 2.4 s"),
    ("stderr", "mirror: 503 Service Unavailable"),
    ("info", "x" * 1_000_000),
    ("stdout", "after the long line, a tab\there, a bell \x07 and a return\rhome"),
)


@pytest.fixture
def told(project: RecordedProject) -> str:
    """The link of a run whose step has said everything that a log may hold."""
    tape = Tape("retries")
    path = "upload"

    async def write() -> None:
        store = SqlStore(Path(project.place.database))
        await store.open()
        lines = [
            LogLine(at=NOW - 30 + number, level=level, text=text, path=path)  # type: ignore[arg-type]
            for number, (level, text) in enumerate(TOLD * 3)
        ]
        store.logs.write(tape.run, lines)
        await store.logs.flush()
        await store.close()

    asyncio.run(write())
    return run("retries", path)


def in_log(size: str) -> tuple[str, ...]:
    """Keys to give the log all room, where it stands beside the steps."""
    return () if size in ("small", "usual") else ("z",)


@pytest.mark.parametrize("size", ["small", "wide", "huge"])
def test_a_log_of_everything_that_a_log_may_hold(looks: Looks, told: str, size: str) -> None:
    looks("L", "L", *in_log(size), link=told, size=size)


def test_a_log_whose_long_lines_are_wrapped(looks: Looks, told: str) -> None:
    looks("L", "L", "1", "w", link=told)


def test_a_log_of_which_only_problems_are_shown(looks: Looks, told: str) -> None:
    looks("L", "L", *in_log("wide"), "v", "v", link=told, size="wide")


def test_a_log_in_which_something_was_found(looks: Looks, told: str) -> None:
    looks("L", "L", *in_log("wide"), "slash", "text:mirror", "enter", "N", link=told, size="wide")


def test_a_log_of_which_only_what_was_found_is_shown(looks: Looks, told: str) -> None:
    looks("L", "L", *in_log("wide"), "slash", "text:mirror", "enter", "ampersand", link=told, size="wide")


def test_a_log_that_is_looked_at_above_its_end(looks: Looks, told: str) -> None:
    looks("L", "L", *["up"] * 30, link=told)


def test_a_log_that_is_searched_for_what_cannot_be_understood(looks: Looks, told: str) -> None:
    looks("L", "L", "slash", "text:/(mirror/", "enter", link=told)


# ---------------------------------------------------------------- messages, menus, looks


def test_messages_of_every_kind(looks: Looks) -> None:
    async def act(pilot: Pilot[Any]) -> None:
        app: Any = pilot.app
        app.say("info", "cancelled: run 8f3a1c22")
        app.say("warning", "the engine is gone; ^e starts one here")
        app.say("error", "the journal of run \x1b[31m8f3a1c22\u202e is damaged at fact 7: " + "unknown type " * 12)
        await pressing("g", "m")(pilot)

    looks(act=act)


def test_the_menu_of_keys_with_something_typed(looks: Looks) -> None:
    looks("question_mark", "text:retry")


def test_the_palette(looks: Looks) -> None:
    looks("colon")


def test_letters_to_jump_to(looks: Looks) -> None:
    looks("apostrophe")


def test_the_inputs_and_results_of_a_step(looks: Looks) -> None:
    looks("i", link=run("incident", "ask"), size="wide")


VALUES = ("2",)
"""Keys to the values of a step, where they stand beside it."""


@pytest.mark.parametrize("place", ["run", "approvals"])
def test_the_light_theme(looks: Looks, place: str) -> None:
    looks(*VALUES[: place == "run"], link=run("incident") if place == "run" else place, light=True, size="wide")


@pytest.mark.parametrize("place", ["run", "approvals", "workflows"])
def test_sixteen_colours(looks: Looks, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    looks(*VALUES[: place == "run"], link=run("incident") if place == "run" else place, size="wide")


@pytest.mark.parametrize("place", ["run", "approvals"])
def test_no_colours(looks: Looks, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    looks(link=run("incident") if place == "run" else place)


@pytest.mark.parametrize("place", ["run", "approvals"])
def test_two_hundred_columns(looks: Looks, place: str) -> None:
    looks(*VALUES[: place == "run"], link=run("incident") if place == "run" else place, size="huge")
