"""Traces: one for each run, linked to those it follows from, told after the facts and the same after a crash."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent_kit import StubModels, over, start, until, vote, waits
from daemon_kit import served
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from stub_server import start_stub

from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.tracing import parse
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.telemetry.otel import OpenTelemetry

AGENT = """
name: reads
agents:
  sre: {system: You are careful., tools: ["fs.*"]}
steps:
  - {id: gate, type: approval, message: "Look?"}
  - {id: look, type: agent, agent: sre, prompt: "What is in a.txt?", needs: [gate.approved]}
"""
PARENT = """
name: parent
steps:
  - {id: each, type: loop, over: "[1, 2]", steps: [{id: bad, type: shell, argv: ["false"], on_error: continue}]}
  - {id: child, type: workflow, workflow: child}
  - {id: tell, type: emit, signal: deploy.done, data: {}}
"""
CHILD = "name: child\nsteps: [{id: one, type: transform, output: 1}]\n"
HEARS = "name: hears\ntriggers: [{type: signal, match: deploy.*}]\nsteps: [{id: one, type: transform, output: 1}]\n"
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Told:
    """What was sent."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.observer = OpenTelemetry(SimpleSpanProcessor(self.exporter), self.reader)

    def spans(self, run: str = "") -> dict[str, ReadableSpan]:
        """Those of a run, by name."""
        found = self.exporter.get_finished_spans()
        return {
            span.name: span for span in found if not run or (span.attributes or {}).get("fleetprompt.run.id") == run
        }


@asynccontextmanager
async def traced(
    folder: Path, models: Any = None, *texts: str, tools: Any = None
) -> AsyncIterator[tuple[Engine, Told]]:
    """An engine that tells of traces, and what it tells."""
    told, secrets = Told(), Secrets()
    agency = Agency(secrets, AgencySettings(tools=tools or {}), root=folder, models=models)
    engine = Engine(
        SqlStore(folder / "fleet.db"), secrets=secrets, directory=folder, agency=agency, observers=[told.observer]
    )
    async with engine:
        for text in texts:
            await engine.workflows.register(load_text(text, "flow.yaml", folder).plan, source=text)
        yield engine, told


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def spot(span: ReadableSpan) -> str:
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


