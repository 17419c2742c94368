"""A daemon and a receiver of OTLP over HTTP on the loopback interface."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fleetprompt.client.observing import target_of
from fleetprompt.engine.core.errors import InvalidInput

QUICK = "name: quick\nsteps: [{id: one, type: transform, output: 1}]\n"


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Its URL, and what it was sent: path, authorization and body."""
    received: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers.get("Authorization", ""), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_daemon_sends_traces_and_metrics_to_what_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows/quick.yaml").write_text(QUICK)
    monkeypatch.setenv("OTLP_TOKEN", "Bearer abc")
    with receiver() as (url, received):
        (tmp_path / "fleet.toml").write_text(
            f'[telemetry]\notlp_endpoint = "{url}"\notlp_headers = {{authorization = "env:OTLP_TOKEN"}}\n'
        )
        command = [sys.executable, "-m", "fleetprompt.cli", "serve", "--port", "0", "--json"]
        daemon = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        try:
            assert daemon.stdout is not None
            address = json.loads(daemon.stdout.readline())["url"]
            begun = httpx.post(f"{address}/api/workflows/quick/execute", json={}, timeout=60).json()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate(timeout=60)
    spans = [
        span
        for path, _, body in received
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {span.name for span in spans} == {"invoke_workflow quick", "transform one"}
    told = {attribute.value.string_value for span in spans for attribute in span.attributes}
    assert begun["execution_id"] in told
    assert {path for path, _, _ in received} == {"/v1/traces", "/v1/metrics"}
    assert {authorization for _, authorization, _ in received} == {"Bearer abc"}


def test_where_to_send_is_said_by_settings_then_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert target_of("", {}, "fleet") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    found = target_of("", {}, "fleet")
    assert found is not None
    assert found.endpoint == "http://127.0.0.1:1"
    with pytest.raises(InvalidInput, match="MISSING_ONE is not set"):
        target_of("http://127.0.0.1:2", {"authorization": "env:MISSING_ONE"}, "fleet")
