"""What the tests of the command line share: a project, calls in this process, processes beside it, a terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fleetprompt.cli import main
from tests.bytecode import bytecode

PATIENCE = 120.0
"""Seconds: a bound for a machine under load, not a measure."""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]")

QUICK = """
name: quick
inputs:
  name: {type: string, default: world}
  times: {type: integer, default: 2}
steps:
  - {id: greet, type: transform, output: "Hello, ${{ inputs.name }}!"}
  - {id: result, type: transform, output: {said: "${{ steps.greet.output }}", times: "${{ inputs.times }}"}}
"""
FAILING = """
name: failing
steps:
  - {id: fine, type: transform, output: 1}
  - {id: broken, type: shell, argv: [sh, -c, "echo it burns >&2; exit 3"], repeat: safe}
"""
GATED = """
name: gated
steps:
  - {id: before, type: transform, output: {amount: 12, to: "ACME"}}
  - id: gate
    type: approval
    message: Pay the bill?
    show: "${{ steps.before.output }}"
    form: {tip: {type: integer, minimum: 0, default: 1}}
    timeout: 1h
  - {id: after, type: transform, needs: [gate.approved], output: "${{ steps.gate.output.values }}"}
"""
SLOW = """
name: slow
steps:
  - {id: prep, type: transform, output: 1}
  - {id: pay, type: shell, argv: [sh, -c, "echo paying; sleep 30"], repeat: never}
  - {id: thanks, type: transform, output: thanks}
"""
FILES = {"quick": QUICK, "failing": FAILING, "gated": GATED, "slow": SLOW}


class Said(NamedTuple):
    """What a call has come to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Fleet:
    """A project in a folder of its own, and `fleet` in it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.processes: list[subprocess.Popen[Any]] = []
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> Path:
        path = self.root / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> Said:
        """Call `main` in this process."""
        self._capsys.readouterr()
        with self._monkeypatch.context() as patch:
            if stdin is not None:
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            code = main(list(arguments))
        return Said(code, *self._capsys.readouterr())

    def ok(self, *arguments: str) -> str:
        """Call `main`, which must succeed; its standard output."""
        said = self(*arguments)
        assert said.code == 0, said
        return said.out

    def process(self, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Start `fleet` in a process of its own."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        command = [sys.executable, "-m", "fleetprompt.cli", *arguments]
        process = subprocess.Popen(command, cwd=self.root, env=environment(), **options)
        self.processes.append(process)
        return process

    def terminal(self, *arguments: str, columns: int = 100, lines: int = 40, **variables: str) -> Terminal:
        """Start `fleet` on a terminal of its own."""
        terminal = Terminal(self, arguments, columns, lines, variables)
        self.processes.append(terminal.process)
        return terminal

    def runs(self, filter_: str = "") -> list[dict[str, Any]]:
        said = self("runs", "--json", *([filter_] if filter_ else []))
        return said.json if said.code == 0 else []

    def until(self, test: Callable[[], Any]) -> Any:
        """Wait until something holds, and return it."""
        deadline = time.monotonic() + PATIENCE
        while not (found := test()):
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.05)
        return found

    def approval(self) -> str:
        """Wait for an approval; its id."""

        def pending() -> list[Any]:
            said = self("approvals", "--json")
            return said.json if said.code == 0 else []

        return self.until(pending)[0]["id"]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def environment(**variables: str) -> dict[str, str]:
    """For processes: of this clone, whatever the terminal of the tests can do."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "COLUMNS")}
    package = str(Path(__file__).resolve().parents[2])
    return {**kept, **bytecode(), "PYTHONPATH": package, "TERM": "xterm-256color", **variables}


class Terminal:
    """A process on a pseudo-terminal: what it prints is read, what is typed is written."""

    def __init__(self, fleet: Fleet, arguments: Iterable[str], columns: int, lines: int, extra: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.raw = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fleetprompt.cli", *arguments],
            cwd=fleet.root,
            env=environment(**extra),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """Everything that was printed, without colours and cursor movements."""
        return ESCAPES.sub("", self.raw).replace("\r", "")

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)

    def expect(self, text: str, after: int = 0) -> str:
        """Wait until a text is there."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text[after:]:
            alive = self._read(0.1)
            assert alive or text in self.text[after:], f"{text!r} never came:\n{self.text}"
            assert time.monotonic() < deadline, f"{text!r} never came:\n{self.text}"
        return self.text

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait(self) -> int:
        """Until the process has ended; its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(0.1) and time.monotonic() < deadline:
            if self.process.poll() is not None and not select.select([self._master], [], [], 0.1)[0]:
                break
        code = self.process.wait(timeout=PATIENCE)
        os.close(self._master)
        return code
