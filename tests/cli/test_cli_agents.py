"""`fleet agents`: lists, one of them, and what is wrong with files."""

from __future__ import annotations

import time

import pytest
from cli_kit import Fleet
from test_cli_completion import complete
from test_cli_cost import CENT, fill, run

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import StepFailed, StepNoted

TEAM = """
name: team
agents: {clerk: {description: Looks things up.}}
steps:
  - {id: ask, type: agent, agent: boss, prompt: "What is\\nopen?"}
  - {id: say, type: chat, model: simulated/script, prompt: Thanks}
  - {id: lost, type: agent, agent: clerk, prompt: "Do it"}
"""
BOSS = """
name: boss
description: "Answers \\e[31mquestions."
model: simulated/script
tools: [fs.list, fs.write]
guardrails: {requests: 5, cost_usd: 0.5}
policy: {deny: [fs.write]}
"""
WORDS = """
rules:
  - {agent: boss, turn: 0, call: {tool: fs.list, with: {path: .}}}
  - {agent: boss, say: Nothing is open.}
  - {agent: chat, say: Welcome.}
"""


@pytest.fixture
def team(fleet: Fleet) -> Fleet:
    """A project with agents of which one works, one fails, and one cannot be read."""
    for name, text in {
        "agents/boss.yaml": BOSS,
        "agents/bad.yaml": "name: bad\ntemperature: hot\n",
        "agents/loose.yaml": "name: loose\ntools: [fs.lst, git.log]\nhandoffs: [bos]\npolicy: {dny: []}\n",
        "simulations/team.yaml": WORDS,
        "team.yaml": TEAM,
    }.items():
        (fleet.root / name).parent.mkdir(exist_ok=True)
        (fleet.root / name).write_text(text)
    return fleet


def test_agents_are_listed_with_what_they_have_done(team: Fleet) -> None:
    names = [line.split()[1] for line in team.ok("agents").splitlines()[1:]]
    assert names == ["bad", "boss", "loose"], "also before anything was run"
    before = {line.split()[1]: line for line in team.ok("agents").splitlines()[1:]}
    assert "2 errors, 1 warning: fleet agents validate" in before["loose"], "as fleet agents validate counts"
    assert team("run", "team.yaml", "-q").code == 1
    assert '✓ fs.list  path="."  by rule' in team.ok("show", "last"), "what it did is below its step"
    shown = team.ok("agents")
    rows = {line.split()[1]: line for line in shown.splitlines()[1:]}
    assert list(rows) == ["bad", "boss", "chat", "clerk", "loose"]
    assert rows["boss"].split()[2:7] == ["simulated/script", "1", "100%", "-", "-"]
    assert "n/a" in rows["boss"]
    assert "SIMULATED" in rows["boss"]
    assert "\x1b" not in shown
    assert "1 error: fleet agents validate" in rows["bad"]
    assert "2 errors, 1 warning: fleet agents validate" in rows["loose"]
    assert rows["clerk"].split()[3:5] == ["1", "0%"]
    assert "in team  Looks things up." in rows["clerk"]
    assert "steps of the type `chat`" in rows["chat"]
    objects = {each["name"]: each for each in team("agents", "--json", "--since", "today").json}
    boss = objects["boss"]["statistics"]
    assert (boss["executions"], boss["statuses"], boss["success"]) == (1, {"completed": 1}, 1.0)
    assert (boss["requests"], boss["tool_calls"], boss["unreal"]) == (2, 1, 1)
    assert (boss["cost_usd"], boss["mean"], boss["last"]["goal"]) == (None, None, "What is open?")
    assert objects["clerk"]["workflow"] == "team"
    assert objects["chat"]["model"] is None
    assert len({tuple(each["statistics"]) for each in objects.values()}) == 1, "always the same keys"
    assert team("agents", "--since", "soon").code == 2
    for term, found in (("status:broken", ["bad", "loose"]), ("tool:fs.w*", ["boss"]), ("wf:team looks", ["clerk"])):
        assert [each["name"] for each in team("agents", *term.split(), "--json").json] == found
    assert "no agent matches" in team("agents", "status:cancelled").err
    wrong = team("agents", "tols:x")
    assert (wrong.code, "did you mean tool?" in wrong.err) == (2, True)


