"""Real terminals for tests: tmux, in which a shell runs the console as for an operator, and a bare pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.bytecode import bytecode

PATIENCE = 120.0
"""Seconds: a bound for a machine under load, not a measure."""
LOOK = 0.05
ALONE = 0.4
"""Seconds after which an escape is a key, and not the beginning of what the next one sends."""
PACKAGE = Path(__file__).resolve().parents[2]
FLEET = (sys.executable, "-m", "fleetprompt.cli")
PROMPT = "shell> "
TRACES = re.compile("Traceback|Task exception was never|Exception ignored")
"""What a person at a terminal must never see."""

GATED = """
name: gated
steps:
  - {id: before, type: transform, output: {amount: 12, to: "ACME"}}
  - {id: gate, type: approval, message: Pay the bill?, show: "${{ steps.before.output }}"}
  - {id: pay, type: shell, needs: [gate.approved], argv: [sh, -c, "echo paid >> paid.txt"], repeat: never}
"""
SLOW = """
name: slow
steps:
  - {id: work, type: shell, argv: [sh, -c, "touch begun; sleep 1.5; touch done"], repeat: never}
  - {id: after, type: transform, output: 1}
"""
ENDLESS = """
name: endless
steps:
  - {id: work, type: shell, argv: [sh, -c, "echo $$ > pid; sleep 300"], repeat: safe}
"""


def environment(**variables: str) -> dict[str, str]:
    """For processes: of this clone, in a terminal with all colours, whatever the one of the tests can do."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "COLUMNS", "LINES", "NO_COLOR", "SSH_CONNECTION", "TMUX", "TMUX_PANE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    mine = {"PYTHONPATH": str(PACKAGE), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return kept | bytecode() | mine | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | variables


def until(test: Callable[[], Any], said: Callable[[], str] = lambda: "") -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := test()):
        assert time.monotonic() < deadline, f"it never came:\n{said()}"
        time.sleep(LOOK)
    return found


def make_project(folder: Path) -> Path:
    """A folder in which `fleet` finds a project with three workflows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".fleet").mkdir(mode=0o700)
    for name, text in {"gated": GATED, "slow": SLOW, "endless": ENDLESS}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def fleet(folder: Path, *arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Call `fleet` beside the console."""
    command = [*FLEET, *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def at_work(folder: Path) -> list[int]:
    """Processes whose current folder this is."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def end(folder: Path) -> None:
    """Nothing goes on in the folder once terminals are closed; what does is ended, and fails the test."""
    deadline = time.monotonic() + PATIENCE
    while left := at_work(folder):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{len(left)} processes have outlived their terminal")
        time.sleep(LOOK)


class Tmux:
    """A terminal with a shell in it, on a server of its own."""

    def __init__(self, folder: Path, columns: int = 110, rows: int = 30) -> None:
        self._socket = f"fleet-test-{uuid4().hex[:12]}"
        self.folder = folder
        self._output = folder.parent / "terminal.raw"
        shell = f"env PS1={shlex.quote(PROMPT)} sh"
        size = ("-x", str(columns), "-y", str(rows))
        self.call("-f", "/dev/null", "new-session", "-d", "-s", "t", *size, shell, environment=environment())
        self.call("set-option", "-g", "window-size", "manual")
        self.call("pipe-pane", "-t", "t", f"cat >> {shlex.quote(str(self._output))}")
        self.expect(PROMPT.strip())

    def call(self, *words: str, environment: dict[str, str] | None = None) -> str:
        """Tell the server something; what it answers."""
        command = ["tmux", "-u", "-L", self._socket, *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE
        ).stdout

    @property
    def screen(self) -> str:
        """What can be read on it now."""
        return self.call("capture-pane", "-p", "-t", "t")

    @property
    def output(self) -> str:
        """Everything that was ever written to it."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def asked(self, format_: str) -> str:
        """A value that tmux knows of the pane, such as `alternate_on`."""
        return self.call("display-message", "-p", "-t", "t", f"#{{{format_}}}").strip()

    def type(self, text: str) -> None:
        """Type a text."""
        self.call("send-keys", "-t", "t", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them: `Enter`, `C-z`, `a`."""
        for key in keys:
            self.call("send-keys", "-t", "t", key)
            if key == "Escape":
                time.sleep(ALONE)

    def run(self, *arguments: str) -> None:
        """Have the shell start `fleet`."""
        self.type(shlex.join([*FLEET, *arguments]))
        self.press("Enter")

    def resize(self, columns: int, rows: int) -> None:
        """Another size of the terminal."""
        self.call("resize-window", "-t", "t", "-x", str(columns), "-y", str(rows))

    def expect(self, *texts: str) -> str:
        """Wait until all of these can be read at a time; the screen."""
        return until(
            lambda: screen if all(text in (screen := self.screen) for text in texts) else "", lambda: self.screen
        )

    def shows(self, *texts: str, seconds: float) -> bool:
        """Whether all of these can be read at a time within so many seconds."""
        deadline = time.monotonic() + seconds
        while not all(text in (screen := self.screen) for text in texts):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK)
        return bool(screen)

    def modes(self) -> list[Any]:
        """Input, output, control and local modes of the terminal (termios)."""
        terminal = os.open(self.asked("pane_tty"), os.O_RDWR | os.O_NOCTTY)
        try:
            return termios.tcgetattr(terminal)[:4]
        finally:
            os.close(terminal)

    def child(self) -> int:
        """The process that the shell has started."""
        shell = self.asked("pane_pid")
        found = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        assert found, self.screen
        return int(found[-1])

    def close(self) -> None:
        """End everything in it."""
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False)


class Pty:
    """`fleet` on a bare pseudo-terminal, which can be taken away from it."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 100, rows: int = 30) -> None:
        self._master, slave = os.openpty()
        self.slave = slave
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.raw = b""
        self.process = subprocess.Popen(
            [*FLEET, *arguments],
            cwd=folder,
            env=environment(),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    @property
    def text(self) -> str:
        """Everything that was written, without colours and movements."""
        return re.sub(
            r"\x1b(?:\[[0-9;?<>=]*[a-zA-Z]|\][^\x07\x1b]*(?:\x07|\x1b\\))", "", self.raw.decode(errors="replace")
        )

    def read(self, seconds: float) -> None:
        """Take up what is written for so long."""
        while select.select([self._master], [], [], seconds)[0]:
            try:
                data = os.read(self._master, 1 << 16)
            except OSError:
                return
            if not data:
                return
            self.raw += data

    def expect(self, text: str) -> None:
        """Wait until a text was written."""

        def seen() -> bool:
            self.read(LOOK)
            return text in self.text

        until(seen, lambda: self.text)

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._master, keys.encode())

    def ended(self) -> int:
        """Wait for the end; the exit code."""

        def over() -> bool:
            if self._master >= 0:
                self.read(LOOK)
            return self.process.poll() is not None

        until(over, lambda: self.text)
        if self._master >= 0:
            self.read(0)
        return self.process.returncode

    def hang_up(self) -> None:
        """The terminal is closed, as by its window's cross or a broken connection."""
        os.close(self.slave)
        os.close(self._master)
        self.slave = self._master = -1

    def close(self) -> None:
        """End everything."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            self.hang_up()


needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="THE CONSOLE IS NOT TESTED IN A REAL TERMINAL: install tmux (apt install tmux)"
)
