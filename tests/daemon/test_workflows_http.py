"""Workflows over HTTP, and the files of a daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_kit import QUICK, Served, served

SENT = {"name": "sent", "steps": [{"id": "one", "type": "transform", "output": "${{ 1 + 1 }}"}]}
TEXT = {"content-type": "application/yaml"}


async def test_a_workflow_is_created_read_changed_and_put_away(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        http = daemon.http
        made = await http.post("/api/workflows", json=SENT)
        assert made.status_code == 201, made.text
        assert made.json().keys() >= {"id", "name", "status", "created_at"}
        assert (made.json()["id"], made.json()["status"]) == ("sent", "active")
        assert (await daemon.until(await daemon.execute("sent"), "completed"))["result"] == 2
        tag = (await http.get("/api/workflows/sent")).headers["etag"]
        changed = json.dumps(SENT).replace("1 + 1", "2 + 3")
        put = await http.put("/api/workflows/sent", content=changed, headers=TEXT | {"If-Match": tag})
        assert put.status_code == 200, put.text
        stale = await http.put("/api/workflows/sent", content=changed, headers=TEXT | {"If-Match": tag})
        assert stale.status_code == 412
        assert (await daemon.until(await daemon.execute("sent"), "completed"))["result"] == 5
        assert "2 + 3" in (await http.get("/api/workflows/sent", params={"form": "yaml"})).text
        assert [each["id"] for each in (await http.get("/api/workflows")).json()] == ["hello", "quick", "sent"]
        for verb, status in (("pause", "paused"), ("archive", "archived"), ("activate", "active")):
            assert (await http.post(f"/api/workflows/sent/{verb}")).status_code == 202
            assert (await http.get("/api/workflows/sent")).json()["status"] == status
            refused = await http.post("/api/workflows/sent/execute", json={})
            assert (refused.status_code == 202) == (status == "active")


async def test_a_workflow_that_is_wrong_is_told_where(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        bad = "name: bad\nsteps:\n  - {id: one, type: transfrom, output: 1}\n"
        answer = await daemon.http.post("/api/workflows", content=bad, headers=TEXT)
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert (error["line"], "transform" in error["hint"]) == (3, True)
        checked = (await daemon.http.post("/api/workflows/validate", content=bad, headers=TEXT)).json()
        assert (checked["valid"], checked["problems"]) == (False, [error])
        fine = (await daemon.http.post("/api/workflows/validate", content=QUICK, headers=TEXT)).json()
        assert (fine["valid"], fine["name"]) == (True, "quick")
        assert (await daemon.http.get("/api/workflows/bad")).status_code == 404
        for sent, headers, status in (
            (b"\xff", TEXT, 400),
            (b"a: b", {"content-type": "text/csv"}, 415),
            (b"x" * 2_000_000, TEXT, 413),
        ):
            assert (await daemon.http.post("/api/workflows", content=sent, headers=headers)).status_code == status


@pytest.mark.parametrize("path", ["../secret.json", "/etc/hostname"])
async def test_what_is_sent_reads_no_file_outside_the_folder_of_workflows(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as daemon:
        (tmp_path / "secret.json").write_text('{"type": "object", "title": "hunter2"}')
        flow = {"name": "spy", "steps": [{"id": "a", "type": "agent", "prompt": "x", "output_schema": path}]}
        answer = await daemon.http.post("/api/workflows", json=flow)
        assert answer.status_code == 422
        assert "hunter2" not in answer.text
        assert (await daemon.http.get("/api/workflows/spy")).status_code == 404


async def test_what_is_kept_in_a_file_is_changed_there(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        for method, path in (("POST", "/api/workflows"), ("PUT", "/api/workflows/quick")):
            answer = await daemon.http.request(method, path, content=QUICK, headers=TEXT)
            assert (answer.status_code, answer.json()["where"]) == (409, "workflows/quick.yaml")


async def test_changed_files_are_taken_and_broken_ones_keep_the_last_good_version(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as daemon:
        file = tmp_path / "workflows/quick.yaml"
        file.write_text(QUICK.replace("output: 1", "output: 2"))
        await _until(daemon, lambda: any("quick" in each.taken for each in daemon.reloaded))
        assert (await daemon.until(await daemon.execute("quick"), "completed"))["result"] == 2
        file.write_text("name: quick\nsteps: [{id: one, type: transfrom}]\n")
        await _until(daemon, lambda: any("workflows/quick.yaml" in each.broken for each in daemon.reloaded))
        assert (await daemon.until(await daemon.execute("quick"), "completed"))["result"] == 2
        assert (await daemon.http.get("/healthz")).json()["troubles"] == 1
        (tmp_path / "workflows/new.yaml").write_text(QUICK.replace("quick", "new"))
        file.write_text(QUICK)
        await _until(daemon, lambda: any("workflows/quick.yaml" in each.mended for each in daemon.reloaded))
        assert (await daemon.until(await daemon.execute("new"), "completed"))["result"] == 1


async def _until(daemon: Served, test: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        # The daemon looks at files in a thread of its own.
        while not test():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
