"""Who publishes a signal or sends a command may be called off: what is stored by then is routed all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from world import World, check_end, statuses, tell

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.signal import SET_WORKFLOW, Signal
from fleetprompt.engine.runtime.engine import Engine

HEARS = """
name: hears
triggers: [{type: signal, match: go.now}]
steps: [{id: a, type: transform, output: 1}]
"""
GO = Signal(id="s", type="go.now", source="test", at=0.0)
PAUSE = Signal(id="p", type=SET_WORKFLOW, source="test", at=0.0, data={"workflow": "hears", "status": "paused"})


async def called_off(world: World, work: Coroutine[Any, Any, Any], at: str) -> None:
    """Begin something, and call it off while it waits for this answer of the store."""
    world.read_time = lambda what: 10.0 if what == at else 0.0
    task = asyncio.ensure_future(work)
    await asyncio.sleep(1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled(), f"it did not come to {at}"
    world.read_time = lambda what: 0.0


@pytest.mark.parametrize("at", ["signals.publish", "catalog.workflow"])
def test_a_signal_whose_sender_is_called_off_starts_what_it_starts(at: str) -> None:
    async def story(world: World, engine: Engine) -> None:
        engine.workflows._known.clear()
        await called_off(world, engine.bus.publish(GO), at)
        await world.until(lambda: statuses(world) == {"hears": ["completed"]})

    check_end(tell(story, HEARS))


def test_who_waits_for_what_another_was_called_off_from_is_told_so_and_it_is_done_later() -> None:
    async def story(world: World, engine: Engine) -> None:
        engine.workflows._known.clear()
        stored = (await engine.store.signals.publish(GO)).signal
        world.read_time = lambda what: 10.0 if what == "catalog.workflow" else 0.0
        first = asyncio.ensure_future(engine.bus.route(stored))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(engine.bus.route(stored))
        await asyncio.sleep(1)
        first.cancel()
        assert not await second
        world.read_time = lambda what: 0.0
        await world.until(lambda: statuses(world) == {"hears": ["completed"]})

    check_end(tell(story, HEARS))


@pytest.mark.parametrize("key", ["", "k"])
@pytest.mark.parametrize("at", ["signals.publish", "catalog.workflow"])
def test_a_command_whose_sender_is_called_off_is_carried_out(at: str, key: str) -> None:
    async def story(world: World, engine: Engine) -> None:
        command = Signal(id="p", type=SET_WORKFLOW, source="test", at=0.0, data=PAUSE.data, key=key)
        await called_off(world, engine.bus.submit(command), at)
        await world.until(lambda: world.disk.workflows["default", "hears"].status == "paused")
        await world.until(lambda: not world.disk.unrouted)

    tell(story, HEARS)


def test_a_command_that_was_stored_before_the_store_went_away_is_carried_out() -> None:
    async def story(world: World, engine: Engine) -> None:
        faults = iter([StoreUnavailable("the disk is gone")])
        world.read_fault = lambda what: next(faults, None) if what == "catalog.workflow" else None
        with pytest.raises(StoreUnavailable):
            await engine.bus.submit(PAUSE)
        await world.until(lambda: world.disk.workflows["default", "hears"].status == "paused")
        await world.until(lambda: not world.disk.unrouted)

    tell(story, HEARS)


def test_a_signal_that_is_said_again_as_a_drain_comes_by_is_not_left() -> None:
    async def story(world: World, engine: Engine) -> None:
        # Another process has stored it, and died before it could say so.
        await engine.store.signals.publish(GO)
        world.read_time = lambda what: 10.0 if what == "signals.publish" else 0.0
        again = asyncio.ensure_future(engine.bus.publish(GO))
        await asyncio.sleep(1)
        await engine.others_wrote()
        assert (await again).duplicate
        await world.until(lambda: statuses(world) == {"hears": ["completed"]})

    check_end(tell(story, HEARS))
