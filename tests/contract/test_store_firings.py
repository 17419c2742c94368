"""Firings: each time of a schedule is recorded once, with its signal or not at all, whoever else records beside it."""

from __future__ import annotations

import asyncio
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from store_kit import NOW, SQL_KINDS, finish, put, signal, start, throw_away

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.firing import MOST_GOING, Firing, Standing
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import FIRING_FIELDS
from fleetprompt.engine.core.signal import TRIGGER_SCHEDULE, Result, Signal
from fleetprompt.engine.ports import Conflict, Page, Store
from fleetprompt.engine.store.database import SqlStore

ALL = parse("", FIRING_FIELDS)


def standing(n: int = 1, **fields: Any) -> Standing:
    values: dict[str, Any] = {"workflow": "nightly", "trigger": "t", "n": n, "rhythm": "every 60s", "upto": NOW + n}
    return Standing(**(values | fields))


def firing(minute: int, **fields: Any) -> Firing:
    values: dict[str, Any] = {
        "workflow": "nightly",
        "trigger": "t",
        "scheduled": f"2027-01-15T08:{minute:02}",
        "due": NOW + 60 * minute,
        "at": NOW + 60 * minute + 1,
        "outcome": "fired",
        "signal": f"s{minute}",
        "run": f"r{minute}",
    }
    return Firing(**(values | fields))


def sent(minute: int, **fields: Any) -> Signal:
    return signal(TRIGGER_SCHEDULE, **({"id": f"s{minute}", "key": f"schedule/nightly/t/{minute}"} | fields))


async def listed(store: Store, text: str = "", tenant: str = "default") -> list[Firing]:
    found, _ = await store.firings.list(parse(text, FIRING_FIELDS), Page(), now=NOW + 3600, tenant=tenant)
    return found


# ---------------------------------------------------------------- together


async def test_a_firing_its_signal_and_how_far_the_schedule_is_are_one(store: Store) -> None:
    stored = await store.firings.record(standing(), [(firing(1), sent(1))], [signal(id="c1")])
    assert [each.scheduled for each in stored] == ["2027-01-15T08:01"]
    assert await listed(store) == [*stored]
    assert await store.firings.standings() == [standing()]
    assert await store.firings.standing("nightly", "t") == standing()
    assert [each.id for each in await store.signals.unrouted()] == ["s1", "c1"]


async def test_who_decides_on_old_knowledge_is_refused_and_leaves_nothing(store: Store) -> None:
    await store.firings.record(standing(), [(firing(1), sent(1))])
    for stale in (standing(), standing(3)):
        with pytest.raises(Conflict):
            await store.firings.record(stale, [(firing(2), sent(2))], [signal(id="c1")])
    with pytest.raises(Conflict):
        await store.firings.record(standing(2, trigger="new"), [(firing(2, trigger="new"), sent(2))])
    assert [each.signal for each in await listed(store)] == ["s1"]
    assert [each.id for each in await store.signals.unrouted()] == ["s1"]
    assert await store.firings.standings() == [standing()]
    await store.firings.record(standing(2), [(firing(2), sent(2))])
    assert await store.firings.standing("nightly", "t") == standing(2)


async def test_a_time_that_is_known_is_left_out_with_its_signal(store: Store) -> None:
    await store.firings.record(standing(), [(firing(1), sent(1))])
    again = replace(firing(1), signal="other", run="other")
    stored = await store.firings.record(standing(2), [(again, sent(1, id="other", key="other")), (firing(2), sent(2))])
    assert [each.signal for each in stored] == ["s2"]
    assert [each.signal for each in await listed(store)] == ["s2", "s1"]
    assert await store.signals.get("other") is None


async def test_one_whose_signal_is_known_was_forestalled_and_says_so(store: Store) -> None:
    await store.signals.publish(signal(id="mine", key="schedule/nightly/t/1"))
    (stored,) = await store.firings.record(standing(), [(firing(1), sent(1))])
    assert (stored.outcome, stored.signal, stored.run) == ("duplicate", "", "")
    assert stored.reason
    assert await listed(store) == [stored]
    assert await store.signals.get("s1") is None


async def test_of_many_who_record_at_once_one_does(store: Store) -> None:
    async def record(n: int) -> bool:
        try:
            await store.firings.record(standing(by=f"e{n}"), [(firing(1), sent(1))])
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*map(record, range(8)))) == 1
    assert len(await listed(store)) == 1


