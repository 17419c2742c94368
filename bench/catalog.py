"""What can be measured: subjects, figures, and what the design wants them to reach."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Subject:
    """Something that is measured, in a process of its own."""

    name: str
    function: str
    """`module:function` that takes a `Task` and returns its figures."""
    needs: str = ""
    """Package that must be installed."""


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    what: str
    unit: str = ""
    reach: str = ""
    higher: bool = False
    """More is better."""


@dataclass(frozen=True)
class Measure:
    """Subjects that do the same work, in turn, as often as repeats are asked for."""

    name: str
    subjects: tuple[Subject, ...]
    figures: tuple[Figure, ...]
    always: bool = True
    """Measured when no names are given."""
    options: dict[str, Any] = field(default_factory=dict)


OURS, FLOOR = "ours", "floor"
PEERS = {"DBOS": "dbos", "LangGraph": "langgraph", "Burr": "burr"}
"""Peers and the packages they need, from the extra `bench`."""


def _beside_peers(function: str) -> tuple[Subject, ...]:
    peers = [Subject(name, f"bench.peer_{name.lower()}:{function}", needs) for name, needs in PEERS.items()]
    return Subject(OURS, f"bench.throughput:{function}"), Subject(FLOOR, f"bench.floor:{function}"), *peers


def _recovery(name: str, what: str, *subjects: Subject, steps: int, seconds: float, beyond: bool) -> Measure:
    figures = [
        Figure("first_effect_s", f"kill -9, {what}: store open to first new effect", "s", "≤ 0.5"),
        Figure("resumed_s", "… store open to all runs resumed", "s"),
        Figure("beyond_s", "… whole recovery beyond the remaining work", "s", "≤ 1.2"),
        Figure("beyond_from_exec_s", "… the same, from exec of the new process", "s"),
        Figure("recorded_repeated", "… recorded steps repeated", "", "0"),
        Figure("lost", "… steps lost", "", "0"),
        Figure("unrecorded_repeated", "… finished but unrecorded steps repeated", "", "≤ 25"),
    ]
    kept = tuple(figure for figure in figures if beyond or not figure.name.startswith("beyond"))
    return Measure(name, subjects, kept, options={"steps": steps, "step_seconds": seconds})


def _streams(name: str, what: str, function: str, count: int) -> Measure:
    figures = (
        Figure("completed", f"{what}, a console attached: completed", "", str(count), higher=True),
        Figure("token_p50_ms", "… from the server's sending a piece to the attached console: p50", "ms"),
        Figure("token_p95_ms", "… p95", "ms", "≤ 150"),
        Figure("key_p50_ms", "… cursor up and down in the console, key to the painted row: p50", "ms"),
        Figure("key_p95_ms", "… p95", "ms", "≤ 50"),
        Figure("keys_missed", "… of which some were not told from what else was painted"),
    )
    return Measure(name, (Subject(OURS, f"bench.streams:{function}"),), figures)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "throughput",
        _beside_peers("throughput"),
        (
            Figure("steps_per_s", "1,000 runs of 10 steps, 100 at a time", "steps/s", "≥ 12,000 (20,000)", higher=True),
            Figure("facts_per_commit", "… facts per commit"),
            Figure("cpu_us_per_step", "… processor time per step", "µs"),
        ),
    ),
    Measure(
        "latency",
        _beside_peers("latency"),
        (
            Figure("run_p50_ms", "a run of 10 steps, one at a time: p50", "ms", "≤ 4"),
            Figure("run_p95_ms", "… p95", "ms"),
        ),
    ),
    Measure(
        "loop",
        (Subject(OURS, "bench.loop:measure"),),
        (
            Figure("ratio", "cost per step, loop of 10,000 against loop of 100", "x", "≤ 1.5"),
            Figure("small_us", "… per step of 100", "µs"),
            Figure("large_us", "… per step of 10,000", "µs"),
        ),
    ),
    _recovery(
        "recovery",
        "200 runs of 10 steps of 20 ms",
        Subject(OURS, "bench.recovery:measure"),
        Subject("DBOS", "bench.peer_dbos_recovery:measure", "dbos"),
        steps=10,
        seconds=0.02,
        beyond=True,
    ),
    _recovery(
        "saturated",
        "200 runs of 50 trivial steps",
        Subject(OURS, "bench.recovery:measure"),
        steps=50,
        seconds=0.0,
        beyond=False,
    ),
    Measure(
        "signal",
        (Subject(OURS, "bench.signals:measure"),),
        (
            Figure("inside_p50_ms", "signal published to first effect, in process: p50", "ms", "≤ 2"),
            Figure("inside_p95_ms", "… p95", "ms"),
            Figure("outside_p50_ms", "… from another process: p50", "ms", "≤ 20"),
            Figure("outside_p95_ms", "… p95", "ms"),
        ),
    ),
    Measure(
        "signals",
        (Subject(OURS, "bench.accepting:measure"),),
        (
            Figure("accepted_s", "signals accepted over HTTP, durable before 202, 64 connections", "/s", "≥ 2,000"),
            Figure("accepted_p50_ms", "… p50", "ms"),
            Figure("accepted_p99_ms", "… p99", "ms"),
            Figure("routed_s", "… that meet a trigger whose condition does not hold", "/s"),
        ),
    ),
    Measure(
        "webhook",
        (Subject(OURS, "bench.webhook:measure"),),
        (
            Figure("effect_p50_ms", "signed webhooks, 100/s: request to the first effect started, p50", "ms", "≤ 8"),
            Figure("effect_p99_ms", "… p99", "ms", "≤ 40"),
            Figure("answer_p50_ms", "… request to its answer, p50", "ms"),
            Figure("answer_p99_ms", "… p99", "ms"),
            Figure("cpu_ms", "… processor time of the daemon per request and run of two steps", "ms"),
        ),
    ),
    Measure(
        "parked",
        (Subject(OURS, "bench.parked:measure"),),
        (
            Figure("open_s", "start with 100,000 parked runs: Engine.open", "s", "≤ 1"),
            Figure("rss_open_mb", "… resident memory after", "MB", "≤ 150"),
            Figure("rss_empty_mb", "… resident memory of an engine without runs", "MB"),
        ),
    ),
    Measure(
        "startup",
        (Subject(OURS, "bench.startup:measure"), Subject(FLOOR, "bench.startup:floor")),
        (
            Figure("help_ms", "fleet --help", "ms", "≤ 150"),
            Figure("validate_ms", "fleet validate of 100 steps", "ms", "≤ 400"),
        ),
    ),
    Measure(
        "log",
        (Subject(OURS, "bench.console_log:measure"),),
        (
            Figure("open_ms", "a log of 1,000,000 lines, without a terminal: open", "ms", "≤ 300"),
            Figure("page_p50_ms", "… any page: p50", "ms"),
            Figure("page_p95_ms", "… p95", "ms", "≤ 25"),
            Figure("filter_ms", "… filter by level, all of it", "ms"),
            Figure("search_ms", "… search, all of it", "ms"),
            Figure("follow_percent", "… follow 1,000 lines/s, share of a core", "%", "≤ 20"),
            Figure("held_mb", "… lines held", "MB", "≤ 8.4"),
        ),
    ),
    Measure(
        "console",
        (Subject(FLOOR, "bench.console:floor"), Subject(OURS, "bench.console:measure")),
        (
            Figure("frame_s", "console, 100,000 runs, engine embedded: exec to the frame", "s", "≤ 0.5"),
            Figure("rows_s", "… to the rows", "s", "≤ 1"),
            Figure("import_s", "… `import textual.app` alone", "s"),
            Figure("down_p50_ms", "… cursor down, key to the painted row: p50", "ms"),
            Figure("down_p95_ms", "… p95", "ms", "≤ 35"),
            Figure("page_p50_ms", "… page down: p50", "ms"),
            Figure("page_p95_ms", "… p95", "ms", "≤ 25"),
            Figure("refilter_p50_ms", "… last key of a filter to the last row: p50", "ms"),
            Figure("refilter_p95_ms", "… p95", "ms", "≤ 120"),
            Figure("idle_percent", "… at rest, share of a core", "%", "≤ 0.5"),
            Figure("memory_mb", "… resident memory, opened", "MB", "≤ 120"),
            Figure("memory_after_mb", "… after all these keys", "MB"),
        ),
    ),
    Measure(
        "console-busy",
        (Subject(OURS, "bench.console_busy:keys"),),
        (
            Figure("facts_per_s", "console, 500 facts/s on the rows shown: facts", "1/s", higher=True),
            Figure("down_p50_ms", "… cursor up and down on these rows: p50", "ms"),
            Figure("down_p95_ms", "… p95", "ms", "≤ 35"),
            Figure("page_p50_ms", "… page down: p50", "ms"),
            Figure("page_p95_ms", "… p95", "ms", "≤ 25"),
            Figure("cpu_percent", "… the whole process, share of a core", "%"),
            Figure("painted_kb_per_s", "… painted", "kB/s"),
        ),
    ),
    Measure(
        "console-log",
        (Subject(FLOOR, "bench.console_follow:alone"), Subject(OURS, "bench.console_follow:measure")),
        (
            Figure("open_s", "console, a log of 1,000,000 lines: key to its last lines", "s", "≤ 0.3"),
            Figure("follow_percent", "… following 1,000 lines/s, beyond what it takes to write them", "%", "≤ 20"),
            Figure("process_percent", "… the whole process (floor: the engine alone)", "%"),
        ),
    ),
    Measure(
        "console-throughput",
        (Subject(FLOOR, "bench.console_busy:alone"), Subject(OURS, "bench.console_busy:throughput")),
        (
            Figure("saturated_kept_percent", "1,000 runs of 30 steps, console open, of headless", "%", "≥ 75", True),
            Figure("saturated_steps_per_s", "… steps (floor: headless)", "1/s", higher=True),
            Figure("paced_kept_percent", "500 facts/s, console open, of headless", "%", "≥ 95", True),
            Figure("paced_facts_per_s", "… facts (floor: headless)", "1/s", higher=True),
        ),
    ),
    Measure(
        "attached",
        (Subject(FLOOR, "bench.console_attached:alone"), Subject(OURS, "bench.console_attached:measure")),
        (
            Figure("http_kept_percent", "500 facts/s, 20 consoles attached over HTTP, of headless", "%", "≥ 80", True),
            Figure("http_facts_per_s", "… facts (floor: headless)", "1/s", higher=True),
            Figure("http_engine_percent", "… the daemon, share of a core (floor: headless)", "%"),
            Figure("http_consoles_percent", "… the consoles together, share of a core", "%"),
            Figure("http_least_kb_per_s", "… painted by the console that paints least", "kB/s"),
            Figure("here_kept_percent", "the same, attached on its machine, of headless", "%", "≥ 80", True),
            Figure("here_engine_percent", "… the daemon, share of a core", "%"),
            Figure("here_consoles_percent", "… the consoles together, share of a core", "%"),
            Figure("here_least_kb_per_s", "… painted by the console that paints least", "kB/s"),
        ),
        always=False,
    ),
    Measure(
        "model",
        (Subject(OURS, "bench.model:measure"),),
        (
            Figure("overhead_p50_ms", "a streamed model call, 2 KB prompt: beyond litellm's own, p50", "ms", "≤ 3"),
            Figure("step_p50_ms", "… as a step of a run, with reservation and commits: p50", "ms", "≤ 3"),
            Figure("cpu_p50_ms", "… the same, of the event loop's processor time", "ms"),
            Figure("ours_p50_ms", "… ours", "ms"),
            Figure("litellm_p50_ms", "… litellm's own", "ms"),
            Figure("piece_us", "… processor time of the event loop per piece of a long answer", "µs"),
            Figure("litellm_piece_us", "… litellm's own", "µs"),
            Figure("together_s", "… 200 of ours at once", "s"),
            Figure("load_s", "… import litellm and warm it up, in a thread", "s"),
            Figure("memory_mb", "… resident memory after all of it", "MB", "≤ 350"),
        ),
    ),
    Measure(
        "vectors",
        (Subject(OURS, "bench.vectors:measure"), Subject("pure Python", "bench.vectors:python")),
        (
            Figure("few_ms", "the nearest of 2,000 vectors of 1,536 numbers", "ms"),
            Figure("many_ms", "… of 20,000", "ms"),
            Figure("store_ms", "… of 2,000, read from SQLite as well", "ms"),
            Figure("load_ms", "… import NumPy, once", "ms"),
        ),
        always=False,
    ),
    _streams("streams", "200 models at 8 pieces/s each", "slow", 200),
    _streams("streams-fast", "40 models at 30 pieces/s each", "fast", 40),
    Measure(
        "serve",
        (Subject(OURS, "bench.daemon:ready"),),
        (
            Figure("again_s", "fleet serve, 200 workflow files: exec to the first answer", "s", "≤ 1.5"),
            Figure("first_s", "… without a store yet", "s"),
        ),
    ),
    Measure(
        "listeners",
        (Subject(OURS, "bench.daemon:listened"),),
        (
            Figure("paced_kept_percent", "500 facts/s, 500 listeners to all of it: of its speed", "%", "", True),
            Figure("paced_per_s", "… facts", "1/s", higher=True),
            Figure("paced_events", "… events that each was told", "", higher=True),
            Figure("paced_different", "… listeners with a gap, a duplicate, or out of order", "", "0"),
            Figure(
                "saturated_kept_percent",
                "300 runs of 30 steps, 500 listeners to the ends: of it",
                "%",
                "",
                True,
            ),
            Figure("saturated_per_s", "… steps", "1/s", higher=True),
            Figure("saturated_different", "… listeners with a gap, a duplicate, or out of order", "", "0"),
        ),
    ),
    Measure("profile", (Subject(OURS, "bench.profile:measure"),), (), always=False),
)


def chosen(names: list[str]) -> list[Measure]:
    """The measures of these names; without names, those that are always measured. Raises `KeyError`."""
    known = {measure.name: measure for measure in MEASURES}
    return [known[name] for name in names] if names else [measure for measure in MEASURES if measure.always]
