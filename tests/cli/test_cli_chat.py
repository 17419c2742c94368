"""`fleet chat`: once, and message after message on a terminal."""

from __future__ import annotations

import json

import pytest
from cli_kit import Fleet

CLERK = """
name: clerk
description: Keeps files.
model: simulated/script
tools: [fs.write, fs.list]
"""
WORDS = """
rules:
  - {if: "'file' in asked and turn == 0", say: I write it., call: {tool: fs.write, with: {path: a.txt, content: hello}}}
  - {after: fs.write, say: "It says ${{ last.result | string }}."}
  - {if: "'wait' in asked", delay: 60s, say: At last.}
  - {if: "'break' in prompt", say: Cut., finish: length}
  - {say: "First \\e[31m${{ prompt }}, then ${{ asked }}."}
"""


@pytest.fixture
def office(fleet: Fleet) -> Fleet:
    """A project with an agent that can be talked to without a model."""
    for name, text in {"agents/clerk.yaml": CLERK, "simulations/clerk.yaml": WORDS}.items():
        (fleet.root / name).parent.mkdir(exist_ok=True)
        (fleet.root / name).write_text(text)
    return fleet


def test_one_message_is_answered_and_a_conversation_goes_on(office: Fleet) -> None:
    first = office("chat", "clerk", "good", "morning", "--session", "talk")
    assert (first.code, first.out) == (0, "First \\x1b[31mgood morning, then good morning.\n")
    second = office("chat", "clerk", "-", "--session", "talk", "--json", stdin=b"and\nnow?\n")
    told = second.json
    assert told["answer"] == "First \x1b[31mgood morning, then and\nnow?."
    assert (told["session"], told["status"], told["mode"], told["cost_usd"]) == ("talk", "completed", "simulated", None)
    assert office("chat", "clerk", stdin=b"from a pipe").out.endswith("then from a pipe.\n")
    runs = office.runs("trigger:chat session:talk")
    assert [run["workflow"] for run in runs] == ["chat:clerk", "chat:clerk"]
    assert "chat:clerk" not in office.ok("workflows")


def test_what_goes_wrong_is_told(office: Fleet) -> None:
    failed = office("chat", "clerk", "break", "--json")
    assert (failed.code, failed.json["status"], failed.json["answer"]) == (1, "failed", None)
    assert failed.json["error"]["code"]
    assert office("chat", "clerk", stdin=b" \n").code == 2
    assert office("chat", "clerk", "hi", "--session", "a b").code == 2
    (office.root / "agents/bad.yaml").write_text("name: bad\ntemperature: hot\n")
    bad = office("chat", "bad", "hi")
    assert (bad.code, "`temperature` must be a number" in bad.err, "chat:bad" in bad.err) == (2, True, False)
    missing = office("chat", "clark", "hi")
    assert (missing.code, missing.out, "clerk" in missing.err) == (2, "", True)


def test_people_talk_decide_and_stop_answers_on_a_terminal(office: Fleet) -> None:
    terminal = office.terminal("chat", "clerk", "--session", "talk")
    terminal.expect("Keeps files.")
    terminal.expect("› ")
    terminal.type("hello\r")
    terminal.expect("First \\x1b[31mhello, then hello.")
    terminal.expect("SIMULATED  n/a")
    terminal.expect("› ", terminal.text.index("SIMULATED  n/a"))
    mark = len(terminal.text)
    terminal.type("write a file\r")
    terminal.expect("I write it.", mark)
    terminal.expect("approve (a), reject (r) or later (l)", mark)
    terminal.expect("  > ", mark)
    assert "a.txt" in terminal.text[mark:]
    terminal.type("r not today\r")
    terminal.expect("rejected by", mark)
    terminal.expect("not today", terminal.text.index("rejected by", mark) + 12)
    terminal.expect("SIMULATED", mark)
    assert not (office.root / "a.txt").exists()
    terminal.expect("› ", terminal.text.index("SIMULATED", mark))
    mark = len(terminal.text)
    terminal.type("wait for me\r")
    office.until(lambda: office.runs("status:running"))
    terminal.type("\x03")
    terminal.expect("cancelled", mark)
    terminal.expect("› ", terminal.text.index("cancelled", mark))
    mark = len(terminal.text)
    terminal.type("/history\r")
    terminal.expect("› wait for me\n  cancelled", mark)
    terminal.expect("› ", terminal.text.index("› wait for me\n  cancelled", mark) + 2)
    terminal.type("/exit\r")
    terminal.expect("fleet chat clerk --session talk goes on", mark)
    assert terminal.wait() == 0
    assert [run["status"] for run in json.loads(office.ok("runs", "--json"))] == ["cancelled", "completed", "completed"]


DESK = """
name: desk
description: Sends messages on.
triggers: [{type: chat, if: "data.message != 'spam'"}]
inputs: {message: string, history: {type: array, default: []}, tone: {type: string, default: kind}}
steps:
  - {id: a, type: transform, output: "${{ inputs.history | length }} before, ${{ inputs.tone }}: ${{ inputs.message }}"}
"""


def test_a_workflow_that_takes_messages_is_talked_to_like_an_agent(office: Fleet) -> None:
    (office.root / "workflows").mkdir()
    office.write("workflows/desk", DESK)
    first = office("chat", "desk", "hello", "--session", "d1")
    assert (first.code, first.out) == (0, "0 before, kind: hello\n")
    second = office("chat", "desk", "and", "now", "--session", "d1", "--json").json
    assert (second["answer"], second["session"], second["status"]) == ("2 before, kind: and now", "d1", "completed")
    assert [run["workflow"] for run in office.runs("trigger:chat session:d1")] == ["desk", "desk"]
    unwanted = office("chat", "desk", "spam")
    assert (unwanted.code, "its `if` does not hold" in unwanted.err) == (2, True)
    office("workflows", "pause", "desk")
    paused = office("chat", "desk", "hello")
    assert (paused.code, "workflow `desk` is paused" in paused.err) == (2, True)
    office.write("workflows/deaf", DESK.replace("name: desk", "name: deaf").replace("type: chat", "type: manual"))
    assert "there is no agent" in office("chat", "deaf", "hello").err
