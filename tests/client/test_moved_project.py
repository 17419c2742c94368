"""A project that was moved: its old runs go on with the code in the new place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from client_kit import ME, attached, embedded, place_at, start_of

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page
from fleetprompt.engine.runtime.files import code_folder, kept

OLD = """
name: old
triggers: [{type: signal, match: deploy}]
steps:
  - {id: go, type: wait, signal: go}
  - {id: where, type: python, call: "near:where"}
"""
PARENT = """
name: parent
steps:
  - {id: child, type: workflow, workflow: old}
"""
CODE = "from pathlib import Path\ndef where(): return str(Path(__file__).parent)\n"


def project_at(root: Path) -> Path:
    workflows = root / "flows"
    workflows.mkdir(parents=True)
    (workflows / "old.yaml").write_text(OLD)
    (workflows / "near.py").write_text(CODE)
    return workflows / "old.yaml"


async def source_of(console: EmbeddedConsole, run: str) -> str:
    created = (await console.facts(run))[0].fact
    assert isinstance(created, RunCreated)
    return created.source.file


async def end_of(console: EmbeddedConsole, run: str) -> Any:
    await console.publish(Signal(id=f"go {run}", type="go", source="test", at=0.0))
    async with asyncio.timeout(120):
        assert (await console.engine.wait(run)).status == "completed"
    return (await console.state(run)).steps["where"].output


@pytest.mark.parametrize("where", ["here", "attached"])
async def test_an_old_run_finds_its_code_in_the_new_place_and_so_does_a_new_one(tmp_path: Path, where: str) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    file = project_at(before)
    if where == "attached":
        asking = await attached(place_at(before))
        await asking.start(start_of(file, key="k"))
        await asking.close()
    console = await embedded(place_at(before))
    run = await console.start(start_of(file, key="k"))
    assert await source_of(console, run) == "flows/old.yaml"
    await console.close()

    before.rename(after)
    console = await embedded(place_at(after))
    try:
        new = await console.start(StartRun(workflow="old", by=ME))
        await console.publish(Signal(id="d", type="deploy", source="test", at=0.0))
        triggered = (await console.runs("trigger:signal", Page()))[0][0].id
        for each in (run, new, triggered):
            assert await end_of(console, each) == str(after / "flows")
    finally:
        await console.close()


async def test_a_child_finds_the_code_beside_its_own_file(tmp_path: Path) -> None:
    project_at(tmp_path)
    (tmp_path / "other").mkdir()
    parent = tmp_path / "other" / "parent.yaml"
    parent.write_text(PARENT)
    console = await embedded(place_at(tmp_path))
    try:
        run = await console.start(StartRun(files=load_files(parent, tmp_path / "flows"), by=ME))
        await console.engine.bus.drain()
        (child,) = [head.id for head in (await console.runs("workflow:old", Page()))[0]]
        assert await source_of(console, child) == "flows/old.yaml"
        assert await end_of(console, child) == str(tmp_path / "flows")
        async with asyncio.timeout(120):
            assert (await console.engine.wait(run)).status == "completed"
    finally:
        await console.close()


async def test_a_file_outside_the_project_is_kept_by_its_absolute_path(tmp_path: Path) -> None:
    file = project_at(tmp_path / "elsewhere")
    console = await embedded(place_at(tmp_path / "project"))
    try:
        run = await console.start(start_of(file))
        assert await source_of(console, run) == str(file)
        assert await end_of(console, run) == str(file.parent)
    finally:
        await console.close()


def test_paths_are_kept_from_the_project_and_old_absolute_ones_still_mean_what_they_meant(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "flows").mkdir(parents=True)
    (tmp_path / "link").symlink_to(project)
    inside = str(project / "flows" / "a.yaml")
    assert kept(inside, project) == kept(inside, tmp_path / "link") == "flows/a.yaml"
    assert kept(str(tmp_path / "a.yaml"), project) == str(tmp_path / "a.yaml")
    assert kept("flows/a.yaml", project) == "flows/a.yaml"
    assert kept("", project) == ""
    assert code_folder("flows/a.yaml", str(project)) == str(project / "flows")
    assert code_folder(inside, "/elsewhere") == str(project / "flows")
    assert code_folder("", str(project)) == ""
