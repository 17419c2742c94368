"""`fleet audit`: what was done on the command line, and that nobody has changed what is told of it."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli_kit import Fleet


def test_what_was_done_is_listed_and_tampering_is_named(fleet: Fleet) -> None:
    fleet.ok("token", "create", "ci", "--role", "operator")
    fleet.ok("token", "create", "bo", "--role", "viewer")
    told = json.loads(fleet.ok("audit", "--json", "--since", "1h"))
    assert [(each["action"], each["outcome"], each["via"]) for each in told] == [("create_token", "done", "cli")] * 2
    assert "create_token" in fleet.ok("audit", "--action", "create_token")
    assert json.loads(fleet.ok("audit", "--refused", "--json")) == []
    verified = fleet.ok("audit", "verify")
    head = told[0]["hash"]
    assert head in verified
    assert json.loads(fleet.ok("audit", "verify", "--head", told[1]["hash"], "--json"))["entries"] == 2
    fleet.ok("db", "prune", "--older-than", "30d", "--yes")
    assert json.loads(fleet.ok("audit", "--json"))[0]["action"] == "prune"
    with sqlite3.connect(fleet.root / ".fleet/fleet.db") as connection:
        connection.execute("UPDATE audit SET role = 'viewer' WHERE seq = 2")
    connection.close()
    broken = fleet("audit", "verify")
    assert broken.code == 1
    assert "entry 2: what it says is not what was written" in broken.out
