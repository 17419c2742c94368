"""Talking to an agent: each message is a run, its words stream, what it asks is decided in its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deciding_kit import client_of, console, said, until

from fleetprompt.client.chatting import Turn
from fleetprompt.client.wording import Times
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.ports.live import Piece
from fleetprompt.tui.screens.chat import ChatScreen
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.state.chat import live_lines, turn_lines
from fleetprompt.tui.state.speech import Speech
from tests.held_speech import HeldSpeech
from tests.tui.test_workflows_screen import console as listing
from tests.tui.test_workflows_screen import to

GUIDE = "name: guide\ndescription: Knows the way.\nsystem: You know the way.\ntools: [fs.write]\n"
WORDS = """
rules:
  - {agent: guide, if: "'write' in asked", turn: 0, call: {tool: fs.write, with: {path: a.txt, content: x}}}
  - {agent: guide, pace: 90, say: "you said ${{ asked }}; take the left one, then the next, and ask there again"}
"""

DESK = """
name: desk
triggers: [{type: chat}]
inputs: {message: string, history: {type: array, default: []}}
steps:
  - {id: find, type: transform, output: found}
  - {id: reply, type: chat, model: simulated/desk, prompt: "${{ inputs.message }}", history: "${{ inputs.history }}"}
"""
DESK_WORDS = """
rules:
  - step: reply
    pace: 90
    say: "to ${{ asked }}: it is under the mat, the one at the back door and not that at the front"
"""


def text(lines: Any) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


def turn(**fields: Any) -> Turn:
    values: dict[str, Any] = {"run": "r", "agent": "guide", "message": "which\nway?", "by": "ana", "at": 0.0}
    return Turn(**(values | {"status": "completed", "answer": "left\x1b[2J", "ended_at": 2.0} | fields))


def test_a_message_and_its_answer_are_told_with_how_they_came_about() -> None:
    told = text(turn_lines(turn(mode="simulated", tokens=12), Times(), 5.0))
    assert told[0].startswith("ana  ")
    assert told[1:3] == ["  which", "  way?"]
    assert told[4:6] == ["✓ guide  SIMULATED  n/a  12 tok  2.0s", "  left\\x1b[2J"]
    failed = turn(status="failed", answer=None, error=Failure("AGENT_ERROR", "no model", hint="configure one"))
    assert text(turn_lines(failed, Times(), 5.0))[5:7] == ["  AGENT_ERROR: no model", "  configure one"]
    assert text(turn_lines(turn(status="cancelled", answer=None), Times(), 5.0))[5] == "  no answer: it was cancelled"
    assert len(turn_lines(turn(ended_at=None), Times(), 5.0)) == 3


def test_what_is_being_said_stands_below_or_what_it_asks() -> None:
    speech = Speech()
    speech.apply([Piece(path="answer", key="guide/llm/0", kind="text", text="take the")])
    assert text(live_lines("guide", speech, "", "^o")) == ["", "● guide  is answering", "  take the"]
    speech.apply([Piece(path="then", key="then/0", kind="text", text="and now")])
    assert text(live_lines("desk", speech, "", "^o"))[2:] == ["  and now"], "whichever step of a workflow speaks"
    assert text(live_lines("guide", Speech(), "may I?", "^o"))[1] == "◆ guide  asks: may I?   ^o decides"


async def test_one_talks_to_an_agent_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = HeldSpeech(monkeypatch, 16)
    (tmp_path / "agents").mkdir()
    (tmp_path / "simulations").mkdir()
    (tmp_path / "agents" / "guide.yaml").write_text(GUIDE)
    (tmp_path / "simulations" / "guide.yaml").write_text(WORDS)
    async with console(tmp_path, link="agents guide") as (app, pilot, _):
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and bool(app.screen.session))
        screen = app.screen
        assert isinstance(screen, ChatScreen)

        def shown() -> str:
            return "\n".join(line for block in screen.pane._blocks for line in text(block))

        assert "nothing was said to guide yet" in shown()
        await pilot.press(*"which q?", "enter")
        await until(pilot, lambda: "is answering" in shown() and "take" in shown())
        await pilot.press(*"more")
        speech.go_on()
        await until(pilot, lambda: "ask there again" in shown() and not screen.open_run)
        assert "you said which q?" in shown()
        assert screen.box.value == "more", "keys are heard while it answers"
        await pilot.press(*["backspace"] * 4, *"write", "enter")
        await until(pilot, lambda: "asks: guide: write a.txt" in shown())
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "it was cancelled" in shown() or "CANCELLED" in shown())
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)
        session = screen.session
        await pilot.press("ctrl+n")
        await until(pilot, lambda: screen.session != session and "nothing was said" in shown())
        assert len(await client_of(app).conversation(session)) == 2
        await app.go_to("chat nobody")
        await until(pilot, lambda: said(app, "there is no agent `nobody`"))
    async with console(tmp_path, link="chat guide", mode="attach") as (app, pilot, _):
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and len(app.screen.turns) == 2)


async def test_one_talks_to_a_workflow_that_takes_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = HeldSpeech(monkeypatch, 16)
    for folder, name, words in (("workflows", "desk", DESK), ("simulations", "desk", DESK_WORDS)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.yaml").write_text(words)
    (tmp_path / "workflows" / "deaf.yaml").write_text("name: deaf\nsteps: [{id: a, type: transform, output: 1}]\n")
    async with listing(tmp_path) as (app, pilot, listed):

        def offered() -> bool:
            return "agent.chat" in [action.id for action in listed.footer()]

        await to(pilot, listed, "deaf")
        assert not offered()
        await pilot.press("c")
        await until(pilot, lambda: said(app, "deaf takes no messages"))
        await app.go_to("chat deaf")
        await until(pilot, lambda: said(app, "there is no agent `deaf`"))
        await to(pilot, listed, "desk")
        assert offered()
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and bool(app.screen.session))
        screen = app.screen
        assert isinstance(screen, ChatScreen)

        def shown() -> str:
            return "\n".join(line for block in screen.pane._blocks for line in text(block))

        await pilot.press(*"key?", "enter")
        await until(pilot, lambda: "desk  is answering" in shown() and "it is" in shown())
        speech.go_on()
        await until(pilot, lambda: "not that at the front" in shown() and not screen.open_run)
        await pilot.press(*"again?", "enter")
        await until(pilot, lambda: len(screen.turns) == 2 and not screen.open_run)
        created = (await client_of(app).facts(screen.turns[1].run, upto=1))[0].fact
        assert isinstance(created, RunCreated)
        before = created.inputs["history"]
        assert [(each["role"], each["content"][:6]) for each in before] == [("user", "key?"), ("assistant", "to key")]
        session = screen.session
    async with console(tmp_path, link="chat desk", mode="attach") as (app, pilot, _):
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and len(app.screen.turns) == 2)
        assert isinstance(app.screen, ChatScreen)
        assert app.screen.session == session
