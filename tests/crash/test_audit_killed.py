"""The audit log of a daemon that is killed under load: its chain is whole, and what was answered with 2xx is in it."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))
from cli_kit import environment
from test_cli_serve import Serving

GATED = "name: gated\nsteps: [{id: gate, type: approval, message: Now?}]\n"
ROUNDS = 4
WORKERS = 8


class Answered:
    """What the daemon has said that it has done."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.votes: dict[str, str] = {}
        """By approval: the decision."""
        self.signals: list[str] = []
        self.enough = asyncio.Event()

    def count(self, wanted: int) -> None:
        """Say when so many decisions have been answered."""
        if len(self.votes) >= wanted:
            self.enough.set()


async def _work(http: httpx.AsyncClient, answered: Answered, wanted: int, draw: random.Random) -> None:
    """Start executions, decide about them, and publish signals, until the daemon is gone."""
    try:
        while True:
            begun = await http.post("/api/workflows/gated/execute", json={})
            if begun.status_code == 202:
                answered.started.append(begun.json()["execution_id"])
            waiting = (await http.get("/api/approvals", params={"status": "pending", "limit": 50})).json()
            if waiting:
                chosen = draw.choice(waiting)["id"]
                decision = draw.choice(["approved", "rejected"])
                # Two may decide about the same: one of them is refused.
                said = await http.post(f"/api/approvals/{chosen}", json={"decision": decision})
                assert said.status_code in (200, 404, 409), said.text
                if said.status_code == 200:
                    answered.votes[chosen] = decision
            sent = await http.post("/api/signals", json={"type": f"load.n{draw.randrange(10**9)}", "data": 1})
            if sent.status_code == 202:
                answered.signals.append(sent.json()["id"])
            answered.count(wanted)
    except httpx.TransportError:
        pass


async def _load(url: str, answered: Answered, daemon: Serving, draw: random.Random) -> None:
    """Load a daemon and kill it at a moment of the draw."""
    wanted = len(answered.votes) + draw.randrange(5, 25)
    answered.enough = asyncio.Event()
    async with httpx.AsyncClient(base_url=url, timeout=30) as http, asyncio.TaskGroup() as group:
        for n in range(WORKERS):
            group.create_task(_work(http, answered, wanted, random.Random(draw.random() + n)))
        async with asyncio.timeout(120):
            await answered.enough.wait()
        daemon.end(signal.SIGKILL)


def _said(root: Path, *words: str) -> Any:
    command = [sys.executable, "-m", "fleetprompt.cli", "-C", str(root), *words, "--json"]
    found = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert found.returncode == 0, (words, found.stdout, found.stderr)
    return json.loads(found.stdout)


def test_every_decision_that_was_answered_is_in_the_chain_though_the_daemon_was_killed(tmp_path: Path) -> None:
    draw = random.Random(11)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/gated.yaml").write_text(GATED)
    (tmp_path / "fleet.toml").write_text("")
    answered = Answered()
    heads: list[str] = []
    for _ in range(ROUNDS):
        daemon = Serving(tmp_path)
        asyncio.run(_load(daemon.url, answered, daemon, draw))
        verdict = _said(tmp_path, "audit", "verify", *(("--head", heads[-1]) if heads else ()))
        assert verdict["ok"], verdict
        heads.append(verdict["head"])
    entries = _said(tmp_path, "audit", "--limit", "100000")
    done = [each for each in entries if each["outcome"] == "done"]
    told = {action: [each["object"] for each in done if each["action"] == action] for action in ("start", "vote")}
    assert len(answered.votes) >= ROUNDS
    assert set(answered.votes) <= set(told["vote"])
    assert set(answered.started) <= set(told["start"])
    # Nor is anything told that did not happen: votes that were on their way count, too.
    store = _votes(tmp_path)
    assert {approval: decision for approval, decision in store.items() if approval in answered.votes} == answered.votes
    assert set(told["vote"]) == set(store)
    published = {each["object"] for each in done if each["action"] == "publish"}
    assert set(answered.signals) <= published, "each is of a type of its own, and so told one by one"


def _votes(root: Path) -> dict[str, str]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(root / ".fleet/fleet.db")) as connection:
        rows = connection.execute("SELECT approval, data FROM votes")
        return {approval: json.loads(data)["decision"] for approval, data in rows}
