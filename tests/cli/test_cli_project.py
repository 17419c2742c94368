"""Files of a project, the store, the state of things."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

from cli_kit import Fleet

BAD = "name: bad\nsteps:\n  - {id: a, type: shel}\n  - {id: b, type: transform, output: '${{ inputs.x }}'}\n"


def test_init_makes_a_project_and_then_says_that_it_is_there(fleet: Fleet) -> None:
    said = fleet("init", "new/place")
    root = fleet.root / "new/place"
    assert said.code == 0
    assert said.out.count("written") == 4
    assert (root / ".fleet").stat().st_mode & 0o777 == 0o700
    assert (root / ".fleet/.gitignore").read_text() == "*\n"
    schema = json.loads((root / ".fleet/workflow.schema.json").read_text())
    assert schema["title"] == "FleetPrompt workflow"
    (root / "fleet.toml").write_text("max_runs = 3\n")
    again = fleet("init", "new/place")
    assert (again.code, again.out.count("written"), again.out.count("is there")) == (0, 0, 4)
    assert (root / "fleet.toml").read_text() == "max_runs = 3\n"
    assert fleet("-C", "new/place", "validate").code == 0
    assert fleet("-C", "new/place", "run", "hello", "--no-wait", "-q").code == 3
    assert fleet("init", "quick.yaml").code == 2


def test_validate_reports_every_problem_of_every_file(fleet: Fleet) -> None:
    fleet.write("bad", BAD)
    said = fleet("validate", "bad.yaml", "quick.yaml")
    assert said.code == 2
    assert "bad.yaml:3:19: unknown-type" in said.out
    assert "^^^^" in said.out
    assert "hint: did you mean `shell`?" in said.out
    assert "bad.yaml:4:" in said.out
    assert said.err == "1 of 2 files valid, 2 errors\n"
    problems = fleet("validate", "bad.yaml", "--format", "json").json
    assert len(problems) == 2
    assert problems[0]["pointer"] == "/steps/0/type"
    assert fleet("validate", ".").out.startswith("bad.yaml")


def test_validate_tells_of_webhooks_of_the_same_path(fleet: Fleet) -> None:
    hook = "name: NAME\ntriggers: [{type: webhook, path: alerts}]\nsteps: [{id: a, type: stop}]\n"
    for name in ("one", "two"):
        fleet.write(name, hook.replace("NAME", name))
    said = fleet("validate", "one.yaml", "two.yaml", "quick.yaml")
    assert said.code == 0
    assert said.out.startswith("two.yaml:2:34: suspicious the webhook of one.yaml has this path")
    assert fleet("validate", "two.yaml") == (0, "", "")


def test_validate_is_silent_when_there_is_nothing_to_say(fleet: Fleet) -> None:
    assert fleet("validate", "quick.yaml") == (0, "", "")
    assert fleet("validate", "quick.yaml", "--format", "json").json == []
    assert fleet("validate", "nope.yaml").code == 2
    said = fleet("validate", "-", stdin=BAD.encode())
    assert said.code == 2
    assert "<stdin>:3:" in said.out
    (fleet.root / "policy.toml").write_text('deny = ["nothing.like_it"]\n')
    assert fleet("validate", "quick.yaml") == (0, "", "")
    (fleet.root / "policy.toml").write_text('deny = [{tol = "fs.write"}]\n')
    said = fleet("validate", "quick.yaml")
    assert (said.code, said.err) == (2, "1 of 2 files valid, 1 error\n")
    assert "policy.toml:1:" in said.out
    assert "did you mean `tool`?" in said.out


SETTINGS = """\
max_rums = 3
[guardrails]
requests = 0
[models.dear]
model = "openai/gpt-5.5"
idle = "long"
fallback = ["nothing"]
[models.nothing]
[models.cheap]
model = "opnai/x"
[tools.http]
host = []
[policy]
dny = []
"""
NAMING = "name: a\nsteps:\n  - {id: a, type: chat, prompt: x, model: %s}\n"


def test_one_look_shows_all_that_is_wrong_with_a_project(fleet: Fleet) -> None:
    (fleet.root / "fleet.toml").write_text(SETTINGS)
    (fleet.root / "policy.toml").write_text("alow = []\n")
    (fleet.root / "workflows").mkdir()
    (fleet.root / "workflows/a.yaml").write_text(NAMING % "nothing")
    (fleet.root / "workflows/b.yaml").write_text(NAMING.replace("a\n", "b\n", 1) % "chepa")
    places = [
        "fleet.toml:1:1",
        "fleet.toml:3:1",
        "fleet.toml:6:1",
        "fleet.toml:8:9",
        "fleet.toml:10:1",
        "fleet.toml:12:1",
        "fleet.toml:14:1",
        "policy.toml:1:1",
    ]
    found = fleet("validate", "--format", "json").json
    told = [f"{one['file']}:{one['line']}:{one['column']}" for one in found]
    # A model that cannot be used is no unknown one to those that name it.
    assert told == [*places, "workflows/b.yaml:3:43"]
    found = fleet("validate", "workflows/a.yaml", "--format", "json").json
    told = [f"{one['file']}:{one['line']}:{one['column']}" for one in found]
    assert told == [place for place in places if place != "fleet.toml:10:1"]
    wrong = [one["text"] for one in fleet("doctor", "--json").json if one["what"] in ("settings", "policy")]
    assert [text.partition(": ")[0] for text in wrong] == places


def test_a_policy_is_looked_at_although_the_settings_cannot_be_read(fleet: Fleet) -> None:
    (fleet.root / "fleet.toml").write_text("max_runs = \n")
    (fleet.root / "policy.toml").write_text("alow = []\n")
    found = fleet("validate", "--format", "json").json
    assert [(one["file"], one["code"]) for one in found] == [
        ("fleet.toml", "toml-syntax"),
        ("policy.toml", "unknown-key"),
    ]
    fleet.write("named", NAMING % "cheap")
    # Whether there is such a model nobody knows.
    assert [one["file"] for one in fleet("validate", "named.yaml", "--format", "json").json] == [
        "fleet.toml",
        "policy.toml",
    ]


def test_the_schema_goes_where_it_is_wanted(fleet: Fleet) -> None:
    assert fleet("schema").json["title"] == "FleetPrompt workflow"
    fleet.ok("schema", "--output", "schema.json")
    assert "definitions" in json.loads((fleet.root / "schema.json").read_text())
    assert fleet("schema", "--output", "no/such/folder/x").code == 2


def test_doctor_names_what_is_wrong_and_the_remedy(fleet: Fleet) -> None:
    said = fleet("doctor", "--json")
    assert said.code == 0
    found = {one["what"]: one["status"] for one in said.json}
    assert {"python", "sqlite", "git", "terminal", "settings", "store", "engine", "secrets", "plugins"} <= set(found)
    assert set(found.values()) == {"ok"}
    secrets = fleet.root / ".fleet/secrets.toml"
    secrets.write_text('a = "b"\n')
    secrets.chmod(0o644)
    said = fleet("doctor")
    assert said.code == 1
    assert "fail secrets" in said.out
    assert f"chmod 600 {secrets}" in said.out
    secrets.unlink()
    (fleet.root / "fleet.toml").write_text("max_rums = 3\n")
    said = fleet("doctor")
    assert said.code == 1
    assert "fleet.toml:1:1: there is no setting `max_rums`" in said.out
    assert "did you mean `max_runs`?" in said.out
    said = fleet("runs")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("fleet.toml:1:1: unknown-key there is no setting `max_rums`\n    | max_rums = 3\n")


def test_the_store_is_checked_copied_and_pruned(fleet: Fleet) -> None:
    assert fleet("db", "check").code == 2
    fleet.ok("run", "quick.yaml", "-q")
    fleet("run", "gated.yaml", "-q", "--no-wait")
    assert "in order" in fleet.ok("db", "check")
    health = fleet("db", "check", "--json").json
    assert (health["ok"], health["problems"]) == (True, [])
    assert "schema" in fleet.ok("db", "upgrade")
    fleet.ok("db", "backup", "copy.db")
    assert fleet("db", "backup", "copy.db").code == 2
    assert len(fleet("runs", "--json", "--db", "copy.db").json) == 2
    assert "would delete 1 run " in fleet.ok("db", "prune", "--older-than", "0s", "--dry-run")
    assert "would delete 0 runs" in fleet.ok("db", "prune", "--dry-run")
    assert fleet("db", "prune", "--older-than", "soon").code == 2
    assert "given back to the disk" in fleet.ok("db", "prune", "--older-than", "0s")
    assert {"bytes_freed", "bytes_unused"} <= fleet("db", "prune", "--vacuum", "--json").json.keys()
    assert [run["workflow"] for run in fleet.runs()] == ["gated"]
    assert len(fleet("runs", "--json", "--db", "copy.db").json) == 2


def test_a_damaged_store_is_an_answer_and_not_a_crash(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    with sqlite3.connect(fleet.root / ".fleet/fleet.db") as connection:
        connection.execute("UPDATE journal SET data = X'00' WHERE n = 3")
    connection.close()
    assert fleet("db", "check").code == 1
    said = fleet("show", "last")
    assert said.code == 2
    assert "damaged at fact 3" in said.err
    (fleet.root / "text.db").write_text("this is no database, whatever its name says\n" * 40)
    for command in (["runs"], ["recover"], ["db", "check"], ["db", "backup", "copy.db"], ["run", "quick.yaml"]):
        said = fleet(*command, "--db", "text.db")
        assert (said.code, said.out) == (2, "")
        hint = "check the path; if it was the store, restore a backup, or move it away to begin anew"
        assert said.err == f"fleet: the file is not a database\n  in text.db\n  hint: {hint}\n", command
    assert not (fleet.root / "copy.db").exists()


def test_nothing_is_made_where_somebody_only_looks(fleet: Fleet, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for command in (["runs"], ["show", "last"], ["approvals"], ["recover"], ["db", "check"], ["workflows"]):
        fleet("-C", str(empty), "--db", str(empty / "x.db"), *command)
        assert list(empty.iterdir()) == []


def test_a_store_in_a_folder_that_is_missing_is_not_made(fleet: Fleet) -> None:
    for command in (["run", "quick.yaml"], ["db", "upgrade"], ["signal", "a.b"]):
        said = fleet(*command, "--db", "no/such/x.db")
        assert said == (
            2,
            "",
            "fleet: the folder of the store is missing\n  in no/such\n  hint: make it, or check the path\n",
        )
        said = fleet(*command, "--db", "quick.yaml/x.db")
        assert said.err.startswith("fleet: the folder of the store is not a folder\n  in quick.yaml\n")
    assert not (fleet.root / "no").exists()


def test_validate_goes_on_past_files_that_cannot_be_read(fleet: Fleet) -> None:
    os.mkfifo(fleet.root / "pipe.yaml")
    (fleet.root / "gone.yaml").symlink_to("nowhere")
    (fleet.root / "folder.yaml").mkdir()
    fleet.write("bad", BAD)
    said = fleet("validate", ".")
    assert said.code == 2
    assert "gone.yaml:1:1: missing-file the file cannot be read: no such file or directory\n" in said.out
    assert "pipe.yaml:1:1: missing-file the file cannot be read: it is not a regular file\n" in said.out
    assert "bad.yaml:3:19: unknown-type" in said.out
    assert "folder.yaml" not in said.out
