"""What is beside the tree of a run: its facts, values and source, and what can be done with a row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from run_kit import GOLDEN, START, Telling, act, golden, loop, telling
from run_project import Project

from fleetprompt.client.definitions import step_lines
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.core.facts import (
    ApprovalDecided,
    ApprovalRequested,
    ApprovalVoted,
    Blob,
    RunFinished,
    RunPaused,
    StepInDoubt,
    StepNoted,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Node, Retry
from fleetprompt.tui.state.facts import FactRow
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.run_values import Held, attempt_values, load, run_values, step_values
from fleetprompt.tui.state.run_verbs import verbs, why_no_vote
from fleetprompt.tui.state.source import LONGEST, SourceText

GATE = Node(id="g", type="approval", kind="approval")
SOURCE = """\
name: sample
steps:
  # about the first
  - id: first
    type: shell
    argv: [echo, "a"]
    compensate:
      type: shell
      argv: [echo, b]

  # about the loop
  - id: each
    type: loop
    over: [1, 2]
    steps:
      - {id: inner, type: transform, output: 1}
  - {id: last, type: transform, output: 2}
"""


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    made = await Project.open(tmp_path, sample=SOURCE, large=LARGE)
    yield made
    await made.console.close()


LARGE = """
name: large
steps:
  - {id: big, type: shell, argv: [python3, -c, "print('x' * 200000)"], repeat: safe}
