"""Text from outside reaches a terminal as text: no escape, no control character, no reordering, no markup."""

from __future__ import annotations

import json
import re

import pytest
from cli_kit import Fleet

NASTY = "\x1b[31mRED\x1b[0m \u202egnp.exe\u202c [bold red]markup[/] \x07\x9b2J\u200b\rend"
ALLOWED = re.compile(r"[^\n\x20-\x7e\u00a1-\u200a\u2010-\u2027\u2030-\u205f\u2070-\uffef]")
HOSTILE = """
name: hostile
inputs: {text: {type: string, default: ""}}
steps:
  - id: say
    type: shell
    argv: [sh, -c, 'printf "\\033]0;title\\007\\033[2Jsaid\\n\\342\\200\\256flip\\n"']
    repeat: safe
  - {id: value, type: transform, output: {"k\\e[2J": "${{ inputs.text }}", said: "${{ steps.say.output.stdout }}"}}
  - id: gate
    type: approval
    message: "Do ${{ inputs.text }}?"
    show: {what: "${{ inputs.text }}"}
    form: {note: {type: string, description: "x"}}
  - {id: boom, type: shell, argv: [sh, -c, 'printf "\\033[2Jboom \\342\\200\\256" >&2; exit 9'], needs: [gate.approved]}
"""


@pytest.fixture
def hostile(fleet: Fleet) -> Fleet:
    fleet.write("hostile", HOSTILE)
    (fleet.root / "in.json").write_text(json.dumps({"text": NASTY}))
    return fleet


def inert(said: tuple[int, str, str]) -> str:
    text = said[1] + said[2]
    found = ALLOWED.search(text)
    assert found is None, (found, text[max(0, found.start() - 60) : found.end() + 20])
    return text


def test_nothing_gets_through_anywhere(hostile: Fleet) -> None:
    label = f"k={NASTY}"
    text = inert(hostile("run", "hostile.yaml", "--inputs", "in.json", "--no-wait", "--label", label))
    assert "\\x1b[31mRED" in text
    assert "[bold red]markup[/]" in text
    text = inert(hostile("approve", "last", "--set", f"note={NASTY}", "--comment", NASTY))
    assert "\\u202egnp.exe" in text
    inert(hostile("recover"))
    hostile("signal", "a.b", "--data", json.dumps({"x": NASTY}), "--subject", NASTY)
    for command in (
        ["runs", "--full"],
        ["runs", "--json"],
        ["show", "last"],
        ["show", "last", "--full"],
        ["show", "last", "--json"],
        ["facts", "last"],
        ["facts", "last", "--json"],
        ["logs", "last"],
        ["logs", "last", "--json"],
        ["approvals", "--all"],
        ["approvals", "--all", "--json"],
        ["signals"],
        ["signals", "--json"],
        ["signals", "show", hostile("signals", "type:a.b", "--json").json[0]["id"]],
        ["workflows"],
    ):
        inert(hostile(*command))
    shown = hostile("show", "last", "--json").json
    assert shown["inputs"]["text"] == NASTY, "machines get it as it is"


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", NASTY],
        ["runs", NASTY],
        ["run", NASTY],
        ["run", "quick.yaml", "-i", NASTY],
        ["approve", NASTY],
        ["workflows", "pause", NASTY],
        ["signal", NASTY],
        [NASTY],
        ["runs", "--" + NASTY],
        ["validate", NASTY],
        ["-C", NASTY, "runs"],
    ],
)
def test_arguments_are_echoed_as_text(hostile: Fleet, arguments: list[str]) -> None:
    hostile.ok("run", "quick.yaml", "-q")
    said = hostile(*arguments)
    assert said.code in (0, 2)
    inert(said)


def test_on_a_terminal_only_our_own_escapes_are_written(hostile: Fleet) -> None:
    terminal = hostile.terminal("run", "hostile.yaml", "--inputs", "in.json")
    terminal.expect("  > ")
    terminal.type("l\n")
    terminal.expect("press a to decide")
    terminal.type("\x03")
    terminal.expect("again parks")
    terminal.type("\x03")
    terminal.wait()
    for bad in ("\x1b[31mRED", "\x1b]0;", "\u202e", "\x9b", "\x07", "\x1b[2J"):
        assert bad not in terminal.raw
