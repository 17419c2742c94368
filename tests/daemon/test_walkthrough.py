"""The walk through the daemon in docs/serve.md, done word for word: with its commands, its page, and two consoles."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.tui.terminal_kit import FLEET, PACKAGE, Tmux, end, environment, needs_tmux, until

PAGE = PACKAGE / "docs/serve.md"


def _walk(daemon: int, page: int) -> list[str]:
    """The commands, block by block, with ports that are free here."""
    text = PAGE.read_text().partition("## A walk through it")[2].partition("\n## ")[0]
    text = text.replace("8377", str(daemon)).replace("127.0.0.1:8000", f"127.0.0.1:{page}")
    text = text.replace("http.server 8000", f"http.server {page}").replace("[serve]\n", f"[serve]\nport = {daemon}\n")
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Shell:
    """The shell in which somebody goes through it."""

    def __init__(self, folder: Path) -> None:
        programs = folder / "bin"
        programs.mkdir()
        script = programs / "fleet"
        script.write_text(f'#!/bin/sh\nexec {" ".join(FLEET)} "$@"\n')
        script.chmod(0o755)
        self._process = subprocess.Popen(
            ["bash", "-m"],
            cwd=folder,
            env=environment(PATH=f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def do(self, block: str) -> str:
        """Give it a block of commands, each of which has to succeed; what they print."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"set -e\n{block}set +e\necho; echo IT IS DONE\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line == "IT IS DONE\n":
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell has ended: {''.join(lines)}")

    def close(self) -> None:
        """End it, and what it has started."""
        assert self._process.stdin is not None
        self._process.stdin.write("kill $(jobs -p) 2>/dev/null; wait\n")
        self._process.stdin.close()
        try:
            self._process.wait(60)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)


class Browser:
    """What a browser does with the page: as another site, which is shown only what says that it may be."""

    def __init__(self, url: str) -> None:
        self._origin = url
        source = httpx.get(url).text
        (fleet,) = re.findall(r'const fleet = "(.*?)"', source)
        (tickets,) = re.findall(r'fetch\(`\$\{fleet\}(.*?)`, \{ method: "POST" \}\)', source)
        (stream,) = re.findall(r"new EventSource\(`\$\{fleet\}(.*?)`\)", source)
        ticket = self._allowed(httpx.post(fleet + tickets, headers={"Origin": url})).json()["ticket"]
        self._address = fleet + stream.replace("${ticket}", ticket)

    def _allowed(self, response: httpx.Response) -> httpx.Response:
        assert response.headers["access-control-allow-origin"] == self._origin
        return response

    def shown(self, text: str) -> list[str]:
        """What it shows until that text comes."""
        lines: list[str] = []
        with httpx.stream("GET", self._address, headers={"Origin": self._origin, "Last-Event-ID": "0"}) as response:
            for line in self._allowed(response).iter_lines():
                lines.append(line)
                if text in line:
                    return lines
        raise AssertionError(f"the stream has ended: {lines}")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.close()
        end(tmp_path / "shop")


@pytest.mark.long
@needs_tmux
def test_the_walk_through_the_daemon(tmp_path: Path, shell: Shell) -> None:
    daemon, page = _free(), _free()
    begin, show, alert, decide, finish = _walk(daemon, page)
    assert "pulse" in shell.do(begin)
    shell.do(show)
    url = f"http://127.0.0.1:{page}"
    until(lambda: _answers(url))
    browser = Browser(url)
    consoles = [Tmux(tmp_path / "shop") for _ in "12"]
    try:
        for console in consoles:
            console.run()
            console.expect("attached")
        assert '"execution_ids"' in shell.do(alert)
        for console in consoles:
            console.expect("repair", "Restart checkout?")
        assert '"accepted"' in shell.do(decide)
        told = browser.shown("checkout was restarted")
        assert any("Restart checkout?" in line for line in told)
        for console in consoles:
            console.expect("repair", "◆ 0")
            console.press("q")
        runs = httpx.get(f"http://127.0.0.1:{daemon}/api/executions").json()
        ended = {(run["workflow_id"], run["trigger"], run["status"]) for run in runs}
        assert ended >= {("repair", "webhook", "completed"), ("pulse", "schedule", "completed")}
        shell.do(alert.partition("fleet schedules")[0])
        again = httpx.get(f"http://127.0.0.1:{daemon}/api/executions", params={"workflow_id": "repair"}).json()
        assert len(again) == 1, "the same alert once more starts nothing"
    finally:
        for console in consoles:
            console.close()
    shell.do(finish)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False
