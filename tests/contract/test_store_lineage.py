"""Where signals came from and what came of them: through other signals and through runs, and never for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from store_kit import NOW, SQL_KINDS, created, entry, fact, finish, put, signal, start, throw_away

from fleetprompt.engine.core.signal import RETRY, START, Result, Signal
from fleetprompt.engine.ports import Append, Lineage, Store
from fleetprompt.engine.store import lineage
from fleetprompt.engine.store.memory import MemoryStore


def sent(id_: str, cause: str = "", type_: str = "order.placed", **fields: Any) -> Signal:
    return signal(type_, id=id_, causation=cause, **fields)


def from_run(run: str, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    return tuple(replace(each, source=f"run/{run}/step") for each in signals)


def begun(run: str, by: Signal, *leaving: Signal) -> Append:
    """The first append of a run that a signal starts, with signals that leave it."""
    answer = Result(signal=by.id, status="accepted", run=run)
    return entry(run, 0, created(run), results=(answer,), signals=from_run(run, leaving), received=by)


def heard(run: str, after: int, by: str, *leaving: Signal, status: str = "accepted") -> Append:
    answer = Result(signal=by, status=status, run=run)
    return entry(run, after, fact(1), results=(answer,), signals=from_run(run, leaving))


async def lineage_of(store: Store, id_: str, tenant: str = "default") -> Lineage:
    found = await store.signals.lineage(id_, tenant)
    assert found is not None
    assert found.signal == await store.signals.get(id_)
    return found


def causes(found: Lineage) -> list[tuple[str, str]]:
    assert [kin.depth for kin in found.causes] == list(range(1, len(found.causes) + 1))
    return [(kin.how, kin.id) for kin in found.causes]


def effects(found: Lineage) -> list[tuple[int, str, str]]:
    return [(kin.depth, kin.how, kin.id) for kin in found.effects]


async def _story(store: Store) -> None:
    """`press` starts r1, which emits `done`, which starts r2 and reaches r3; that emits `late`. `again` replays."""
    await put(store, start("r3", signals=from_run("r3", (sent("early", "r3", correlation="r3"),))))
    await store.signals.publish(sent("press"))
    order = sent("order", "press", START, data={"run": "r1"}, correlation="press")
    done = sent("done", "r1", "audit.done", correlation="press")
    await put(store, begun("r1", order, done))
    follow = sent("follow", "done", START, data={"run": "r2"}, correlation="press")
    await put(store, begun("r2", follow))
    await put(store, heard("r3", 2, "done", sent("late", "r3", correlation="r3")))
    await store.signals.close("done", [Result("done", "accepted", run="r2"), Result("done", "refused", run="r9")])
    await store.signals.close("press", [Result("press", "accepted", run="r1")])
    await store.signals.publish(sent("again", "press", correlation="press"))


async def test_effects_go_through_signals_and_runs(store: Store) -> None:
    await _story(store)
    found = await lineage_of(store, "press")
    assert effects(found) == [
        (1, "caused", "order"),
        (2, "started", "r1"),
        (3, "emitted", "done"),
        (4, "reached", "r3"),
        (5, "emitted", "late"),
        (4, "caused", "follow"),
        (5, "started", "r2"),
        (1, "caused", "again"),
    ]
    assert causes(found) == []
    assert [each.id for each in found.family] == ["press", "order", "done", "follow", "again"]
    assert found.more == frozenset()
    known = {kin.id: kin for kin in found.effects}
    assert known["r3"].run == await store.runs.get("r3")
    assert known["r3"].signal is None
    assert known["late"].signal == await store.signals.get("late")
    assert known["late"].run is None


async def test_causes_go_back_to_the_first(store: Store) -> None:
    await _story(store)
    assert causes(await lineage_of(store, "done")) == [("emitted", "r1"), ("started", "order"), ("caused", "press")]
    assert causes(await lineage_of(store, "again")) == [("caused", "press")]
    # What started r3 is not known: the lineage ends at the run.
    assert causes(await lineage_of(store, "late")) == [("emitted", "r3")]
    assert [each.id for each in (await lineage_of(store, "late")).family] == ["early", "late"]


async def test_a_run_and_the_signal_that_started_it_may_share_an_id(store: Store) -> None:
    by_hand = sent("r1", type_=START)
    await put(store, begun("r1", by_hand), heard("r1", 1, "vote", sent("over", "r1", "audit.done")))
    await put(store, begun("r2", sent("r2", type_=RETRY, data={"run": "r1"})))
    # A run that was started by hand has the id of the signal that has started it.
    assert causes(await lineage_of(store, "over")) == [("emitted", "r1"), ("started", "r1")]
    assert effects(await lineage_of(store, "r1")) == [(1, "started", "r1"), (2, "emitted", "over")]
    assert effects(await lineage_of(store, "r2")) == [(1, "started", "r2")]


async def test_what_is_gone_ends_it_and_says_so(store: Store) -> None:
    await store.signals.publish(sent("left", "pruned"))
    found = await lineage_of(store, "left")
    assert causes(found) == [("caused", "pruned")]
    assert (found.causes[0].signal, found.causes[0].run) == (None, None)
    assert await store.signals.lineage("pruned") is None
    assert await store.signals.lineage("left", "b") is None


async def test_a_circle_is_walked_once(store: Store) -> None:
    for id_, cause in (("a", "c"), ("b", "a"), ("c", "b"), ("self", "self")):
        await store.signals.publish(sent(id_, cause))
    assert causes(await lineage_of(store, "c")) == [("caused", "b"), ("caused", "a")]
    assert effects(await lineage_of(store, "a")) == [(1, "caused", "b"), (2, "caused", "c")]
    assert causes(await lineage_of(store, "self")) == []
    assert effects(await lineage_of(store, "self")) == []


async def test_it_stays_within_a_tenant(store: Store) -> None:
    await store.signals.publish(sent("root", correlation="x"))
    await store.signals.publish(sent("theirs", "root", tenant="b", correlation="x"))
    await put(store, start("r1", tenant="b", results=(Result("root", "accepted", run="r1"),)))
    found = await lineage_of(store, "root")
    assert effects(found) == []
    assert [each.id for each in found.family] == ["root"]
    assert causes(await lineage_of(store, "theirs", "b")) == [("caused", "root")]


@pytest.mark.parametrize("shape", ["chain", "star", "deep"])
async def test_it_is_bounded(store: Store, shape: str) -> None:
    many = {"chain": lineage.DEEPEST + 1, "star": lineage.EFFECTS + 1, "deep": lineage.CAUSES + 1}[shape]
    for i in range(many):
        cause = "s0" if shape == "star" or not i else f"s{i - 1}"
        await store.signals.publish(sent(f"s{i}", cause if i else "", correlation="all" if i else ""))
    found = await lineage_of(store, f"s{many - 1}" if shape == "deep" else "s0")
    assert found.more == frozenset()
    await store.signals.publish(sent("last", "s0" if shape == "star" else f"s{many - 1}", correlation="all"))
    found = await lineage_of(store, "last" if shape == "deep" else "s0")
    assert ("causes" if shape == "deep" else "effects") in found.more
    assert len(found.causes) == (lineage.CAUSES if shape == "deep" else 0)
    assert len(found.effects) == {"chain": lineage.DEEPEST, "star": lineage.EFFECTS, "deep": 0}[shape]
    if shape == "star":
        family = await lineage_of(store, "s1")
        assert len(family.family) == lineage.FAMILY
        assert family.more == {"family"}


async def test_what_a_run_emitted_before_it_was_reached_does_not_count_however_much_it_was(store: Store) -> None:
    many = from_run("r1", tuple(sent(f"early{i}", "r1") for i in range(lineage.EFFECTS + 10)))
    await put(store, start("r1", signals=many))
    await store.signals.publish(sent("root"))
    await put(store, heard("r1", 2, "root", sent("late", "r1")))
    found = await lineage_of(store, "root")
    assert effects(found) == [(1, "reached", "r1"), (2, "emitted", "late")]
    assert found.more == frozenset()


async def test_what_is_pruned_leaves_the_rest(store: Store) -> None:
    await _story(store)
    await put(store, finish("r1", 1, at=NOW + 1))
    await store.prune(before=NOW + 5)
    assert causes(await lineage_of(store, "follow")) == [("caused", "done"), ("emitted", "r1")]


@pytest.mark.parametrize("kind", sorted(SQL_KINDS))
def test_every_store_tells_the_same(kind: str, tmp_path: Path) -> None:
    from datetime import UTC

    def plain(found: Lineage) -> list[Any]:
        return [causes(found), effects(found), [each.id for each in found.family], found.more]

    with asyncio.Runner() as runner:
        told: list[Any] = []
        for store in (MemoryStore(), SQL_KINDS[kind](tmp_path, UTC)):
            runner.run(store.open())
            runner.run(_story(store))
            ids = ("press", "order", "done", "follow", "late", "early", "again")
            told.append([plain(runner.run(lineage_of(store, id_))) for id_ in ids])
            runner.run(throw_away(store))
        assert told[0] == told[1]
