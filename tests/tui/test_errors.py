"""What goes wrong under a console: told where it is meant for people, never a traceback, and nothing stops for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.tui.errors import explained
from tests.tui.test_runs_screen import console, runs_of, until


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = StoreUnavailable("it is locked", where="/x/fleet.db", hint="wait")
    assert explained(error) == "it is locked (/x/fleet.db) — wait"
    assert explained(StoreUnavailable("/x is locked", where="/x")) == "/x is locked"


async def test_what_a_key_could_not_do_is_told_and_the_next_key_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(tmp_path) as (app, pilot):

        async def locked() -> None:
            raise StoreUnavailable("the store is locked", hint="wait")

        monkeypatch.setattr(app.screen, "do_run_cancel", locked)
        await pilot.press("x")
        await until(pilot, lambda: "the store is locked — wait" in [m.text for m in app.fleet.messages])
        await pilot.press("g", "m")
        await until(pilot, lambda: app.screen.NAME == "messages")  # type: ignore[attr-defined]


async def test_what_a_worker_could_not_read_is_told_and_the_list_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(tmp_path) as (app, pilot):

        async def locked() -> None:
            raise StoreUnavailable("the store is locked")

        app.run_worker(locked())
        told = "INTERNAL: the store is locked (^r reads again)"
        await until(pilot, lambda: told in [m.text for m in app.fleet.messages])
        assert runs_of(app).loaded
