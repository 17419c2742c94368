"""What no model has said is labelled wherever it is told, and as what it is."""

from __future__ import annotations

import shutil

import pytest
from cli_kit import Fleet

from fleetprompt.cli.say import news
from fleetprompt.cli.tree import Tree
from fleetprompt.engine.core.facts import ApprovalRequested, RunCreated, RunStarted, StepNoted, StepStarted
from fleetprompt.engine.core.plan import Block, Node, Plan
from fleetprompt.engine.core.program import Program

LOOK = """
name: look
agents:
  sre: {tools: [fs.write], model: simulated/script}
steps:
  - {id: diagnose, type: agent, agent: sre, prompt: Why?}
  - {id: told, type: transform, output: "${{ steps.diagnose.output }}"}
"""
WORDS = """
rules:
  - turn: 0
    call: [{tool: fs.write, with: {path: a.txt, content: x}}, {tool: fs.write, with: {path: b.txt, content: y}}]
  - say: written
"""


@pytest.mark.long
def test_a_step_that_asks_a_model_itself_is_labelled_from_the_first_line_on(fleet: Fleet) -> None:
    (fleet.root / "simulations").mkdir()
    (fleet.root / "simulations" / "talk.yaml").write_text("rules: [{say: hello}]")
    fleet.write("talk", "name: talk\nsteps: [{id: talk, type: chat, prompt: hi}]")
    told = fleet("run", "talk.yaml").out.splitlines()
    assert [line.split()[-1] for line in told[:4]] == ["SIMULATED"] * 4, told
    (fleet.root / "fleet.toml").write_text('[models.default]\nmodel = "openai/x"\napi_base = "http://127.0.0.1:9/v1"\n')
    told = fleet("run", "talk.yaml").out.splitlines()
    assert [line.split()[-1] for line in told[:2]] == ["LOCAL"] * 2, told
    assert "LOCAL" in fleet.ok("models")


def test_a_simulation_is_labelled_from_its_first_line_to_its_last(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fleet.root / "simulations").mkdir()
    (fleet.root / "simulations" / "look.yaml").write_text(WORDS)
    fleet.write("look", LOOK)
    fleet.ok("run", "quick.yaml", "-q")

    parked = fleet("run", "look.yaml", "--no-wait")
    assert parked.code == 3
    told = parked.out.splitlines()
    assert [line.split()[-1] for line in told] == ["SIMULATED"] * 4, told
    assert "created by" in told[0]
    assert "waits for approval ap-" in told[2]
    assert parked.err.splitlines()[0].endswith("SIMULATED  waits for 2 approvals")
    assert parked.err.count("fleet approve ap-") == 2

    listed = fleet.ok("runs").splitlines()
    assert "MODE" in listed[0]
    assert ["SIMULATED" in line for line in listed[1:]] == [True, False]
    monkeypatch.setenv("COLUMNS", "60")
    assert "SIMULATED" in fleet.ok("runs")
    monkeypatch.delenv("COLUMNS")
    waiting = fleet.ok("approvals").splitlines()
    assert [line.count("SIMULATED") for line in waiting] == [0, 1, 1]
    assert {row["mode"] for row in fleet("approvals", "--json").json} == {"simulated"}
    shown = fleet.ok("show", "last").splitlines()
    assert shown[0].endswith("SIMULATED  waits for 2 approvals")
    assert next(line for line in shown if "turn 1" in line).split()[-4] == "SIMULATED", shown

    first, second = (row["id"] for row in fleet("approvals", "--json").json)
    assert fleet.ok("approvals", "show", first).splitlines()[0].endswith("SIMULATED")
    decided = fleet("reject", first, "--yes", "--comment", "no")
    assert decided.err.splitlines()[0].endswith("SIMULATED")
    assert "SIMULATED" in fleet("approve", second, "--yes").err.splitlines()[0]
    ended = fleet("recover")
    assert ended.code == 0
    assert "diagnose  completed in" in ended.out
    assert all("SIMULATED" in line for line in ended.out.splitlines() if "diagnose" in line)
    assert "rejected by" in fleet.ok("show", "last")


