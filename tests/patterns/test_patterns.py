"""Every file of docs/patterns is sound, runs as docs/patterns.md says, and is in that page word for word."""

from __future__ import annotations

import re

import pytest
from pattern_cases import CASES, Case, Ran
from pattern_stage import EPOCH, FOLDER, Stage, load, perform

from fleetprompt.engine.core.duration import parse_duration
from fleetprompt.engine.core.state import Run, Step
from fleetprompt.engine.definition.load import check

FILES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
PAGE = FOLDER.parent / "patterns.md"
LONGEST = 30
"""Lines of a file."""


@pytest.mark.parametrize("name", FILES)
def test_file_is_sound(name: str) -> None:
    loaded = load(name)
    assert loaded.warnings == ()
    assert loaded.plan.name == name
    assert loaded.plan.description
    assert len(loaded.source.splitlines()) <= LONGEST


def test_every_file_is_run() -> None:
    assert sorted({ran.workflow for case in CASES for ran in case.all}) == FILES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_runs_as_told(case: Case) -> None:
    runs = perform({ran.workflow for ran in case.all}, lambda stage: _play(stage, case))
    assert [(run.created.workflow if run.created else "", run.status, run.output) for run in runs] == [
        (ran.workflow, ran.status, ran.output) for ran in case.all
    ]
    for run, ran in zip(runs, case.all, strict=True):
        assert happened(run) == expected(ran)
        assert (run.error.message if run.error else "") == ran.error
        assert run.ignored == 0


def test_steps_that_wait_for_each_other_are_refused() -> None:
    shown = _blocks("text")
    text = """\
name: arbitrary-cycles
steps:
  - {id: write, type: delay, needs: [judge], for: 1h}
  - {id: judge, type: delay, needs: [write], for: 1h}
"""
    (problem,) = check(text, "cycle.yaml")
    assert problem.code == "cycle"
    assert problem.message in "".join(shown)


# ---------------------------------------------------------------- the page


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_page_shows_every_file_word_for_word() -> None:
    shown = {block.partition("\n")[0].removeprefix("name: "): block for block in _blocks("yaml")}
    assert len(shown) == len(_blocks("yaml")), "a file is shown twice"
    assert shown == {name: (FOLDER / f"{name}.yaml").read_text() for name in FILES}, "copy the files into the page"
    assert _blocks("python") == [(FOLDER / "patterns.py").read_text()]


def test_page_has_a_row_for_every_control_flow_pattern() -> None:
    rows = re.findall(r"^\| (\d+) \| .*\|$", PAGE.read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 44))


def test_page_links_to_what_it_has() -> None:
    text = PAGE.read_text()
    for file in re.findall(r"\]\((patterns/[^)]+)\)", text):
        assert (PAGE.parent / file).is_file(), file
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in anchors, anchor


# ---------------------------------------------------------------- playing


async def _play(stage: Stage, case: Case) -> list[Run]:
    first = await stage.start(case.ran.workflow, **case.inputs)
    for moment, verb, *rest in case.acts:
        await stage.at(parse_duration(moment))
        options = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        options = {key: first if value == "RUN" else value for key, value in options.items()}
        await getattr(stage, verb)(*(first if word == "RUN" else word for word in rest), **options)
    await stage.settle()
    return await stage.runs()


def happened(run: Run) -> dict[str, tuple[str, float | None]]:
    """Path to how the step ended and when, in seconds since the story began."""
    return {path: (_ending(step), _second(step)) for path, step in run.steps.items()}


def _ending(step: Step) -> str:
    return "dead" if step.reason == "dead" else step.status


def _second(step: Step) -> float | None:
    return round(step.finished_at - EPOCH, 2) if step.finished_at is not None else None


def expected(ran: Ran) -> dict[str, tuple[str, float | None]]:
    """The same of an entry of the table."""
    found: dict[str, tuple[str, float | None]] = {}
    for word in ran.steps.split():
        told = re.fullmatch(r"(.+?)(?::(\w+))?(?:!([\dhmsd]+))?", word)
        assert told is not None
        path, how, moment = told.groups()
        second = None if how == "pending" else parse_duration(moment) if moment else 0.0
        found[path] = (how or "completed", second)
    return found
