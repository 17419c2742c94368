"""`fleet import`: what is written, what is said, and how it ends."""

from __future__ import annotations

import json
import stat
from typing import Any

import pytest
from cli_kit import Fleet
from test_cli_completion import complete

FLOW: dict[str, Any] = {
    "name": "Two Steps",
    "steps": [
        {
            "step_id": "one",
            "step_type": "data_transform",
            "parameters": {"data": "{{input.name}}"},
            "next_steps": ["two"],
        },
        {"step_id": "two", "step_type": "delay", "parameters": {"seconds": 0}},
    ],
}


def put(fleet: Fleet, flow: Any = FLOW, name: str = "flow.json") -> str:
    text = flow if isinstance(flow, str) else json.dumps(flow)
    (fleet.root / name).write_text(text, encoding="utf-8")
    return name


def test_a_workflow_is_written_and_can_be_run(fleet: Fleet) -> None:
    said = fleet("import", put(fleet))
    assert (said.code, said.err) == (0, "")
    assert said.out == "✓ workflows/two-steps.yaml  everything is in it\n"
    assert fleet("validate", "workflows/two-steps.yaml") == (0, "", "")
    ended = fleet("run", "two-steps", "-i", "name=Ada", "--json")
    assert (ended.code, ended.json["status"]) == (0, "completed")


def test_a_file_that_is_there_is_written_over_only_when_asked(fleet: Fleet) -> None:
    name = put(fleet)
    assert fleet("import", name).code == 0
    path = fleet.root / "workflows/two-steps.yaml"
    path.write_text("mine\n")
    path.chmod(0o640)
    said = fleet("import", name)
    assert said.code == 2
    assert "there is a file for this workflow already" in said.err
    assert "in workflows/two-steps.yaml" in said.err
    assert path.read_text() == "mine\n"
    assert fleet("import", name, "-o", "workflows/two-steps.yaml").code == 2
    assert path.read_text() == "mine\n"
    assert fleet("import", name, "--force").code == 0
    assert "name: two-steps" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["two-steps.yaml"], "nothing is left behind"


def test_a_workflow_whose_file_ends_otherwise_is_not_doubled(fleet: Fleet) -> None:
    (fleet.root / "workflows").mkdir()
    (fleet.root / "workflows/two-steps.yml").write_text("mine\n")
    said = fleet("import", put(fleet), "--force")
    assert said.code == 2
    assert "in workflows/two-steps.yml" in said.err


def test_it_is_written_elsewhere_or_nowhere(fleet: Fleet) -> None:
    name = put(fleet)
    assert fleet("import", name, "-o", "new/place.yaml").code == 0
    text = (fleet.root / "new/place.yaml").read_text()
    printed = fleet("import", name, "--stdout")
    assert (printed.code, printed.out) == (0, text)
    assert printed.err == "✓ two-steps  everything is in it\n"
    assert fleet("import", name, "-o", "-").out == text
    assert not (fleet.root / "workflows").exists()
    (fleet.root / "folder").mkdir()
    assert "there is a file already" in fleet("import", name, "-o", "folder").err
    assert fleet("import", name, "-o", "folder", "--force").code == 2


def test_standard_input_is_read(fleet: Fleet) -> None:
    said = fleet("import", "-", "--stdout", stdin=json.dumps(FLOW | {"color": 1}).encode())
    assert said.code == 0
    assert "<stdin>:1:" in said.err
    assert "# Imported from" in said.out


def test_what_was_lost_is_told_with_its_place_and_in_json(fleet: Fleet) -> None:
    name = put(fleet, FLOW | {"color": "red"})
    said = fleet("import", name)
    assert said.code == 0
    assert "flow.json:1:" in said.out
    assert "unsupported `color` has no counterpart here (warning)" in said.out
    assert said.out.endswith("✓ workflows/two-steps.yaml  1 left out\n")
    found = fleet("import", name, "--force", "--json").json
    assert (found["workflow"], found["format"], found["file"]) == ("two-steps", "graph", "workflows/two-steps.yaml")
    assert [(each["code"], each["pointer"]) for each in found["losses"]] == [("unsupported", "/color")]
    assert (found["problems"], found["ids"], "text" in found) == ([], {}, False)
    assert fleet("import", name, "--stdout", "--json").json["text"].startswith("# yaml-language-server")


