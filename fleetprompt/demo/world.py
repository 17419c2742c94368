"""A world for demonstrations: the supervisor, the service and its traffic, started together and stopped together.

`start` returns when the incident is there to be seen. Whoever starts a world stops it; one that is left behind goes on
until the run in it has written its report, and no longer than `LINGER` seconds.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from fleetprompt.demo.fixtures import REPOSITORY
from fleetprompt.demo.supervisor import LINGER, REPORT, TAKEN

PATIENCE = 30.0
"""Seconds within which the incident must be visible."""
LOST_ORDERS = 5
"""So many orders must have failed for want of a connection before the incident counts as visible."""


class Taken(RuntimeError):
    """Another world has the directory."""


class World:
    """A running world; `with start(directory) as world:` stops it at the end."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.log_path = directory / "checkout.log"
        self.db_path = directory / "shop.db"
        self.service_url = ""
        self.control_url = ""
        self._process = process

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def inputs(self, root: Path | None = None) -> dict[str, str]:
        """The inputs of incident-triage that describe this world; paths start at `root` where it is given."""
        return {
            "log": self.path("checkout.log", root),
            "service": "checkout",
            "service_url": self.service_url,
            "control_url": self.control_url,
            "db": self.path("shop.db", root),
            "repo": self.path(REPOSITORY, root),
            "report": self.path(REPORT, root),
        }

    def path(self, name: str, root: Path | None = None) -> str:
        """The path of something in this world, as seen from a folder around it."""
        path = self.directory / name
        return str(path if root is None else path.relative_to(root.resolve()))

    def stop(self) -> None:
        """End every process of the world; calling it again does nothing."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(timeout=6)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def start(
    directory: Path,
    *,
    service_port: int = 0,
    control_port: int = 0,
    linger: float = LINGER,
    incident: bool = True,
) -> World:
    """Start a world in `directory`, replacing the state of an earlier one, and wait until its incident is visible, or
    without `incident` until it answers.

    `linger`: seconds for which it may go on when the process that started it is gone. Raises OSError when the directory
    cannot be used, `Taken` when another world has it, and RuntimeError, with what the supervisor said, when the world
    does not come up.
    """
    directory = Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "fleetprompt.demo.supervisor", "--directory", str(directory)]
    command += ["--service-port", str(service_port), "--control-port", str(control_port), "--parent", str(os.getpid())]
    command += ["--linger", str(linger)]
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    with (directory / "supervisor.log").open("ab") as output:
        said_before = output.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # an interrupt at the terminal is for the console, not for the world
        )
    world = World(directory, process)
    try:
        _wait_until_up(world, said_before, incident)
    except BaseException:
        world.stop()
        raise
    return world


def _wait_until_up(world: World, said_before: int, incident: bool) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and world._process.poll() is None:
        if not world.service_url:
            _find_addresses(world)
        elif not incident or _degraded(world.service_url):
            return
        time.sleep(0.05)
    said = (world.directory / "supervisor.log").read_bytes()[said_before:].decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(said) if line.strip()), "no incident developed")[:500]
    if world._process.poll() == TAKEN:
        raise Taken(last)
    raise RuntimeError(f"the shop in {world.directory} did not come up: {last}")


def _find_addresses(world: World) -> None:
    try:
        known = json.loads((world.directory / "world.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if known["supervisor_pid"] == world.pid:  # not what an earlier world left behind
        world.service_url, world.control_url = known["service_url"], known["control_url"]


def _degraded(url: str) -> bool:
    lost = _get(url, "/metrics.json").get("orders", {}).get("pool_timeouts", 0)
    return lost >= LOST_ORDERS and _get(url, "/health").get("status") == "degraded"


def _get(url: str, path: str) -> dict[str, Any]:
    """The JSON at `path`, an empty object while the service cannot answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=2)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
