"""A `tool` step of which nobody knows whether it happened: its own `reconcile` finds out, before people are asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_kit import command, engine_at, notes, over, start, waits

from fleetprompt.cli.show import doubt_lines
from fleetprompt.engine.core import signal as types

TOOLS = '''
from pathlib import Path
from fleetprompt.tools import OutcomeUnknown, ToolContext, tool

BOOK = Path("{folder}/book")

@tool(effect="write", name="pay")
def pay(works: bool, context: ToolContext) -> str:
    """Pay, and hear nothing."""
    if works or BOOK.exists():
        BOOK.open("a").write(context.key + " paid\\n")
    else:
        BOOK.open("a").write("refused\\n")
    raise OutcomeUnknown("the line went dead")

@tool(effect="read", name="booked")
def booked(key: str, works: bool = True) -> int:
    """How often that was paid."""
    return BOOK.read_text().count(key + " paid")

@tool(effect="write", name="lost")
def lost() -> str:
    """Never arrives."""
    BOOK.open("a").write("lost\\n")
    raise OutcomeUnknown("the line went dead")
'''
FLOW = """
name: pay
inputs: {works: {type: boolean, default: true}}
steps:
  - id: pay
    type: tool
    tool: pay
    with: {works: "${{ inputs.works }}"}
    repeat: never
    reconcile:
      type: tool
      tool: booked
      with: {key: "${{ key }}", works: "${{ input.with.works }}"}
      happened: result == 1
      output: "paid ${{ result }} time"
"""


def settings(folder: Path) -> dict[str, Any]:
    (folder / "paying.py").write_text(TOOLS.format(folder=folder))
    return {"tools": {"python": ["paying:pay", "paying:booked", "paying:lost"]}, "workflows": (folder,)}


@pytest.mark.parametrize(("works", "book"), [(True, ["paid"]), (False, ["refused", "paid"])])
async def test_its_check_finds_out_and_nothing_is_done_twice(tmp_path: Path, works: bool, book: list[str]) -> None:
    async with engine_at(tmp_path, None, **settings(tmp_path)) as engine:
        await start(engine, FLOW, {"works": works})
        status, output = await over(engine)
    assert (status, output) == ("completed", "paid 1 time")
    assert [line.split()[-1] for line in (tmp_path / "book").read_text().splitlines()] == book


async def test_what_is_never_done_ends_with_people(tmp_path: Path) -> None:
    flow = FLOW.replace('tool: pay\n    with: {works: "${{ inputs.works }}"}', "tool: lost").replace(
        ', works: "${{ input.with.works }}"', ""
    )
    assert "tool: lost" in flow
    async with engine_at(tmp_path, None, **settings(tmp_path)) as engine:
        await start(engine, flow)
        await waits(engine, "in_doubt")
        state = await engine.load("r1")
    assert (tmp_path / "book").read_text().count("lost") == 5
    assert state is not None
    assert doubt_lines("r1", state.steps["pay"])[0].plain == "? lost in pay may or may not have happened"


async def test_a_check_asks_nobody(tmp_path: Path) -> None:
    policy = {"policy": {"ask": ["booked"]}}
    async with engine_at(tmp_path, None, **settings(tmp_path), **policy) as engine:
        await start(engine, FLOW)
        await waits(engine, "in_doubt")
        state = await engine.load("r1")
    assert state is not None
    reasons = [str(value) for kind, _, value, _ in state.steps["pay"].notes or () if kind == "reconcile"]
    assert len(reasons) == 1
    assert "a check waits for nobody" in reasons[0]


async def test_what_was_switched_off_meanwhile_is_not_done_once_more(tmp_path: Path) -> None:
    flow = "name: pay\nsteps: [{id: pay, type: tool, tool: lost, repeat: never}]\n"
    async with engine_at(tmp_path, None, **settings(tmp_path)) as engine:
        await start(engine, flow)
        await waits(engine, "in_doubt")
        (tmp_path / "policy.toml").write_text('off = ["lost"]')
        await command(engine, types.RESOLVE, path="pay", answer="run")
        status, error = await over(engine)
    assert (status, error.code) == ("failed", "APPROVAL_REJECTED")
    assert (tmp_path / "book").read_text().count("lost") == 1


async def test_what_people_say_has_become_of_it_is_on_the_record_as_a_decision(tmp_path: Path) -> None:
    flow = "name: pay\nsteps: [{id: pay, type: tool, tool: lost, repeat: never}]\n"
    async with engine_at(tmp_path, None, **settings(tmp_path)) as engine:
        await start(engine, flow)
        await waits(engine, "in_doubt")
        await command(engine, types.RESOLVE, path="pay", answer="happened", output=1, comment="I looked")
        assert (await over(engine))[0] == "completed"
        [note] = await notes(engine, "tool.reconciled")
    found = note.value["decision"]
    assert (found["type"], found["chosen"], found["index"], found["method"]) == (
        "in_doubt",
        "happened",
        0,
        "user_input",
    )
    assert (found["by"], found["reasoning"], note.value["action"]["status"]) == (["ana"], "I looked", "completed")