def test_agents_of_one_name_are_told_apart(team: Fleet) -> None:
    (team.root / "other.yaml").write_text(TEAM.replace("name: team", "name: other"))
    (team.root / "simulations" / "other.yaml").write_text(WORDS)
    for file in ("team.yaml", "team.yaml", "other.yaml"):
        assert team("run", file, "-q").code == 1
    found = [each for each in team("agents", "--json").json if each["name"] == "clerk"]
    assert [(each["workflow"], each["statistics"]["executions"]) for each in found] == [("other", 1), ("team", 2)]
    several = team("agents", "show", "clerk")
    assert (several.code, "say which: other/clerk, team/clerk" in several.err) == (2, True)
    told = team("agents", "show", "team/clerk", "--json").json
    assert (told["workflow"], len(told["recent"])) == ("team", 2)


def test_one_agent_is_shown_with_what_it_works_with(team: Fleet) -> None:
    team("run", "team.yaml", "-q")
    shown = team.ok("agents", "show", "boss")
    assert "model       simulated/script  SIMULATED" in shown
    assert "requests 5, cost $0.50" in shown
    table = [line.split() for line in shown.splitlines()]
    assert ["fs.list", "allow,", "reads", "default", "of", "fs.list"] in [line[:6] for line in table]
    assert ["fs.write", "deny", "agent", "boss:", "deny[1]"] in [line[:5] for line in table]
    assert "1 execution (1 completed)  100% ok" in shown
    assert "What is open?" in shown
    assert "\x1b" not in shown
    told = team("agents", "show", "boss", "--json").json
    assert told["resolved"] == {"model": "simulated/script", "mode": "simulated", "problem": None}
    assert [(tool["name"], tool["verdict"]) for tool in told["tools"]] == [("fs.list", "allow"), ("fs.write", "deny")]
    assert told["definition"]["limits"]["requests"] == 5
    assert told["recent"][0]["run"] == team.runs()[0]["id"]
    assert "cannot be read" not in team.ok("agents", "show", "bad")
    assert "error:" in team.ok("agents", "show", "bad")
    missing = team("agents", "show", "bos")
    assert (missing.code, "did you mean `boss`" in missing.err) == (2, True)
    for command in (("agents", "show"), ("chat",)):
        assert "there are: bad, boss, " in team(*command, "nobody", *(["hi"] if command == ("chat",) else [])).err


def test_what_a_further_attempt_and_a_lost_answer_took_is_shown_apart(fleet: Fleet) -> None:
    now = time.time()
    begun = StepNoted(path="ask", kind="session", key="sre", value={"agent_id": "sre", "goal": "look"}, at=now)
    lost = StepNoted(
        path="ask", kind="llm.failed", key="sre/llm/0", value={"model": "m", "uncertain_nano": 30 * CENT}, at=now
    )
    failed = StepFailed(path="ask", error=Failure("TIMEOUT", "slow"), retry_at=now, at=now)
    again = StepNoted(
        path="ask", kind="session", key="sre", value={"agent_id": "sre", "goal": "look"}, at=now, attempt=2
    )
    done = StepNoted(path="ask", kind="agent.completed", key="sre", at=now, attempt=2)
    fill(fleet, run("run-1-aaaaaaaa", "audit", begun, lost, failed, again, done, agents=("sre",)))
    shown = fleet.ok("agents", "show", "sre")
    assert "1 execution (1 completed)  100% ok" in shown
    assert "  1 retry" in shown
    head, row = (line.split() for line in shown.splitlines()[-2:])
    assert head == ["RUN", "STATUS", "RETRIES", "BEGAN", "TIME", "TOKENS", "COST", "UNCERTAIN", "WORKFLOW", "GOAL"]
    assert (row[2:4], row[-4:]) == (["completed", "1"], ["-", "$0.30", "audit", "look"])
    (sre,) = fleet("agents", "--json").json
    assert (sre["statistics"]["retries"], sre["statistics"]["last"]["retries"]) == (1, 1)


