"""What somebody reads at a terminal before deciding: what will be done, what it depends on, what is allowed with it."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from fleetprompt.cli.question import IN_JOURNAL, grant_lines, question_lines
from fleetprompt.client.deciding import covers
from fleetprompt.client.edited_call import covers_with
from fleetprompt.client.wording import Times
from fleetprompt.engine.ports import Approval

BODY = "3f" * 32
SHOW: dict[str, Any] = {
    "tool": "http.request",
    "agent": "sre",
    "kind": "http",
    "does": {"method": "POST", "url": "https://api.example.com/restart?dry=1", "body": "{}\n"},
    "risk": "changes something at api.example.com",
    "rule": "default of http.request",
    "covers": {
        "method": "POST",
        "url": "https://api.example.com/restart?dry=1",
        "body": {"sha256": BODY, "bytes": 3},
    },
}


def asked(show: Any = SHOW, about: str = "tool", **fields: Any) -> Approval:
    values: dict[str, Any] = {"id": "ap-1", "tenant": "default", "run": "r", "path": "p", "workflow": "w"}
    values |= {
        "status": "pending",
        "digest": "d" * 64,
        "message": "sre: POST",
        "requested_at": 0.0,
        "call": "a/tool/0.0",
    }
    return Approval(**(values | {"about": about, "show": show} | fields))


def test_it_is_told_exactly_which_calls_go_through_from_now_on() -> None:
    told = [line.plain.strip() for line in grant_lines(asked(), "workflow")]
    assert told[:4] == [
        "without asking again, in every run of w, each call that is exactly:",
        "tool: http.request",
        "method: POST",
        "url: https://api.example.com/restart?dry=1",
    ]
    assert f"sha256: {BODY}" in told
    assert grant_lines(asked(about=""), "run") == []


DIFF = "--- a.txt\n+++ a.txt\n@@ -1 +1 @@\n-old \x1b[2J\n+new\n"
WRITE: dict[str, Any] = {
    "tool": "fs.write",
    "agent": "sre",
    "kind": "diff",
    "does": DIFF,
    "risk": "changes a file",
    "bound": {"before": BODY, "after": BODY},
    "covers": {"path": "a.txt", "content": {"sha256": BODY, "characters": 300}},
}


def test_what_will_be_done_stands_first_in_colours_and_hashes_last_and_short() -> None:
    lines = question_lines(asked(WRITE), [], Times(), 0.0)
    told = [line.plain.strip() for line in lines]
    diff = told.index("--- a.txt")
    assert told[diff - 1] == "fs.write  by sre"
    assert told[diff + 1 : diff + 5] == ["+++ a.txt", "@@ -1 +1 @@", "-old \\x1b[2J", "+new"]
    styles = [str(span.style) for line in lines[diff : diff + 5] for span in line.spans if span.style]
    assert styles == ["bold", "bold", "cyan", "red", "green"]
    assert told[diff + 5 : diff + 8] == [
        "",
        "risk: changes a file",
        'bound to: {"before": "3f3f3f3f3f3f…", "after": "3f3f3f3f3f3f…"}',
    ]
    assert told[-1].endswith("digest dddddddddddd")
    assert BODY not in "".join(told)


def test_a_command_and_a_request_are_told_as_they_are_made() -> None:
    told = [line.plain.strip() for line in question_lines(asked(), [], Times(), 0.0)]
    assert "POST https://api.example.com/restart?dry=1" in told
    ran = asked({"tool": "shell.run", "agent": "sre", "kind": "argv", "does": ["rm", "-r", "my files"]})
    assert "$ rm -r 'my files'" in [line.plain.strip() for line in question_lines(ran, [], Times(), 0.0)]


OLD = "B" * 300
EDITABLE = asked(
    WRITE | {"covers": {"path": "a.txt", "content": {"sha256": sha256(OLD.encode()).hexdigest(), "characters": 300}}},
    form={"path": {"type": "string", "default": "a.txt"}, "content": {"type": "string", "default": OLD}},
)


def test_a_call_that_is_changed_is_told_as_it_will_be_done() -> None:
    values = {"content": "EDITED", "path": "a.txt"}
    told = [line.plain.strip() for line in question_lines(EDITABLE, [], Times(), 0.0, values)]
    as_asked = told.index("What follows shows the call AS IT WAS ASKED, without your changes.")
    assert told[as_asked - 3].startswith("YOU CHANGE THIS CALL")
    assert told[as_asked - 2] == f"content: {'B' * 199}… → EDITED"
    assert as_asked < told.index("--- a.txt")
    assert told[-1].endswith("digest of what was asked dddddddddddd")
    granted = [line.plain.strip() for line in grant_lines(EDITABLE, "run", values)]
    assert granted[1:] == ["tool: fs.write", "path: a.txt", "content: EDITED", ""]
    assert covers_with(EDITABLE, values) == "fs.write path=a.txt content=EDITED"
    same = {"path": "a.txt"}
    assert covers_with(EDITABLE, same) == covers(EDITABLE)
    assert question_lines(EDITABLE, [], Times(), 0.0, same) == question_lines(EDITABLE, [], Times(), 0.0)
    assert grant_lines(EDITABLE, "run", same) == grant_lines(EDITABLE, "run")


def test_a_new_text_is_covered_by_its_digest_where_it_is_long_and_shown_whole_where_it_is_changed() -> None:
    new = "line\n" * 50 + "\x1b[2J"
    granted = [line.plain.strip() for line in grant_lines(EDITABLE, "run", {"content": new})]
    assert f"sha256: {sha256(new.encode()).hexdigest()}" in granted
    told = [line.plain.strip() for line in question_lines(EDITABLE, [], Times(), 0.0, {"content": new})]
    assert told.count("line") == 50
    assert "\\x1b[2J" in told


def test_what_only_the_engine_can_tell_of_a_changed_call_is_not_told_as_it_was() -> None:
    ran = asked(
        {"tool": "shell.run", "kind": "argv", "does": ["ls"], "covers": {"argv": ["ls"], "bound": {"program": BODY}}},
        form={"argv": {"type": "array", "default": ["ls"]}},
    )
    granted = [line.plain.strip() for line in grant_lines(ran, "run", {"argv": ["rm"]})]
    assert granted[1:] == ["tool: shell.run", "argv:", "- rm", f"bound: {IN_JOURNAL}", ""]
    assert covers_with(ran, {"argv": ["rm"]}) == 'shell.run argv=["rm"] (bound: see the journal)'
    form = {"url": {"type": "string", "default": SHOW["covers"]["url"]}, "query": {"type": "object"}}
    changed = [line.plain.strip() for line in grant_lines(asked(form=form), "run", {"query": {"more": "1"}})]
    assert {f"{name}: {IN_JOURNAL}" for name in ("method", "url", "body", "query")} <= set(changed)


def test_how_much_time_is_left_is_told_while_there_is_something_to_decide() -> None:
    given: dict[str, Any] = {"until": 90.0, "on_timeout": "escalate"}
    assert "1m left, then escalate" in question_lines(asked(WRITE, **given), [], Times(), 0.0)[-1].plain
    decided = question_lines(asked(WRITE, status="approved", **given), [], Times(), 0.0)
    assert "left" not in decided[-1].plain
