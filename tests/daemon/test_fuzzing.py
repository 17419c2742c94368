"""The API against its own description: whatever is sent is answered as it says, and nothing goes wrong inside.

The same requests every time; `FLEET_EXPLORE=1` looks for new ones.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from daemon_kit import Served, served

LISTENS = """\
name: listens
triggers: [{type: signal, match: '**'}, {type: webhook, path: alerts}]
steps: [{id: wrong, type: transform, output: '${{ 1 / 0 }}'}]
"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.mark.long
async def test_whatever_is_sent_is_answered_as_described(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with served(tmp_path, listens=LISTENS) as daemon:
        (tmp_path / "schemathesis.toml").write_text(await _known(daemon))
        explore = bool(os.environ.get("FLEET_EXPLORE"))
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{daemon.url}/api/openapi.json"),
            # Streams do not end by themselves: tests of their own ask for them.
            *("--exclude-path-regex", "/stream$", "--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing"),
            *("--max-examples", "60" if explore else "4", "--suppress-health-check", "all", "--request-timeout", "60"),
            *(() if explore else ("--seed", "1", "--generation-deterministic")),
        ]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=None if explore else 280
        )
        assert done.returncode == 0, done.stdout[done.stdout.find("FAILURES") :][:6_000] + done.stderr[-2_000:]
        assert "Tested: 5" in done.stdout, "all of some fifty operations"
        assert [record for record in caplog.records if record.name.startswith("fleetprompt.daemon")] == []
        assert (await daemon.http.get("/healthz")).json()["status"] == "ok"


async def _known(daemon: Served) -> str:
    """Settings that name things which are there: behind a 404 nothing is tried."""
    execution = await daemon.execute("hello")
    signal = (await daemon.http.post("/api/signals", json={"type": "a.b"})).json()["id"]
    memory = (await daemon.http.post("/api/memory", json={"text": "x", "scope": "shared"})).json()["id"]
    await daemon.http.post("/api/agents", json={"name": "sre"})
    known = {
        "workflow_id": "hello",
        "execution_id": execution,
        "approval_id": (await daemon.pending(execution))["id"],
        "signal_id": signal,
        "memory_id": memory,
        "name": "sre",
        "path": "alerts",
    }
    # Behind a 401 nothing is tried either.
    return "[generation]\nwith-security-parameters = false\n[parameters]\n" + "".join(
        f'"path.{name}" = "{value}"\n' for name, value in known.items()
    )