@pytest.mark.parametrize(("mode", "label"), [("replay", "REPLAYED"), ("mixed", "PARTLY SIMULATED"), ("live", "")])
def test_every_other_mode_is_labelled_as_what_it_is(mode: str, label: str) -> None:
    node = Node(id="look", type="agent", resumes=True)
    tree = Tree(Program(Plan(name="t", root=Block("", (node, Node(id="b", type="shell")))), "d"))
    tree.foretold = mode
    created = RunCreated(at=1, run="r", plan="d", workflow="t", owner="ana")
    for fact in (created, RunStarted(at=1), StepStarted(at=1, path="look", input={})):
        tree.apply(fact)
    asked = ApprovalRequested(at=2, path="look", id="ap-1", digest="d", message="May I?", call="a/tool/0.0")
    for fact in (created, asked):
        line = news(tree, fact)
        assert line is not None
        assert line.plain.endswith(f"  {label}" if label else ("ana", "May I?"))
    # What was foretold gives way to what has happened.
    tree.apply(StepNoted(at=2, path="look", kind="llm.started", key="a/llm/0", value={"model": "m", "mode": "live"}))
    line = news(tree, asked)
    assert line is not None
    assert line.plain.endswith("May I?")
    other = news(tree, StepStarted(at=3, path="b", input={}))
    assert other is not None
    assert other.plain.endswith("started")


WRAPS = """
name: wraps
agents:
  sre: {tools: [fs.list], model: simulated/script}
  own: {tools: [fs.list], model: simulated/script, guardrails: {tool_calls: 1, on_limit: wrap_up}}
steps:
  - {id: a, type: agent, agent: sre, prompt: Why?, guardrails: {requests: 2, on_limit: wrap_up}}
  - {id: b, type: agent, agent: own, prompt: Why?}
  - {id: c, type: agent, agent: sre, prompt: Why?, max_iterations: 1, guardrails: {on_limit: wrap_up}}
  - {id: d, type: agent, agent: sre, prompt: Why?, max_iterations: 9}
"""
MORE = """
rules:
  - {turn: 0, call: {tool: fs.list, with: {path: .}}}
  - {turn: 1, agent: own, call: {tool: fs.list, with: {path: workflows}}}
  - {say: what I have}
"""


def test_which_limit_has_told_an_agent_to_finish_is_said_of_the_run(fleet: Fleet) -> None:
    (fleet.root / "simulations").mkdir()
    (fleet.root / "simulations" / "wraps.yaml").write_text(MORE)
    fleet.write("wraps", WRAPS)
    said = fleet("run", "wraps.yaml", "--json").json
    assert [(each["step"], each["agent"], each["limit"]) for each in said["wrapped_up"]] == [
        ("a", "sre", "requests"),
        ("b", "own", "tool_calls"),
        ("c", "sre", "max_iterations"),
    ]
    assert (said["status"], said["output"]) == ("completed", "what I have")
    assert said["wrapped_up"][0]["reason"].startswith("the limit of step a is reached")
    assert fleet("show", "last", "--json").json["wrapped_up"] == said["wrapped_up"]
    told = fleet.ok("run", "wraps.yaml")
    shown = fleet.ok("show", "last")
    for text in (told, shown):
        assert "wrapped up at a limit (on_limit: wrap_up)" in text
        assert "a  sre: the limit of step a is reached: 1 used and 1 reserved of 2 requests" in text
        assert "c  sre: max_iterations: 1" in text
    assert "wrapped up at the limit of step a on requests" in shown
    assert "wrapped up at the limit of agent own in step b on tool calls" in shown
    assert "wrapped up at its limit: max_iterations: 1" in shown


def test_what_was_answered_is_written_to_a_file_and_replayed_elsewhere(fleet: Fleet) -> None:
    (fleet.root / "simulations").mkdir()
    (fleet.root / "simulations" / "talk.yaml").write_text(
        "rules: [{say: 'hello, it is a long day: " + "z" * 90000 + "'}]"
    )
    fleet.write("talk", "name: talk\nsteps: [{id: talk, type: chat, prompt: hi}]")
    said = fleet("run", "talk.yaml", "--json").json
    wrote = fleet("record", "last", "recordings/talk.jsonl")
    assert (wrote.code, "1 answer of models written to recordings/talk.jsonl" in wrote.err) == (0, True)
    assert (fleet.root / "recordings/talk.jsonl").stat().st_mode & 0o077 == 0
    shutil.rmtree(fleet.root / ".fleet")
    shutil.rmtree(fleet.root / "simulations")
    (fleet.root / "fleet.toml").write_text('[models.default]\nmodel = "replay/talk"\n')
    again = fleet("run", "talk.yaml", "--json").json
    assert (again["output"], again["mode"]) == (said["output"], "replay")

    again = fleet("record", "last", "recordings/talk.jsonl")
    assert (again.code, "exists already" in again.err) == (2, True)
    fleet.ok("run", "quick.yaml", "-q")
    nothing = fleet("record", "last", "none.jsonl")
    assert (nothing.code, "no model has answered" in nothing.err) == (2, True)
    assert not (fleet.root / "none.jsonl").exists()
