"""What pictures of the console are compared with, and how."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from textual.pilot import Pilot

from tests.tui.deciding_kit import Desk
from tests.tui.idle import wait_until_all_is_done
from tests.tui.recorded import RecordedProject, shop
from tests.tui.recorded_console import StillConsole, pressing, still

HOW = (
    "the picture is another one: the report whose address is printed below shows both. "
    "If it is to look so from now on: pytest tests/tui/test_snapshots*.py --snapshot-update"
)
VARIABLES = ("NO_COLOR", "FORCE_COLOR", "COLORFGBG", "SSH_CONNECTION", "FLEET_SSH_PEER", "COLUMNS", "LINES")
SIZES = {"small": (60, 20), "usual": (80, 24), "wide": (132, 36), "huge": (200, 50)}
wait_until_all_is_done()
Act = Callable[[Pilot[Any]], Awaitable[None]]


class Looks(Protocol):
    """Compares a console with its picture."""

    def __call__(self, *keys: str, size: str = "usual", act: Act | None = None, **options: Any) -> None: ...


@pytest.fixture
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with all colours that takes every character."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """Where runs pay, and do not learn what became of it."""
    made = Desk()
    async with await asyncio.start_server(made.take, "127.0.0.1", 0) as server:
        made.url = "http://127.0.0.1:{1}/".format(*server.sockets[0].getsockname())
        yield made


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedProject:
    """The shop, put into a store once."""
    project = RecordedProject(tmp_path_factory.mktemp("shop"))
    asyncio.run(project.put(*shop()))
    return project


@pytest.fixture
def project(
    same_everywhere: None, recorded: RecordedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RecordedProject:
    """The shop in a folder of its own, which is called the same everywhere."""
    del same_everywhere
    monkeypatch.chdir(tmp_path)
    return recorded.copy(Path("shop"))


@pytest.fixture
def looks(snap_compare: Callable[..., bool], project: RecordedProject) -> Looks:
    """Compare the shop, after some keys, with its picture."""

    def compare(
        *keys: str, size: str = "usual", act: Act | None = None, app: StillConsole | None = None, **options: Any
    ) -> None:
        console = app if app is not None else still(project, **options)
        assert snap_compare(console, terminal_size=SIZES[size], run_before=act or pressing(*keys)), HOW

    return compare
