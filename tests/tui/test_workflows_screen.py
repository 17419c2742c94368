"""The workflows screen in Textual's test driver, on a real project with a real engine and real files."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot
from textual.widgets import Input

from fleetprompt.client.opening import open_console
from fleetprompt.client.workflow_files import WorkflowFiles
from fleetprompt.engine.core.signal import Signal
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.editing import editor
from fleetprompt.tui.screens.base import QUIET
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.runs import RunsScreen
from fleetprompt.tui.screens.source import SourceScreen
from fleetprompt.tui.screens.workflows import WorkflowsScreen
from fleetprompt.tui.widgets.filter_bar import FilterBar
from fleetprompt.tui.widgets.text_view import TextView
from tests.client.client_kit import place_at
from tests.tui.test_runs_screen import until

SLEEPER = """name: sleeper
description: Sleeps.
inputs:
  who: {type: string, required: true}
  times: {type: integer, default: 3}
steps:
  - {id: nap, type: delay, for: 1h}
  - {id: told, type: transform, output: "${{ inputs.who }} ${{ inputs.times }}"}
"""
PLAIN = "name: {name}\nsteps:\n  - {{id: a, type: transform, output: 1}}\n"
BROKEN = "name: plain\nsteps:\n  - {id: a, type: transfrom, output: 1}\n"


class LeavingDriver(HeadlessDriver):
    """A terminal without a screen that can be left to somebody else."""

    @property
    def can_suspend(self) -> bool:
        return True


def write(root: Path, name: str, text: str | None = None) -> Path:
    folder = root / "workflows"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text if text is not None else PLAIN.format(name=name))
    return path


@asynccontextmanager
async def console(
    root: Path, *, leaving: bool = False, read_only: bool = False, home: bool = True
) -> AsyncIterator[tuple[FleetConsole, Pilot[Any], WorkflowsScreen]]:
    """A console that shows the workflows of a project."""
    app = FleetConsole(
        lambda: open_console(place_at(root), "prefer"),
        who="ana",
        read_only=read_only,
        files=WorkflowFiles(root, root / "workflows"),
    )
    if leaving:
        app.driver_class = LeavingDriver
    async with app.run_test(size=(120, 36), headless=not leaving) as pilot:
        await until(pilot, lambda: app.client is not None)
        await app.go_to("workflows")
        await until(pilot, lambda: isinstance(app.screen, WorkflowsScreen))
        screen = app.screen
        assert isinstance(screen, WorkflowsScreen)
        wanted = len(list((root / "workflows").glob("*.yaml")))
        await until(pilot, lambda: screen.workflows is not None and screen.workflows.count == wanted)
        await until(pilot, lambda: screen.entry() is not None and not screen._looking)
        if home:
            await pilot.press("home")
        yield app, pilot, screen
    if app.client is not None:
        await app.client.close()


async def to(pilot: Pilot[Any], screen: WorkflowsScreen, name: str) -> None:
    """Put the cursor on a workflow."""
    await screen.seek(name)
    await until(pilot, lambda: (entry := screen.entry()) is not None and entry.name == name)


async def registered(app: FleetConsole, root: Path, *names: str) -> None:
    assert app.client is not None
    assert app.files is not None
    for name in names:
        file = app.files.look(root / "workflows" / f"{name}.yaml").file
        assert file is not None
        await app.client.register(file)


def told(app: FleetConsole, text: str) -> bool:
    return any(text in message.text for message in app.fleet.messages)


async def statuses(app: FleetConsole) -> dict[str, str]:
    assert app.client is not None
    return {workflow.name: workflow.status for workflow in await app.client.workflows()}


async def test_a_run_is_started_with_what_the_form_was_given_and_then_shown(tmp_path: Path) -> None:
    write(tmp_path, "sleeper", SLEEPER)
    async with console(tmp_path) as (app, pilot, _screen):
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        # What is needed is missing: the form stays.
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, FormDialog)
        for field, text in zip(app.screen.query(Input), ("grace", "5", "env=prod, team=core", "7"), strict=True):
            field.value = text
        await pilot.pause()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert app.client is not None
        run = await app.client.state(await app.client.find("last"))
        assert run.created is not None
        assert run.created.inputs == {"who": "grace", "times": 5}
        assert run.created.labels == {"env": "prod", "team": "core"}
        assert run.created.priority == 7
        assert run.created.owner == "ana"
        assert (await statuses(app))["sleeper"] == "active"


async def test_leaving_the_form_starts_nothing_and_labels_that_are_none_do_not_leave_it(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    async with console(tmp_path) as (app, pilot, screen):
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        app.screen.query(Input).first().value = "no label"
        await pilot.pause()
        await pilot.press("ctrl+s")
        assert isinstance(app.screen, FormDialog)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        assert app.client is not None
        assert await app.client.count("") == 0


async def test_a_broken_draft_is_not_started_and_a_broken_file_starts_what_was_registered(tmp_path: Path) -> None:
    path = write(tmp_path, "plain")
    async with console(tmp_path) as (app, pilot, screen):
        path.write_text(BROKEN)
        await screen.reload()
        await until(pilot, lambda: (entry := screen.entry()) is not None and entry.state is not None)
        await until(pilot, lambda: (entry := screen.entry()) is not None and bool(entry.state and entry.state.errors))
        await to(pilot, screen, "plain")
        await pilot.press("S")
        await until(pilot, lambda: told(app, "mended"))
        path.write_text(PLAIN.format(name="plain"))
        await registered(app, tmp_path, "plain")
        path.write_text(BROKEN)
        await screen.reload()
        await until(pilot, lambda: (e := screen.entry()) is not None and e.workflow is not None and not screen._looking)
        await to(pilot, screen, "plain")
        await pilot.press("S")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert app.client is not None
        assert await app.client.count("wf:plain") == 1


async def test_a_workflow_is_paused_activated_and_archived_after_a_question(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    async with console(tmp_path) as (app, pilot, screen):
        await pilot.press("p")
        await until(pilot, lambda: told(app, "plain is only a file yet"))
        await registered(app, tmp_path, "plain")
        await until(pilot, lambda: (e := screen.entry()) is not None and e.status == "active")
        await pilot.press("p")
        await until(pilot, lambda: (e := screen.entry()) is not None and e.status == "paused")
        await pilot.press("S")
        await until(pilot, lambda: told(app, "plain is paused: activate it first"))
        await pilot.press("P")
        await until(pilot, lambda: (e := screen.entry()) is not None and e.status == "active")
        await pilot.press("A")
        assert isinstance(app.screen, Confirm)
        await pilot.press("n")
        assert (await statuses(app))["plain"] == "active"
        await pilot.press("A", "y")
        await until(pilot, lambda: (e := screen.entry()) is not None and e.status == "archived")
        assert (await statuses(app))["plain"] == "archived"


async def test_marked_workflows_are_paused_together_after_a_question(tmp_path: Path) -> None:
    for name in ("alpha", "beta", "gamma", "draft"):
        write(tmp_path, name)
    async with console(tmp_path) as (app, pilot, screen):
        await registered(app, tmp_path, "alpha", "beta", "gamma")
        await until(pilot, lambda: screen.workflows is not None and len(screen.workflows._known) == 3)
        await pilot.press("asterisk", "p")
        assert isinstance(app.screen, Confirm)
        await pilot.press("y")
        await until(pilot, lambda: told(app, "paused: 3 workflows"))
        assert set((await statuses(app)).values()) == {"paused"}


async def test_a_file_is_edited_checked_and_registered_when_it_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "-x [red] $(touch owned)", PLAIN.format(name="plain"))
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "path, text = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[1]).read_text()\n"
        "path.write_text(text)\n"
    )
    wanted = tmp_path / "wanted.yaml"
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}' '{wanted}'")
    async with console(tmp_path, leaving=True) as (app, pilot, screen):
        wanted.write_text(BROKEN)
        await pilot.press("E")
        await until(pilot, lambda: told(app, "1 error; nothing was registered"))
        assert await statuses(app) == {}
        assert path.read_text() == BROKEN
        wanted.write_text(PLAIN.format(name="plain") + "description: better\n")
        await until(pilot, lambda: (e := screen.entry()) is not None and bool(e.state and e.state.errors))
        await pilot.press("E")
        await until(pilot, lambda: told(app, "registered: plain"))
        assert await statuses(app) == {"plain": "active"}
        await until(pilot, lambda: (e := screen.entry()) is not None and e.workflow is not None and not e.differs)
        await until(pilot, lambda: screen.steady.settled(app.now(), QUIET))
        await pilot.press("E")
        await until(pilot, lambda: told(app, "plain is as it was"))
    assert not list(tmp_path.rglob("owned"))


async def test_a_file_that_an_editor_saved_before_it_failed_is_shown_as_it_is_and_not_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "plain")
    script = tmp_path / "editor.py"
    script.write_text(f"import pathlib, sys\npathlib.Path(sys.argv[1]).write_text({BROKEN!r})\nsys.exit(1)\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{sys.executable}' '{script}'")
    async with console(tmp_path, leaving=True) as (app, pilot, screen):
        await pilot.press("E")
        await until(pilot, lambda: told(app, "the editor ended with code 1"))
        await until(pilot, lambda: (e := screen.entry()) is not None and bool(e.state and e.state.errors))
        assert told(app, "nothing was registered")
        assert await statuses(app) == {}


@pytest.mark.parametrize(
    ("editor", "said"),
    [
        ("vi 'x", "$EDITOR cannot be understood"),
        ("/no/such/editor", "the editor cannot be started: no such file"),
        ("false", "the editor ended with code 1"),
    ],
)
async def test_an_editor_that_cannot_be_had_is_told_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str, said: str
) -> None:
    write(tmp_path, "plain")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor)
    async with console(tmp_path, leaving=True) as (app, pilot, screen):
        await pilot.press("E")
        await until(pilot, lambda: told(app, said))
        assert app.screen is screen


def installed(folder: Path, *names: str) -> dict[str, str]:
    """An environment in which only these programs are there."""
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


def test_where_no_editor_is_named_it_is_vi_or_else_nano(tmp_path: Path) -> None:
    there = installed(tmp_path, "nano")
    assert editor(there) == ["nano"]
    there = installed(tmp_path, "vi")
    assert editor(there) == ["vi"]
    assert editor(there | {"EDITOR": " "}) == ["vi"]
    assert editor(there | {"EDITOR": "ed -s"}) == ["ed", "-s"]
    assert editor(there | {"VISUAL": "code --wait", "EDITOR": "ed"}) == ["code", "--wait"]


async def test_where_there_is_no_editor_at_all_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "plain")
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    async with console(tmp_path, leaving=True) as (app, pilot, screen):
        monkeypatch.setenv("PATH", str(tmp_path))
        await pilot.press("E")
        await until(pilot, lambda: told(app, "no editor is named or installed"))
        assert app.screen is screen


async def test_a_terminal_that_cannot_be_left_is_told_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "plain")
    monkeypatch.setenv("VISUAL", "true")
    async with console(tmp_path) as (app, pilot, _screen):
        await pilot.press("E")
        await until(pilot, lambda: told(app, "this terminal cannot be left to an editor"))


async def test_enter_shows_the_runs_and_v_the_source_with_the_first_error_marked(tmp_path: Path) -> None:
    write(tmp_path, "plain", BROKEN)
    async with console(tmp_path) as (app, pilot, _screen):
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, SourceScreen))
        view = app.screen.query_one(TextView)
        await until(pilot, lambda: view.source.count == 3)
        assert view.cursor == 2
        await pilot.press("escape")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: app.screen.query_one(FilterBar).text == "wf:plain")


async def test_what_has_changed_meanwhile_is_seen_when_the_screen_is_shown_again(tmp_path: Path) -> None:
    path = write(tmp_path, "plain")
    async with console(tmp_path) as (app, pilot, screen):
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, SourceScreen))
        await registered(app, tmp_path, "plain")
        path.write_text(BROKEN)
        await pilot.press("escape")
        await until(pilot, lambda: (e := screen.entry()) is not None and e.workflow is not None)
        await until(pilot, lambda: (e := screen.entry()) is not None and bool(e.state and e.state.errors))


async def test_sorting_by_key_and_title_and_filtering(tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        write(tmp_path, name)
    async with console(tmp_path) as (_app, pilot, screen):
        workflows = screen.workflows
        assert workflows is not None
        await pilot.press("O")
        assert [entry.name for entry in workflows.entries] == ["beta", "alpha"]
        await pilot.press("o")
        assert workflows.sort == "status"
        await pilot.press("slash", *"name:al*", "enter")
        await until(pilot, lambda: workflows.count == 1)
        await pilot.press("escape")
        await until(pilot, lambda: workflows.count == 2)


async def test_who_may_only_look_starts_and_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, "plain")
    async with console(tmp_path, read_only=True) as (app, pilot, screen):
        await pilot.press("S", "p", "A", "E")
        assert [message.text.partition(":")[2] for message in app.fleet.messages] == [" this console is read-only"] * 4
        assert app.screen is screen


async def test_a_project_without_workflows_says_what_one_is(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    app = FleetConsole(
        lambda: open_console(place_at(tmp_path), "prefer"),
        who="ana",
        files=WorkflowFiles(tmp_path, tmp_path / "workflows"),
    )
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: app.client is not None)
        await app.go_to("workflows")
        await until(pilot, lambda: isinstance(app.screen, WorkflowsScreen))
        screen = app.screen
        assert isinstance(screen, WorkflowsScreen)
        await until(pilot, lambda: screen.workflows is not None and screen.workflows.loaded)
        assert screen.lines is not None
        await until(pilot, lambda: bool(screen.lines and screen.lines.empty))
        assert "there are no workflows yet" in screen.lines.empty[0][0]
        await pilot.press("S", "p", "E", "v", "enter", "tab", "right_square_bracket")
        assert app.screen is screen
    assert app.client is not None
    await app.client.close()


TRIGGERED = """name: paid
triggers: [{type: signal, match: "order.*"}]
steps:
  - {id: wait, type: delay, for: 1h}