def test_a_result_that_is_not_valid_is_written_and_ends_with_2(fleet: Fleet) -> None:
    flow = {
        "name": "x",
        "steps": [{"step_id": "c", "step_type": "condition", "parameters": {"condition": "input.a ? input.b : 1"}}],
    }
    said = fleet("import", put(fleet, flow))
    assert said.code == 2
    assert "this condition cannot be translated" in said.out
    assert "workflows/x.yaml:" in said.out
    assert "untranslated('input.a ? input.b : 1')" in (fleet.root / "workflows/x.yaml").read_text()
    assert said.out.endswith("1 error to mend before it runs\n")
    assert fleet("import", "flow.json", "--force", "--json").json["problems"][0]["code"] == "bad-expression"


def test_a_tool_that_is_not_there_keeps_it_from_running(fleet: Fleet) -> None:
    flow = {
        "name": "x",
        "steps": [{"step_id": "t", "step_type": "tool_call", "parameters": {"tool_name": "mail.send"}}],
    }
    said = fleet("import", put(fleet, flow))
    assert said.code == 2
    assert "there is no tool `mail.send`" in said.out


def test_agents_of_the_project_are_not_defined_again(fleet: Fleet) -> None:
    (fleet.root / "agents").mkdir()
    (fleet.root / "agents/sre.yaml").write_text("name: sre\nsystem: You look.\n")
    step = {"step_id": "a", "step_type": "agent", "parameters": {"agent_name": "sre", "query": "Look."}}
    assert fleet("import", put(fleet, {"name": "x", "steps": [step]})).code == 0
    assert "agents:" not in (fleet.root / "workflows/x.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1', "the mapping is not closed"),
        ("", "the file is empty"),
        ("[1, 2]", "a workflow is a mapping"),
        ('{"a": 1}', "the format is not recognised"),
        ("name: quick\nsteps: [{id: a, type: transform, output: 1}]", "this is a workflow file already"),
        ('{"steps": [{"step_id": "a", "step_type": "delay", "next_steps": ["b"]}]}', "there is no step `b`"),
    ],
)
def test_what_cannot_be_imported_is_told_at_its_place(fleet: Fleet, text: str, said: str) -> None:
    found = fleet("import", put(fleet, text))
    assert found.code == 2
    assert said in found.err
    assert "flow.json:1:" in found.err
    assert "internal error" not in found.err
    assert not (fleet.root / "workflows").exists()


def test_files_and_forms_that_are_not_there(fleet: Fleet) -> None:
    assert "there is no file nope.json" in fleet("import", "nope.json").err
    assert "is not a regular file" in fleet("import", ".").err
    said = fleet("import", put(fleet), "--format", "grap")
    assert (said.code, "did you mean `graph`?" in said.err) == (2, True)


def test_names_of_files_cannot_leave_the_folder(fleet: Fleet) -> None:
    for name in ("../../etc/passwd", "/etc/x", "..", "a/b\x00c", "\x1b[31m"):
        said = fleet("import", put(fleet, FLOW | {"name": name}), "--force", "--json")
        assert said.code == 0
        assert (fleet.root / said.json["file"]).parent == fleet.root / "workflows"
    said = fleet("import", put(fleet, FLOW | {"name": "\x1b[31m", "\x1b[2J": 1}), "--force")
    assert "\x1b" not in said.out + said.err


def test_files_and_forms_are_completed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    put(fleet)
    assert complete(fleet, monkeypatch, "fleet import fl", 2) == ["flow.json"]
    assert complete(fleet, monkeypatch, "fleet import flow.json --format ", 4) == ["graph", "list"]
