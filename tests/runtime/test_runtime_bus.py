"""The bus: a signal is stored first, counts once, reaches everyone it concerns, and its answer can be read."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from world import World, check_end, statuses, tell

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused, StoreUnavailable
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.signal_rules import Rules
from fleetprompt.engine.runtime.admission import Admission, validate
from fleetprompt.engine.runtime.engine import Engine

WAITS = """
name: waits
steps:
  - {id: one, type: wait, signal: "go.*"}
  - {id: two, type: wait, signal: "go.*"}
"""
STARTED = """
name: started
triggers: [{type: signal, match: go.now, inputs: {n: "${{ data.n }}"}, key: "${{ data.key }}"}]
inputs: {n: integer}
steps: [{id: a, type: python, call: "world:act"}]
"""
ASKS = """
name: asks
steps:
  - {id: gate, type: approval, message: "Go on?", approvers: ["group:oncall", eve], quorum: 2,
     form: {n: {type: integer, required: true}}}
  - {id: a, type: transform, needs: [gate.approved], output: "${{ steps.gate.output.values.n }}"}
"""
TYPED = """
name: typed
inputs: {n: integer, s: {type: string, enum: [a, b], default: a}}
steps: [{id: a, type: transform, output: "${{ inputs.n }}"}]
"""


def outside(type_: str, data: Any = None, **fields: Any) -> Signal:
    return Signal(id="s", type=type_, source="test", at=0.0, data=data, **fields)


def answers(world: World, signal: str) -> list[Result]:
    return list(world.disk.results.get(signal, {}).values())


# ---------------------------------------------------------------- what may enter


@pytest.mark.parametrize(
    "type_", ["fleet.run.start", "fleet.", "", ".", "a..b", "a b", "a.*", "x" * 256, "a/b", "deploy.", "ä", "a\n"]
)
def test_what_is_no_type_or_the_engine_s_own_is_refused(type_: str) -> None:
    with pytest.raises(InvalidInput):
        Admission(Rules(), now=lambda: 0.0).admit(outside(type_))


@pytest.mark.parametrize("type_", ["deploy", "deploy.finished", "a-b.c_d.e1", "fleeting.moment"])
def test_dot_separated_words_are_a_type(type_: str) -> None:
    Admission(Rules(), now=lambda: 0.0).admit(outside(type_))


def test_a_signal_of_more_than_a_mebibyte_is_refused_and_one_of_a_mebibyte_is_not() -> None:
    validate(outside("big", "x" * (1024 * 1024 - 2)))
    with pytest.raises(InvalidInput, match="1 MiB"):
        validate(outside("big", "x" * (1024 * 1024 - 1)))


def test_what_is_refused_at_the_door_is_not_stored() -> None:
    async def story(world: World, engine: Engine) -> None:
        with pytest.raises(InvalidInput):
            await world.publish("fleet.run.finished", {"run": "x"})
        with pytest.raises(InvalidInput):
            await world.publish("big", "x" * 2_000_000)
        assert not world.disk.signals

    tell(story)


# ---------------------------------------------------------------- once


def test_of_two_signals_with_one_key_the_first_counts() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        first = await world.publish("go.on", {"n": 1}, key="k")
        again = await world.publish("go.on", {"n": 2}, key="k")
        assert first.id == again.id
        assert world.run("run-0").steps["two"].status == "waiting"
        await world.publish("go.on", {"n": 3})
        await world.over()
        assert [world.run("run-0").steps[id_].output["data"]["n"] for id_ in ("one", "two")] == [1, 3]

    check_end(tell(story, WAITS))


@pytest.mark.parametrize("together", [False, True])
def test_a_command_with_a_key_is_carried_out_once_and_gives_everyone_the_same_answer(together: bool) -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        commands = [world.send(types.PAUSE, key="p"), world.send(types.PAUSE, key="p")]
        found = await asyncio.gather(*commands) if together else [await command for command in commands]
        assert [(answer.status, answer.run) for answer in found] == [("accepted", "run-0")] * 2
        names = [type(fact).__name__ for fact in world.facts("run-0")]
        assert names.count("RunPaused") == 1

    tell(story, WAITS)


def test_two_starts_with_one_key_are_one_run() -> None:
    async def story(world: World, engine: Engine) -> None:
        start = {"workflow": "typed", "inputs": {"n": 1}}
        signals = [
            Signal(id=f"r{i}", type=types.START, source="test", at=world.now(), key="k", data=start) for i in range(3)
        ]
        found = await asyncio.gather(*map(engine.bus.submit, signals[:2]))
        found.append(await engine.bus.submit(signals[2]))
        assert [(answer.status, answer.run) for answer in found] == [("accepted", "r0")] * 3
        await world.over("r0")

    check_end(tell(story, TYPED))


def test_a_signal_that_is_drained_twice_at_once_is_heard_once() -> None:
    """Two nudges: the second has read its list before the first had routed what is on it."""

    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        assert world.store is not None
        for n in (1, 2, 3):
            await world.store.signals.publish(msgspec.structs.replace(outside("other.thing"), id=f"o{n}"))
        await world.store.signals.publish(outside("go.on", {"n": 1}))
        delays = iter([0.0, 5.0])
        world.read_time = lambda what: next(delays, 0.0) if what == "signals.unrouted" else 0.0
        await asyncio.gather(engine.bus.drain(), engine.bus.drain())
        run = world.run("run-0")
        assert [run.steps[id_].status for id_ in ("one", "two")] == ["completed", "waiting"]
        assert [(answer.status, answer.run) for answer in answers(world, "s")] == [("accepted", "run-0")]

    tell(story, WAITS)


def test_a_drain_goes_on_until_nothing_is_left() -> None:
    async def story(world: World, engine: Engine) -> None:
        assert world.store is not None
        for n in range(2_500):
            await world.store.signals.publish(msgspec.structs.replace(outside("other.thing"), id=f"o{n}"))
        assert await engine.bus.drain() == tuple(f"o{n}" for n in range(2_500))
        assert not world.disk.unrouted

    tell(story)


# ---------------------------------------------------------------- where to


def test_a_signal_reaches_every_run_that_waits_and_every_trigger() -> None:
    async def story(world: World, engine: Engine) -> None:
        for i in range(3):
            await world.start("waits", f"run-{i}")
        await world.until(lambda: all(world.waits(f"run-{i}", "signal") for i in range(3)))
        news = await world.publish("go.now", {"n": 5, "key": "x"})
        await world.until(lambda: len(world.disk.runs) == 4)
        assert all(world.run(f"run-{i}").steps["one"].status == "completed" for i in range(3))
        assert {answer.run for answer in answers(world, news.id)} == set(world.disk.runs)
        await world.publish("go.on")
        await world.over(*world.disk.runs)

    world = tell(story, WAITS, STARTED)
    assert statuses(world) == {"started": ["completed"], "waits": ["completed"] * 3}
    check_end(world)


def test_a_trigger_s_key_starts_one_run_and_says_which() -> None:
    async def story(world: World, engine: Engine) -> None:
        first = await world.publish("go.now", {"n": 1, "key": "same"})
        second = await world.publish("go.now", {"n": 2, "key": "same"})
        third = await world.publish("go.now", {"n": 3, "key": "other"})
        runs = [answers(world, signal.id)[0].run for signal in (first, second, third)]
        assert runs[0] == runs[1] != runs[2]
        assert set(runs) == set(world.disk.runs)
        await world.over(*world.disk.runs)

    check_end(tell(story, STARTED))


def test_a_trigger_that_cannot_be_evaluated_says_so_and_stops_no_other() -> None:
    async def story(world: World, engine: Engine) -> None:
        news = await world.publish("go.now", {"n": 1})
        refused = [answer for answer in answers(world, news.id) if answer.status == "refused"]
        assert len(refused) == 1
        assert "started" in refused[0].reason
        await world.until(lambda: len(world.disk.runs) == 1)
        await world.over(*world.disk.runs)

    other = STARTED.replace("name: started", "name: other").replace(', key: "${{ data.key }}"', "")
    assert statuses(tell(story, STARTED, other)) == {"other": ["completed"]}


def test_a_trigger_with_inputs_that_do_not_fit_is_refused_where_the_signal_can_be_read() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.publish("go.now", {"n": "text", "key": "x"})
        start = next(signal for signal in world.disk.signals.values() if signal.type == types.START)
        assert [answer.status for answer in answers(world, start.id)] == ["refused"]
        assert "`n`" in answers(world, start.id)[0].reason
        assert not world.disk.runs
        assert not world.disk.unrouted

    tell(story, STARTED)


# ---------------------------------------------------------------- commands


def test_commands_to_a_run_that_is_not_there_are_refused() -> None:
    async def story(world: World, engine: Engine) -> None:
        for type_ in (types.CANCEL, types.PAUSE, types.RESUME, types.VOTE, types.RESOLVE):
            answer = await world.send(type_, "nope")
            assert (answer.status, "no run nope" in answer.reason) == ("refused", True)
        with pytest.raises(NotFound):
            await world.send(types.RETRY, "nope")

    tell(story)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [({}, "missing input `n`"), ({"n": "x"}, "type integer"), ({"n": 1, "s": "c"}, "one of"), ({"m": 1}, "unknown")],
)
def test_a_start_with_bad_inputs_is_refused(inputs: dict[str, Any], says: str) -> None:
    async def story(world: World, engine: Engine) -> None:
        data = {"workflow": "typed", "inputs": inputs}
        with pytest.raises(InvalidInput, match=says):
            await engine.bus.submit(Signal(id="r", type=types.START, source="test", at=0.0, data=data))
        answer = await engine.bus.submit(Signal(id="q", type=types.START, source="test", at=0.0, data=data, key="k"))
        assert (answer.status, says in answer.reason) == ("refused", True)
        assert not world.disk.runs

    tell(story, TYPED)


def test_nothing_starts_of_a_workflow_that_is_paused_archived_or_unknown() -> None:
    async def story(world: World, engine: Engine) -> None:
        for status in ("paused", "archived"):
            answer = await world.send(types.SET_WORKFLOW, "", workflow="typed", status=status)
            assert answer.status == "accepted"
            with pytest.raises(Refused, match=status):
                await world.start("typed", n=1)
        assert (await world.send(types.SET_WORKFLOW, "", workflow="typed", status="odd")).status == "refused"
        assert (await world.send(types.SET_WORKFLOW, "", workflow="nope", status="active")).status == "refused"
        with pytest.raises(NotFound, match="no workflow"):
            await world.start("nope")
        await world.send(types.SET_WORKFLOW, "", workflow="typed", status="active")
        assert (await world.start("typed", n=1)).status == "accepted"
        await world.over()
        assert not world.disk.unrouted

    check_end(tell(story, TYPED))


def test_a_paused_workflow_has_no_triggers() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.send(types.SET_WORKFLOW, "", workflow="started", status="paused")
        await world.publish("go.now", {"n": 1, "key": "x"})
        assert not world.disk.runs
        await world.send(types.SET_WORKFLOW, "", workflow="started", status="active")
        await world.publish("go.now", {"n": 1, "key": "y"})
        await world.until(lambda: len(world.disk.runs) == 1)
        await world.over(*world.disk.runs)

    tell(story, STARTED)


def test_only_approvers_decide_each_of_them_once_and_what_the_form_asks_for() -> None:
    async def story(world: World, engine: Engine) -> None:
        async def vote(by: str, decision: str = "approved", **values: Any) -> tuple[str, str]:
            approval = next(iter(world.disk.approvals))
            data = {"run": "run-0", "approval": approval, "decision": decision, "values": values}
            signal = Signal(
                id=world.new_id("vote"), type=types.VOTE, source="t", at=world.now(), subject="run-0", by=by, data=data
            )
            answer = await engine.bus.submit(signal)
            return answer.status, answer.reason

        await world.start("asks")
        for by, says in (("mallory", "may not"), ("", "identity")):
            status, reason = await vote(by, n=1)
            assert (status, says in reason) == ("refused", True)
        assert "form needs `n`" in (await vote("ana"))[1]
        assert "integer" in (await vote("ana", n="x"))[1]
        assert "decision" in (await vote("ana", "maybe", n=1))[1]
        assert (await vote("ana", n=1))[0] == "accepted"
        assert "already" in (await vote("ana", n=1))[1]
        assert world.run("run-0").steps["gate"].status == "waiting"
        assert (await vote("eve", n=2))[0] == "accepted"
        assert "already" in (await vote("eve", n=2))[1]
        await world.over()
        assert world.run("run-0").steps["a"].output == 2

    check_end(tell(story, ASKS))


def test_a_vote_about_what_has_changed_since_it_was_shown_is_refused() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("asks")
        approval = next(iter(world.disk.approvals.values()))

        async def vote(by: str, **seen: Any) -> tuple[str, str]:
            data = {"run": "run-0", "approval": approval.id, "decision": "approved", "values": {"n": 1}, **seen}
            signal = Signal(
                id=world.new_id("vote"), type=types.VOTE, source="t", at=world.now(), subject="run-0", by=by, data=data
            )
            answer = await engine.bus.submit(signal)
            return answer.status, answer.reason

        for seen, says in (
            ({"digest": "0" * 64, "level": 0}, "changed since it was shown"),
            ({"digest": approval.digest, "level": 1}, "at level 0 by now"),
        ):
            status, reason = await vote("ana", **seen)
            assert (status, says in reason) == ("refused", True)
        assert not world.disk.votes
        assert (await vote("ana", digest=approval.digest, level=approval.level))[0] == "accepted"
        assert (await vote("eve"))[0] == "accepted", "an old face does not tell what it has shown"
        assert await world.over() == ["completed"]

    check_end(tell(story, ASKS))


def test_a_vote_that_another_process_left_is_counted_and_corrected_until_others_have_voted() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("asks")
        approval = next(iter(world.disk.approvals))
        data = {"run": "run-0", "approval": approval, "decision": "approved", "values": {"n": 1}}
        assert world.store is not None

        def vote(id_: str, by: str, **more: Any) -> Signal:
            what = data | more
            return Signal(id=id_, type=types.VOTE, source="t", at=world.now(), subject="run-0", by=by, data=what)

        await world.store.signals.publish(vote("v1", "ana"))
        await world.store.signals.publish(vote("v2", "ana", values={"n": 2}))
        await world.store.signals.publish(vote("v3", "mallory"))
        await engine.bus.drain()
        assert [answer.status for answer in answers(world, "v1") + answers(world, "v3")] == ["accepted", "refused"]
        assert [(vote.by, vote.values) for vote, _ in world.disk.votes.values()] == [("ana", {"n": 2})]
        await world.store.signals.publish(vote("v4", "eve", values={"n": 2}))
        with pytest.raises(Refused, match="decided already"):
            await world.store.signals.publish(vote("v5", "ana", decision="rejected"))
        await engine.bus.drain()
        assert await world.over() == ["completed"]

    check_end(tell(story, ASKS))


# ---------------------------------------------------------------- when something is wrong


def test_one_signal_that_nobody_can_read_holds_up_no_other() -> None:
    async def story(world: World, engine: Engine) -> None:
        assert world.store is not None
        odd = {"workflow": "typed", "inputs": {"n": 1}, "priority": "high"}
        await world.store.signals.publish(Signal(id="odd", type=types.START, source="t", at=0.0, data=odd))
        await world.store.signals.publish(Signal(id="text", type=types.PAUSE, source="t", at=0.0, data="nonsense"))
        await world.store.signals.publish(Signal(id="none", type=types.START, source="t", at=0.0))
        fine = {"workflow": "typed", "inputs": {"n": 1}}
        await world.store.signals.publish(Signal(id="fine", type=types.START, source="t", at=0.0, data=fine))
        await engine.bus.drain()
        assert await world.over("fine") == ["completed"]
        assert [answers(world, id_)[0].status for id_ in ("odd", "text", "none")] == ["refused"] * 3
        assert not world.disk.unrouted

    tell(story, TYPED)


@pytest.mark.parametrize("during", ["runs.get", "catalog.workflow"])
def test_a_store_that_cannot_be_read_refuses_no_start(during: str) -> None:
    """Neither that of a trigger nor that of a child; and looking for what is left is tried as long as it takes."""
    parent = """
