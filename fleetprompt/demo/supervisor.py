"""Runs the checkout service and its traffic, and restarts or rolls back the service on request.

Requests to the control port are served one at a time, so an idempotency key cannot act twice; each action is written
down before it starts and once more with its answer. The supervisor ends on SIGTERM. Without the process that started
it, it goes on for a while, because a run that was interrupted needs it: until a run's report is there, a new world
wants the folder, or `LINGER` is over. The service ends with it.
"""

from __future__ import annotations

import argparse
import fcntl
import http.client
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from http.server import HTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import unquote

from fleetprompt.demo import fixtures, office, shop
from fleetprompt.demo.office import Office
from fleetprompt.demo.records import Records
from fleetprompt.demo.service import LOOPBACK, JsonHandler, listen, write_history

SERVICE = "checkout"
RELEASE, PREVIOUS = "2.14.0", "2.13.4"
REPORT = "incident.md"
"""What the run of incident-triage writes at its end."""
REPORTS = (REPORT, "research.md")
"""What runs of the examples write at their ends."""
WANTED = "world.wanted"
"""Is there while a new world waits for the folder."""
TAKEN = 75
"""Exit code when another world has the folder and keeps it."""
STATE_FILES = (
    *(
        f"{name}{suffix}"
        for name in ("shop.db", "control.db", office.RECORDS)
        for suffix in ("", "-wal", "-shm", "-journal")
    ),
    *("checkout.log", "checkout.log.1", "release.json", "world.json", *REPORTS, WANTED, office.BROKEN),
)
"""Everything a world keeps in its directory, and all that is removed when a new one starts there."""

RATE, BUSY_SECONDS, QUIET_RATE = 20.0, 120.0, 2.0
"""Orders per second: for the first minutes after a start, and from then on, so that a forgotten demo stays small."""
LINGER = 600.0
"""Seconds for which a world goes on without the process that started it."""
FAULTY_EVERY = 8
CAMPAIGN_PAUSE = 900.0
"""Seconds for which no customer uses the bad coupon after a restart."""


class Traffic:
    """Customers: threads that place orders at a steady rate, some of them with the coupon that trips the fault."""

    def __init__(self, port: int, workers: int = 8) -> None:
        self.port = port
        self.campaign_from = 0.0
        self.busy_until = time.monotonic() + BUSY_SECONDS
        self._due: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=workers)
        self._stop = threading.Event()
        for target in (self._pace, *[self._shop] * workers):
            threading.Thread(target=target, daemon=True).start()

    def restarted(self) -> None:
        """The campaign is over for now, and customers come back."""
        now = time.monotonic()
        self.campaign_from, self.busy_until = now + CAMPAIGN_PAUSE, now + BUSY_SECONDS

    def stop(self) -> None:
        self._stop.set()

    def _pace(self) -> None:
        due = time.monotonic()
        for number in itertools.count():
            now = time.monotonic()
            due = max(due, now - 1) + 1 / (RATE if now < self.busy_until else QUIET_RATE)
            if self._stop.wait(max(0.0, due - now)):
                return
            try:
                self._due.put_nowait(self._order(number, now))
            except queue.Full:
                continue  # every customer is still waiting for an answer; this one goes elsewhere

    def _order(self, number: int, now: float) -> dict[str, Any]:
        sku = shop.PRODUCTS[number % len(shop.PRODUCTS)][0]
        order = {"customer_id": number % 80 + 1, "sku": sku, "quantity": number % 3 + 1}
        if number % FAULTY_EVERY == FAULTY_EVERY - 1 and now >= self.campaign_from:
            return {**order, "coupon": "AUTUMN-FREESHIP"}
        return {**order, "coupon": "AUTUMN-10"} if number % 5 == 0 else order

    def _shop(self) -> None:
        while not self._stop.is_set():
            try:
                body = json.dumps(self._due.get(timeout=0.2))
            except queue.Empty:
                continue
            connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=3)
            try:
                connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                continue  # the service is being restarted
            finally:
                connection.close()


class Supervisor:
    """The service's parent process."""

    def __init__(self, directory: Path, service_port: int) -> None:
        self.directory = directory
        fixtures.make_all(directory)
        self.records = Records(directory / "control.db")
        self.office = Office(directory)
        self.listener = listen(service_port)
        self.release: dict[str, str | None] = {"current": RELEASE, "previous": PREVIOUS}
        self.mark_release()
        shop.create(directory / "shop.db")
        write_history(directory / "checkout.log")
        self.spawned_at = 0.0
        self.child = self.spawn(warmup=0.2)
        self.traffic = Traffic(self.listener.getsockname()[1])

    def mark_release(self) -> None:
        write_whole(self.directory / "release.json", self.release)

    def spawn(self, warmup: float) -> subprocess.Popen[bytes]:
        """Start the service on the socket that stays open here, so that no caller is refused during a restart."""
        fd = self.listener.fileno()
        command = [sys.executable, "-P", "-m", "fleetprompt.demo.service", "--fd", str(fd)]
        command += ["--db", str(self.directory / "shop.db"), "--log", str(self.directory / "checkout.log")]
        command += ["--release", str(self.release["current"]), "--warmup", str(warmup), "--parent", str(os.getpid())]
        self.spawned_at = time.monotonic()
        return subprocess.Popen(command, pass_fds=(fd,), stdin=subprocess.DEVNULL)

    def terminate(self) -> int:
        """End the service for certain; its pid."""
        self.child.terminate()
        try:
            self.child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        return self.child.pid

    def cycle(self) -> dict[str, int]:
        """Replace the service's process."""
        old = self.terminate()
        self.child = self.spawn(warmup=1.2)
        self.traffic.restarted()
        return {"old_pid": old, "pid": self.child.pid}

    def tick(self) -> None:
        """Start the service again when it died by itself."""
        if self.child.poll() is not None and time.monotonic() - self.spawned_at > 1:
            self.child = self.spawn(warmup=1.2)

    def restart(self, key: str, reason: str) -> dict[str, Any]:
        return self._once("restart", key, reason, lambda: None)

    def rollback(self, key: str, reason: str) -> dict[str, Any]:
        """Go back to the previous release, which does not have the fault."""
        return self._once("rollback", key, reason, self._previous_release)

    def _previous_release(self) -> None:
        self.release = {"current": self.release["previous"], "previous": None}
        self.mark_release()

    def _once(self, kind: str, key: str, reason: str, prepare: Any) -> dict[str, Any]:
        if answer := self.records.read(kind, key):
            return answer
        begun = {"key": key, "kind": kind, "service": SERVICE, "reason": reason, "at": shop.stamp(datetime.now(UTC))}
        self.records.write(kind, key, {**begun, "status": "started"})
        prepare()
        answer = {**begun, "status": "done", **self.cycle(), "release": self.release["current"]}
        self.records.write(kind, key, answer)
        return answer

    def close(self) -> None:
        self.traffic.stop()
        self.terminate()


