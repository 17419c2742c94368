"""Real engines that are killed: the command that the README promises, small, and that its counts would tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fleetprompt.client.opening import open_console
from tests.crash.__main__ import table
from tests.crash.engines import ROOT, environment
from tests.crash.points import NUMBER, live
from tests.crash.project import Effect, Project
from tests.crash.verdict import Kill, Verdict, judge


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.timeout(600)
def test_killed_engines_break_no_promise() -> None:
    command = [sys.executable, "-m", "tests.crash", "--runs", "8", "--kills", "3", "--seed", "41", "--json"]
    said = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said
    counts = json.loads(said.stdout)
    assert counts["broken"] == []
    assert (counts["kills"], counts["runs"]) == (3, 8)
    assert counts["in_doubt"] > 0, "all kills have missed"
    assert counts["left_in_doubt"] == 0
    assert counts["statuses"] == {"completed": 7, "failed": 1}
    assert "kill 3 of 3: " in said.stderr


@pytest.mark.parametrize("arguments", [["--kills", "3", "--runs", "2"], ["--kills", "0"], ["--keep", "."]])
def test_what_cannot_be_measured_is_a_wrong_usage(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tests.crash", *arguments]
    said = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (2, "")
    assert "error: " in said.stderr


async def verdict_on(project: Project, run: str, *killed: Kill) -> Verdict:
    console = await open_console(project.place, "attach")
    try:
        return await judge(console, project, {NUMBER: run}, killed)
    finally:
        await console.close()


async def test_the_verdict_sees_what_is_repeated_and_what_is_lost(tmp_path: Path) -> None:
    project = Project.make(tmp_path)
    end = await live(project)
    run, file = end["run"], project.folder / "effects.jsonl"
    honest = file.read_text()
    verdict = await verdict_on(project, run)
    assert verdict.broken == []
    assert table(verdict).endswith("\n\nevery promise was kept")

    def happened(path: str) -> str:
        lines = honest.splitlines(keepends=True)
        return next(line for line in lines if _is(line, path))

    file.write_text(honest + happened("pay"))
    verdict = await verdict_on(project, run)
    assert verdict.never_repeated == 1
    assert verdict.broken == [f"`never`, and happened 2 times: step pay of run {run}"]
    assert table(verdict).endswith(f"\nBROKEN: `never`, and happened 2 times: step pay of run {run}")

    file.write_text(honest + happened("papers.invoice"))
    verdict = await verdict_on(project, run)
    assert (verdict.safe_repeated, verdict.broken) == (1, [])

    file.write_text(honest.replace(happened("stock"), ""))
    verdict = await verdict_on(project, run)
    assert (verdict.lost, verdict.broken) == (1, [f"lost: step stock of run {run}"])

    file.write_text(honest)
    kill = Kill(frozenset({(run, "pack[0].wrap"), (run, "forgotten")}), 0)
    verdict = await verdict_on(project, run, kill)
    assert (verdict.recorded_repeated, verdict.lost) == (1, 1)
    assert verdict.broken[0] == f"recorded, and performed again: step pack[0].wrap of run {run}"


def _is(line: str, path: str) -> bool:
    effect = Effect(**json.loads(line))
    return (effect.what, effect.path) == ("happened", path)