name: parent
triggers: [{type: signal, match: go.now}]
steps: [{id: sub, type: workflow, workflow: typed, with: {n: 1}}]
"""

    async def story(world: World, engine: Engine) -> None:
        back = world.now() + 30
        world.read_fault = lambda what: (
            StoreUnavailable("database is locked")
            if world.now() < back and what in (during, "signals.unrouted")
            else None
        )
        engine.workflows._known.clear()
        await world.publish("go.now")
        await world.until(lambda: len(world.disk.runs) == 2)
        assert await world.over(*world.disk.runs) == ["completed", "completed"]

    check_end(tell(story, parent, TYPED))


def test_a_signal_whose_sender_was_told_that_it_failed_is_routed_if_it_is_there() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        left = [StoreUnavailable("connection lost")]
        world.late_fault = lambda what: left.pop() if left and what == "signals.publish" else None
        with pytest.raises(StoreUnavailable):
            await world.publish("go.now")
        await world.until(lambda: world.run("run-0").steps["one"].status == "completed")

    tell(story, WAITS)


def test_a_signal_that_could_not_be_routed_is_routed_when_the_store_is_back() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        back = world.now() + 30
        world.read_fault = lambda what: (
            StoreUnavailable("database is locked")
            if world.now() < back and what in ("runs.waiting", "signals.close")
            else None
        )
        news = await world.publish("go.now")
        assert news.id in world.disk.unrouted
        await world.until(lambda: news.id not in world.disk.unrouted)
        assert world.run("run-0").steps["one"].status == "completed"
        assert [answer.status for answer in answers(world, news.id)] == ["accepted"]

    tell(story, WAITS)


def test_a_run_that_cannot_be_read_makes_nobody_else_deaf() -> None:
    async def story(world: World, engine: Engine) -> None:
        for i in range(3):
            await world.start("waits", f"run-{i}")
        await world.until(lambda: all(world.waits(f"run-{i}", "signal") for i in range(3)))
        rows = world.disk.histories["run-1"]
        rows[2] = msgspec.structs.replace(rows[2], data=b"{damaged")
        engine.recovery._parked.clear()
        await world.publish("go.on")
        assert [world.run(f"run-{i}").steps["one"].status for i in (0, 2)] == ["completed", "completed"]
        assert not world.disk.unrouted
        answer = await world.send(types.CANCEL, "run-1", key="k")
        assert (answer.status, "damaged at fact 3" in answer.reason) == ("refused", True)

    world = tell(story, WAITS)
    assert any("run-1" in where and "damaged" in what for _, where, what in world.troubles)


def test_a_child_that_cannot_be_started_fails_its_parent_s_step() -> None:
    parent = """
