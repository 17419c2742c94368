"""The demo world: a real incident in real processes, repaired by a restart, leaving nothing behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from fleetprompt.demo import shop
from fleetprompt.demo.world import Taken, World, start


def eventually(condition: Callable[[], object], seconds: float = 120.0) -> object:
    """The first true answer of `condition`, asked again and again for a bounded time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.03)
    raise AssertionError(f"did not happen within {seconds} s")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@pytest.fixture(scope="module")
def degraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world in its incident, which tests may ask but not repair."""
    with start(tmp_path_factory.mktemp("world")) as world:
        yield world


def test_incident_is_repaired(tmp_path: Path) -> None:
    with start(tmp_path) as world:
        see_incident(world)
        restart_once(world)
        roll_back(world)


def see_incident(world: World) -> None:
    """Every connection is stuck, orders are lost, and the log says why."""
    health = httpx.get(f"{world.service_url}/health")
    assert (health.status_code, health.json()["status"]) == (503, "degraded")
    assert health.json()["pool"]["stuck"] == health.json()["pool"]["size"]
    stats = httpx.get(f"{world.service_url}/orders/stats", params={"minutes": 15}).json()
    assert stats["failed"] >= 5
    assert 0 < stats["failure_rate"] < 1
    entries = [json.loads(line) for line in world.log_path.read_text().rpartition("\n")[0].splitlines()]
    kinds = {entry["exc_type"] for entry in entries if entry["level"] == "ERROR"}
    assert kinds == {"PaymentTimeout", "ValueError", "PoolExhausted"}
    assert all(entry["traceback"] and entry["request_id"] for entry in entries if entry["level"] == "ERROR")


def restart_once(world: World) -> None:
    """Two restarts with one key are one restart; its answer can be looked up; then the shop is healthy and sells."""
    sick = httpx.get(f"{world.service_url}/health").json()
    with httpx.Client(base_url=world.control_url) as control:
        assert control.get("/restarts/run%2F1").status_code == 404
        order = {"headers": {"Idempotency-Key": "run/1"}, "json": {"service": "checkout", "reason": "pool exhausted"}}
        first = control.post("/restart", **order)
        second = control.post("/restart", **order)
        assert first.status_code == second.status_code == 200
        assert first.json() == second.json()
        assert first.json()["old_pid"] == sick["pid"]
        assert control.get("/restarts/run%2F1").json() == first.json()
        assert [record["key"] for record in control.get("/restarts").json()["restarts"]] == ["run/1"]

    warming = httpx.get(f"{world.service_url}/health")
    assert (warming.status_code, warming.json()["reason"]) == (503, "warming up")
    well = eventually(lambda: (answer := httpx.get(f"{world.service_url}/health")).status_code == 200 and answer.json())
    assert isinstance(well, dict)
    assert well["pid"] == first.json()["pid"]
    eventually(lambda: httpx.get(f"{world.service_url}/metrics.json").json()["orders"]["placed"] >= 20)
    metrics = httpx.get(f"{world.service_url}/metrics.json").json()
    assert (metrics["orders"]["failed"], metrics["pool"]["stuck"]) == (0, 0)


def roll_back(world: World) -> None:
    """The previous release refuses coupons, so the order that trips the fault is answered and costs no connection."""
    with httpx.Client(base_url=world.control_url) as control:
        done = control.post("/rollback", headers={"Idempotency-Key": "back"})
        assert control.post("/rollback", headers={"Idempotency-Key": "back"}).json() == done.json()
        assert control.post("/rollback", headers={"Idempotency-Key": "more"}).status_code == 409
        assert control.get("/rollbacks/back").json()["release"] == "2.13.4"
        assert control.get("/restarts/back").status_code == 404
    assert json.loads((world.directory / "release.json").read_text()) == {"current": "2.13.4", "previous": None}
    eventually(lambda: httpx.get(f"{world.service_url}/health").status_code == 200)
    order = {"customer_id": 1, "sku": "ESP-250", "coupon": "AUTUMN-FREESHIP"}
    assert httpx.post(f"{world.service_url}/orders", json=order).status_code == 422
    assert httpx.get(f"{world.service_url}/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/restart", b"{", 400),
        ("POST", "/restart", b"[" * 60_000, 400),
        ("POST", "/restart", b" " * 70_000, 400),
        ("POST", "/restart", b'{"service": "mail"}', 422),
        ("GET", "/nothing", b"", 404),
    ],
)
def test_control_port_refuses_what_it_cannot_do(
    degraded: World, method: str, path: str, content: bytes, status: int
) -> None:
    assert httpx.request(method, degraded.control_url + path, content=content).status_code == status
    assert httpx.get(f"{degraded.control_url}/restarts").json() == {"restarts": []}


@pytest.mark.parametrize("body", ["[]", "{}", '{"customer_id": true, "sku": "X"}'])
def test_service_refuses_malformed_orders(degraded: World, body: str) -> None:
    assert httpx.post(f"{degraded.service_url}/orders", content=body).status_code == 422


def test_inputs_describe_the_world(degraded: World) -> None:
    assert set(degraded.inputs()) == {"log", "service", "service_url", "control_url", "db", "repo", "report"}
    near = degraded.inputs(degraded.directory.parent)
    assert near["log"] == f"{degraded.directory.name}/checkout.log"
    assert (degraded.directory / "shop" / "checkout" / "version.py").read_text() == 'VERSION = "2.15.0"\n'
    assert all(Path(degraded.inputs()[name]).is_file() for name in ("log", "db"))
    assert httpx.get(f"{degraded.service_url}/orders/stats?minutes=nan").status_code == 400


def test_directory_is_taken_by_one_world_and_stop_leaves_nothing(tmp_path: Path) -> None:
    """A second world in the same directory is refused; afterwards a new one replaces the old state."""
    first = start(tmp_path)
    pids = family(first.pid)
    assert len(pids) == 2
    with pytest.raises(Taken, match="another demo is running"):
        start(tmp_path)
    assert all(alive(pid) for pid in pids)
    first.stop()
    first.stop()
    assert not any(alive(pid) for pid in pids)


def orphan(directory: Path) -> list[int]:
    """The processes of a world whose owner was killed."""
    owner = subprocess.Popen(
        [sys.executable, "-m", "fleetprompt.demo", str(directory)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner, owner.stdout as output:
        said = json.loads(output.readline())
        pids = family(said["pid"])
        assert len(pids) == 2
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
    assert httpx.get(f"{said['service_url']}/health").json()["status"] == "degraded"
    assert httpx.get(f"{said['control_url']}/restarts").json() == {"restarts": []}
    return pids


@pytest.mark.crash
def test_world_of_a_killed_process_goes_on_until_the_report_is_there(tmp_path: Path) -> None:
    pids = orphan(tmp_path)
    (tmp_path / "incident.md").write_text("# over\n")
    eventually(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.crash
def test_world_of_a_killed_process_makes_room_for_a_new_one(tmp_path: Path) -> None:
    pids = orphan(tmp_path)
    with start(tmp_path) as world:
        assert not any(alive(pid) for pid in pids)
        assert httpx.get(f"{world.control_url}/restarts").json() == {"restarts": []}


@pytest.mark.crash
def test_world_without_an_owner_ends_by_itself(tmp_path: Path) -> None:
    code = "import os, sys, pathlib; from fleetprompt.demo.world import start\n"
    code += "print(start(pathlib.Path(sys.argv[1]), linger=0).pid, flush=True); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)
    eventually(lambda: not alive(int(done.stdout)))


def test_shop_is_seeded_the_same_every_time(tmp_path: Path) -> None:
    contents = []
    for name in ("one.db", "two.db"):
        shop.create(tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as db:
            contents.append(db.execute("SELECT request_id, sku, quantity, amount_cents, status FROM orders").fetchall())
            since = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-361 minutes')"
            total, recent = db.execute(f"SELECT count(*), sum(created_at >= {since}) FROM orders").fetchone()
            assert (total, recent) == (502, 500), "two are of the day before"
    assert contents[0] == contents[1]
