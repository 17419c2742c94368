"""The console in a real terminal: what an operator does with it, and what terminals, shells and machines do to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import termios
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.engine.core.facts import ApprovalVoted
from fleetprompt.engine.ports import Page, RunHead
from fleetprompt.engine.runtime.lock import engine_holder
from tests.client.client_kit import attached, place_at
from tests.tui.terminal_kit import (
    FLEET,
    PROMPT,
    TRACES,
    Pty,
    Tmux,
    end,
    environment,
    fleet,
    make_project,
    needs_tmux,
    until,
)

T = TypeVar("T")
DECIDED = "0 waiting"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = make_project(tmp_path / "project")
    yield made
    end(made)


@pytest.fixture
def tmux(folder: Path) -> Iterator[Tmux]:
    terminal = Tmux(folder)
    try:
        yield terminal
        assert not TRACES.search(terminal.output), terminal.output[-4000:]
    finally:
        terminal.close()


@pytest.fixture
def pty(folder: Path) -> Iterator[Pty]:
    terminal = Pty(folder)
    try:
        terminal.expect("there are no runs yet")
        yield terminal
        assert not TRACES.search(terminal.text), terminal.text[-4000:]
    finally:
        terminal.close()


def asked(folder: Path, ask: Callable[[AttachedConsole], Awaitable[T]]) -> T:
    """What the store says, asked from here: each `fleet` in a process costs more than most of these tests."""

    async def answer() -> T:
        console = await attached(place_at(folder))
        try:
            return await ask(console)
        finally:
            await console.close()

    return asyncio.run(answer())


def runs(folder: Path) -> list[RunHead]:
    """Every run."""

    async def listed(console: AttachedConsole) -> list[RunHead]:
        return (await console.runs("", Page()))[0]

    return asked(folder, listed)


def start(folder: Path, name: str, *, beside: bool = True) -> None:
    """Start a run `beside` a console, whose engine goes on with it; or with an engine that ends when it waits."""
    command = [*FLEET, "run", f"{name}.yaml", "--no-wait", "--quiet"]
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen(command, cwd=folder, env=environment(), **quiet)
    if beside:
        until(lambda: started.poll() is not None or any(run.workflow == name for run in runs(folder)))
        started.kill()
    started.wait()


def decided(folder: Path) -> list[str]:
    """Who has decided about anything, as the facts of the runs tell."""

    async def votes(console: AttachedConsole) -> list[str]:
        heads, _ = await console.runs("", Page())
        facts = [stored.fact for head in heads for stored in await console.facts(head.id)]
        return [fact.decision for fact in facts if isinstance(fact, ApprovalVoted)]

    return asked(folder, votes)


def inbox(tmux: Tmux) -> None:
    """Open what waits for a decision, with the one bill in it."""
    tmux.press("g", "a")
    tmux.expect("oldest first", "Pay the bill?", "amount", "ACME")


def approve(tmux: Tmux, *then: str) -> None:
    """Press `a` until it counts: what has just changed cannot be decided about, and who is told so looks again."""

    def counted() -> bool:
        time.sleep(0.6)
        tmux.press("a")
        return tmux.shows(*then, seconds=4)

    until(counted, lambda: tmux.screen)


def say_yes(tmux: Tmux) -> None:
    """Press `y` until the question is gone: it counts once the end of what is approved has been in sight."""

    def gone() -> bool:
        tmux.press("y")
        time.sleep(0.6)
        return "approve this?" not in tmux.screen

    until(gone, lambda: tmux.screen)


# ---------------------------------------------------------------- as an operator uses it


@needs_tmux
def test_a_run_is_started_appears_is_approved_completes_and_the_terminal_is_as_before(tmux: Tmux, folder: Path) -> None:
    tmux.type("echo before the console")
    tmux.press("Enter")
    modes = tmux.modes()
    tmux.run()
    tmux.expect("live", "there are no runs yet")
    assert tmux.asked("alternate_on") == "1"
    start(folder, "gated")
    tmux.expect("gated", "needs you: Pay the bill?", "1 approval")
    inbox(tmux)
    approve(tmux, DECIDED)
    tmux.press("Escape")
    tmux.expect("gated", "completed")
    tmux.press("q")
    screen = tmux.expect("before the console")
    assert "needs you" not in screen
    assert tmux.asked("alternate_on") == "0"
    until(lambda: tmux.modes() == modes)
    tmux.type("echo code $?")
    tmux.press("Enter")
    tmux.expect("code 0")
    assert (folder / "paid.txt").read_text() == "paid\n"
    assert decided(folder) == ["approved"]


@pytest.mark.long
@needs_tmux
def test_the_demo_opens_the_console_on_its_incident_and_reports(tmux: Tmux) -> None:
    tmux.run("demo")
    tmux.expect("live", "incident-triage", "Restart checkout?", "waits for")
    approve(tmux, "approve this?")
    say_yes(tmux)
    tmux.expect("incident-triage", "completed")
    tmux.press("q")
    screen = tmux.expect("the whole report: demo/incident.md")
    assert "afterwards: ok" in screen or "Incident report" in screen
    assert decided(tmux.folder) == ["approved"]


# ---------------------------------------------------------------- what terminals and shells do


@needs_tmux
def test_a_terminal_that_becomes_tiny_and_large_again(tmux: Tmux, folder: Path) -> None:
    start(folder, "gated", beside=False)
    tmux.run()
    tmux.expect("live", "needs you: Pay the bill?")
    inbox(tmux)
    for _ in range(2):
        tmux.resize(20, 5)
        until(lambda: "runs" not in tmux.screen or len(tmux.screen.splitlines()[0]) <= 20)
        tmux.press("Down", "Up")
        tmux.resize(110, 30)
        tmux.expect("ACME", "Pay the bill?", "oldest first", "quit")
    tmux.press("Escape")
    tmux.expect("gated", "needs you")
    tmux.press("q")
    tmux.expect(PROMPT.strip())


@needs_tmux
def test_the_shell_in_between(tmux: Tmux, folder: Path) -> None:
    start(folder, "gated", beside=False)
    modes = tmux.modes()
    tmux.run()
    tmux.expect("live", "needs you: Pay the bill?")
    assert tmux.modes() != modes
    tmux.press("C-z")
    tmux.expect("Stopped")
    assert tmux.asked("alternate_on") == "0"
    assert tmux.modes() == modes
    assert tmux.asked("mouse_any_flag") == "0"
    tmux.type("fg")
    tmux.press("Enter")
    tmux.expect("live", "needs you: Pay the bill?")
    assert tmux.asked("alternate_on") == "1"
    inbox(tmux)
    approve(tmux, DECIDED)
    tmux.press("q")
    tmux.expect(PROMPT.strip())
    until(lambda: tmux.modes() == modes)
    assert decided(folder) == ["approved"]


def test_sigterm_lets_work_that_must_not_be_repeated_finish_and_gives_the_terminal_back(pty: Pty, folder: Path) -> None:
    start(folder, "slow")
    until(lambda: (folder / "begun").exists())
    pty.process.send_signal(signal.SIGTERM)
    assert pty.ended() == 128 + signal.SIGTERM
    assert (folder / "done").exists()
    assert b"\x1b[?1049l" in pty.raw
    assert termios.tcgetattr(pty.slave) == pty.before
    assert engine_holder(folder / ".fleet" / "engine.lock") is None
    (run,) = runs(folder)
    assert run.status in ("running", "completed")
    assert fleet(folder, "recover").returncode == 0
    (run,) = runs(folder)
    assert run.status == "completed"


def test_who_leaves_while_something_is_read_leaves(pty: Pty, folder: Path) -> None:
    pty.press(":gated")
    pty.process.send_signal(signal.SIGTERM)
    assert pty.ended() == 128 + signal.SIGTERM, pty.text[-6000:]
    assert engine_holder(folder / ".fleet" / "engine.lock") is None


def test_who_leaves_before_the_store_is_open_leaves(folder: Path) -> None:
    terminal = Pty(folder)
    try:
        until(lambda: terminal.read(0.01) or b"\x1b[?1049h" in terminal.raw)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == 128 + signal.SIGTERM
        assert b"\x1b[?1049l" in terminal.raw
        assert not TRACES.search(terminal.text), terminal.text[-4000:]
        assert engine_holder(folder / ".fleet" / "engine.lock") is None
    finally:
        terminal.close()


@pytest.mark.long
def test_a_terminal_that_is_closed_ends_the_console_and_loses_no_approval(pty: Pty, folder: Path) -> None:
    start(folder, "gated")
    pty.expect("needs you")
    pty.hang_up()
    pty.ended()
    assert engine_holder(folder / ".fleet" / "engine.lock") is None
    (approval,) = json.loads(fleet(folder, "approvals", "--json").stdout)
    assert approval["status"] == "pending"
    assert fleet(folder, "approve", approval["id"], "--yes").returncode == 0
    assert fleet(folder, "recover").returncode == 0
    (run,) = runs(folder)
    assert run.status == "completed"
    assert decided(folder) == ["approved"]
    assert (folder / "paid.txt").read_text() == "paid\n"


def test_a_terminal_that_is_closed_lets_work_that_must_not_be_repeated_finish(pty: Pty, folder: Path) -> None:
    start(folder, "slow")
    until(lambda: (folder / "begun").exists())
    pty.hang_up()
    pty.ended()
    assert (folder / "done").exists()
    assert engine_holder(folder / ".fleet" / "engine.lock") is None
    assert fleet(folder, "recover").returncode == 0
    (run,) = runs(folder)
    assert run.status == "completed"


def test_who_is_told_to_go_on_without_having_been_stopped_ends_all_the_same(pty: Pty) -> None:
    threads = Path(f"/proc/{pty.process.pid}/task")
    before = len(list(threads.iterdir()))
    for _ in range(10):
        pty.process.send_signal(signal.SIGCONT)
        pty.read(0.1)
    pty.press("?")
    pty.expect("type a key or a word")
    assert len(list(threads.iterdir())) < before + 10
    pty.hang_up()
    pty.ended()


def test_a_terminal_that_is_closed_ends_what_may_be_done_again(pty: Pty, folder: Path) -> None:
    start(folder, "endless")
    until(lambda: (folder / "pid").exists() and (folder / "pid").read_text())
    program = int((folder / "pid").read_text())
    pty.hang_up()
    pty.ended()
    until(lambda: not Path(f"/proc/{program}").exists())
    assert engine_holder(folder / ".fleet" / "engine.lock") is None


# ---------------------------------------------------------------- what machines do


@needs_tmux
def test_a_store_that_is_locked_for_a_while(tmux: Tmux, folder: Path) -> None:
    start(folder, "gated", beside=False)
    tmux.run()
    tmux.expect("live", "needs you: Pay the bill?")
    with closing(sqlite3.connect(folder / ".fleet" / "fleet.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        inbox(tmux)
        approve(tmux, "your decision is on its way")
        tmux.press("Escape", "g", "h")
        tmux.expect("› health", "STORE")
        other.execute("ROLLBACK")
    tmux.press("g", "r")
    tmux.expect("gated", "completed", "✓ 1")
    tmux.press("q")
    tmux.expect(PROMPT.strip())
    assert decided(folder) == ["approved"]


@needs_tmux
def test_an_engine_that_is_killed_beside_the_console(tmux: Tmux, folder: Path) -> None:
    other = Pty(folder, "run", "gated.yaml")
    try:
        other.expect("Pay the bill?")
        tmux.run()
        tmux.expect("attached", "needs you: Pay the bill?")
        other.process.kill()
        other.process.wait()
        tmux.expect("no engine")
        inbox(tmux)
        approve(tmux, "you have approved it already", "an engine has to carry it out")
    finally:
        other.close()
    tmux.press("q")
    tmux.expect(PROMPT.strip())
    assert fleet(folder, "recover").returncode == 0
    assert decided(folder) == ["approved"]
    assert (folder / "paid.txt").read_text() == "paid\n"


@needs_tmux
def test_the_engine_process_of_a_console_that_is_killed_is_started_again(tmux: Tmux, folder: Path) -> None:
    lock = folder / ".fleet" / "engine.lock"
    tmux.run("--engine", "process")
    tmux.expect("there are no runs yet", "attached")
    start(folder, "gated")
    tmux.expect("needs you: Pay the bill?")
    engine = engine_holder(lock)
    assert engine is not None
    assert engine["pid"] != tmux.child()
    os.kill(engine["pid"], signal.SIGKILL)
    tmux.expect("no engine", "the engine is gone")
    inbox(tmux)
    approve(tmux, "you have approved it already")
    assert not (folder / "paid.txt").exists()
    tmux.press("C-e")
    tmux.expect("attached", DECIDED)
    tmux.press("g", "r")
    tmux.expect("gated", "completed")
    tmux.press("q")
    tmux.expect(PROMPT.strip())
    until(lambda: engine_holder(lock) is None)
    assert decided(folder) == ["approved"]
    assert (folder / "paid.txt").read_text() == "paid\n"
