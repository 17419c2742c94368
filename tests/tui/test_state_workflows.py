"""The list of workflows: the store and the files of a project combined, in any order, and what is said about one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.client.reading import Reading
from fleetprompt.client.workflow_files import WorkflowFiles
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Page, Workflow
from fleetprompt.tui.state.workflow_details import details, runs_of
from fleetprompt.tui.state.workflows import WorkflowList
from tests.tui.tui_kit import NOW, begun, moved, put, reading

GOOD = "name: {name}\ndescription: {words}\nsteps:\n  - {{id: a, type: transform, output: 1}}\n"
BROKEN = "name: broken\nsteps:\n  - {id: a, type: transfrom, output: 1}\n"


def write(root: Path, name: str, text: str | None = None, words: str = "Does something.") -> Path:
    folder = root / "workflows"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(text if text is not None else GOOD.format(name=name, words=words))
    return path


async def register(client: Reading, files: WorkflowFiles, path: Path, **fields: Any) -> None:
    """What an engine does with a file."""
    file = files.look(path).file
    assert file is not None
    digest = await client.store.catalog.put(file.plan, source=file.text)
    values: dict[str, Any] = {"name": file.plan.name, "tenant": "default", "status": "active", "plan": digest}
    values |= {"file": str(path.relative_to(files.root)), "updated_at": NOW}
    await client.store.catalog.set_workflow(Workflow(**(values | fields)))


async def listed(client: Reading, files: WorkflowFiles) -> WorkflowList:
    workflows = WorkflowList(client, files, lambda: NOW + 1000)  # type: ignore[arg-type]
    await workflows.load()
    look(workflows, files)
    return workflows


def look(workflows: WorkflowList, files: WorkflowFiles) -> None:
    places = workflows.places()
    workflows.take([files.look(path) for path in places], of=places)


def files_of(root: Path) -> WorkflowFiles:
    return WorkflowFiles(root, root / "workflows")


def shown(workflows: WorkflowList) -> list[str]:
    return [entry.name for entry in workflows.entries]


def said(lines: Any) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


async def test_what_the_store_knows_and_what_lies_in_the_folder_is_one_list(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        await register(client, files, write(tmp_path, "audit"), status="paused")
        write(tmp_path, "draft")
        write(tmp_path, "broken", BROKEN)
        workflows = await listed(client, files)
        assert [(entry.name, entry.status) for entry in workflows.entries] == [
            ("audit", "paused"),
            ("broken", "draft"),
            ("draft", "draft"),
        ]
        broken = workflows.entry("broken")
        assert broken is not None
        assert broken.state is not None
        assert broken.state.errors == 1


async def test_a_file_that_was_changed_removed_or_renamed_is_told(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        for name in ("changed", "gone", "old", "same"):
            await register(client, files, write(tmp_path, name))
        workflows = await listed(client, files)
        assert not any(entry.differs for entry in workflows.entries)
        write(tmp_path, "changed", words="Does something else.")
        (tmp_path / "workflows" / "gone.yaml").unlink()
        write(tmp_path, "old", GOOD.format(name="new", words="x"))
        look(workflows, files)
        by_name = {entry.name: entry for entry in workflows.entries}
        assert [name for name, entry in by_name.items() if entry.differs] == ["changed"]
        assert by_name["gone"].state is not None
        assert by_name["gone"].state.missing
        assert by_name["old"].state is None
        assert by_name["new"].status == "draft"
        assert "its file is gone: workflows/gone.yaml" in said(details(by_name["gone"], (), NOW))


async def test_a_second_file_of_the_same_name_is_a_line_of_its_own(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        await register(client, files, write(tmp_path, "audit"))
        write(tmp_path, "copy", GOOD.format(name="audit", words="x"))
        workflows = await listed(client, files)
        assert shown(workflows) == ["audit", "audit"]
        first, second = workflows.entries
        assert first.workflow is not None
        assert second.workflow is None
        assert second.rival == "workflows/audit.yaml"
        assert workflows.find(second.key) == 1


async def test_figures_come_from_the_runs_and_what_has_none_comes_last(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        for name in ("alpha", "beta", "idle"):
            await register(client, files, write(tmp_path, name))
        for number, workflow, status in ((1, "alpha", "completed"), (2, "alpha", "failed"), (3, "beta", "completed")):
            ended = {"finished_at": NOW + number + 10, "workflow": workflow}
            await put(client, begun(number, workflow=workflow), moved(number, 1, status, **ended))
        await put(client, begun(4, workflow="alpha"))
        workflows = await listed(client, files)
        by_name = {entry.name: workflows.cells(at) for at, entry in enumerate(workflows.entries)}
        alpha, idle = by_name["alpha"], by_name["idle"]
        assert alpha is not None
        assert idle is not None
        assert alpha[3] == (("✓", "completed"), ("✗", "failed"), ("●", "running"))
        assert alpha[5] == ("50 %", "error")
        assert idle[3] == ("-", "faint")
        for sort, descending, names in (
            ("success", True, ["beta", "alpha", "idle"]),
            ("success", False, ["alpha", "beta", "idle"]),
            ("runs", True, ["alpha", "beta", "idle"]),
            ("name", True, ["idle", "beta", "alpha"]),
        ):
            workflows.sort, workflows.descending = sort, descending  # type: ignore[assignment]
            workflows.arrange()
            assert shown(workflows) == names


async def test_a_cancelled_run_is_no_failure_of_its_workflow(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        for name in ("alpha", "beta"):
            await register(client, files, write(tmp_path, name))
        ended = {"alpha": ("completed", "cancelled", "cancelled"), "beta": ("cancelled",)}
        runs = [(workflow, status) for workflow, statuses in ended.items() for status in statuses]
        for number, (workflow, status) in enumerate(runs, 1):
            over = {"finished_at": NOW + number + 10, "workflow": workflow}
            await put(client, begun(number, workflow=workflow), moved(number, 1, status, **over))
        workflows = await listed(client, files)
        shares = [cells[5] for at in range(workflows.count) if (cells := workflows.cells(at)) is not None]
        assert shares == [("100 %", "completed"), ("-", "faint")]


async def test_the_filter_knows_name_status_and_words_of_the_description(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        await register(client, files, write(tmp_path, "audit", words="Reads every line."), status="archived")
        write(tmp_path, "deploy", words="Rolls out.")
        workflows = await listed(client, files)
        for text, names in (("status:draft", ["deploy"]), ("name:aud*", ["audit"]), ('"every line"', ["audit"])):
            workflows.filter = text
            workflows.arrange()
            assert shown(workflows) == names
        assert workflows.all == 2
        workflows.filter = "statu:x"
        with pytest.raises(InvalidInput):
            workflows.arrange()


async def test_problems_are_told_with_place_line_and_mark_and_registered_plans_stay(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    async with reading(tmp_path) as client:
        path = write(tmp_path, "broken")
        await register(client, files, path)
        path.write_text(BROKEN)
        workflows = await listed(client, files)
        entry = workflows.entry("broken")
        assert entry is not None
        text = said(details(entry, (), NOW))
        assert "workflows/broken.yaml:3:19: unknown-type" in text
        assert "- {id: a, type: transfrom, output: 1}" in text
        assert "^^^^^^^^^" in text
        assert "did you mean `transform`?" in text
        # What it takes and does is what was registered.
        assert entry.plan is not None
        assert entry.plan.description == "Does something."


async def test_failures_are_told_with_their_messages_and_hostile_text_is_inert(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    name = 'a"b\x1b[31m[red]\u202e'
    async with reading(tmp_path) as client:
        await register(client, files, write(tmp_path, "audit"), name=name)
        error = {"error_code": "TOOL_ERROR", "error_message": "\x1b]0;x\x07" + "z" * 1_000_000, "error_step": "a[red]"}
        failed = {"workflow": name, "finished_at": NOW + 11, **error}
        await put(client, begun(1, workflow=name), moved(1, 1, "failed", **failed))
        workflows = await listed(client, files)
        entry = workflows.entry(name)
        assert entry is not None
        heads, _ = await client.runs(runs_of(name, "status:failed,timeout"), Page())
        assert [head.workflow for head in heads] == [name]
        text = said(details(entry, heads, NOW + 20))
        line = workflows.cells(workflows.find(name) or 0)
        assert text.isprintable() or all(part.isprintable() for part in text.split("\n"))
        assert r"\x1b]0;x\x07zzz" in text
        assert max(map(len, text.split("\n"))) < 2_000
        assert line is not None
        assert line[1] == ((r'a"b\x1b[31m[red]\u202e', "strong"),)
        assert not parse(runs_of(name), RUN_FIELDS).problems


def test_a_file_is_read_again_only_when_it_or_a_file_that_it_names_has_changed(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    path = write(tmp_path, "audit")
    first = files.look(path)
    assert files.look(path) is first
    write(tmp_path, "audit", words="Something else.")
    second = files.look(path)
    assert second.file is not None
    assert second.file.plan.description == "Something else."
    os.utime(path, (1, 1))
    assert files.look(path) is not second
    assert files.look(path, anew=True) is not files.look(path, anew=True)


def test_a_project_without_a_folder_has_no_files_and_hidden_ones_do_not_count(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    assert files.places() == []
    write(tmp_path, "audit")
    write(tmp_path, ".hidden")
    (tmp_path / "workflows" / "read.me").write_text("no")
    assert [path.name for path in files.places()] == ["audit.yaml"]
    outside = Workflow(name="x", tenant="default", status="active", plan="p", file="elsewhere/x.yaml")
    nameless = Workflow(name="y", tenant="default", status="active", plan="p", file="a\0b")
    assert [path.name for path in files.places([outside, nameless])] == ["audit.yaml", "x.yaml"]
