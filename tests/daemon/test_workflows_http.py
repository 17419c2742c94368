"""Workflows over HTTP, and the files of a daemon."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import QUICK, Served, served

from fleetprompt.client import reloading
from fleetprompt.client.workflow_files import WorkflowFiles

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
        put = await http.put("/api/workflows/sent", content=changed, headers=TEXT | {"If-Match": f'"other", W/{tag}'})
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


@pytest.mark.parametrize("tenant", ["default", "other"])
async def test_of_many_who_change_the_same_at_once_one_does(tmp_path: Path, tenant: str) -> None:
    who = {"X-elevAIte-OrganizationId": tenant}
    async with served(tmp_path) as daemon:
        http = daemon.http

        async def all_at_once(method: str, path: str, *bodies: Any, **more: str) -> list[int]:
            asked = (http.request(method, path, json=body, headers=who | more) for body in bodies)
            return sorted(answer.status_code for answer in await asyncio.gather(*asked))

        sent = [SENT | {"description": f"Number {n}."} for n in range(10)]
        assert await all_at_once("POST", "/api/workflows", *sent) == [201, *[409] * 9]
        same = SENT | {"name": "same"}
        assert await all_at_once("POST", "/api/workflows", *[same] * 5) == [*[200] * 4, 201]
        tag = (await http.get("/api/workflows/sent", headers=who)).headers["etag"]
        changed = [SENT | {"description": f"Changed {n}."} for n in range(10)]
        assert await all_at_once("PUT", "/api/workflows/sent", *changed, **{"If-Match": tag}) == [200, *[412] * 9]
        if tenant == "default":
            await http.post("/api/agents", json={"name": "sre"})
            tag = (await http.get("/api/agents/sre")).headers["etag"]
            agents = [{"name": "sre", "system": f"Be {n}."} for n in range(10)]
            assert await all_at_once("PUT", "/api/agents/sre", *agents, **{"If-Match": tag}) == [200, *[412] * 9]


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


async def test_what_is_sent_is_a_file_of_the_project(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        made = await daemon.http.post("/api/workflows", json=SENT)
        assert (made.status_code, made.json()["file"]) == (201, "workflows/sent.yaml")
        file = tmp_path / "workflows/sent.yaml"
        assert file.read_text().startswith("name: sent\nsteps:\n"), "as somebody would write it"
        created = made.json()["created_at"]
        again = await daemon.http.post("/api/workflows", json=SENT)
        assert (again.status_code, again.json()["created_at"]) == (200, created)
        other = SENT | {"description": "another one"}
        refused = await daemon.http.post("/api/workflows", json=other)
        assert (refused.status_code, refused.json()["where"]) == (409, "workflows/sent.yaml")
        changed = await daemon.http.put("/api/workflows/sent", json=other)
        assert (changed.status_code, changed.json()["created_at"]) == (200, created)
        assert "another one" in file.read_text()
        assert [each.name for each in file.parent.iterdir() if each.name.startswith(".")] == []


async def test_what_somebody_else_has_written_is_not_written_over(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        file = tmp_path / "workflows/quick.yaml"
        file.write_text("name: quick\nsteps: [{id: one, type: transfrom}]\n")
        changed = QUICK.replace("output: 1", "output: 2")
        answer = await daemon.http.put("/api/workflows/quick", content=changed, headers=TEXT)
        assert (answer.status_code, "transfrom" in file.read_text()) == (409, True)
        (tmp_path / "workflows/sent.yaml").write_text("name: other\nsteps: [{id: one, type: transfrom}]\n")
        answer = await daemon.http.post("/api/workflows", json=SENT)
        assert (answer.status_code, (await daemon.http.get("/api/workflows/sent")).status_code) == (409, 404)


GRAPH = {
    "name": "Support Triage",
    "description": "Answer what is urgent.",
    "steps": [
        {"step_id": "start", "step_type": "trigger", "parameters": {"kind": "chat"}, "next_steps": ["Is-Urgent"]},
        {
            "step_id": "Is-Urgent",
            "step_type": "condition",
            "parameters": {"condition": "{{input.priority}} == 'high'"},
            "next_steps": ["Ask-Human"],
            "else_steps": ["keep all"],
            "position": {"x": 1, "y": 2},
        },
        {
            "step_id": "Ask-Human",
            "step_type": "human_approval",
            "parameters": {
                "message": "Answer {current_message}?",
                "approvers": ["ana"],
                "timeout_hours": 2,
                "require_comment": True,
            },
        },
        {"step_id": "keep all", "step_type": "data_transform", "parameters": {"expression": "{{input}}"}},
    ],
}


async def test_a_graph_of_another_system_is_created_and_run_in_its_own_words(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        checked = (await daemon.http.post("/api/workflows/validate", json=GRAPH)).json()
        made = await daemon.http.post("/api/workflows", json=GRAPH)
        assert made.status_code == 201, made.text
        found = made.json()
        assert (found["id"], found["name"], found["status"]) == ("support-triage", "Support Triage", "active")
        [listed] = (await daemon.http.get("/api/workflows", params={"limit": 1, "cursor": "quick"})).json()
        assert (listed["id"], listed["name"]) == ("support-triage", "Support Triage")
        assert any("position" in note["message"] for note in found["notes"]), "what has no counterpart is told"
        assert (checked["valid"], checked["notes"]) == (True, found["notes"])
        assert found["step_ids"] == {"Is-Urgent": "is_urgent", "Ask-Human": "ask_human", "keep all": "keep_all"}
        assert (tmp_path / "workflows/support-triage.yaml").exists()

        urgent = await daemon.execute(
            "support-triage",
            trigger={"kind": "chat", "current_message": "help"},
            context={"priority": "high", "nobody": "reads this"},
        )
        asked = await daemon.pending(urgent)
        assert (asked["step_id"], asked["message"]) == ("Ask-Human", "Answer help?")
        assert asked["approvers"] == ["ana"], "as it was sent"
        approval = f"/api/approvals/{asked['id']}"
        assert (await daemon.http.post(approval, json={"decision": "approved"})).status_code == 422
        decided = await daemon.http.post(approval, json={"decision": "approved", "comment": "Do."})
        assert decided.status_code == 200, decided.text
        steps = (await daemon.until(urgent, "completed"))["steps"]
        assert {step["step_id"]: step["status"] for step in steps} == {
            "Is-Urgent": "completed", "Ask-Human": "completed", "keep all": "skipped",
        }  # fmt: skip
        events = await daemon.events(f"/api/executions/{urgent}/stream", events="step_complete")
        assert {event.data["step"] for event in events[1:]} == {"Is-Urgent", "Ask-Human", "keep all"}

        trigger = {"kind": "chat", "current_message": "hi", "channel": "web"}
        calm = await daemon.execute("support-triage", trigger=trigger, context={"a": 1, "b": 1}, input={"b": 2})
        whole = (await daemon.until(calm, "completed"))["result"]
        assert whole == trigger | {"a": 1, "b": 2}, "`input` is all three"


async def test_what_cannot_be_imported_is_told_at_its_place(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        steps = [{"step_id": "a", "step_type": "delay", "parameters": {"seconds": 1}, "next_steps": ["nowhere"]}]
        answer = await daemon.http.post("/api/workflows", json={"name": "bad", "steps": steps})
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
        assert answer.json()["errors"][0]["pointer"] == "/steps/0/next_steps/0"
        assert not (tmp_path / "workflows/bad.yaml").exists()


async def test_the_other_forms_are_understood(tmp_path: Path) -> None:
    needs = {
        "name": "needs",
        "steps": [
            {"name": "Look up", "step_type": "data_input", "config": {"total": 3}},
            {
                "name": "Double",
                "step_type": "data_processing",
                "dependencies": ["look_up"],
                "input_mapping": {"n": "look_up.total"},
                "config": {"expression": "n * 2"},
            },
        ],
    }
    listed = {
        "name": "listed",
        "trigger": {"type": "manual"},
        "guardrails": {"request_limit": 5, "timeout_seconds": 60},
        "steps": [
            {
                "id": "check",
                "type": "condition",
                "condition": {
                    "field": "$.input.n",
                    "operator": "gt",
                    "value": 1,
                    "then_step": "gate",
                    "else_step": "gate",
                },
            },
            {"id": "gate", "type": "human", "prompt": "Go on?"},
        ],
    }
    async with served(tmp_path) as daemon:
        for form in (needs, listed):
            made = await daemon.http.post("/api/workflows", json=form)
            assert made.status_code == 201, made.text
        done = await daemon.until(await daemon.execute("needs"), "completed")
        assert done["result"] == 6
        assert (await daemon.pending(await daemon.execute("listed", input={"n": 2})))["step_id"] == "gate"


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


async def test_files_that_are_gone_or_say_what_another_says_are_told_of(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        (tmp_path / "workflows/twice.yaml").write_text(QUICK)
        await _until(daemon, lambda: any(each.doubled for each in daemon.reloaded))
        assert daemon.reloaded[-1].doubled == {"workflows/twice.yaml": "workflows/quick.yaml"}
        (tmp_path / "workflows/quick.yaml").unlink()
        await _until(daemon, lambda: any("quick" in each.taken for each in daemon.reloaded))
        (tmp_path / "workflows/twice.yaml").unlink()
        await _until(daemon, lambda: any(each.gone for each in daemon.reloaded))
        assert daemon.reloaded[-1].gone == {"workflows/twice.yaml": "quick"}
        assert (await daemon.until(await daemon.execute("quick"), "completed"))["result"] == 1
        assert [where for _, where, _ in daemon.console.engine.troubles] == ["workflows/twice.yaml"] * 2


async def test_a_file_that_was_never_good_is_not_said_to_go_on(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        (tmp_path / "workflows/new.yaml").write_text("name: new\nsteps: [{id: one, type: transfrom}]\n")
        await _until(daemon, lambda: any(each.broken for each in daemon.reloaded))
        assert "no workflow of it" in daemon.reloaded[-1].broken["workflows/new.yaml"].means


async def test_a_folder_of_workflows_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "LOOK_MS", 50)
    folder = tmp_path / "later"
    async with served(tmp_path) as daemon, asyncio.timeout(60):
        files = reloading.Reloading(daemon.console, WorkflowFiles(tmp_path, folder), daemon.console.engine.trouble)
        changes = files.follow((folder,))
        (folder / "sub").mkdir(parents=True)
        (folder / "late.yaml").write_text(QUICK.replace("quick", "late"))
        assert (await anext(changes)).taken == ("late",)
        (folder / "late.yaml").write_text(QUICK.replace("quick", "later"))
        assert (await anext(changes)).taken == ("later",)
        await changes.aclose()


async def test_a_name_that_cannot_be_read_does_not_end_the_daemon(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        for n, name in enumerate((b"\xff.txt", b"\xff.yaml", b"\xfe.yaml")):
            Path(os.fsdecode(os.fsencode(tmp_path / "workflows") + b"/" + name)).write_text("what?")
            (tmp_path / f"workflows/new_{n}.yaml").write_text(QUICK.replace("quick", f"new-{n}"))
            await _until(daemon, lambda n=n: any(f"new-{n}" in each.taken for each in daemon.reloaded))
        assert (await daemon.until(await daemon.execute("new-2"), "completed"))["result"] == 1
        good = Path(os.fsdecode(os.fsencode(tmp_path) + b"/workflows/good\xff.yaml"))
        good.write_text(QUICK.replace("quick", "good"))
        await _until(daemon, lambda: any(any("good" in name for name in each.broken) for each in daemon.reloaded))
        assert "good" not in {each.name for each in await daemon.console.workflows()}
        told = [text for _, *texts in daemon.console.engine.troubles for text in texts]
        assert told
        assert all(text.encode() for text in told), "it can be written down"


async def test_a_kernel_that_tells_nothing_does_not_end_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(reloading, "LOOK_MS", 50)
    monkeypatch.setattr("watchfiles.awatch", full)
    async with served(tmp_path) as daemon:
        (tmp_path / "workflows/new.yaml").write_text(QUICK.replace("quick", "new"))
        await _until(daemon, lambda: any("new" in each.taken for each in daemon.reloaded))
        [(_, where, what)] = daemon.console.engine.troubles
        assert where == "workflow files"
        assert "watch limit reached" in what


async def _until(daemon: Served, test: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        # The daemon looks at files in a thread of its own.
        while not test():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