"""


async def test_a_draft_is_registered_and_listens_once_it_is_activated(tmp_path: Path) -> None:
    write(tmp_path, "paid", TRIGGERED)
    async with console(tmp_path) as (app, pilot, screen):
        assert app.client is not None
        await pilot.press("P")
        await until(pilot, lambda: (e := screen.entry()) is not None and e.status == "active")
        assert told(app, "active: paid")
        sent = Signal(id="s1", type="order.paid", source="test", at=app.now(), by="ana")
        await app.client.publish(sent)
        await app.client.outcome(sent.id)
        assert await app.client.count("wf:paid") == 1


async def test_what_cannot_be_activated_says_what_is_to_be_done(tmp_path: Path) -> None:
    write(tmp_path, "plain", BROKEN)
    async with console(tmp_path) as (app, pilot, _):
        await pilot.press("P")
        await until(pilot, lambda: told(app, "before what is wrong with its file is mended"))
        assert await statuses(app) == {}


async def test_a_draft_is_registered_by_leaving_the_editor_without_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "plain")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "true")
    async with console(tmp_path, leaving=True) as (app, pilot, _):
        await pilot.press("E")
        await until(pilot, lambda: told(app, "registered: plain"))
        assert told(app, "it is active")
        assert await statuses(app) == {"plain": "active"}


async def test_the_cursor_begins_on_the_first_line_also_where_that_is_found_last(tmp_path: Path) -> None:
    for name in ("beta", "gamma"):
        write(tmp_path, name)
    async with console(tmp_path) as (app, _, _):
        await registered(app, tmp_path, "beta", "gamma")
    write(tmp_path, "alpha", BROKEN.replace("plain", "alpha"))
    async with console(tmp_path, home=False) as (_, _, screen):
        assert screen.lines is not None
        assert (screen.lines.cursor, screen.lines.key) == (0, "alpha")
