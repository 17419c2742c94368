"""Deciding about what agents ask, with a real engine, real tools and scripted words: calls, grants, questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deciding_kit import approvals, asking, client_of, console, dialog, ended, inbox, pending, said, shown, title, until

from fleetprompt.engine.core.facts import ApprovalDecided, Blob
from fleetprompt.engine.ports import Approval
from fleetprompt.tui.app import FleetConsole
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.screens.shown import ConfirmShown
from fleetprompt.tui.state.approval_call import asked_briefly, call_matter, can_be
from fleetprompt.tui.widgets.answers import Answers
from fleetprompt.tui.widgets.ask_box import AskBox

HIGH = (160, 90)
"""All of what is decided about is in sight."""
WRITER = """
name: writer
agents:
  clerk:
    system: You write.
    tools: [fs.write, human.ask]
    approval: {approvers: ["user:ana", "user:bo"], timeout: 1h, escalate: {to: ["user:bo"]}}
steps:
  - {id: write, type: agent, agent: clerk, prompt: write}
"""
WORDS = """
rules:
  - {turn: 0, call: {tool: fs.write, with: {path: a.txt, content: "first\\n"}}}
  - {turn: 1, call: {tool: fs.write, with: {path: a.txt, content: "first\\n"}}}
  - {turn: 2, call: {tool: human.ask, with: {question: Who signs?, options: [Ana, Bo]}}}
  - {turn: 3, say: "signed by ${{ last.result.answer }}"}
