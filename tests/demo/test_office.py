"""What the examples talk to: everything once per key, the same data every time, the same commits on every machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fleetprompt.demo import fixtures, office


@contextmanager
def served(folder: Path) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "fleetprompt.demo.office", "--directory", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with httpx.Client(base_url=json.loads(process.stdout.readline())["url"]) as client:
            yield client
    finally:
        process.kill()
        process.communicate()


def test_the_repository_is_the_same_everywhere(tmp_path: Path) -> None:
    heads = []
    for name in ("one", "two"):
        folder = fixtures.make_repository(tmp_path / name)
        shown = subprocess.run(["git", "rev-parse", "HEAD", "v2.14.0"], cwd=folder, capture_output=True, check=True)
        heads.append(shown.stdout)
    assert heads[0] == heads[1]
    done = subprocess.run([sys.executable, "-m", "unittest", "-q"], cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    clean = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, check=True)
    assert clean.stdout == b""


def test_what_is_asked_twice_with_one_key_happens_once(tmp_path: Path) -> None:
    with served(tmp_path) as desk:
        reply = {"ticket": "T-1001", "text": "We are sorry."}
        first = desk.post("/replies", json=reply, headers={"Idempotency-Key": "k/1"})
        second = desk.post("/replies", json=reply, headers={"Idempotency-Key": "k/1"})
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json() == desk.get("/replies/k%2F1").json()
        assert desk.post("/replies", json=reply, headers={"Idempotency-Key": "k/2"}).json()["number"] == 2
        assert desk.get("/tickets/T-1001").json()["subject"] == "Charged twice"
        for path, body in (("/replies", {"ticket": "T-1"}), ("/replies", []), ("/deployments", {"version": "new"})):
            assert desk.post(path, json=body).status_code == 422
        assert [desk.get(path).status_code for path in ("/tickets/T-1", "/replies/k3", "/nothing")] == [404, 404, 404]
    with served(tmp_path) as desk:
        assert [each["text"] for each in desk.get("/replies").json()["replies"]] == ["We are sorry."] * 2


def test_a_deployment_that_does_not_come_up_leaves_the_version_before(tmp_path: Path) -> None:
    with served(tmp_path) as control:
        assert control.get("/version").json()["version"] == "2.14.0"
        assert control.post("/deployments", json={"version": "2.15.0"}).json()["before"] == "2.14.0"
        (tmp_path / office.BROKEN).touch()
        assert control.post("/deployments", json={"version": "2.16.0"}).json()["up"] is False
        assert control.get("/version").json()["version"] == "2.15.0"


def test_the_feed_gives_each_order_once_by_its_watermark(tmp_path: Path) -> None:
    seen: list[int] = []
    since, pages = "", []
    while True:
        page = office.batch(since)
        assert page == office.batch(since)
        assert page["control"]["count"] == len(page["orders"])
        if not page["orders"]:
            break
        pages.append(page)
        seen += [order["order_id"] for order in page["orders"]]
        since = page["max_updated_at"]
    assert len(seen) == len(set(seen)) == 80
    odd = [[order for order in page["orders"] if order["amount_cents"] is None] for page in pages]
    assert [len(each) for each in odd] == [3, 0]


@pytest.mark.parametrize(("page", "status"), [("refunds", 200), ("nothing", 404), ("..%2Fsecret", 404)])
def test_the_handbook_has_its_pages_and_no_others(tmp_path: Path, page: str, status: int) -> None:
    fixtures.make_repository(tmp_path)
    (tmp_path / "shop" / "secret.md").write_text("no")
    with served(tmp_path) as handbook:
        assert handbook.get(f"/handbook/{page}").status_code == status