@pytest.mark.parametrize("kind", SQL_KINDS)
async def test_of_several_engines_one_records(kind: str, tmp_path: Path) -> None:
    """Each with a connection of its own, round after round."""
    first = SQL_KINDS[kind](tmp_path, UTC)
    await first.open()
    others = [SqlStore(_target(first)) for _ in range(2)]
    try:
        for other in others:
            await other.open()
        stores = [first, *others]

        async def record(store: Store, n: int) -> int:
            try:
                found = await store.firings.record(standing(n), [(firing(n), sent(n))])
            except Conflict:
                return 0
            return len(found)

        won = [sum(await asyncio.gather(*(record(store, n) for store in stores))) for n in range(1, 16)]
        assert won == [1] * 15
        assert [each.seq for each in reversed(await listed(first))] == sorted(each.seq for each in await listed(first))
        assert len(await listed(others[0])) == 15
        assert len(await first.signals.unrouted()) == 15
    finally:
        for other in others:
            await other.close()
        await throw_away(first)


def _target(store: Store) -> str:
    """How another connection to the same database is made."""
    from store_kit import POSTGRES

    where = store.where
    return where if "schema=" not in where else f"{POSTGRES}?schema={where.partition('schema=')[2]}"


# ---------------------------------------------------------------- other triggers


async def test_a_trigger_without_a_standing_is_recorded_once_with_its_signal(store: Store) -> None:
    watched = firing(1, kind="watch", scheduled="abc")
    stored = await store.firings.add(watched, sent(1))
    assert stored is not None
    assert stored.kind == "watch"
    assert await store.firings.add(watched, sent(1, id="s9", key="k9")) is None
    assert await store.firings.add(firing(2, kind="signal", outcome="duplicate", signal="", run="")) is not None
    assert [each.kind for each in await listed(store)] == ["signal", "watch"]
    assert [each.id for each in await store.signals.unrouted()] == ["s1"]


async def test_a_schedule_that_is_gone_begins_anew(store: Store) -> None:
    await store.firings.record(standing(), [(firing(1), sent(1))])
    await store.firings.record(standing(tenant="b"), [])
    await store.firings.forget("nightly", "t")
    assert await store.firings.standings() == [standing(tenant="b")]
    await store.firings.record(standing(), [(firing(1), sent(1, id="x", key="x"))])
    assert [each.signal for each in await listed(store)] == ["s1"]


# ---------------------------------------------------------------- what goes on


async def test_what_goes_on_is_what_has_not_ended_or_is_yet_to_begin(store: Store) -> None:
    times = [(firing(n), sent(n)) for n in range(1, 5)]
    await store.firings.record(standing(), [*times, (firing(5, outcome="skipped", signal="", run="r1"), None)])
    assert await store.firings.going("nightly", "t") == ["r1", "r2", "r3", "r4"]
    await put(store, start("r1"), start("r2"))
    await put(store, finish("r1", 2))
    await store.signals.close("s3", [Result(signal="s3", status="refused", run="nightly", reason="no")])
    assert await store.firings.going("nightly", "t") == ["r2", "r4"]
    assert await store.firings.going("nightly", "other") == []
    assert await store.firings.going("nightly", "t", "b") == []


async def test_only_the_latest_are_looked_at(store: Store) -> None:
    for n in range(MOST_GOING + 5):
        await store.firings.add(firing(1, scheduled=str(n), signal=f"s{n}", run=f"r{n}"), sent(n))
    going = await store.firings.going("nightly", "t")
    assert going == [f"r{n}" for n in range(5, MOST_GOING + 5)]


async def test_the_last_of_every_schedule(store: Store) -> None:
    await store.firings.record(standing(), [(firing(1), sent(1)), (firing(2), sent(2))])
    skipped = firing(3, outcome="skipped", signal="", run="")
    await store.firings.record(standing(2), [(skipped, None)])
    await store.firings.record(standing(trigger="u"), [(firing(4, trigger="u"), sent(4))])
    await store.firings.record(standing(tenant="b"), [(firing(5, tenant="b"), sent(5, tenant="b"))])
    assert [(each.trigger, each.run) for each in await store.firings.latest()] == [("t", "r2"), ("u", "r4")]
    assert [each.run for each in await store.firings.latest("b")] == ["r5"]


# ---------------------------------------------------------------- lists