"""


def lines(shown: Any, released: Any) -> list[str]:
    return ["".join(text for text, _ in line) for line in call_matter(shown, released)]


def told(kind: str, does: Any, **more: Any) -> list[str]:
    found = lines({"tool": "t", "agent": "a", "kind": kind, "does": does} | more, {"tool": "t", "arguments": {"x": 1}})
    assert found[0] == "WILL BE DONE  t  by a"
    assert found[-2:] == ["ARGUMENTS", "x: 1"]
    return found[1:-3]


def test_what_a_call_does_is_shown_as_it_will_be_done() -> None:
    assert told("argv", ["rm", "-r", "my files"]) == ["argv: $ rm -r 'my files'"]
    assert told("diff", "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y") == ["--- a", "+++ b", "@@ -1 +1 @@", "-x", "+y"]
    assert told("sql", "DELETE FROM orders\nWHERE id = 7") == ["DELETE FROM orders", "WHERE id = 7"]
    http = {"method": "POST", "url": "http://x/y", "headers": {"a": "b"}, "body": "{}\n"}
    assert told("http", http)[:2] == ["POST http://x/y", 'headers: {"a": "b"}']
    evil = told(
        "argv", ["echo", "\x1b[2J\u202e"], risk="runs a program", rule="policy.toml: ask[1]", bound={"sha": "ab"}
    )
    assert evil[0] == "argv: $ echo '\\x1b[2J\\u202e'"
    assert evil[2:4] == ["risk: runs a program", "rule: policy.toml: ask[1]"]
    assert evil[-1] == "sha: ab"
    assert told("json", {"k": 1}, subject={"path": "a"})[-1] == "path: a"


def asked(about: str, **fields: Any) -> Approval:
    values: dict[str, Any] = {"id": "ap-1", "tenant": "default", "run": "r", "path": "p", "workflow": "w"}
    values |= {"status": "pending", "digest": "d", "message": "m", "requested_at": 0.0, "call": "a/tool/0.0"}
    return Approval(**(values | {"about": about} | fields))


def test_what_is_asked_is_told_on_a_line() -> None:
    assert asked_briefly(asked("tool", show={"kind": "argv", "does": ["ls", "a b"]})) == "$ ls 'a b'"
    assert asked_briefly(asked("tool", show={"kind": "http", "does": {"method": "GET", "url": "u"}})) == "GET u"
    assert asked_briefly(asked("question", show={"options": ["Ana", "Bo"]})) == "Ana / Bo"
    assert asked_briefly(asked("budget", show={"used": "1.00", "cap": "2.00"})) == "1.00 of 2.00 used"
    assert asked_briefly(asked("stuck", show="\x00")) == ""


def test_only_calls_can_be_allowed_for_later_and_only_what_names_others_can_be_handed_on() -> None:
    ids = ("approval.grant_run", "approval.end", "approval.escalate", "approval.edit", "approval.approve")

    def possible(approval: Approval) -> list[bool]:
        return [can_be(id_, approval) for id_ in ids]

    assert possible(asked("tool", escalate={"to": ["user:bo"]})) == [True, True, True, False, True]
    assert possible(asked("tool", escalate={"to": ["user:bo"]}, level=1)) == [True, True, False, False, True]
    assert possible(asked("budget", form={"amount": "number"}, blob=Blob("d", 1))) == [False, True, False, True, True]
    assert possible(asked("", call="")) == [False, False, False, False, True]


def simulated(root: Path) -> None:
    (root / "simulations").mkdir()
    (root / "simulations" / "writer.yaml").write_text(WORDS)


async def question(app: FleetConsole, pilot: Any, clock: Any, words: str) -> Approval:
    """Wait until another thing is asked, and is shown."""

    def there() -> bool:
        look = approvals(app).look
        return look is not None and look.approval.status == "pending" and words in look.approval.message

    await until(pilot, there)
    await until(pilot, lambda: approvals(app).pane.ended)
    clock.at += 10
    return shown(app)


async def test_a_call_is_allowed_for_the_run_after_a_question_and_an_answer_is_chosen(tmp_path: Path) -> None:
    simulated(tmp_path)
    async with console(tmp_path, size=HIGH) as (app, pilot, clock):
        (run,) = await asking(app, pilot, clock, tmp_path, WRITER)
        await question(app, pilot, clock, "write a.txt")
        assert shown(app).about == "tool"
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert title(app) == "approve, and allow such calls in this run?"
        assert "path: a.txt" in dialog(app)
        assert "content: \n    first" in dialog(app)
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert (tmp_path / "a.txt").exists() is False
        await pilot.press("A")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: inbox(app).count == 2)
        await pilot.press("down")
        await question(app, pilot, clock, "Who signs?")
        assert (tmp_path / "a.txt").read_text() == "first\n"
        assert said(app, 'for this run each call that is exactly fs.write path=a.txt content="first')
        await pilot.press("A")
        await until(pilot, lambda: said(app, "only a call of a tool can be allowed"))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await pilot.press("down", "ctrl+s")
        assert await ended(client_of(app), run) == ["completed"]
        assert (await client_of(app).state(run)).steps["write"].output in ("signed by Ana", "signed by Bo")


async def test_arguments_are_edited_and_what_was_edited_is_done(tmp_path: Path) -> None:
    simulated(tmp_path)
    async with console(tmp_path, size=HIGH) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, WRITER)
        await question(app, pilot, clock, "write a.txt")
        first, shown_run = shown(app).id, shown(app).run
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        (tmp_path / "b.txt").write_text("there before\n")
        await pilot.press(*["backspace"] * 5, *"../x", "ctrl+s")
        await until(pilot, lambda: said(app, "the arguments cannot be changed so"))
        await until(pilot, lambda: isinstance(app.screen, FormDialog))
        await pilot.press(*["backspace"] * 4, *"b.txt", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmShown))
        assert title(app) == "approve the call as you have changed it?"
        assert "-there before\n+first" in dialog(app)
        assert (tmp_path / "b.txt").read_text() == "there before\n", "nothing is done before it was seen"
        clock.at += 10
        await until(pilot, lambda: "approve" in str(app.screen.query_one(Answers).render()))
        await pilot.press("y")
        await until(pilot, lambda: (tmp_path / "b.txt").read_text() == "first\n")
        assert (tmp_path / "b.txt").read_text() == "first\n"
        _, (vote,) = await client_of(app).approval(first)
        assert vote.values["path"] == "b.txt"
        [decided] = [
            fact.fact for fact in await client_of(app).facts(shown_run) if isinstance(fact.fact, ApprovalDecided)
        ][:1]
        assert decided.previewed
        await until(pilot, lambda: said(app, ", with another path"))
        assert not (tmp_path / "a.txt").exists()


async def test_an_agent_is_ended_from_its_run_and_a_question_handed_on(tmp_path: Path) -> None:
    simulated(tmp_path)
    async with console(tmp_path, size=HIGH) as (app, pilot, clock):
        await asking(app, pilot, clock, tmp_path, WRITER, number=2)
        await question(app, pilot, clock, "write a.txt")
        await pilot.press("asterisk", "X")
        await until(pilot, lambda: said(app, "that is decided one by one"))
        await pilot.press("U")
        await pilot.press("H")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert "goes on to user:bo" in dialog(app)
        await pilot.press(*"not mine", "enter")
        await until(pilot, lambda: said(app, "handed on: writer"))
        (approval,) = [each for each in await pending(client_of(app)) if each.level == 1]
        assert approval.approvers == ("user:bo",)
        run = approval.run
    async with console(tmp_path, who="bo", link=f"run {run}") as (app, pilot, clock):
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and bool(app.screen.query("AskBox.-asks")))
        box = app.screen.query(AskBox).first()
        await until(pilot, lambda: "allow in run" in str(box.render()))
        await until(pilot, lambda: "hand on" not in str(box.render()))
        clock.at += 10
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(*"no", "enter")
        assert await ended(client_of(app), run) == ["failed"]
        assert said(app, "its agent ended")