async def test_an_agents_run_is_one_tree_also_when_the_engine_changes_in_between(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the pool is empty\n")
    script = [{"calls": [{"name": "fs_read", "arguments": {"path": "a.txt"}}]}, {"text": "the pool is empty"}]
    with start_stub(tmp_path, script) as stub:
        async with traced(tmp_path, StubModels(stub)) as (engine, first):
            await start(engine, AGENT)
            await waits(engine, "approval")
        async with traced(tmp_path, StubModels(stub)) as (engine, told):
            await vote(engine)
            assert (await over(engine))[0] == "completed"
        asked = [request["headers"]["traceparent"] for request in stub.requests()]
    assert not first.spans(), "nothing was over yet"
    spans = told.exporter.get_finished_spans()
    root = told.spans()["invoke_workflow reads"]
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    assert root.parent is None
    step, agent, tool = (told.spans()[name] for name in ("agent look", "invoke_agent sre", "execute_tool fs.read"))
    chats = [span for span in spans if span.name == "chat stub"]
    assert len({span.context.span_id for span in spans}) == len(spans)
    assert parent_of(step) == parent_of(told.spans()["approval gate"]) == root.context.span_id
    assert parent_of(agent) == step.context.span_id
    assert {parent_of(span) for span in (*chats, tool)} == {agent.context.span_id}
    assert asked == [spot(chat) for chat in chats], "whoever is called is told where"
    said = chats[0].attributes or {}
    assert said["gen_ai.operation.name"] == "chat"
    assert (said["gen_ai.provider.name"], said["gen_ai.request.model"]) == ("openai", "stub")
    assert said["gen_ai.usage.input_tokens"]
    assert said["gen_ai.response.finish_reasons"]
    assert (tool.attributes or {})["gen_ai.tool.name"] == "fs.read"
    assert all(span.start_time <= span.end_time for span in spans if span.start_time and span.end_time)
    assert "pool is empty" not in "".join(span.to_json() for span in spans), "what is said is not told"
    metrics = told.reader.get_metrics_data().to_json()
    for name in ("token.usage", "operation.duration"):
        assert f"gen_ai.client.{name}" in metrics
    for name in ("gen_ai.workflow.duration", "gen_ai.invoke_agent.duration", "gen_ai.execute_tool.duration"):
        assert name in metrics
    assert said["gen_ai.response.time_to_first_chunk"] > 0
    points = {
        metric.name: point
        for resource in told.reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    assert points["gen_ai.client.operation.time_to_first_chunk"].count == 2
    assert points["gen_ai.invoke_agent.inference_calls"].sum == 2
    assert points["gen_ai.invoke_agent.tool_calls"].sum == 1


async def test_child_runs_and_runs_that_hear_a_signal_are_linked(tmp_path: Path) -> None:
    async with traced(tmp_path, None, CHILD, HEARS) as (engine, told):
        await start(engine, PARENT)
        assert (await over(engine))[0] == "completed"
        await until(lambda: "invoke_workflow hears" in told.spans())
    spans = told.spans()
    parent, child, hears = (spans[f"invoke_workflow {name}"] for name in ("parent", "child", "hears"))
    assert len({span.context.trace_id for span in (parent, child, hears)}) == 3
    assert [link.context.span_id for link in child.links] == [spans["workflow child"].context.span_id]
    assert [link.context.span_id for link in hears.links] == [spans["emit tell"].context.span_id]
    bad = [span for span in told.exporter.get_finished_spans() if span.name == "shell bad"]
    assert {parent_of(span) for span in bad} == {spans["loop each"].context.span_id}
    assert len({span.context.span_id for span in bad}) == 2
    assert all((span.attributes or {})["error.type"] == "TOOL_ERROR" and not span.status.is_ok for span in bad)


async def test_a_caller_over_http_has_the_run_in_its_own_trace(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        headers = {"traceparent": CALLER}
        for given, continued in ((headers, True), ({"traceparent": "nonsense"}, False), ({}, False)):
            answer = await daemon.http.post("/api/workflows/quick/execute", json={}, headers=given)
            created = (await daemon.console.facts(answer.json()["execution_id"]))[0].fact
            assert created.traceparent == (CALLER if continued else "")


async def test_a_run_goes_on_with_the_trace_of_its_caller(tmp_path: Path) -> None:
    async with traced(tmp_path) as (engine, told):
        quick = load_text(CHILD, "flow.yaml", tmp_path)
        await engine.workflows.register(quick.plan, source=CHILD)
        for run, traceparent in (("r1", CALLER), ("r2", CALLER[:-1] + "0")):
            data = {"run": run, "workflow": "child"}
            await engine.bus.submit(
                Signal(id=run, type="fleet.run.start", source="t", at=engine.now(), data=data, traceparent=traceparent)
            )
            assert (await over(engine, run))[0] == "completed"
    caller = parse(CALLER)
    assert caller is not None
    root = told.spans("r1")["invoke_workflow child"]
    assert f"{root.context.trace_id:032x}" == caller.trace
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == caller.span
    assert not told.spans("r2"), "a caller who does not record wants none of it recorded"


async def test_http_steps_tell_where_they_call_from(tmp_path: Path) -> None:
    heard: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    flow = (
        f"name: calls\nsteps:\n  - {{id: ping, type: http, url: '{url}'}}\n"
        f"  - {{id: call, type: tool, tool: http.request, with: {{url: '{url}'}}}}\n"
    )
    http = {"http": {"hosts": [f"127.0.0.1:{port}"], "networks": ["127.0.0.0/8"]}}
    async with server, traced(tmp_path, tools=http) as (engine, told):
        await start(engine, flow)
        assert (await over(engine))[0] == "completed"
    assert f"traceparent: {spot(told.spans()['http ping'])}" in heard[0]
    assert f"traceparent: {spot(told.spans()['execute_tool http.request'])}" in heard[1]


def test_nothing_of_it_is_imported_where_it_is_not_wanted() -> None:
    code = (
        "import sys, fleetprompt.cli.serve, fleetprompt.engine.telemetry.otel, fleetprompt.client.opening\n"
        "import fleetprompt.daemon.daemon\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.sdk')], 'otel'\n"
        "assert 'prometheus_client' not in sys.modules and 'apprise' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_traceparent_is_read_as_the_standard_says() -> None:
    found = parse(CALLER)
    assert found is not None
    assert found.traceparent == CALLER
    later = parse("cc-" + CALLER[3:] + "-what-comes-later")
    assert later is not None
    assert later.sampled
    zero_trace, zero_span = "00-" + "0" * 32 + CALLER[35:], CALLER[:36] + "0" * 16 + "-01"
    for wrong in ("", "ff" + CALLER[2:], zero_trace, zero_span, CALLER.upper(), CALLER[:-3], "x" * 9999):
        assert parse(wrong) is None, wrong
