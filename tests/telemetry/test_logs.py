"""Structured logs: one object a line, about whom and what, and no secret in it."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from agent_kit import over, start, vote, waits

from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.telemetry.logs import RunLog, json_lines

FLOW = """
name: tells
steps:
  - {id: gate, type: approval, message: "Go on?"}
  - {id: bad, type: shell, argv: [sh, -c, "echo $PASS >&2; exit 3"], env: {PASS: "${{ secrets.pass }}"},
     needs: [gate.approved]}
"""
SECRET = 'hunter2-"quoted"'


async def test_what_happens_to_a_run_is_logged_with_its_ids_and_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_SECRET_PASS", SECRET)
    stream, secrets = io.StringIO(), Secrets()
    with json_lines(stream, secrets.redact):
        engine = Engine(SqlStore(tmp_path / "fleet.db"), secrets=secrets, directory=tmp_path, observers=[RunLog()])
        async with engine:
            await start(engine, FLOW)
            await waits(engine, "approval")
            await vote(engine)
            assert (await over(engine))[0] == "failed"
            logging.getLogger("fleetprompt").warning("the pass is %s", SECRET)
    lines: list[dict[str, Any]] = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "hunter2" not in stream.getvalue()
    told = [line for line in lines if line["logger"] == "fleetprompt.runs"]
    assert [line["message"] for line in told] == [
        "run created", "approval requested", "approval approved", "step failed", "run failed",
    ]  # fmt: skip
    assert {(line["run"], line["workflow"], line["tenant"]) for line in told} == {("r1", "tells", "default")}
    assert [line.get("step") for line in told] == [None, "gate", "gate", "bad", None]
    assert told[3]["code"] == told[4]["code"] == "TOOL_ERROR"
    assert told[3]["level"] == "warning"
    assert told[4]["level"] == "error"
    assert lines[-1]["message"] == "the pass is •••"


def test_an_exception_is_one_line() -> None:
    stream = io.StringIO()
    with json_lines(stream):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("fleetprompt").exception("it broke")
    [line] = stream.getvalue().splitlines()
    assert "ValueError: two\nlines" in json.loads(line)["exception"]


def test_what_libraries_say_is_a_line_of_json_too_and_ours_comes_once() -> None:
    stream = io.StringIO()
    with json_lines(stream):
        logging.getLogger("library.part").warning("the receiver is away")
        logging.getLogger("library.part").info("for those who debug it")
        logging.getLogger("fleetprompt.serve").info("closed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("library.part", "warning"),
        ("fleetprompt.serve", "info"),
    ]
