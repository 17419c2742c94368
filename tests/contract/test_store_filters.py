"""Every filter finds the same in every store: the memory store asks `query_match`, the others say it in SQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_kit import TEXTS, queries
from store_kit import NOW, SQL_KINDS, ask, created, entry, put, signal, throw_away

from fleetprompt.engine.core.facts import ApprovalDecided
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.query import Query, parse
from fleetprompt.engine.core.query_fields import (
    APPROVAL_FIELDS,
    FIRING_FIELDS,
    FIRING_OUTCOME,
    RUN_FIELDS,
    RUN_MODE,
    RUN_STATUS,
    SIGNAL_FIELDS,
    WAITING_ON,
)
from fleetprompt.engine.core.signal import Result
from fleetprompt.engine.ports import Order, Page, Runs, Store
from fleetprompt.engine.store.memory import MemoryStore

ROWS = 120
ZONE = ZoneInfo("America/New_York")
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class Pair:
    """Two stores with the same content, and the loop they live in."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.memory = MemoryStore(zone=ZONE)
        self.other = SQL_KINDS[kind](folder, ZONE)
        self.runner.run(self._fill())

    async def _fill(self) -> None:
        for store in (self.memory, self.other):
            await store.open()
            await _fill(store, random.Random(7))

    def same(self, kind: str, text: str, fields: Any) -> None:
        """Both find the same, counted and in order, or both refuse."""
        query = parse(text, fields)
        if query.problems:
            return
        found = [self.runner.run(_all(getattr(store, kind), query)) for store in (self.memory, self.other)]
        assert found[0] == found[1], text

    def same_everywhere(self, text: str, order: Order, field: str) -> None:
        """Both have the same index, counts and values of a filter, and say the same of every run."""
        query = parse(text, RUN_FIELDS)
        if query.problems:
            return
        found = [self.runner.run(_asked(store.runs, query, order, field)) for store in (self.memory, self.other)]
        assert found[0] == found[1], (text, order, field)
        index, tally, matching, _ = found[1]
        assert len(index) == sum(tally.values()) == sum(holds for _, holds in matching)

    def close(self) -> None:
        self.runner.run(throw_away(self.other))
        self.runner.close()


async def _asked(runs: Runs, query: Query, order: Order, field: str) -> tuple[Any, ...]:
    now = NOW + 60
    everything, _ = await runs.list(parse("", RUN_FIELDS), Page(limit=1000), now=now)
    return (
        [*await runs.index(query, order, now=now)],
        await runs.tally(query, now=now),
        await runs.matching([head.id for head in everything], query, now=now),
        await runs.values(field, query, now=now, limit=5),
    )


async def _all(listed: Any, query: Any) -> list[Any]:
    found, _ = await listed.list(query, Page(limit=1000), now=NOW + 60)
    count = [await listed.count(query, now=NOW + 60)] if hasattr(listed, "count") else []
    return [getattr(each, "id", None) or each.seq for each in found] + count


