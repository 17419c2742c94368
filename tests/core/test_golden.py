"""Journals of every released format fold for ever, and mean what they meant when they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from record_golden import FOLDER, JOURNALS, summary

from fleetprompt.engine.core.codec import decode, encode
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import AnyFact, Source
from fleetprompt.engine.core.plan import Plan
from fleetprompt.engine.core.program import Program

FILES = sorted(FOLDER.parent.glob("*/*.jsonl"))
LINES = [line for file in FILES for line in file.read_bytes().splitlines()]
RAW: list[dict[str, Any]] = [msgspec.json.decode(line) for line in LINES]


class Golden(msgspec.Struct):
    plan: Plan
    run: dict[str, Any]


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_recorded_journal_means_what_it_meant(file: Path) -> None:
    golden = msgspec.json.decode(file.with_suffix(".run.json").read_bytes(), type=Golden)
    facts = [decode(line) for line in file.read_bytes().splitlines()]
    assert msgspec.to_builtins(summary(Program(golden.plan), facts)) == golden.run
    assert golden.run["ignored"] == 0


def test_every_journal_is_recorded() -> None:
    assert {file.stem for file in FILES if file.parent == FOLDER} == set(JOURNALS)


def test_recorded_bytes_are_what_is_written_today() -> None:
    """Tags, names and order of fields: a journal of today is one that this version would write."""
    for line in LINES:
        assert encode(decode(line)) == line


@pytest.mark.parametrize("kind", get_args(AnyFact), ids=lambda kind: kind.__name__)
def test_every_field_of_every_fact_is_recorded(kind: type[msgspec.Struct]) -> None:
    tag = kind.__struct_config__.tag
    seen = {name for fact in RAW if fact["type"] == tag for name in fact}
    fields = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert fields <= seen, f"no recorded {tag} has {sorted(fields - seen)}"


@pytest.mark.parametrize(("kind", "where"), [(Source, "source"), (Failure, "error")])
def test_every_field_inside_is_recorded(kind: type[msgspec.Struct], where: str) -> None:
    seen = {name for fact in RAW for name in fact.get(where) or ()}
    assert {field.encode_name for field in msgspec.structs.fields(kind)} <= seen


CHOICES = {
    ("StepResolved", "answer"): {"happened", "run", "skip", "abort"},
    ("StepWaiting", "on"): {"timer", "signal", "child", "slot", "budget"},
    ("StepSkipped", "reason"): {"dead", "conflict"},
    ("ApprovalVoted", "decision"): {"approved"},
    ("ApprovalDecided", "decision"): {"approved", "withdrawn"},
    ("RunFinished", "status"): {"completed", "failed"},
    ("StepNoted", "kind"): {
        "session", "state", "action", "decision", "communication", "reservation", "message", "closing", "reconcile",
    },
}  # fmt: skip


@pytest.mark.parametrize(("tag", "field"), CHOICES)
def test_values_that_are_names_are_recorded(tag: str, field: str) -> None:
    assert CHOICES[(tag, field)] <= {fact.get(field) for fact in RAW if fact["type"] == tag}


def test_a_run_that_was_not_over_goes_on() -> None:
    from play import Play

    golden = msgspec.json.decode((FOLDER / "waiting.run.json").read_bytes(), type=Golden)
    facts = [decode(line) for line in (FOLDER / "waiting.jsonl").read_bytes().splitlines()]
    play = Play(golden.plan, facts=facts)
    play.vote("p.g", "bo")
    play.hear()
    play.ok("b", "done")
    assert (play.status(), play.run.output) == ("completed", "done")
