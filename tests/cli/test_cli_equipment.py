"""`fleet models`, `fleet tools`, and what `fleet doctor` says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cli_kit import Fleet

SERVER = Path(__file__).parents[1] / "tools" / "mcp_server.py"
MODELS = """
[models.default]
model = "openai/gpt-5.4-mini"
api_key_env = "TEAM_KEY"
fallback = ["shop"]
[models.shop]
model = "openai/qwen"
api_base = "http://127.0.0.1:9/v1"
[models.typo]
model = "opnai/gpt"
"""


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def settings(fleet: Fleet, text: str) -> None:
    (fleet.root / "fleet.toml").write_text(text)


def test_names_of_models_are_told_with_what_they_cost(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(fleet, MODELS)
    monkeypatch.setenv("TEAM_KEY", "CANARY-team-1")
    said = fleet("models", "--json")
    default, shop, typo = said.json
    assert said.code == 1
    assert (default["model"], default["mode"], default["key"]) == ("openai/gpt-5.4-mini", "live", "TEAM_KEY")
    assert default["input_usd_per_mtok"] > 0
    assert default["fallback"] == ["shop"]
    assert (shop["mode"], shop["input_usd_per_mtok"], shop["calls_tools"]) == ("local", 0, None)
    assert "opnai" in typo["problem"]
    assert "openai" in typo["remedy"]
    shown = fleet("models")
    assert "TEAM_KEY" in shown.out
    assert "CANARY" not in said.out + shown.out + shown.err


def test_a_key_that_is_missing_is_told_with_its_name(fleet: Fleet) -> None:
    settings(fleet, MODELS)
    said = fleet("models")
    assert said.code == 1
    assert "TEAM_KEY, which is not set" in said.out
    found = [one for one in fleet("doctor", "--json").json if one["what"] == "model"]
    assert [one["status"] for one in found] == ["fail", "warn", "fail"]
    assert "could not be reached" in found[1]["text"]


def test_which_models_are_asked_is_said_before_and_that_it_may_cost_money(fleet: Fleet) -> None:
    settings(fleet, MODELS)
    base, told = "http://127.0.0.1:", "this may cost money"
    assert told not in fleet("models").err
    for out in (fleet("models", "--ask"), fleet("doctor", "--json")):
        assert told in out.err
        assert base in out.err
        assert "shop (" in out.err
        assert "typo" not in out.err
    [found] = [one["text"] for one in fleet("doctor", "--json").json if "asked just now" in one["text"]]
    assert found.startswith("`shop` is ")
    for command in ("doctor", "models"):
        assert "may cost money" in fleet.ok(command, "--help")


def test_without_settings_the_simulation_is_told_as_such(fleet: Fleet) -> None:
    assert "SIMULATED" in fleet.ok("models")
    [found] = [one for one in fleet("doctor", "--json").json if one["what"] == "model"]
    assert (found["status"], "simulated" in found["text"]) == ("ok", True)


def test_tools_are_told_with_what_the_policy_says(fleet: Fleet) -> None:
    (fleet.root / "policy.toml").write_text('deny = ["git.*"]\nallow = ["fs.write"]\noff = ["vars.set"]\n')
    told = {tool["name"]: tool for tool in fleet("tools", "--json").json}
    assert (told["git.log"]["verdict"], told["git.log"]["rule"]) == ("deny", "policy.toml: deny[1]")
    assert [told[name]["verdict"] for name in ("fs.read", "fs.write", "shell.run")] == ["allow", "allow", "ask"]
    assert [told[name]["verdict"] for name in ("human.ask", "vars.get", "vars.set")] == ["allow", "allow", "deny"]
    assert told["vars.get"]["description"] == "Read a variable that the steps and agents of this run share."
    only = fleet.ok("tools", "fs.*")
    assert "fs.read" in only
    assert "git.log" not in only


def test_a_policy_that_cannot_be_read_allows_nothing(fleet: Fleet) -> None:
    (fleet.root / "policy.toml").write_text('deny = []\nalow = ["fs.read"]\n')
    said = fleet("tools", "--json")
    rule = "policy.toml:2:1: there is no `alow`"
    assert (said.code, {(tool["verdict"], tool["rule"]) for tool in said.json}) == (1, {("deny", rule)})
    assert f"{rule} (did you mean `allow`?)" in said.err
    (fleet.root / "policy.toml").write_text("deny = [5]\nask = [6]\nalow = []\n")
    found = [one["text"] for one in fleet("doctor", "--json").json if one["what"] == "policy"]
    assert [text.split(": ")[0] for text in found] == ["policy.toml:1:9", "policy.toml:2:8", "policy.toml:3:1"]


@pytest.mark.parametrize(
    ("file", "text", "where"),
    [
        ("policy.toml", "dny = []\n", "policy.toml:1:1"),
        ("policy.toml", "deny = [\n", "policy.toml:1:8"),
        ("fleet.toml", "[tools.shel]\n", "fleet.toml"),
        ("fleet.toml", "[mcp.desk]\n", "fleet.toml"),
        ("fleet.toml", '[mcp.desk]\ncommand = ["/bin/false"]\n', "mcp.desk"),
    ],
)
def test_what_is_wrong_with_them_is_told_with_its_place(fleet: Fleet, file: str, text: str, where: str) -> None:
    (fleet.root / file).write_text(text)
    said = fleet("tools")
    assert said.code in (1, 2)
    assert where in said.err
    doctor = fleet("doctor", "--json")
    assert doctor.code == 1
    assert any(one["status"] == "fail" and where in one["what"] + one["text"] for one in doctor.json)


def test_settings_of_tools_are_told_alike_by_whoever_needs_them(fleet: Fleet) -> None:
    settings(fleet, '[tools.http]\nhosts = []\nhost = "x"\n[mcp.desk]\ncomand = ["x"]\n')
    fleet.write("call", "name: call\nsteps: [{id: a, type: tool, tool: fs.list}]\n")
    told = (
        "fleet.toml:3:1: unknown-key there is no setting `host` in [tools.http]\n"
        '    | host = "x"\n'
        "    | ^^^^\n"
        "    = hint: did you mean `hosts`?\n"
        "fleet.toml:5:1: unknown-key there is no setting `comand` in [mcp.desk]\n"
    )
    for command in (["validate", "call.yaml"], ["validate", "."]):
        said = fleet(*command)
        assert (said.code, told in said.out) == (2, True)
    said = fleet("tools")
    assert (said.code, said.out, told in said.err) == (2, "", True)
    doctor = [one for one in fleet("doctor", "--json").json if one["status"] == "fail"]
    assert [one["text"].partition(": ")[0] for one in doctor] == ["fleet.toml:3:1", "fleet.toml:5:1"]
    ran = fleet("run", "call.yaml")
    assert ran.code == 1
    assert "fleet.toml:3:1: there is no setting `host` in [tools.http] (and 1 more problem)" in ran.out


@pytest.mark.long
def test_a_server_that_has_changed_is_offered_again_once_somebody_accepts_it(fleet: Fleet) -> None:
    command = json.dumps([sys.executable, str(SERVER), "stdio", str(fleet.root)])
    settings(fleet, f"[mcp.desk]\ncommand = {command}\n")
    assert "desk.add" in fleet.ok("tools", "desk.*")
    (fleet.root / "poison").touch()
    said = fleet("tools", "desk.*")
    assert (said.code, "desk.add" in said.out) == (1, False)
    assert "fleet tools accept desk" in said.err
    refused = fleet("tools", "accept", "desk")
    assert (refused.code, "the tool `add2` is new" in refused.out) == (2, True)
    fleet.ok("tools", "accept", "desk", "--yes")
    assert "desk.add2" in fleet.ok("tools", "desk.*")
    assert "is what was accepted" in fleet("tools", "accept", "desk").err