async def _fill(store: Store, random_: random.Random) -> None:
    def some(*values: Any) -> Any:
        return random_.choice(values)

    def moment(*, null: bool = True) -> float | None:
        near = NOW + some(-90_000, -3600, -60, -1, 0, 0.5, 10, 59, 60, 61, 100, 5000)
        return some(near, near, None) if null else near

    for i in range(ROWS):
        run = f"{some('a', 'A', 'é', '0')}-{i:03}"
        status = some(*RUN_STATUS)
        head = {
            "status": status,
            "waiting_on": some(None, *WAITING_ON),
            "workflow": some(*TEXTS),
            "created_at": moment(null=False),
            "started_at": moment(),
            "finished_at": moment(),
            "labels": some({}, {"env": some(*TEXTS, "")}, {"a.b": some(*TEXTS), "env": "prod"}),
            "tools": some((), ("http",), tuple(random_.sample(TEXTS, 2))),
            "models": some((), tuple(random_.sample(TEXTS, 1)), ("", "a")),
            "agents": some((), ("sre",), tuple(random_.sample(TEXTS, 2))),
            "mode": some("", *RUN_MODE),
            "cost_nano": some(0, 1, 500_000_000, 10**9, 2**62),
            "tokens": some(0, 1, 2, 3, 10_000),
            "attempt": some(1, 2, 3),
        }
        names = ("step", "error_code", "error_message", "error_step", "owner", "host", "project", "session", "root")
        head |= {name: some("", *TEXTS) for name in (*names, "parent", "retry_of", "trigger")}
        texts = {"path": some(*TEXTS), "message": some("", *TEXTS), "approvers": head["tools"]}
        asked = ask(f"apr-{i:03}", at=moment(null=False), until=moment(), **texts)
        decision = some("approved", "rejected", "failed", "withdrawn")
        decided = [ApprovalDecided(path=asked.path, id=asked.id, decision=decision)] if some(0, 1) else []
        await put(store, entry(run, 0, created(run), asked, *decided, head_=head))
        sent = signal(
            some(*TEXTS), id=f"sig-{i:03}", source=some(*TEXTS), at=moment(null=False), correlation=some("", *TEXTS)
        )
        await store.signals.publish(sent)
        results = [
            Result(signal=sent.id, status=some("accepted", "refused"), run=some("", *TEXTS))
            for _ in range(some(0, 0, 1, 2))
        ]
        if results or some(0, 1):
            await store.signals.close(sent.id, results)
        fired = Firing(
            workflow=head["workflow"],
            trigger=some(*TEXTS),
            scheduled=f"{i}",
            due=moment(null=False) or 0.0,
            at=moment(null=False) or 0.0,
            outcome=some(*FIRING_OUTCOME),
            reason=some("", *TEXTS),
            signal=some("", sent.id),
            run=some("", *TEXTS),
            by=some("", *TEXTS),
        )
        await store.firings.add(fired)


@pytest.fixture(scope="module", params=sorted(SQL_KINDS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(request.param, tmp_path_factory.mktemp("filters"))
    yield made
    made.close()


@QUIET
@given(text=queries(RUN_FIELDS))
def test_runs(pair: Pair, text: str) -> None:
    pair.same("runs", text, RUN_FIELDS)


_BY = get_args(get_type_hints(Order)["by"])
ORDERS = [Order(by, descending) for by in _BY for descending in (True, False)]
FIELDS = [name for name in RUN_FIELDS.names() if name != "label"] + ["label", "label.env", "label.a.b"]


# Filters are tried above: here with orders and fields, of which there are fewer.
@settings(QUIET, max_examples=80)
@given(text=st.just("") | queries(RUN_FIELDS), order=st.sampled_from(ORDERS), field=st.sampled_from(FIELDS))
def test_an_index_of_runs(pair: Pair, text: str, order: Order, field: str) -> None:
    pair.same_everywhere(text, order, field)


@QUIET
@given(text=queries(APPROVAL_FIELDS))
def test_approvals(pair: Pair, text: str) -> None:
    pair.same("approvals", text, APPROVAL_FIELDS)


@QUIET
@given(text=queries(SIGNAL_FIELDS))
def test_signals(pair: Pair, text: str) -> None:
    pair.same("signals", text, SIGNAL_FIELDS)


@QUIET
@given(text=queries(FIRING_FIELDS))
def test_firings(pair: Pair, text: str) -> None:
    pair.same("firings", text, FIRING_FIELDS)


def test_the_largest_filter_is_still_sql(pair: Pair) -> None:
    terms = [f"-wf:{','.join(f'x{i}y{j}*' for j in range(3))}" for i in range(50)]
    pair.same("runs", " ".join(terms), RUN_FIELDS)
    pair.same("runs", "wf:" + ",".join(f"w{i}*" for i in range(100)), RUN_FIELDS)


def test_days_begin_where_the_store_is_told(pair: Pair) -> None:
    pair.same("runs", "since:today", RUN_FIELDS)
    pair.same("runs", "started:yesterday", RUN_FIELDS)
