"""`fleet run` and `fleet recover` where nobody looks: exit codes, what is printed, what is asked for."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from cli_kit import SLOW, Fleet


def test_a_run_completes_and_says_what_came_out(fleet: Fleet) -> None:
    said = fleet("run", "quick.yaml", "-i", "name=Ada", "-i", "times=3")
    assert said.code == 0
    assert "quick" in said.out
    assert "✓ completed after" in said.out
    assert '{"said": "Hello, Ada!", "times": 3}' in said.out
    assert "\x1b" not in said.out + said.err
    assert "\t" not in said.out


def test_json_is_one_object_with_the_same_keys_whatever_happens(fleet: Fleet) -> None:
    keys = {"id", "workflow", "status", "waiting_on", "output", "error", "created_at", "started_at", "finished_at"}
    keys |= {"duration", "steps", "usage", "mode", "wrapped_up", "reason"}
    good = fleet("run", "quick.yaml", "--json")
    bad = fleet("run", "failing.yaml", "--json")
    waits = fleet("run", "gated.yaml", "--json", "--no-wait", "--quiet")
    assert (good.code, bad.code, waits.code) == (0, 1, 3)
    assert set(good.json) == set(bad.json) == set(waits.json) == keys
    assert good.json["output"] == {"said": "Hello, world!", "times": 2}
    assert [step["path"] for step in good.json["steps"]] == ["greet", "result"]
    assert set(good.json["steps"][0]) == {"path", "status", "duration", "attempts"}
    nothing = {"tokens": 0, "cost_usd": 0.0, "cost_nano": 0, "uncertain_usd": 0.0, "uncertain_nano": 0}
    assert good.json["usage"] == nothing
    assert good.json["created_at"].endswith("Z")
    assert bad.json["error"]["code"] == "TOOL_ERROR"
    assert bad.json["error"]["step"] == "broken"
    assert (waits.json["status"], waits.json["waiting_on"]) == ("waiting", "approval")
    assert (good.json["reason"], waits.json["reason"]) == (None, "waits for 1 approval")
    assert "completed after" in good.err
    assert waits.err == ""


def test_a_failure_is_told_with_what_the_process_said(fleet: Fleet) -> None:
    said = fleet("run", "failing.yaml")
    assert said.code == 1
    assert "TOOL_ERROR in broken" in said.out
    assert "it burns" in said.out
    assert "fleet show" in said.err


def test_quiet_says_nothing_where_all_is_well(fleet: Fleet) -> None:
    assert fleet("run", "quick.yaml", "--quiet") == (0, "", "")


def test_quiet_says_what_went_wrong(fleet: Fleet) -> None:
    said = fleet("run", "failing.yaml", "-q")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("TOOL_ERROR in broken\n")
    assert "it burns" in said.err
    fleet("retry", "last")
    again = fleet("recover", "-q")
    assert (again.code, again.out, again.err) == (1, "", said.err)
    assert fleet("run", "failing.yaml", "-q", "--json").err == "", "it stands in the object"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("steps: [{id: end, type: stop, status: cancelled, message: enough}]", 4),
        ("guardrails: {timeout: 300ms}\nsteps: [{id: nap, type: shell, argv: [sleep, '5'], repeat: safe}]", 5),
    ],
)
def test_exit_codes_of_other_ends(fleet: Fleet, text: str, code: int) -> None:
    fleet.write("other", f"name: other\n{text}")
    assert fleet("run", "other.yaml", "--quiet").code == code


def test_wrong_inputs_are_all_named_at_once(fleet: Fleet) -> None:
    said = fleet("run", "quick.yaml", "-i", "times=many", "-i", "nmae=Ada")
    assert said.code == 2
    assert "unknown input `nmae` (did you mean `name`?)" in said.err
    assert "input `times` must be of type integer" in said.err
    assert "quick.yaml" in said.err
    assert fleet.runs() == []


def test_inputs_come_from_a_file_or_from_standard_input(fleet: Fleet) -> None:
    (fleet.root / "in.json").write_text('{"name": "File", "times": 7}')
    assert fleet("run", "quick.yaml", "--inputs", "in.json", "--json").json["output"]["said"] == "Hello, File!"
    said = fleet("run", "quick.yaml", "--inputs", "-", "-i", "times=9", "--json", stdin=b'{"name": "Pipe"}')
    assert said.json["output"] == {"said": "Hello, Pipe!", "times": 9}
    assert fleet("run", "quick.yaml", "--inputs", "nope.json").code == 2
    assert "NAME=VALUE" in fleet("run", "quick.yaml", "-i", "name").err


def test_labels_priority_and_key_are_kept(fleet: Fleet) -> None:
    first = fleet("run", "quick.yaml", "--label", "env=prod", "--priority", "5", "--key", "k1", "--json").json
    second = fleet("run", "quick.yaml", "--key", "k1", "--json").json
    assert first["id"] == second["id"]
    (row,) = fleet.runs("label.env:prod")
    assert (row["labels"], row["priority"]) == ({"env": "prod"}, 5)


def test_a_file_with_mistakes_is_shown_with_all_of_them(fleet: Fleet) -> None:
    fleet.write("bad", "name: bad\nsteps:\n  - {id: a, type: shel}\n  - {id: a, type: transform}\n")
    said = fleet("run", "bad.yaml")
    assert said.code == 2
    assert "bad.yaml:3:" in said.err
    assert "bad.yaml:4:" in said.err
    assert "did you mean `shell`?" in said.err
    assert "problems to fix" in said.err


def test_a_workflow_is_known_by_name_once_it_was_run(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml")
    assert fleet("run", "quick", "-i", "times=4", "--json").json["output"]["times"] == 4
    (fleet.root / "workflows").mkdir()
    fleet.write("workflows/other", "name: other\nsteps: [{id: a, type: transform, output: 1}]")
    assert fleet("run", "other", "--json").json["output"] == 1


@pytest.mark.parametrize("name", ["nope", "nope.yaml", "some/where", "workflows"])
def test_what_is_not_there_is_said_with_a_hint(fleet: Fleet, name: str) -> None:
    fleet.ok("run", "quick.yaml")
    said = fleet("run", name)
    assert said.code == 2
    assert said.err.startswith("fleet: there is no ")
    assert "hint: " in said.err


def test_a_check_that_fails_says_why_and_where_the_answers_are(fleet: Fleet) -> None:
    check = "reconcile: {type: http, url: 'http://127.0.0.1:9/receipt', happened: result.status == 200}"
    fleet.write("slow", SLOW.replace("repeat: never", f"repeat: never, {check}"))
    process = fleet.process("run", "slow.yaml")
    fleet.until(lambda: fleet("facts", "last").out.count("noted process"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    said = fleet("recover", "--no-wait")
    assert "pay  the reconcile check failed: " in said.out
    run = fleet.runs("waiting:in_doubt")[0]["id"]
    assert f"`fleet show {run[-8:]}` has the answers" in said.out
    assert "the reconcile check failed: " in fleet.ok("show", run)


def test_a_killed_run_is_recovered_and_doubt_is_never_guessed_away(fleet: Fleet) -> None:
    process = fleet.process("run", "slow.yaml")
    fleet.until(lambda: fleet("facts", "last").out.count("noted process"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "1 other run is interrupted: `fleet recover`" in fleet("run", "quick.yaml").err
    said = fleet("recover", "--no-wait")
    assert said.code == 3
    assert "pay  in doubt" in said.out
    run = fleet.runs("waiting:in_doubt")[0]["id"]
    shown = fleet.ok("show", run)
    for answer in ("--happened '{}'", "--run", "--skip", "--abort"):
        assert f"fleet resolve {run[-8:]} 'pay' --attempt 1 {answer}" in shown
    with pytest.MonkeyPatch.context() as patch:
        words = {"_FLEET_COMPLETE": "complete_bash", "COMP_WORDS": f"fleet resolve {run} ", "COMP_CWORD": "3"}
        for name, value in words.items():
            patch.setenv(name, value)
        assert fleet().out == "pay\n"
    said = fleet("resolve", run, "pay")
    assert (said.code, f"fleet resolve {run[-8:]} 'pay' --attempt 1 --run" in said.out) == (2, True), "what can be said"
    assert fleet("resolve", run, "pay", "--run", "--skip").code == 2
    said = fleet("resolve", run, "pay", "--attempt", "2", "--run")
    assert said.code == 0, "there is no engine to refuse it"
    said = fleet("resolve", run, "pay", "--happened", '{"receipt": 7}', "--comment", "saw it on the statement")
    assert said.code == 0
    assert "it will be carried out when an engine runs (fleet recover)" in said.err
    said = fleet("recover", run, "--json")
    assert (said.code, len(said.json)) == (0, 1)
    assert (said.json[0]["status"], said.json[0]["output"]) == ("completed", "thanks")
    assert fleet("resolve", run, "pay", "--skip").code == 1
    assert "no step `pay` that is in doubt" in fleet("resolve", run, "pay").err
    assert "saw it on the statement" in json.dumps(fleet("facts", run, "--json").json)
    answers = [one for one in fleet("signals", "--json").json if one["type"] == "fleet.step.resolve"]
    assert {one["data"]["answer"]: one["data"]["attempt"] for one in answers} == {"run": 2, "happened": 1}
    refused = [result["reason"] for one in answers for result in one["results"] if result["status"] == "refused"]
    assert refused[0].startswith("the answer is about attempt 2 of pay")


def test_nothing_to_recover_is_said_so(fleet: Fleet) -> None:
    assert fleet("recover").code == 2
    fleet("run", "gated.yaml", "--no-wait")
    said = fleet("recover")
    assert (said.code, said.err) == (0, "nothing is interrupted; 1 run waits: fleet runs status:waiting\n")
    assert fleet("recover", "--json").json == []


def test_a_signal_parks_the_run_and_says_how_to_go_on(fleet: Fleet) -> None:
    process = fleet.process("run", "gated.yaml")
    fleet.approval()
    assert process.stderr is not None
    look, said = process.stderr.readline(), process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "parked: nothing is lost" in err.decode()
    id_ = fleet("approvals", "--json").json[0]["id"]
    assert look.decode() == f"to see all of it: fleet approvals show {id_}\n"
    assert said.decode() == f"to answer: fleet approve {id_}, or fleet reject {id_}\n"
    assert f"fleet approve {id_}" in err.decode()
    assert "fleet recover" in err.decode()
    assert b"Traceback" not in out + err


def test_what_ends_while_the_run_is_parked_is_told(fleet: Fleet) -> None:
    wait = "echo paying; until [ -e paid ]; do sleep 0.05; done"
    fleet.write("pay", f"name: pay\nsteps:\n  - {{id: pay, type: shell, argv: [sh, -c, '{wait}'], repeat: never}}\n")
    process = fleet.process("run", "pay.yaml")
    fleet.until(lambda: "paying" in fleet("logs", "last").out)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert b"parking: what must not be repeated gets some seconds" in process.stderr.readline()
    (fleet.root / "paid").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "✓ pay  completed in" in out.decode()
    assert "parked: nothing is lost" in err.decode()
    assert fleet("recover", "-q").code == 0


def test_a_run_goes_on_here_when_the_engine_that_drove_it_has_gone(fleet: Fleet) -> None:
    first = fleet.process("run", "gated.yaml", "--quiet")
    fleet.approval()
    second = fleet.process("run", "gated.yaml", "--json")
    fleet.until(lambda: len(fleet("approvals", "--json").json) == 2)
    assert "drives the runs and answers" in fleet.ok("doctor")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=120) == 143
    run = fleet.runs("status:waiting")[0]["id"]
    assert fleet("approve", fleet("approvals", f"run:{run}", "--json").json[0]["id"]).code == 0
    out, err = second.communicate(timeout=120)
    assert (second.returncode, json.loads(out)["id"]) == (0, run)
    assert "the engine is in another process" in err.decode()
    assert "is gone: going on here" in err.decode()


def test_two_terminals_share_one_engine(fleet: Fleet) -> None:
    """The first process waits; this one sees, decides, and is told that it counted."""
    first = fleet.process("run", "gated.yaml", "--json", stderr=subprocess.DEVNULL)
    approval = fleet.approval()
    said = fleet("approve", approval, "--set", "tip=5", "--comment", "fine")
    assert said.code == 0
    assert "recorded" not in said.err
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0
    assert json.loads(out)["output"] == {"tip": 5}


def test_what_is_refused_has_its_place_and_leaves_nothing_behind(fleet: Fleet) -> None:
    fleet.write(
        "needs", "name: needs\ninputs:\n  n: {type: integer}\nsteps:\n  - {id: a, type: transform, output: 1}\n"
    )
    said = fleet("run", "needs.yaml")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("needs.yaml:3:3: bad-input missing input `n` (integer)\n")
    said = fleet("run", "needs.yaml", "-i", "n=many", "-i", "m=1")
    assert said.code == 2
    assert "needs.yaml:2:1: bad-input unknown input `m` (inputs: n)\n" in said.err
    assert "needs.yaml:3:3: bad-input input `n` must be of type integer\n" in said.err
    assert not list((fleet.root / ".fleet").iterdir())
    fleet.write("parent", "name: parent\nsteps:\n  - {id: a, type: workflow, workflow: child}\n")
    fleet.write("child", "name: child\nsteps:\n  - {id: a, type: shel}\n")
    said = fleet("run", "parent.yaml")
    assert said.code == 2
    assert said.err.startswith("child.yaml:3:19: unknown-type")
    assert not list((fleet.root / ".fleet").iterdir())


def test_a_workflow_that_is_run_by_name_has_its_places_too(fleet: Fleet) -> None:
    text = "name: needs\ninputs:\n  n: {type: integer}\nsteps:\n  - {id: a, type: transform, output: 1}\n"
    file = fleet.write("needs", text)
    fleet.ok("run", "needs.yaml", "-i", "n=1")
    said = fleet("run", "needs")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("needs.yaml:3:3: bad-input missing input `n` (integer)\n")
    file.write_text("# a remark\n" + text)
    assert fleet("run", "needs", "-i", "m=1").err.startswith(
        "needs.yaml:3:1: bad-input unknown input `m` (inputs: n)\n"
    )
    file.unlink()
    said = fleet("run", "needs", "-i", "n=many")
    assert said.err.startswith(
        "needs.yaml:3:3: bad-input input `n` must be of type integer\n    |   n: {type: integer}\n"
    )
    assert len(fleet.runs()) == 1
    assert "did you mean `needs`?" in fleet("run", "neds").err


def test_what_functions_print_is_logged_masked_and_spoils_no_json(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_SECRET_DESK", "CANARY-desk-1")
    (fleet.root / "noisy.py").write_text(
        "import os, sys\ndef speak():\n    print('key', os.environ['FLEET_SECRET_DESK'])\n"
        "    print('{', file=sys.stderr)\n    return 1\n"
    )
    (fleet.root / "noisy.yaml").write_text("name: noisy\nsteps: [{id: a, type: python, call: noisy:speak}]\n")
    said = fleet("run", "noisy.yaml", "--json")
    assert said.json["output"] == 1
    logged = fleet("logs", said.json["id"])
    assert "key •••" in logged.out
    assert "CANARY" not in said.out + said.err + logged.out
