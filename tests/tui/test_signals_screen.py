"""The signals screen in Textual's test driver, on a real store with a real engine that routes them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from fleetprompt.client.files import load_file
from fleetprompt.client.opening import open_console
from fleetprompt.engine.core.signal import Signal
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.base import QUIET
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.publish import PublishDialog
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.signals import SignalsScreen
from fleetprompt.tui.state.lineage import Place
from fleetprompt.tui.state.signals import PAGE
from fleetprompt.tui.widgets.filter_bar import FilterBar
from tests.client.client_kit import place_at
from tests.tui.test_runs_screen import until

DEPLOY = """name: deploy
triggers:
  - {type: signal, match: "build.*", if: data.branch == 'main'}
steps:
  - {id: told, type: emit, signal: deploy.finished, data: {ok: true}}
"""


@asynccontextmanager
async def console(
    root: Path, *, size: tuple[int, int] = (120, 36), read_only: bool = False
) -> AsyncIterator[tuple[FleetConsole, Pilot[Any], SignalsScreen]]:
    """A console that shows the signals of a project."""
    app = FleetConsole(lambda: open_console(place_at(root), "prefer"), who="ana", read_only=read_only)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.client is not None)
        await app.go_to("signals")
        await until(pilot, lambda: isinstance(app.screen, SignalsScreen))
        screen = app.screen
        assert isinstance(screen, SignalsScreen)
        await until(pilot, lambda: screen.stream is not None and screen.stream.loaded)
        yield app, pilot, screen
    if app.client is not None:
        await app.client.close()


async def register(app: FleetConsole, root: Path) -> None:
    (root / "deploy.yaml").write_text(DEPLOY)
    assert app.client is not None
    await app.client.register(load_file(root / "deploy.yaml"))


async def send(app: FleetConsole, id_: str, type_: str = "build.done", data: Any = None, **fields: Any) -> None:
    assert app.client is not None
    await app.client.publish(Signal(id=id_, type=type_, source="test", at=app.now(), data=data, **fields))


def keys(screen: SignalsScreen) -> list[object]:
    assert screen.stream is not None
    return [screen.stream.key(at) for at in range(screen.stream.count)]


def told(app: FleetConsole, text: str) -> bool:
    return any(text in message.text for message in app.fleet.messages)


def places(screen: SignalsScreen) -> list[Place]:
    source = screen.lineage.source
    return [place for at in range(source.count) if isinstance(place := source.key(at), Place)]


async def test_a_signal_is_written_published_and_seen_with_what_it_started(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await register(app, tmp_path)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, PublishDialog))
        dialog = app.screen
        dialog.query_one("#type", Input).value = "build.done"
        dialog.query_one("#data", TextArea).text = '{"branch": "main"'
        await pilot.pause()
        # It is not JSON yet: it does not leave the dialog.
        await pilot.press("ctrl+s")
        assert app.screen is dialog
        dialog.query_one("#data", TextArea).text = '{"branch": "main"}'
        dialog.query_one("#subject", Input).value = "shop"
        dialog.query_one("#key", Input).value = "k1"
        await pilot.pause()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: told(app, "published: build.done — run"))
        # It is told before the list has it.
        rows = screen.stream
        await until(pilot, lambda: rows is not None and any(row.signal.type == "build.done" for row in rows._rows))
        assert app.client is not None
        found, _, results = await app.client.signal(
            str(next(row.signal.id for row in screen.stream._rows if row.signal.type == "build.done"))
            if screen.stream is not None
            else ""
        )
        assert (found.data, found.subject, found.key, found.by) == ({"branch": "main"}, "shop", "k1", "ana")
        assert found.source == "console/ana"
        assert [result.status for result in results] == ["accepted"]
        # Again with the same key: the first one counts.
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, PublishDialog))
        app.screen.query_one("#type", Input).value = "build.other"
        app.screen.query_one("#key", Input).value = "k1"
        await pilot.pause()
        await pilot.press("ctrl+s")
        await until(pilot, lambda: told(app, "a signal with this key was published before, build.done"))


async def test_the_stream_follows_and_the_lineage_leads_to_the_run(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await register(app, tmp_path)
        await send(app, "s1", data={"branch": "main"})
        await until(pilot, lambda: {"s1"} <= set(keys(screen)))
        await until(pilot, lambda: any(str(row.signal.type) == "deploy.finished" for row in screen.stream._rows))
        await screen.seek("s1")
        await until(pilot, lambda: any(place.kind == "run" for place in places(screen)))
        await until(pilot, lambda: any(place.kind == "signal" and place.part == "effect" for place in places(screen)))
        await pilot.press("enter")
        await until(pilot, lambda: screen.lineage.has_focus)
        run = next(at for at, place in enumerate(places(screen)) if place.kind == "run")
        screen.lineage.go(run)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


async def test_enter_on_a_signal_of_the_lineage_goes_to_it(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await send(app, "s1", "first.one")
        await send(app, "s2", "second.one", causation="s1")
        await until(pilot, lambda: set(keys(screen)) == {"s1", "s2"})
        await screen.seek("s2")
        await until(pilot, lambda: Place("signal", "s1", "cause") in places(screen))
        await pilot.press("enter")
        screen.lineage.go(places(screen).index(Place("signal", "s1", "cause")))
        await pilot.press("enter")
        assert screen.lines is not None
        await until(pilot, lambda: screen.lines is not None and screen.lines.key == "s1" and screen.lines.has_focus)
        await until(pilot, lambda: Place("signal", "s2", "effect") in places(screen))


async def test_replaying_asks_first_and_marked_signals_are_replayed_together(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        for id_ in ("s1", "s2", "s3"):
            await send(app, id_, data={"n": id_}, key=id_)
        await until(pilot, lambda: len(keys(screen)) == 3)
        await pilot.press("home", "space", "space", "R")
        assert isinstance(app.screen, Confirm)
        await pilot.press("n")
        assert app.client is not None
        assert len(keys(screen)) == 3
        await pilot.press("R", "y")
        await until(pilot, lambda: told(app, "replayed: 2 signals"))
        assert screen.stream is not None
        # The cursor is not at the top: they wait to be shown.
        await until(pilot, lambda: screen.stream is not None and screen.stream.fresh == 2)
        await pilot.press("full_stop")
        assert len(keys(screen)) == 5
        copies = [row.signal for row in screen.stream._rows[:2]]
        # The oldest first, as they came, and without their keys.
        assert [copy.causation for copy in copies] == ["s3", "s2"]
        assert all(copy.key.endswith(f"/{copy.causation}") for copy in copies)
        found, _, _ = await app.client.signal(copies[0].id)
        assert (found.data, found.replay_of, found.source) == ({"n": "s3"}, "s3", f"replay/{found.by}")


async def test_the_engines_own_signals_are_not_replayed(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await register(app, tmp_path)
        assert app.client is not None
        await app.client.set_workflow("deploy", "paused", by="ana")
        await until(pilot, lambda: len(keys(screen)) == 1)
        await pilot.press("R")
        await until(pilot, lambda: told(app, "fleet.workflow.set is the engine's own: there is nothing to replay"))
        assert app.screen is screen


async def test_what_a_signal_carries_is_copied_as_json(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await send(app, "s1", data={"a": [1, "é"]})
        await until(pilot, lambda: keys(screen) == ["s1"])
        await pilot.press("Y")
        await until(pilot, lambda: told(app, "copied"))
        assert app.clipboard == '{\n  "a": [\n    1,\n    "é"\n  ]\n}'
        await pilot.press("y")
        await until(pilot, lambda: app.clipboard == "s1")
        await send(app, "s2", data="just text")
        await until(pilot, lambda: keys(screen) == ["s2", "s1"])
        await pilot.press("home", "Y")
        await until(pilot, lambda: app.clipboard == '"just text"')


async def test_links_lead_to_a_filter_and_to_one_signal(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        for id_, type_ in (("s1", "a.one"), ("s2", "b.one")):
            await send(app, id_, type_)
        await until(pilot, lambda: len(keys(screen)) == 2)
        await app.go_to("signals type:a.*")
        await until(pilot, lambda: keys(screen) == ["s1"])
        await app.go_to("signal s2")
        await until(pilot, lambda: keys(screen) == ["s2"])
        await pilot.press("escape")
        await until(pilot, lambda: len(keys(screen)) == 2)
        assert screen.query_one(FilterBar).text == ""


async def test_a_held_stream_says_how_many_are_new(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await send(app, "s1")
        await until(pilot, lambda: keys(screen) == ["s1"])
        await pilot.press("F")
        await send(app, "s2")
        stream = screen.stream
        assert stream is not None
        await until(pilot, lambda: stream.fresh == 1)
        assert keys(screen) == ["s1"]
        await pilot.press("full_stop")
        assert keys(screen) == ["s2", "s1"]


async def test_hostile_signals_are_shown_inert_on_every_size(tmp_path: Path) -> None:
    hostile = "\u202e\x1b[2J\x07[red]x[/red]"
    data = {hostile: "漢字" * 1000, "big": "Z" * 900_000}
    for size in ((120, 36), (60, 20), (20, 6)):
        async with console(tmp_path, size=size) as (app, pilot, screen):
            await send(app, f"s{size[0]}", "hostile.one", data, subject=hostile)
            await send(app, f"t{size[0]}", "hostile.line", "x" * 1_000_000)
            await until(pilot, lambda: len(keys(screen)) >= 2)
            await screen.seek(f"s{size[0]}")
            await until(pilot, lambda: screen._shown is not None and screen._shown.type == "hostile.one")
            await pilot.press("tab", "tab", "tab", "right_square_bracket", "down")
            shown = screen.payload
            assert shown.source.count > 900_000 // 400
            for widget in (screen.lines, shown, screen.lineage):
                assert widget is not None
                drawn = "".join(widget.render_line(y).text for y in range(max(1, widget.size.height)))
                assert "\x1b" not in drawn
                assert "\u202e" not in drawn
            assert not told(app, "Traceback")


async def test_who_may_only_look_publishes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path, read_only=True) as (app, pilot, screen):
        await send(app, "s1")
        await until(pilot, lambda: keys(screen) == ["s1"])
        await pilot.press("n", "R")
        assert app.screen is screen
        assert [message.text for message in app.fleet.messages] == [
            "publish: this console is read-only",
            "replay: this console is read-only",
        ]


async def test_all_that_match_are_marked_and_replayed_also_those_that_were_not_read(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        assert app.client is not None
        for number in range(PAGE + 30):
            await send(app, f"s{number}", data={"n": number})
        await app.client.set_workflow("none", "paused", by="ana")
        await send(app, "other", "deploy.done")
        await screen.reload()
        await pilot.press("asterisk")
        lines = screen.lines
        assert lines is not None
        assert len(lines.selection.marks) == PAGE + 32
        await pilot.press("U")
        await screen.apply_filter("-type:deploy.*")
        await until(pilot, lambda: screen.steady.settled(app.now(), QUIET))
        await pilot.press("asterisk")
        while not isinstance(app.screen, Confirm):
            # What the engine still records may have moved another signal under the cursor just now.
            await until(pilot, lambda: screen.steady.settled(app.now(), QUIET))
            await pilot.press("R")
            await pilot.pause(0.1)
        assert app.screen._title == f"replay {PAGE + 30} signals?"
        said = "\n".join("".join(text for text, _ in line) for line in app.screen._lines)
        assert "build.done" in said
        assert f"… and {PAGE + 22} more signals" in said
        assert "1 signal of the engine's own cannot be replayed" in said
        await pilot.press("y")
        await until(pilot, lambda: told(app, f"replayed: {PAGE + 30} signals"))
        copies = await app.client.signals_of(await app.client.signal_ids("type:build.done"))
        assert [copy.causation for copy in copies[PAGE + 30 :]] == [f"s{number}" for number in range(PAGE + 30)]


STRICT = """
name: strict
triggers: [{id: t, type: signal, match: "deploy.*", inputs: {n: "${{ data.n }}"}}]
inputs: {n: {type: %s}}
steps: [{id: a, type: transform, output: 1}]
"""


def shown(screen: SignalsScreen) -> str:
    """What is said of the signal at the cursor."""
    source = screen.payload.source
    lines = (source.cells(at) for at in range(source.count))
    return str([line for line in lines if line is not None])


async def _strict(app: FleetConsole, root: Path, type_: str) -> None:
    file = root / "strict.yaml"
    file.write_text(STRICT % type_)
    assert app.client is not None
    await app.client.register(load_file(file))


async def asked(app: FleetConsole, pilot: Any, screen: SignalsScreen, *keys: str) -> None:
    """Press keys until the question is there: what has just come under the cursor takes none."""
    while not isinstance(app.screen, Confirm):
        await until(pilot, lambda: screen.steady.settled(app.now(), QUIET))
        await pilot.press(*keys)
        await pilot.pause(0.1)


def offered(screen: SignalsScreen) -> set[str]:
    return {action.id for action in screen.footer()}


async def test_dead_letters_are_offered_where_there_are_any(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await _strict(app, tmp_path, "integer")
        await send(app, "s1", "deploy.done", data={"n": "one"})
        await send(app, "s2", "test.done")
        await screen.apply_filter("type:deploy.done,test.done")
        await until(pilot, lambda: keys(screen) == ["s2", "s1"])
        await until(pilot, lambda: screen._shown is not None and screen._shown.id == "s2")
        assert not {"signal.redo", "signal.dismiss"} & offered(screen)
        await pilot.press("down")
        await until(pilot, lambda: {"signal.redo", "signal.dismiss"} <= offered(screen))
        await pilot.press("up")
        await until(pilot, lambda: not {"signal.redo", "signal.dismiss"} & offered(screen))
        await pilot.press("asterisk")
        await until(pilot, lambda: {"signal.redo", "signal.dismiss"} <= offered(screen))
        await pilot.press("down", "space")
        await until(pilot, lambda: not {"signal.redo", "signal.dismiss"} & offered(screen))
        await pilot.press("U")
        await until(pilot, lambda: {"signal.redo", "signal.dismiss"} <= offered(screen))


async def test_what_could_not_be_started_is_shown_tried_again_and_dismissed(tmp_path: Path) -> None:
    async with console(tmp_path) as (app, pilot, screen):
        await _strict(app, tmp_path, "integer")
        for id_ in ("s1", "s2"):
            await send(app, id_, "deploy.done", data={"n": id_})
        await send(app, "s3", "test.done")
        await screen.apply_filter("dead:strict")
        await until(pilot, lambda: keys(screen) == ["s2", "s1"])
        await until(pilot, lambda: "strict/t" in shown(screen))
        assert {"signal.redo", "signal.dismiss"} <= offered(screen)
        await asked(app, pilot, screen, "R")
        assert isinstance(app.screen, Confirm)
        assert "cannot start strict" in "".join(text for line in app.screen._lines for text, _ in line)
        await pilot.press("n")
        await _strict(app, tmp_path, "string")
        await asked(app, pilot, screen, "home", "D")
        await pilot.press("y")
        await until(pilot, lambda: told(app, "tried again"))
        await until(pilot, lambda: keys(screen) == ["s1"])
        await asked(app, pilot, screen, "home", "X")
        await pilot.press("y")
        await until(pilot, lambda: told(app, "dismissed"))
        await until(pilot, lambda: keys(screen) == [])
        assert app.client is not None
        assert await app.client.count("wf:strict") == 1
