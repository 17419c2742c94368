"""Calls that are approved with other arguments: looked at before anything is recorded, shown, and held to."""

from __future__ import annotations

import pytest
from cli_kit import Fleet

WRITES = """
name: writes
steps:
  - {id: note, type: tool, tool: fs.write, with: {path: b.txt, content: "new\\n"}}
"""
AS_ASKED = "What follows shows the call AS IT WAS ASKED, without your changes."


@pytest.fixture
def asking(fleet: Fleet) -> Fleet:
    """A run that asks whether it may write a file, while no engine runs."""
    fleet.write("writes", WRITES)
    (fleet.root / "fleet.toml").write_text('[policy]\nask = ["fs.write"]\n')
    (fleet.root / "c.txt").write_text("old\n")
    fleet("run", "writes.yaml", "-q", "--no-wait")
    return fleet


def test_a_change_that_cannot_be_used_is_refused_before_it_is_recorded(asking: Fleet) -> None:
    said = asking("approve", "last", "--set", "path=../../etc/x", "--yes")
    assert (said.code, said.out) == (2, "")
    assert "the arguments cannot be changed so" in said.err
    assert "workspace" in said.err
    (asking.root / "policy.toml").write_text('deny = [{tool = "fs.write", where = {path = "d.txt"}}]')
    assert "not allowed: policy" in asking("approve", "last", "--set", "path=d.txt", "--yes").err
    assert asking("approve", "last", "--set", "path=c.txt", "--yes").code == 0
    assert asking("recover", "-q").code == 0
    assert (asking.root / "c.txt").read_text() == "new\n"


def test_what_a_changed_call_will_do_is_shown_and_held_to(asking: Fleet) -> None:
    said = asking("approve", "last", "--set", "path=c.txt", "--yes")
    told = [line.strip() for line in said.err.splitlines()]
    will, asked = told.index("SO CHANGED, THIS WILL BE DONE:"), told.index(AS_ASKED)
    assert will < told.index("-old") < asked
    [digest] = [line.removeprefix("digest of what will be done ") for line in told[will:asked] if "digest of" in line]
    assert f"approved by {asking.runs()[0]['owner']}, with another path, digest {digest}" in said.out
    (asking.root / "c.txt").write_text("somebody else's\n")
    said = asking("recover", "--no-wait")
    assert "was refused: what the call would do with these changes is not what was shown" in said.err
    assert (asking.root / "c.txt").read_text() == "somebody else's\n"
    assert asking("approve", "last", "--set", "path=c.txt", "--yes").code == 0, "it is open as before"
    assert asking("recover", "-q").code == 0
    assert (asking.root / "c.txt").read_text() == "new\n"


def test_who_is_asked_in_place_sees_what_a_changed_call_will_do(asking: Fleet) -> None:
    fields = asking("approvals", "--json").json[0]["form"]
    terminal = asking.terminal("run", "writes.yaml")
    seen, told = 0, ""
    for path, answer in (("../x", "the arguments cannot be changed so"), ("c.txt", "approve it so? y or n > ")):
        terminal.expect("  > ", after=seen)
        terminal.type("a\n")
        for field in fields:
            terminal.expect(f"{field} (", after=seen)
            terminal.type(f"{path if field == 'path' else ''}\n")
        said = terminal.expect(answer, after=seen)
        # What is printed next may have come together with the answer.
        told, seen = said[seen:], said.index(answer, seen) + len(answer)
    assert "SO CHANGED, THIS WILL BE DONE:" in told
    assert "-old" in told
    terminal.type("y\n")
    assert terminal.wait() == 0
    assert (asking.root / "c.txt").read_text() == "new\n"
