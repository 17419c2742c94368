"""Commands about runs and approvals: what they ask, what they refuse, what they record."""

from __future__ import annotations

import json

from cli_kit import GATED, Fleet


def test_a_filter_that_picks_several_needs_a_yes(fleet: Fleet) -> None:
    for _ in range(3):
        fleet("run", "gated.yaml", "-q", "--no-wait")
    said = fleet("cancel", "wf:gated", "status:waiting")
    assert said.code == 2
    assert "the filter matches 3 runs" in said.err
    assert "--yes to cancel all of them" in said.err
    said = fleet("cancel", "wf:gated", "--yes", "--reason", "too late", "--json")
    assert said.code == 0
    assert [row["status"] for row in said.json] == ["queued"] * 3
    assert set(said.json[0]) == {"run", "workflow", "status", "reason", "new_run"}
    fleet("recover", "-q")
    assert [run["status"] for run in fleet.runs()] == ["cancelled"] * 3
    assert fleet("cancel", "wf:gated", "--yes") == (0, "", "no run to cancel matches\n")


def test_several_runs_can_be_named(fleet: Fleet) -> None:
    for _ in range(3):
        fleet("run", "gated.yaml", "-q", "--no-wait")
    first, second, third = (run["id"] for run in fleet.runs())
    said = fleet("pause", first[-8:], second, first, "--json")
    assert [row["run"] for row in said.json] == [first, second]
    assert fleet("cancel", first, "nope", "--yes").err == "no run to cancel matches\n"
    assert [row["run"] for row in fleet("cancel", f"run:{third}", "gated", "--json").json] == [third]


