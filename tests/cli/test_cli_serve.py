"""`fleet serve` as a process: it answers, knows tokens, goes on after a kill, and ends in order."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_kit import PATIENCE, Fleet, environment

QUICK = "name: quick\nsteps: [{id: one, type: transform, output: 1}]\n"
GATED = "name: gated\nsteps: [{id: gate, type: approval, message: Now?}]\n"


@pytest.fixture
def project(fleet: Fleet) -> Fleet:
    (fleet.root / "workflows").mkdir(exist_ok=True)
    (fleet.root / "workflows/quick.yaml").write_text(QUICK)
    (fleet.root / "workflows/gated.yaml").write_text(GATED)
    return fleet


class Serving:
    """A daemon in a process of its own."""

    def __init__(self, root: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "fleetprompt.cli", "serve", "--port", "0", "--json", *arguments]
        self.process = subprocess.Popen(
            command, cwd=root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.url: str = self.told("listening")["url"]

    def told(self, event: str) -> dict[str, Any]:
        """The next event of that name."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            found = json.loads(line)
            if found["event"] == event:
                return found
        raise AssertionError(f"{event} never came: {self.process.stderr.read()}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal; its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


@contextmanager
def serving(project: Fleet, *arguments: str) -> Iterator[Serving]:
    found = Serving(project.root, *arguments)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.end(signal.SIGKILL)


def test_all_that_it_says_among_json_is_json(project: Fleet) -> None:
    (project.root / "workflows/broken.yaml").write_text("name: broken\nsteps: []\n")
    command = [sys.executable, "-m", "fleetprompt.cli", "serve", "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(command, cwd=project.root, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    with process.stderr as said:
        for text in said:
            lines.append(json.loads(text))
            if lines[-1].get("event") == "broken":
                process.terminate()
    assert process.wait(PATIENCE) == 0
    events = [line["event"] for line in lines if line["logger"] == "fleetprompt.serve"]
    assert events == ["listening", "found", "broken", "closing", "closed"]
    assert next(line for line in lines if line.get("event") == "listening")["url"].startswith("http://127.0.0.1:")


def test_it_answers_and_other_commands_attach_to_it(project: Fleet) -> None:
    with serving(project) as daemon:
        begun = httpx.post(f"{daemon.url}/api/workflows/gated/execute", json={}, timeout=PATIENCE).json()
        project.until(lambda: project.runs("status:waiting"))
        assert project.ok("approve", "last", "--yes")
        project.until(lambda: project.runs("status:completed"))
        found = httpx.get(f"{daemon.url}/api/executions/{begun['execution_id']}", timeout=PATIENCE).json()
        assert found["status"] == "completed"
        second = project("serve", "--port", "0")
        assert (second.code, "fleet serve" in second.err) == (2, True), "one engine for each store"
        assert daemon.end() == 0
    assert not (project.root / ".fleet/fleet.sock").exists()


@pytest.mark.parametrize("json_lines", [True, False])
def test_it_goes_on_when_nobody_reads_any_more_what_it_says(project: Fleet, json_lines: bool) -> None:
    form = ["--json"] if json_lines else []
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetprompt.cli", "serve", "--port", "0", *form],
        cwd=project.root,
        env=environment(),
        stdout=subprocess.PIPE if json_lines else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if json_lines else subprocess.PIPE,
        text=True,
    )
    said = process.stdout if json_lines else process.stderr
    assert said is not None
    try:
        with said:
            url = next(re.findall(r"http://[0-9.:]+", line)[0] for line in said if "listening on" in line)
        for output in (2, 3):
            (project.root / "workflows/quick.yaml").write_text(QUICK.replace("output: 1", f"output: {output}"))
            project.until(lambda output=output: _output(url) == output)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def _output(url: str) -> Any:
    begun = httpx.post(f"{url}/api/workflows/quick/execute", json={}, timeout=PATIENCE).json()["execution_id"]
    while (found := httpx.get(f"{url}/api/executions/{begun}", timeout=PATIENCE).json())["status"] != "completed":
        pass
    return found["result"]


def test_what_was_accepted_is_there_after_a_kill(project: Fleet) -> None:
    with serving(project) as daemon:
        ids = []
        for number in range(20):
            answer = httpx.post(f"{daemon.url}/api/signals", json={"type": "a.b", "data": number}, timeout=PATIENCE)
            assert answer.status_code == 202
            ids.append(answer.json()["id"])
        execution = httpx.post(f"{daemon.url}/api/workflows/quick/execute", json={}, timeout=PATIENCE).json()
        daemon.end(signal.SIGKILL)
    with serving(project) as daemon:
        kept = httpx.get(f"{daemon.url}/api/signals", params={"limit": 100}, timeout=PATIENCE).json()
        assert {each["id"] for each in kept} >= set(ids)
        deadline = time.monotonic() + PATIENCE
        status = ""
        while status != "completed" and time.monotonic() < deadline:
            found = httpx.get(f"{daemon.url}/api/executions/{execution['execution_id']}", timeout=PATIENCE).json()
            status = found["status"]
        assert status == "completed"
        assert daemon.end(signal.SIGINT) == 0


def test_tokens_are_known(project: Fleet) -> None:
    made = project.ok("token", "create", "robot", "--role", "viewer", "--json")
    secret = json.loads(made)["token"]
    (project.root / "fleet.toml").write_text('[serve]\nlocal_role = "none"\n')
    with serving(project) as daemon:
        assert httpx.get(f"{daemon.url}/api/workflows", timeout=PATIENCE).status_code == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.get(f"{daemon.url}/api/workflows", headers=headers, timeout=PATIENCE).status_code == 200
        execute = f"{daemon.url}/api/workflows/quick/execute"
        assert httpx.post(execute, json={}, headers=headers, timeout=PATIENCE).status_code == 403
        project.ok("token", "revoke", json.loads(made)["id"])
        assert httpx.get(f"{daemon.url}/api/workflows", headers=headers, timeout=PATIENCE).status_code == 401


def test_what_cannot_be_served_is_said(project: Fleet) -> None:
    public = project("serve", "--host", "0.0.0.0", "--port", "0")
    assert (public.code, "--tls-cert" in public.err) == (2, True)
    (project.root / "fleet.toml").write_text("[serve]\nport = 99999\n")
    wrong = project("serve")
    assert (wrong.code, "fleet.toml:2:1" in wrong.err) == (2, True)