class ControlHandler(JsonHandler):
    """Routes of the control port."""

    supervisor: Supervisor

    def answer(self, method: str, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        match method, parts:
            case "POST", ["restart"]:
                return self.act("restart")
            case "POST", ["rollback"]:
                return self.act("rollback")
            case "GET", ["restarts" | "rollbacks" as kind]:
                return 200, {kind: self.supervisor.records.all(kind[:-1])}
            case "GET", ["restarts" | "rollbacks" as kind, key]:
                record = self.supervisor.records.read(kind[:-1], unquote(key))
                return (200, record) if record else (404, {"error": f"there was no {kind[:-1]} with that key"})
            case "GET", ["release"]:
                return 200, self.supervisor.release
            case _:
                body = self.body() if method == "POST" else None
                key = self.headers.get("Idempotency-Key") or ""
                found = self.supervisor.office.answer(method, parts, query, key, body)
                return found or (404, {"error": f"there is no {method} {self.path}"})

    def act(self, kind: str) -> tuple[int, Any]:
        body = self.body()
        if not isinstance(body, dict) or body.get("service", SERVICE) != SERVICE:
            return 422, {"error": f"this supervisor runs the service {SERVICE!r} and no other"}
        key, reason = self.headers.get("Idempotency-Key") or uuid.uuid4().hex, str(body.get("reason") or "")[:2000]
        if kind == "restart":
            return 200, self.supervisor.restart(key, reason)
        if not self.supervisor.release["previous"] and not self.supervisor.records.read("rollback", key):
            return 409, {"error": "there is no previous release to roll back to"}
        return 200, self.supervisor.rollback(key, reason)


class ControlServer(HTTPServer):
    """One request at a time, until stopped, or orphaned and no longer needed."""

    def __init__(self, supervisor: Supervisor, port: int, parent: int, linger: float) -> None:
        handler = type("BoundControlHandler", (ControlHandler,), {"supervisor": supervisor})
        TCPServer.__init__(self, (LOOPBACK, port), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listen(port)
        self.server_name, self.server_port = self.socket.getsockname()
        self.supervisor = supervisor
        self.stopping = threading.Event()
        self.parent = parent
        self.linger = linger
        self.alone_since = 0.0

    def service_actions(self) -> None:
        if self.stopping.is_set() or (self.parent and os.getppid() != self.parent and self.needless()):
            raise SystemExit(0)
        self.supervisor.tick()

    def needless(self) -> bool:
        """Whether nobody needs a world any more that has lost the process that started it."""
        now = time.monotonic()
        self.alone_since = self.alone_since or now
        return now >= self.alone_since + self.linger or any(
            (self.supervisor.directory / name).exists() for name in (*REPORTS, WANTED)
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"control request failed: {error!r}\n")


def write_whole(path: Path, content: Any) -> None:
    """Write a JSON file so that no reader sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(content), encoding="utf-8")
    draft.replace(path)


def claim(directory: Path) -> int:
    """Take the directory for this process and clear it of an earlier world; the descriptor that holds the claim."""
    directory.mkdir(parents=True, exist_ok=True)
    held = os.open(directory / "world.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 3  # an orphaned world needs a moment to notice that it is not wanted any more
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                (directory / WANTED).unlink(missing_ok=True)
                sys.stderr.write(f"another demo is running in {directory}\n")
                raise SystemExit(TAKEN) from None
            (directory / WANTED).touch()
            time.sleep(0.05)
    for name in STATE_FILES:
        (directory / name).unlink(missing_ok=True)
    return held


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m fleetprompt.demo.supervisor", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the world keeps its state")
    parser.add_argument("--service-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--parent", type=int, default=0, help="be orphaned when this process is no longer the parent")
    parser.add_argument("--linger", type=float, default=LINGER, help="seconds to go on as an orphan")
    options = parser.parse_args(arguments)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    held = claim(options.directory)
    try:
        supervisor = Supervisor(options.directory.resolve(), options.service_port)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    try:
        server = ControlServer(supervisor, options.control_port, options.parent, options.linger)
        server.stopping = stopping
        world = {
            "supervisor_pid": os.getpid(),
            "service_pid": supervisor.child.pid,
            "service_url": f"http://{LOOPBACK}:{supervisor.listener.getsockname()[1]}",
            "control_url": f"http://{LOOPBACK}:{server.server_port}",
        }
        write_whole(options.directory / "world.json", world)
        server.serve_forever(poll_interval=0.1)
    finally:
        supervisor.close()
        os.close(held)


if __name__ == "__main__":
    main()