def test_files_are_checked_with_their_tools_and_policies(team: Fleet) -> None:
    said = team("agents", "validate")
    assert said.code == 2
    assert "1 of 3 agents valid, 3 errors, 1 warning" in said.err
    for problem in (
        "agents/bad.yaml:2:",
        "agents/loose.yaml:2:9: ",
        "agents/loose.yaml:3:",
        "agents/loose.yaml:4:10: ",
    ):
        assert problem in said.out
    assert team("agents", "validate", "agents/boss.yaml", "--json").json == []
    assert team("agents", "validate", "agents/none.yaml").code == 2
    (pointer,) = [each["pointer"] for each in team("agents", "validate", "agents/bad.yaml", "--json").json]
    assert pointer == "/temperature"


def test_hints_are_about_agent_files(fleet: Fleet) -> None:
    aliases = "".join(f"{to}: &{to} [{','.join([f'*{of}'] * 10)}]\n" for of, to in zip("abcdef", "bcdefg", strict=True))
    hints = {
        "empty": ("", "begin with `name:` and `system:`"),
        "listed": ("- a\n", "begin with `name:` and `system:`"),
        "bomb": (f"name: bomb\na: &a [{','.join('x' * 10)}]\n{aliases}", "say less in the agent file"),
        "deep": (f"name: {'[' * 99}", "nothing of an agent goes so deep"),
        "flow": ("name: flow\nsteps: []\n", "`steps` belongs to workflow files"),
        "odd": ("name: odd\nzzz: 1\n", "which keys agent files have"),
    }
    (fleet.root / "agents").mkdir()
    for name, (text, _) in hints.items():
        fleet.write(f"agents/{name}", text)
    found = fleet("agents", "validate", "--json").json
    for name, (_, hint) in hints.items():
        assert any(f"{name}.yaml" in each["file"] and hint in each["hint"] for each in found), name


def test_the_doctor_counts_files_that_cannot_be_used(team: Fleet) -> None:
    said = team("doctor", "--json")
    (found,) = [one for one in said.json if one["what"] == "agents"]
    assert (said.code, found["status"]) == (1, "fail")
    assert found["text"] == "2 of 3 agent files cannot be used: bad, loose"
    assert "fleet agents validate" in found["remedy"]


def test_names_of_agents_are_completed(team: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete(team, monkeypatch, "fleet agents show b", 3) == ["bad", "boss"]
    team("run", "team.yaml", "-q")
    assert complete(team, monkeypatch, "fleet agents show ", 3) == ["bad", "boss", "clerk", "loose"]


def test_what_is_spent_of_a_limit_is_told_apart_from_it(fleet: Fleet) -> None:
    agent = "name: sre\nguardrails: {cost_usd: 0.02}\n"
    (fleet.root / "agents").mkdir()
    (fleet.root / "agents" / "sre.yaml").write_text(agent)
    now = time.time()
    begun = StepNoted(path="ask", kind="session", key="sre", value={"agent_id": "sre", "goal": "look"}, at=now)
    said = StepNoted(
        path="ask",
        kind="llm.completed",
        key="sre/llm/0",
        value={"model": "m", "mode": "live", "cost_nano": 18 * CENT // 10, "tokens": 9},
        at=now,
    )
    done = StepNoted(path="ask", kind="agent.completed", key="sre", at=now)
    fill(fleet, run("run-1-aaaaaaaa", "audit", begun, said, done, agents=("sre",)))
    shown = fleet.ok("agents", "show", "sre")
    assert "cost $0.02" in shown
    assert "9 tokens, $0.018" in shown
    assert "$0.018" in fleet.ok("agents")
