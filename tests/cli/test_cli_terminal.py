"""On a real terminal: the tree that is drawn, questions that are answered in place, Ctrl-C."""

from __future__ import annotations

from cli_kit import GATED, Fleet

LOOP = """
name: looping
steps:
  - id: each
    type: loop
    over: "[1, 2, 3, 4, 5, 6, 7, 8]"
    concurrency: 2
    on_item_error: continue
    steps:
      - {id: one, type: shell, argv: [sh, -c, "echo item ${{ item }}; sleep 0.2; test ${{ item }} != 5"], repeat: safe}
"""


def test_a_tree_is_drawn_and_big_loops_are_folded(fleet: Fleet) -> None:
    fleet.write("looping", LOOP)
    terminal = fleet.terminal("run", "looping.yaml")
    terminal.expect("×8 ok")
    terminal.expect("run 2")
    terminal.expect("│ item 3")
    assert terminal.wait() == 0
    last = terminal.text[terminal.text.rindex("✓ looping") :]
    assert "×8 ok 7 fail 1" in last
    assert "✗ [4] one" in last
    assert "[5] one" not in last
    assert "output" in last


def test_an_approval_is_shown_and_answered_in_place(fleet: Fleet) -> None:
    terminal = fleet.terminal("run", "gated.yaml")
    terminal.type("a too early\n")
    text = terminal.expect("  > ")
    for part in ("Pay the bill?", "amount: 12", "to: ACME", "digest ", "tip (integer, at least 0, default 1)", "left"):
        assert part in text
    above = terminal.raw[: terminal.raw.index("Pay the bill?")]
    assert "\x1b[2K" not in above[above.rindex("waits for approval") :], "the tree stays in sight above the question"
    terminal.type("perhaps\n")
    terminal.expect("please answer with")
    terminal.type("a looks right\n")
    terminal.expect("= ")
    terminal.type("-3\n")
    terminal.expect("`tip` must be at least 0")
    terminal.type("4\n")
    terminal.expect("approved by")
    assert terminal.wait() == 0
    assert '{"tip": 4}' in terminal.text
    (vote,) = fleet("show", "last", "--json").json["approvals"][0]["votes"]
    assert (vote["comment"], vote["values"], vote["via"]) == ("looks right", {"tip": 4}, "cli")


def test_what_is_to_be_approved_is_broken_below_its_own_text(fleet: Fleet) -> None:
    words = " ".join(f"word{number}" for number in range(12))
    show = f"{{why: {words}, evidence: [{words}]}}"
    fleet.write("gated", GATED.replace('"${{ steps.before.output }}"', show).replace("Pay the bill?", words))
    terminal = fleet.terminal("run", "gated.yaml", columns=60)
    lines = terminal.expect("  > ").splitlines()
    message, why, evidence = (lines[[line.startswith(start) for line in lines].index(True) + 1] for start in STARTS)
    assert message.startswith("  word")
    assert why.startswith("      word")
    assert evidence.startswith("        word")
    terminal.type("r\n")
    assert terminal.wait() == 1


STARTS = ("  word0", "    why: word0", "      - word0")


def test_rejecting_in_place_fails_the_run(fleet: Fleet) -> None:
    terminal = fleet.terminal("run", "gated.yaml", NO_COLOR="1")
    terminal.expect("  > ")
    terminal.type("r too expensive\n")
    assert terminal.wait() == 1
    assert "rejected by" in terminal.text
    assert "\x1b[3" not in terminal.raw, "NO_COLOR is respected"


def test_later_can_be_taken_back_and_ctrl_c_parks_only_at_the_second_time(fleet: Fleet) -> None:
    terminal = fleet.terminal("run", "gated.yaml")
    terminal.expect("  > ")
    terminal.type("l\n")
    terminal.expect("press a to decide")
    seen = len(terminal.text)
    terminal.type("a")
    terminal.expect("  > ", after=seen)
    terminal.type("\x04")
    terminal.expect("later: press a", after=seen)
    terminal.type("\x03")
    terminal.expect("Ctrl-C again parks the run")
    assert terminal.process.poll() is None
    terminal.type("\x03")
    assert terminal.wait() == 130
    assert "parked: nothing is lost" in terminal.text
    assert f"fleet recover {fleet.runs()[0]['id'][-8:]}" in terminal.text


def test_a_decision_taken_elsewhere_closes_the_question(fleet: Fleet) -> None:
    terminal = fleet.terminal("run", "gated.yaml")
    terminal.expect("  > ")
    assert fleet("approve", "last").code == 0
    terminal.expect("approved elsewhere in the meantime")
    assert terminal.wait() == 0


def test_who_may_not_decide_is_not_asked(fleet: Fleet) -> None:
    fleet.write("theirs", "name: theirs\nsteps: [{id: gate, type: approval, message: Now?, approvers: [zoe]}]")
    terminal = fleet.terminal("run", "theirs.yaml")
    terminal.expect("waits for approval by zoe")
    assert "  > " not in terminal.text
    assert fleet("approve", "last").code == 2
    terminal.type("\x03")
    terminal.expect("Ctrl-C again parks the run")
    terminal.type("\x03")
    assert terminal.wait() == 130


def test_sixty_columns_stay_readable(fleet: Fleet) -> None:
    fleet.ok("run", "quick.yaml")
    fleet("run", "failing.yaml")
    terminal = fleet.terminal("runs", columns=60)
    assert terminal.wait() == 0
    lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[0].split()[:3] == ["RUN", "WORKFLOW", "STATUS"]
    assert all(run["id"][-8:] in terminal.text for run in fleet.runs())


def test_approve_asks_before_it_counts(fleet: Fleet) -> None:
    fleet("run", "gated.yaml", "--no-wait")
    terminal = fleet.terminal("approve", "last")
    terminal.expect("approve this? [y/N]")
    assert "amount: 12" in terminal.text
    terminal.type("\n")
    assert terminal.wait() == 1
    assert "still waits" in terminal.text
    terminal = fleet.terminal("cancel", "wf:gated")
    assert terminal.wait() == 0, "one run needs no question"


def test_json_leaves_the_tree_to_the_other_stream(fleet: Fleet) -> None:
    terminal = fleet.terminal("run", "quick.yaml", "--json", "--quiet")
    assert terminal.wait() == 0
    assert terminal.text.lstrip().startswith("{")
    assert terminal.text.rstrip().endswith("}")
