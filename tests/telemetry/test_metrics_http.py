"""`/metrics` of a daemon: names that dashboards rely on, for those who may see them."""

from __future__ import annotations

import re
from pathlib import Path

from daemon_kit import served
from prometheus_client.parser import text_string_to_metric_families

from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules
from fleetprompt.engine.telemetry.exposition import NAMES

REQUIRED = {
    "workflow_executions_total": {"workflow", "status"},
    "workflow_step_duration_seconds": {"workflow", "step_type"},
    "llm_requests_total": {"model", "outcome"},
    "llm_tokens_total": {"model", "direction"},
    "llm_cost_usd_total": {"kind"},
    "budget_reserved_usd": set[str](),
    "approvals_pending": set[str](),
    "approval_wait_seconds": {"decision"},
    "tool_calls_total": {"tool", "outcome"},
    "tools_in_doubt": set[str](),
    "runs_stuck": set[str](),
}


async def test_a_scraper_reads_what_has_happened(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        await daemon.finished()
        await daemon.pending(await daemon.execute("hello"))
        answer = await daemon.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    samples = {(s.name, *sorted(s.labels.items())): s.value for f in families.values() for s in f.samples}
    assert samples["workflow_executions_total", ("status", "completed"), ("workflow", "hello")] == 1
    assert samples["approvals_pending",] == 1
    assert samples["approval_wait_seconds_count", ("decision", "approved")] == 1
    steps = ("workflow_step_duration_seconds_count", ("step_type", "transform"), ("workflow", "hello"))
    assert samples[steps] == 3
    assert samples["workflow_step_duration_seconds_bucket", ("le", "+Inf"), *steps[1:]] == 3
    assert samples["runs_stuck",] == samples["tools_in_doubt",] == samples["budget_reserved_usd",] == 0
    assert samples["process_resident_memory_bytes",] > 0
    ours = {name for name in families if not name.startswith("process_")}
    assert ours == {name.removesuffix("_total") for name in NAMES}
    assert set(REQUIRED) <= set(NAMES)
    for sample in (sample for family in families.values() for sample in family.samples):
        base = re.sub(r"_(bucket|count|sum)$", "", sample.name)
        if base in REQUIRED:
            assert set(sample.labels) - {"le"} == REQUIRED[base]


async def test_what_can_be_counted_is_there_before_it_is(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        text = (await daemon.http.get("/metrics")).text
    found = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    for status in ("completed", "failed", "cancelled", "timeout"):
        assert found["workflow_executions_total", status, "hello"] == 0, "of a workflow that nobody has started"
    assert found["llm_cost_usd_total", "settled"] == found["llm_cost_usd_total", "uncertain"] == 0
    assert found["signals_total", "rate-limit"] == found["signals_total", "authenticate"] == 0
    assert found["approval_wait_seconds_count", "approved"] == found["approval_wait_seconds_sum", "rejected"] == 0


async def test_metrics_are_for_this_machine_and_for_tokens_of_the_whole_fleet(tmp_path: Path) -> None:
    tokens = {
        "t1": Identity(name="prometheus", tenant="default", role="viewer", via="http"),
        "t2": Identity(name="eve", tenant="other", role="admin", via="http"),
    }
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens) as daemon:
        assert (await daemon.http.get("/metrics")).status_code == 401
        for token, status in (("t1", 200), ("t2", 403), ("t3", 401)):
            answer = await daemon.http.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status
