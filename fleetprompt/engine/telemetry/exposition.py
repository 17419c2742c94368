"""Metrics as Prometheus reads them. The library is imported when somebody asks for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from fleetprompt.engine.telemetry.metrics import Metrics
from fleetprompt.engine.telemetry.series import Counter, Histogram, Labels

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

NAMES: Final = {
    "workflow_executions_total": "Executions that are over, by workflow and status.",
    "workflow_step_duration_seconds": "From the start of a step to its end, attempts, pauses and waits included.",
    "llm_requests_total": "Requests to models that are over, by model and outcome (completed, failed).",
    "llm_tokens_total": "Tokens by model and direction (input, output).",
    "llm_cost_usd_total": "US dollars spent on models: settled, or uncertain where nobody knows whether it is billed.",
    "llm_overshoots_total": "Requests that took more than was reserved for them, by model.",
    "budget_reserved_usd": "US dollars that requests under way hold of their budgets.",
    "approvals_pending": "Approvals that nobody has decided.",
    "approval_wait_seconds": "For how long approvals were open, by decision.",
    "tool_calls_total": "Calls of tools that are over, by tool and outcome (completed, failed, in_doubt).",
    "tools_in_doubt": "Steps and calls of which nobody knows whether they have happened.",
    "runs_stuck": "Runs that are held, whose agent goes in circles, or whose work has told of nothing for long.",
    "signals_total": "Signals at the door, by what became of them.",
    "fleet_info": "The version of FleetPrompt; always 1.",
    "fleet_live_runs": "Runs in memory; those that only wait are not.",
    "fleet_effects": "Effects that are being performed.",
    "fleet_waiting_for_slots": "Runs and steps that wait for a slot.",
    "fleet_loop_lag_seconds": "The longest by which the engine's loop was late lately.",
    "fleet_facts_total": "Facts that became durable.",
    "fleet_troubles_total": "Things that went wrong in the engine itself.",
}
"""Every metric of ours, and what it says. Besides them there are those of the process (`process_…`)."""


ENDS: Final = ("completed", "failed", "cancelled", "timeout")
OUTCOMES: Final = ("completed", "failed")
SIGNALS: Final = ("accepted", "duplicate", "authenticate", "validate", "rate-limit")
DECISIONS: Final = ("approved", "rejected", "failed", "withdrawn")


class Gauges(Struct, frozen=True, kw_only=True):
    """What is so at the moment of asking."""

    version: str
    workflows: Sequence[str] = ()
    """Active ones: of those nothing may have been counted yet."""
    stuck: int
    signals: Mapping[str, int]
    live: int
    effects: int
    waiting: int
    lag: float
    facts: int
    troubles: int


class Snapshot(Struct, frozen=True):
    """All numbers at one moment, to be rendered where that holds up nothing."""

    counters: tuple[tuple[str, tuple[str, ...], Mapping[Labels, float]], ...]
    histograms: tuple[
        tuple[str, tuple[str, ...], tuple[float, ...], Mapping[Labels, list[int]], Mapping[Labels, float]], ...
    ]
    gauges: tuple[tuple[str, Mapping[Labels, float], tuple[str, ...]], ...]


def snapshot(metrics: Metrics, gauges: Gauges) -> Snapshot:
    """The numbers as they are now. What can be counted is there with 0 before it is: monitoring systems see a counter
    rise, and of one that begins at 1 they see nothing."""
    workflows = {metrics.workflow(name) for name in gauges.workflows}
    executions = {(name, status): 0.0 for name in workflows for status in ENDS} | _each(metrics.executions, ENDS)
    return Snapshot(
        counters=(
            _counter("workflow_executions_total", ("workflow", "status"), executions),
            _counter("llm_requests_total", ("model", "outcome"), _each(metrics.requests, OUTCOMES)),
            _counter("llm_tokens_total", ("model", "direction"), metrics.tokens),
            _counter(
                "llm_cost_usd_total",
                ("kind",),
                dict.fromkeys([("settled",), ("uncertain",)], 0.0) | metrics.cost.values,
            ),
            _counter(
                "llm_overshoots_total",
                ("model",),
                {of[:1]: 0.0 for of in metrics.requests.values} | metrics.overshoots.values,
            ),
            _counter("tool_calls_total", ("tool", "outcome"), _each(metrics.calls, (*OUTCOMES, "in_doubt"))),
            _counter(
                "signals_total", ("outcome",), {(outcome,): gauges.signals.get(outcome, 0) for outcome in SIGNALS}
            ),
            ("fleet_facts_total", (), {(): gauges.facts}),
            ("fleet_troubles_total", (), {(): gauges.troubles}),
        ),
        histograms=(
            _histogram("workflow_step_duration_seconds", ("workflow", "step_type"), metrics.steps),
            _waits(metrics.waits),
        ),
        gauges=(
            _gauge("budget_reserved_usd", metrics.reserved_usd),
            _gauge("approvals_pending", metrics.approvals_pending),
            _gauge("tools_in_doubt", metrics.in_doubt),
            _gauge("runs_stuck", gauges.stuck + metrics.circling),
            ("fleet_info", {(gauges.version,): 1}, ("version",)),
            _gauge("fleet_live_runs", gauges.live),
            _gauge("fleet_effects", gauges.effects),
            _gauge("fleet_waiting_for_slots", gauges.waiting),
            _gauge("fleet_loop_lag_seconds", gauges.lag),
        ),
    )


def _counter(
    name: str, labels: tuple[str, ...], values: Counter | Mapping[Labels, float]
) -> tuple[str, tuple[str, ...], dict[Labels, float]]:
    return name, labels, dict(values.values if isinstance(values, Counter) else values)


def _each(counter: Counter, seconds: Sequence[str]) -> dict[Labels, float]:
    """The values of a counter, with 0 for what its first labels have not had yet of the second."""
    return {(of[0], second): 0.0 for of in counter.values for second in seconds} | counter.values


def _waits(waits: Histogram) -> Any:
    counts, sums = waits.copied()
    none = [0] * (len(waits.bounds) + 1)
    counts = {(decision,): none for decision in DECISIONS} | dict(counts)
    return "approval_wait_seconds", ("decision",), waits.bounds, counts, dict.fromkeys(counts, 0.0) | dict(sums)


def _histogram(name: str, labels: tuple[str, ...], histogram: Histogram) -> Any:
    return name, labels, histogram.bounds, *histogram.copied()


def _gauge(name: str, value: float) -> tuple[str, dict[Labels, float], tuple[str, ...]]:
    return name, {(): value}, ()


def render(taken: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """The text for a scraper that accepts this, and its media type. Blocks, the first time for the import."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_collector(taken))
    ProcessCollector(registry=registry)
    encode, media = choose_encoder(accept)
    return encode(registry), media


def _collector(taken: Snapshot) -> Collector:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector

    class Taken(Collector):
        def collect(self) -> Iterator[Any]:
            for name, labels, values in taken.counters:
                counter = CounterMetricFamily(name.removesuffix("_total"), NAMES[name], labels=labels)
                for of, value in values.items():
                    counter.add_metric(of, value)
                yield counter
            for name, labels, bounds, counts, sums in taken.histograms:
                histogram = HistogramMetricFamily(name, NAMES[name], labels=labels)
                for of, found in counts.items():
                    histogram.add_metric(of, _buckets(bounds, found), sums[of])
                yield histogram
            for name, values, labels in taken.gauges:
                gauge = GaugeMetricFamily(name, NAMES[name], labels=labels)
                for of, value in values.items():
                    gauge.add_metric(of, value)
                yield gauge

    return Taken()


def _buckets(bounds: Iterable[float], counts: list[int]) -> list[Any]:
    """Cumulative, as the format wants it."""
    found: list[Any] = []
    total = 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        found.append((bound, total))
    return found