"""


# ---------------------------------------------------------------- facts


def rows(run: Telling, words: str = "") -> list[FactRow]:
    return list(run.fold.facts.rows(run.fold.facts.find(words)))


def test_facts_say_what_happened_as_it_was_then() -> None:
    run = telling(act("a"), act("b"))
    run.say(StepWaiting(at=START, path="a", on="signal", ref="go", until=START + 90))
    run.start("a")
    run.ok("a")
    assert [(row.n, row.type, row.path, row.what) for row in rows(run)] == [
        (1, "RunCreated", "", "t abcdefgh created by nobody"),
        (2, "RunStarted", "", "started"),
        (3, "StepWaiting", "a", "waits for signal go, 1m left"),
        (4, "StepStarted", "a", "started"),
        (5, "StepSucceeded", "a", "completed in 0.00s"),
    ]


def test_facts_are_found_by_every_word_in_type_or_path_also_those_that_come_later() -> None:
    run = telling(act("alpha"), act("beta", needs=()))
    run.start("alpha")
    assert [row.path for row in rows(run, "ALPHA stepst")] == ["alpha"]
    assert rows(run, "beta") == []
    run.start("beta")
    assert [row.path for row in rows(run, "beta")] == ["beta"]
    assert [row.type for row in rows(run, " run ")] == ["RunCreated", "RunStarted"]
    assert len(rows(run)) == 4


def test_a_long_fact_is_one_short_line_and_is_whole_as_an_object() -> None:
    run = telling(act("a"))
    run.start("a")
    run.fail("a")
    run.say(StepNoted(at=START, path="a", kind="message", value="x\n" * 9_000))
    assert all("\n" not in row.what and len(row.what) <= 400 for row in rows(run))
    assert run.fold.facts.object(3) == {
        "seq": 4,
        "n": 4,
        "type": "StepFailed",
        "at": START,
        "path": "a",
        "error": {"code": "TOOL_ERROR", "message": "boom"},
    }


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_every_recorded_fact_can_be_told_and_every_value_be_seen(file: Path) -> None:
    plan, facts = golden(file)
    run = Telling(plan, begin=False)
    run.say(*facts)
    assert len(rows(run)) == len(facts)
    assert all(row.what for row in rows(run))
    for step in run.fold.run.steps.values():
        for held in step_values(step):
            assert held.line
            msgspec.json.encode(held.value)
        verbs(run.fold.run, step, me="ana")
    for held in run_values(run.fold.run):
        msgspec.json.encode(held.value)


# ---------------------------------------------------------------- values


def test_a_step_shows_what_it_has_and_nothing_else() -> None:
    run = telling(act("a", retry=Retry(2)), loop("l", act("x")))
    step = run.fold.run.steps["a"]
    assert step_values(step) == []
    run.start("a", secrets={"/env/KEY": ["Bearer ", {"secret": "TOKEN"}]})
    run.say(StepNoted(at=START, path="a", kind="process", value={"pid": 7}))
    run.say(StepNoted(at=START, path="a", kind="message", key="m", blob=Blob("d", 99)))
    run.fail("a", retry_at=START + 1)
    found = {held.name: held.value for held in step_values(step)}
    assert list(found) == ["input", "secrets", "notes", "error"]
    assert found["secrets"] == {"/env/KEY": ["TOKEN"]}
    assert found["notes"] == [
        {"kind": "process", "attempt": 1, "value": {"pid": 7}},
        {"kind": "message", "key": "m", "attempt": 1, "value": {"ref": "d", "size": 99}},
    ]
    attempts = run.fold.index.tracks["a"].attempts
    assert attempts is not None
    assert attempt_values(attempts[0])[0].value == {"code": "TOOL_ERROR", "message": "boom"}
    run.ok("a", output={"x": 1})
    run.expand("l", 2)
    assert step_values(run.fold.run.steps["l"])[-1] == Held("items", [0, 1])


async def test_a_large_value_is_loaded_when_it_is_wanted(project: Project) -> None:
    run = await project.start("large")
    await project.wait(run)
    view = await RunView.load(project.console, run)
    (held,) = [held for held in step_values(view.run.steps["big"]) if held.name == "output"]
    assert held.blob is not None
    assert len(str(held.value)) < 10_000
    assert (await load(project.console, held))["stdout"].startswith("xxx")
    with pytest.raises(NotFound):
        await load(project.console, Held("output", None, Blob("0" * 64, 1)))


# ---------------------------------------------------------------- source


def test_each_step_has_its_lines_and_comments_belong_to_what_follows() -> None:
    text = SourceText(SOURCE, step_lines(SOURCE))
    assert len(text) == 17

    def lines(path: str) -> tuple[str, str]:
        found = text.lines_of(path)
        assert found is not None
        return text.line(found[0]).strip(), text.line(found[1] - 1).strip()

    assert lines("first") == ("- id: first", "argv: [echo, b]")
    assert lines("first@compensate") == ("compensate:", "argv: [echo, b]")
    assert lines("each#2[4].inner") == lines("inner") == ("- {id: inner, type: transform, output: 1}",) * 2
    assert lines("each")[0] == "- id: each"
    assert lines("last")[0].startswith("- {id: last")
    assert text.lines_of("unknown") is text.lines_of("") is None


@pytest.mark.parametrize("text", ["", "a: [", "\x00", "steps: 3", "steps: [{id: 1}, 7]", "- \r\n- \r"])
def test_a_file_that_says_nothing_has_no_lines_of_steps(text: str) -> None:
    assert step_lines(text) == {}
    source = SourceText(text, {})
    assert all(source.line(i).isprintable() for i in range(len(source)))


def test_a_line_of_the_source_is_inert_and_cut() -> None:
    source = SourceText("a: \x1b[2J\u202e" + "x" * 10_000, {})
    assert source.line(0).startswith("a: \\x1b[2J\\u202exxx")
    assert source.line(0).endswith(f"… {10_009 - LONGEST - 1:,} more characters")


async def test_the_source_of_a_run_is_that_of_its_plan(project: Project) -> None:
    run = await project.start("sample")
    await project.wait(run)
    (project.root / "sample.yaml").write_text("name: other\n")
    view = await RunView.load(project.console, run)
    source = await SourceText.load(project.console, view.head.plan)
    assert source.text == SOURCE
    assert all(source.lines_of(step.path) for step in view.run.steps.values())


# ---------------------------------------------------------------- verbs


def possible(run: Telling, path: str = "") -> set[str]:
    step = run.fold.run.steps[path] if path else None
    return {name for name, verb in verbs(run.fold.run, step, me="ana").items() if verb.possible}


def why_not(run: Telling, name: str, path: str = "") -> str:
    step = run.fold.run.steps[path] if path else None
    found = {str(verb.name): verb.why_not for verb in verbs(run.fold.run, step, me="ana").values()}
    return found[name]


def why_not_vote(run: Telling, me: str = "ana", groups: tuple[str, ...] | None = None) -> str:
    step = run.fold.run.steps["g"]
    assert step.gate is not None
    return why_no_vote(step, step.gate, me, groups)


def test_what_can_be_done_with_a_run() -> None:
    run = telling(act("a"))
    assert possible(run) == {"cancel", "pause"}
    assert why_not(run, "resume") == "the run is not paused"
    assert why_not(run, "retry") == "only a finished run can be retried"
    run.say(RunPaused(at=START))
    assert possible(run) == {"cancel", "resume"}
    run.say(RunFinished(at=START, status="failed"))
    assert possible(run) == {"retry"}
    assert possible(run, "a") == {"retry", "retry_from"}
    assert why_not(run, "cancel") == "the run is already failed"


def test_what_can_be_done_with_a_step_that_asks() -> None:
    run = telling(GATE)
    run.start("g")
    run.say(ApprovalRequested(at=START, path="g", id="ap-1", digest="", approvers=("ana", "bo"), quorum=2))
    assert possible(run, "g") == {"cancel", "pause"}
    assert why_not_vote(run) == ""
    assert why_not_vote(run, "eve") == "only ana, bo may decide this"
    run.say(ApprovalVoted(at=START, path="g", id="ap-1", by="ana", decision="approved"))
    assert why_not_vote(run) == "you have approved it already"
    run.say(ApprovalDecided(at=START, path="g", id="ap-1", decision="approved"))
    assert why_not_vote(run, "bo") == "the approval is already approved"


def test_who_is_in_a_group_is_known_to_the_engine_alone_unless_it_is_said() -> None:
    run = telling(GATE)
    run.start("g")
    run.say(ApprovalRequested(at=START, path="g", id="ap-1", digest="", approvers=("group:oncall",)))
    assert not why_not_vote(run, "eve")
    assert not why_not_vote(run, "eve", ("oncall",))
    assert why_not_vote(run, "eve", ("dev",)) == "only group:oncall may decide this"


def test_a_step_in_doubt_is_answered_for_in_the_attempt_that_is_seen() -> None:
    run = telling(act("a"))
    run.start("a", attempt=2)
    assert why_not(run, "resolve", "a") == "a is running, not in doubt"
    run.say(StepInDoubt(at=START, path="a", attempt=2))
    verb = verbs(run.fold.run, run.fold.run.steps["a"], me="ana")["resolve"]
    assert (verb.possible, verb.target, verb.attempt) == (True, "a", 2)


def test_a_run_that_was_compensated_is_not_retried() -> None:
    run = telling(act("s", compensate=act("back")))
    run.start("s")
    run.ok("s")
    run.start("s@compensate", role="compensation")
    run.ok("s@compensate")
    run.say(RunFinished(at=START, status="failed"))
    assert why_not(run, "retry") == "the run was compensated: its effects are undone"