def test_what_cannot_be_done_is_refused_at_once_and_counted(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml", "-q")
    for verb in ("cancel", "pause", "resume"):
        said = fleet(verb, "last")
        assert said.code == 1
        assert "the run is already completed" in said.out
    fleet("run", "gated.yaml", "-q", "--no-wait")
    assert "only a finished run can be retried" in fleet("retry", "last").out
    assert fleet("cancel", "nope").code == 2
    assert fleet("cancel", "nope:x", "--yes").code == 2


def test_a_retry_is_a_new_run_that_keeps_what_went_well(fleet: Fleet) -> None:
    fleet("run", "failing.yaml", "-q")
    old = fleet.runs()[0]["id"]
    said = fleet("retry", old)
    assert said.code == 0
    assert "retry is run " in said.out
    fleet("recover", "-q")
    new = fleet.runs()[0]
    assert (new["retry_of"], new["status"]) == (old, "failed")
    assert [fact["path"] for fact in fleet("facts", "last", "--json").json if fact["type"] == "StepStarted"].count(
        "fine"
    ) <= 1
    fleet("retry", "status:failed", "--yes", "--from", "fine")
    said = fleet("recover", "--json")
    assert (said.code, len(said.json)) == (1, 2), "what was over at once is told, too"
    fleet("retry", "last", "--from", "nope")
    said = fleet("recover")
    assert said.code == 0
    assert f"fleet.run.retry {fleet.runs()[0]['id'][-8:]} by " in said.err
    assert "was refused: the run has no step nope" in said.err
    assert "carried out" not in said.err


def test_pause_holds_a_run_until_it_is_resumed(fleet: Fleet) -> None:
    fleet("run", "gated.yaml", "-q", "--no-wait")
    fleet.ok("pause", "last", "--reason", "let me look")
    fleet.ok("approve", "last")
    fleet("recover", "-q", "--no-wait")
    assert fleet.runs()[0]["waiting_on"] == "paused"
    assert "fleet resume" in fleet.ok("show", "last")
    fleet.ok("resume", "last")
    assert fleet("recover", "-q").code == 0
    assert fleet.runs()[0]["status"] == "completed"


def test_who_waits_for_a_run_that_goes_on_is_waited_for_as_well(fleet: Fleet) -> None:
    for above, below in (("middle", "gated"), ("outer", "middle")):
        fleet.write(above, f"name: {above}\nsteps: [{{id: go, type: workflow, workflow: {below}}}]\n")
    fleet("run", "outer.yaml", "-q", "--no-wait")
    fleet.ok("approve", "last")
    said = fleet("recover", "--json")
    assert (said.code, [run["workflow"] for run in said.json]) == (0, ["outer"])
    assert {run["status"] for run in fleet.runs()} == {"completed"}


def test_runs_that_could_not_be_started_are_not_gone_on_with(fleet: Fleet) -> None:
    fleet.write("inner", "name: inner\ninputs: {n: integer}\nsteps: [{id: end, type: stop}]\n")
    child = "{id: go, type: workflow, workflow: inner, with: {n: '${{ inputs.n }}'}, on_error: continue}"
    fleet.write("outer", f"name: outer\ninputs: {{n: {{type: any, default: x}}}}\nsteps: [{child}]\n")
    said = fleet("run", "outer.yaml", "--no-wait")
    assert said.code == 0
    assert "that it started" not in said.err + said.out


def test_an_approval_shows_what_it_is_about_and_takes_values(fleet: Fleet) -> None:
    fleet("run", "gated.yaml", "-q", "--no-wait")
    assert "`tip` must be at least 0" in fleet("approve", "last", "--set", "tip=-1").err
    assert "the form has no field `top`" in fleet("approve", "last", "--set", "top=1").err
    said = fleet("approve", "last", "--set", "tip=3", "--comment", "ok")
    assert said.code == 0
    for part in ("Pay the bill?", "amount: 12", "to: ACME", "digest "):
        assert part in said.err
    approval = fleet("approvals", "--all", "--json").json[0]
    assert "has decided already: approved" in fleet("escalate", "last").err, "no engine has carried it out yet"
    assert f"✓ {approval['id']} approved by" in said.out
    assert approval["digest"][:12] in said.out
    assert fleet("recover", "-q").code == 0
    assert fleet("show", "last", "--json").json["output"] == {"tip": 3}
    assert fleet("approvals") == (0, "", "nothing waits for a decision\n")
    assert "is already approved" in fleet("approve", approval["id"]).err
    assert fleet("approve", "last").code == 2


def test_a_comment_that_the_form_asks_for_is_given_as_one(fleet: Fleet) -> None:
    gate = "{id: gate, type: approval, message: Pay?, form: {comment: {type: string, required: true}}}"
    fleet.write("why", f"name: why\nsteps: [{gate}]\n")
    fleet("run", "why.yaml", "-q", "--no-wait")
    assert "the form needs `comment`" in fleet("approve", "last").err
    assert fleet("approve", "last", "--comment", "It is due.").code == 0
    assert fleet("recover", "-q").code == 0
    said = fleet("show", "last", "--json").json["output"]
    assert (said["comment"], said["values"]) == ("It is due.", {"comment": "It is due."})


def test_what_a_form_needs_is_asked_for_on_a_terminal(fleet: Fleet) -> None:
    gate = "{id: gate, type: approval, message: Pay the bill?, form: {tip: {type: number, required: true}}}"
    fleet.write("tips", f"name: tips\nsteps: [{gate}]\n")
    fleet("run", "tips.yaml", "-q", "--no-wait")
    assert "the form needs `tip`" in fleet("approve", "last").err, "nobody can be asked"
    terminal = fleet.terminal("approve", "last")
    said = terminal.expect("tip: ")
    assert "Pay the bill?" in said, "first what it is about"
    terminal.type("\n")
    terminal.expect("still waits")
    assert terminal.wait() == 1
    terminal = fleet.terminal("approve", "last")
    terminal.expect("tip: ")
    terminal.type("3\n")
    terminal.expect("approve this? [y/N]")
    terminal.type("y\n")
    assert terminal.wait() == 0
    assert terminal.text.count("Pay the bill?") == 1
    assert fleet("recover", "-q").code == 0
    assert fleet("show", "last", "--json").json["output"]["values"] == {"tip": 3}


def test_who_may_not_decide_is_refused_at_once_and_told_whose_it_is(fleet: Fleet) -> None:
    fleet.write("gated", GATED.replace("timeout: 1h", "approvers: [group:oncall]"))
    fleet("run", "gated.yaml", "-q", "--no-wait")
    for verb in ("approve", "reject"):
        said = fleet(verb, "last")
        assert (said.code, said.out) == (2, "")
        assert "may not decide this" in said.err
        assert "hint: it is for group:oncall; who is in a group is written under [groups] in fleet.toml" in said.err
    me = fleet.runs()[0]["owner"]
    (fleet.root / "fleet.toml").write_text(f'[groups]\noncall = ["{me}"]\n')
    assert fleet("approve", "last").code == 0
    assert fleet("recover", "-q").code == 0


def test_a_rejection_is_recorded_with_its_reason(fleet: Fleet) -> None:
    fleet("run", "gated.yaml", "-q", "--no-wait")
    assert fleet("reject", "last", "--comment", "too dear").code == 0
    assert "decided" in fleet("approve", "last").err
    handed_on = fleet("escalate", "last")
    assert (handed_on.code, "has decided already: rejected" in handed_on.err) == (2, True)
    fleet("recover", "-q")
    run = fleet("show", "last", "--json").json
    assert (run["status"], run["error"]["code"]) == ("failed", "APPROVAL_REJECTED")
    assert "too dear" in fleet.ok("show", "last")


def test_whom_a_question_is_handed_on_to_is_said_and_that_nobody_has_answered(fleet: Fleet) -> None:
    late = "timeout: 50ms\n    on_timeout: escalate\n    escalate: {to: [user:boss], timeout: 50ms}"
    fleet.write("late", GATED.replace("name: gated", "name: late").replace("timeout: 1h", late))
    said = fleet("run", "late.yaml")
    assert "handed on to user:boss, waits for approval ap-" in said.out
    assert "gate  rejected (timeout)" in said.out
    assert "gate  rejected (timeout)  Pay the bill?" in fleet("show", "last").out
    asked = fleet("approvals", "--all", "--json").json[0]["id"]
    assert fleet("approvals", "show", asked).out.rstrip().endswith(" (timeout)")


def test_approvals_in_json(fleet: Fleet) -> None:
    fleet("run", "gated.yaml", "-q", "--no-wait")
    (approval,) = fleet("approvals", "wf:gated", "--json").json
    assert approval["show"] == {"amount": 12, "to": "ACME"}
    assert (approval["status"], approval["step"], approval["quorum"]) == ("pending", "gate", 1)
    assert approval["expires_at"].endswith("Z")
    assert len(approval["digest"]) == 64


def test_the_whole_question_is_shown_without_an_answer(fleet: Fleet) -> None:
    show = "\n".join(f"line {n}" for n in range(300))
    gate = f"{{id: gate, type: approval, message: Go?, show: {json.dumps(show)}}}"
    fleet.write("long", f"name: long\nsteps: [{gate}]")
    fleet("run", "gated.yaml", "-q", "--no-wait")
    asked = fleet.ok("approvals", "show", "last")
    assert fleet.ok("approvals", "show", fleet("approvals", "--json").json[0]["id"]) == asked
    object_ = fleet("approvals", "show", "last", "--json").json
    assert object_ == {**fleet("approvals", "--json").json[0], "votes": []}
    # Word for word what whoever approves it is shown.
    assert fleet("approve", "last", "--yes").err.startswith(asked)
    fleet("recover", "-q")
    decided = fleet.ok("approvals", "show", object_["id"])
    assert [line.split()[0] for line in decided.splitlines()[-2:]] == ["✓", "approved"]
    fleet("run", "long.yaml", "-q", "--no-wait")
    whole = fleet.ok("approvals", "show", "last")
    id_ = fleet("approvals", "--json").json[0]["id"]
    assert [f"line {n}" in whole for n in (0, 199, 299)] == [True] * 3
    cut = fleet("approve", "last").err
    assert f"… 100 more lines: fleet approvals show {id_}" in cut
    assert "line 299" not in cut
    assert fleet("approvals", "show", "ap-none").code == 2
    fleet("recover", "-q")
    assert "nothing waits for a decision" in fleet("approvals", "show", "last").err


def test_how_many_of_several_people_agree_is_told(fleet: Fleet) -> None:
    fleet.write("two", "name: two\nsteps: [{id: gate, type: approval, message: 'Go?', quorum: 2}]")
    fleet("run", "two.yaml", "-q", "--no-wait")
    assert "0 of 2" in fleet.ok("approvals")
    fleet.ok("approve", "last", "--yes")
    fleet("recover", "-q", "--no-wait")
    assert [line.split()[-4:] for line in fleet.ok("approvals").splitlines()[1:]] == [["1", "of", "2", "Go?"]]
    assert fleet("approvals", "--json").json[0]["agreed"] == 1
    assert "gate  pending, 1 of 2 agree  Go?" in fleet.ok("show", "last")


def test_only_a_status_term_shows_approvals_that_are_decided(fleet: Fleet) -> None:
    fleet.write("page", "name: status-page\nsteps: [{id: status, type: approval, message: 'status: ok?'}]")
    for _ in range(2):
        fleet("run", "page.yaml", "-q", "--no-wait")
    fleet.ok("approve", "last", "--yes")
    fleet("recover", "-q")
    for filter_ in ("", "wf:status-page", "step:status", '"status: ok"', "/status/", "-wf:status"):
        assert [one["status"] for one in fleet("approvals", filter_, "--json").json] == ["pending"], filter_
    assert [one["status"] for one in fleet("approvals", "status:approved", "--json").json] == ["approved"]
    assert [one["status"] for one in fleet("approvals", "-status:pending", "--json").json] == ["approved"]
    assert len(fleet("approvals", "--all", "--json").json) == 2
    said = fleet("approvals", "statsu:x")
    assert said.code == 2
    assert "  statsu:x\n  ^^^" in said.err


def test_a_limit_is_raised_with_the_reason_that_is_given(fleet: Fleet) -> None:
    fleet.write("limited", GATED.replace("name: gated", "name: limited\nguardrails: {cost_usd: 1}"))
    fleet("run", "limited.yaml", "--no-wait")
    said = fleet("raise", "last", "--usd", "0.25", "-m", "nearly there", "--json")
    assert (said.code, said.json[0]["status"]) == (0, "queued"), said
    refused = fleet("raise", "last")
    fleet("recover", "--no-wait")
    assert "nearly there" in fleet.ok("facts", "last")
    assert refused.code in (0, 1)