name: parent
steps: [{id: sub, type: workflow, workflow: typed, with: {n: "${{ 'x' }}"}}]
"""

    async def story(world: World, engine: Engine) -> None:
        await world.start("parent")
        assert await world.over() == ["failed"]
        error = world.run("run-0").error
        assert error is not None
        assert (error.code, error.path, "could not be started" in error.message) == ("VALIDATION_ERROR", "sub", True)

    check_end(tell(story, parent, TYPED))


def test_runs_that_start_in_a_crowd_read_the_catalog_once() -> None:
    async def story(world: World, engine: Engine) -> None:
        asked: list[str] = []

        def heard(what: str) -> float:
            asked.append(what)
            return 0.01

        engine.workflows._known.clear()
        world.read_time = heard
        names = [f"run-{i}" for i in range(20)]
        await asyncio.gather(*(world.start("typed", name, n=1) for name in names))
        assert asked.count("catalog.workflow") == 1
        assert await world.over(*names) == ["completed"] * 20
        await engine.workflows.refresh()
        await world.start("typed", "later", n=1)
        assert asked.count("catalog.workflow") == 2

    tell(story, TYPED)


def test_workflows_that_are_registered_together_are_looked_up_together() -> None:
    async def story(world: World, engine: Engine) -> None:
        asked: list[str] = []

        def heard(what: str) -> float:
            asked.append(what)
            return 0.0

        world.read_time = heard
        plan = engine.workflows.active[0].plan
        many = [(msgspec.structs.replace(plan, name=f"typed-{i}"), "", "") for i in range(20)]
        await engine.workflows.register_all(many)
        await engine.watches._refresh()
        assert len(engine.workflows.active) == 21
        # What comes of them is read row by row by nobody.
        assert not {"catalog.workflow", "catalog.plan"} & set(asked)

    tell(story, TYPED)


def test_an_older_reading_of_the_catalog_that_ends_last_does_not_put_back_what_was_before() -> None:
    async def story(world: World, engine: Engine) -> None:
        delays = iter([10.0])
        world.read_time = lambda what: next(delays, 0.0) if what == "catalog.every" else 0.0
        polled = asyncio.ensure_future(engine.others_wrote())
        await asyncio.sleep(1)
        plan = engine.workflows.active[0].plan
        await engine.workflows.register(msgspec.structs.replace(plan, name="newer"), source="")
        await polled
        assert [each.plan.name for each in engine.workflows.active] == ["newer", "typed"]

    tell(story, TYPED)


def test_what_nobody_hears_is_done_with_when_it_is_stored_and_what_a_step_waits_for_is_not() -> None:
    async def story(world: World, engine: Engine) -> None:
        await world.start("waits")
        await world.until(lambda: world.waits("run-0", "signal"))
        quiet = await engine.bus.publish(outside("test.done"))
        assert not quiet.routed, "a pattern may be for it: the engine finds out"
        await world.publish("go.on")
        await world.publish("go.on")
        await world.over()
        assert (await engine.bus.publish(msgspec.structs.replace(outside("test.done"), id="t"))).routed
        assert not world.disk.unrouted

    check_end(tell(story, WAITS))
