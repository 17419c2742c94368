"""A daemon in this process, asked over real HTTP on the loopback interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.guarded import guarded
from fleetprompt.client.identity import Identity
from fleetprompt.client.measuring import measuring
from fleetprompt.client.names import AgencySettings
from fleetprompt.client.opening import Place, open_console
from fleetprompt.client.reloading import Reloaded
from fleetprompt.daemon.access import Rules
from fleetprompt.daemon.daemon import daemon
from fleetprompt.daemon.serving import Address
from fleetprompt.engine.telemetry.metrics import Metrics

FLOW = """\
name: hello
inputs: {name: {type: string, default: world}}
steps:
  - {id: greet, type: transform, output: "Hello, ${{ inputs.name }}!"}
  - {id: gate, type: approval, message: "Say goodbye to ${{ inputs.name }}?"}
  - {id: bye, type: transform, needs: [gate.approved], output: "Goodbye, ${{ inputs.name }}."}
"""
QUICK = "name: quick\nsteps: [{id: one, type: transform, output: 1}]\n"


class Served:
    """A daemon that answers, and a client of it."""

    def __init__(self, console: EmbeddedConsole, root: Path, url: str, http: httpx.AsyncClient) -> None:
        self.console = console
        self.root = root
        self.url = url
        self.http = http
        self.reloaded: list[Reloaded] = []

    async def execute(self, workflow: str, **body: Any) -> str:
        """Execute a workflow; the id of the execution."""
        answer = await self.http.post(f"/api/workflows/{workflow}/execute", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["execution_id"]

    async def until(self, execution: str, status: str) -> dict[str, Any]:
        """An execution, once it has a status."""
        async with asyncio.timeout(60):
            while True:
                found = (await self.http.get(f"/api/executions/{execution}")).json()
                if found["status"] == status:
                    return found
                await asyncio.sleep(0.01)

    async def pending(self, execution: str) -> dict[str, Any]:
        """The one thing that an execution asks."""
        await self.until(execution, "waiting")
        [found] = (
            await self.http.get("/api/approvals", params={"status": "pending", "execution_id": execution})
        ).json()
        return found

    async def finished(self, **body: Any) -> str:
        """An execution of `hello` that is over."""
        execution = await self.execute("hello", **body)
        asked = await self.pending(execution)
        assert (await self.http.post(f"/api/approvals/{asked['id']}", json={"decision": "approved"})).status_code == 200
        await self.until(execution, "completed")
        return execution

    async def events(self, path: str, last: str = "", **params: str) -> list[Event]:
        """All events of a stream, up to its end."""
        async with self.listening(path, last, **params) as events:
            return [event async for event in events]

    @asynccontextmanager
    async def listening(self, path: str, last: str = "", **params: str) -> AsyncGenerator[AsyncIterator[Event]]:
        """The events of a stream as they come."""
        headers = {"Last-Event-ID": last} if last else {}
        async with self.http.stream("GET", path, headers=headers, params=params) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            yield _events(response.aiter_lines())


class Event:
    """A server-sent event."""

    def __init__(self, name: str, id_: str, data: Any) -> None:
        self.name = name
        self.id = id_
        self.data = data

    def __repr__(self) -> str:
        return f"{self.id or '-'} {self.name} {self.data}"


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
        else:
            fields = {}


@asynccontextmanager
async def served(
    root: Path, rules: Rules | None = None, tokens: dict[str, Identity] | None = None, **files: str
) -> AsyncGenerator[Served]:
    """A daemon with workflow files, by name."""
    (root / "workflows").mkdir(exist_ok=True)
    for name, text in ({"hello": FLOW, "quick": QUICK} | files).items():
        (root / f"workflows/{name}.yaml").write_text(text)
    state = root / ".fleet"
    agency = AgencySettings(workflows=(root / "workflows",))
    place = Place(root=root, state=state, database=str(state / "fleet.db"), agency=agency)
    metrics = Metrics()
    console = await open_console(place, "engine", what="fleet serve", observers=[metrics])
    assert isinstance(console, EmbeddedConsole)
    told: list[Reloaded] = []

    async def authenticate(token: str) -> Identity | None:
        return (tokens or {}).get(token)

    try:
        async with (
            daemon(
                console,
                root,
                root / "workflows",
                Address(port=0, socket=state / "fleet.sock"),
                rules or Rules(operator="ana"),
                console_for=lambda identity: guarded(console, identity),
                authenticate=authenticate,
                has_tokens=lambda: asyncio.sleep(0, bool(tokens)),
                counts=lambda id_: asyncio.sleep(0, any(each.credential == id_ for each in (tokens or {}).values())),
                told=told.append,
                measure=measuring(console, metrics),
            ) as ready,
            # Without certificates: reading them takes longer than most of the tests.
            httpx.AsyncClient(base_url=ready.url, timeout=60, verify=False) as http,
        ):
            found = Served(console, root, ready.url, http)
            found.reloaded = told
            yield found
    finally:
        await console.close()