async def test_what_came_of_a_signal_is_part_of_its_firing(store: Store) -> None:
    await store.firings.record(standing(), [(firing(n), sent(n)) for n in (1, 2, 3)])
    await store.signals.close("s1", [Result(signal="s1", status="accepted", run="r1")])
    await store.signals.close(
        "s2", [Result(signal="s2", status="refused", run="nightly", reason="input `n` is missing")]
    )
    await store.signals.close("s3", [Result(signal="s3", status="accepted", reason="its `if` does not hold")])
    assert [(each.outcome, each.reason) for each in await listed(store)] == [
        ("skipped", "its `if` does not hold"),
        ("failed", "input `n` is missing"),
        ("fired", ""),
    ]
    assert [each.run for each in await listed(store, "outcome:failed")] == ["r2"]
    assert [each.run for each in await listed(store, "outcome:fired")] == ["r1"]
    assert [each.run for each in await listed(store, "missing")] == ["r2"]
    assert (await store.firings.latest())[0].outcome == "skipped"
    # What another trigger has made of the same signal is none of this one's.
    await store.firings.add(firing(9, trigger="u", outcome="duplicate", signal="s3", run="", reason="its key"))
    assert [(each.outcome, each.reason) for each in await listed(store, "trigger:u")] == [("duplicate", "its key")]


async def test_filters_and_pages(store: Store) -> None:
    await store.firings.record(standing(), [(firing(n), sent(n)) for n in range(1, 8)])
    late = firing(8, outcome="missed", signal="", run="", reason="no engine was there in time")
    await store.firings.record(standing(2), [(late, None)])
    await store.firings.record(standing(workflow="hourly"), [(firing(1, workflow="hourly", by="ana"), sent(11))])
    assert [each.workflow for each in await listed(store, "by:ana")] == ["hourly"]
    assert [each.scheduled[-2:] for each in await listed(store, "wf:nightly outcome:missed,skipped")] == ["08"]
    assert len(await listed(store, "-outcome:fired")) == 1
    assert len(await listed(store, "trigger:t wf:nightly")) == 8
    assert len(await listed(store, '"in time"')) == 1
    assert len(await listed(store, "since:56m")) == 5
    pages, cursor = list[str](), ""
    while True:
        found, cursor = await store.firings.list(ALL, Page(limit=4, cursor=cursor), now=NOW)
        pages += [each.scheduled for each in found]
        if not cursor:
            break
    assert pages == [each.scheduled for each in await listed(store)]
    assert len(pages) == 9
    with pytest.raises(InvalidInput):
        await store.firings.list(ALL, Page(cursor="x"), now=NOW)


async def test_tenants_have_firings_of_their_own(store: Store) -> None:
    await store.firings.record(standing(), [(firing(1), sent(1))])
    await store.firings.record(standing(tenant="b"), [(firing(1, tenant="b", run="rb"), sent(2, tenant="b"))])
    assert [each.run for each in await listed(store)] == ["r1"]
    assert [each.run for each in await listed(store, tenant="b")] == ["rb"]
    assert len(await store.firings.standings()) == 2
    assert await store.firings.standings("b") == [standing(tenant="b")]


# ---------------------------------------------------------------- retention


async def test_old_firings_go_but_for_those_whose_run_goes_on_or_is_yet_to_begin(store: Store) -> None:
    await store.firings.record(standing(), [(firing(n), sent(n)) for n in range(1, 6)])
    await put(store, start("r1"), start("r2"))
    await put(store, finish("r1", 2, at=NOW + 5))
    for n in (1, 2, 4):
        await store.signals.close(f"s{n}")
    counts = await store.prune(before=NOW + 290)
    assert counts["firings"] == 2
    assert [each.run for each in await listed(store)] == ["r5", "r3", "r2"]
    assert await store.firings.going("nightly", "t") == ["r2", "r3", "r5"]
    # A time that was pruned does not come again: how far the schedule has come is kept.
    assert await store.firings.standing("nightly", "t") == standing()
    await store.firings.add(firing(6), sent(6))
    assert [each.seq for each in await listed(store)] == [6, 5, 3, 2]
    assert (await store.check()).ok


async def test_a_workflow_says_since_when_it_is_active(store: Store) -> None:
    from fleetprompt.engine.ports import Workflow

    known = Workflow(name="w", tenant="default", status="active", plan="p", active_since=NOW)
    await store.catalog.set_workflow(known)
    assert await store.catalog.workflow("w") == known
