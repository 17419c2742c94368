"""Taking over from an engine that is gone, and leaving it where somebody else was faster."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from client_kit import ME, Heard, attached, embedded, place_at, start_of

from fleetprompt.client import listening
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.opening import Place
from fleetprompt.client.reopening import take_over
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.ports import Page

WAITS = """
name: waits
steps: [{id: w, type: wait, signal: go}]
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.02)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "waits.yaml").write_text(WAITS)
    return place_at(tmp_path)


async def test_what_was_recorded_meanwhile_is_carried_out(place: Place) -> None:
    engine, console = await embedded(place), await attached(place)
    run = await engine.start(start_of(place.root / "waits.yaml"))
    await engine.close()
    heard = Heard(console)
    result = await console.command(types.CANCEL, run, by=ME)
    assert result.reason == "queued"
    opened = await take_over(console, place)
    assert isinstance(opened, EmbeddedConsole)
    assert len(opened.taken_up.signals) == 1
    assert (await opened.engine.wait(run)).status == "cancelled"
    await heard.over()
    with pytest.raises(StoreUnavailable):
        await console.run(run)
    await opened.close()


async def test_where_somebody_was_faster_the_console_stays_attached_to_it(place: Place) -> None:
    first, second = await attached(place), await attached(place)
    opened, kept = await asyncio.gather(take_over(first, place), take_over(second, place))
    engines = [console for console in (opened, kept) if isinstance(console, EmbeddedConsole)]
    assert len(engines) == 1
    (other,) = {first, second} & {opened, kept}
    assert other.where == "attached"
    run = await other.start(start_of(place.root / "waits.yaml"))
    assert [head.id for head in (await engines[0].runs("", Page()))[0]] == [run]
    assert await take_over(other, place) is other  # type: ignore[arg-type]
    await other.close()
    await engines[0].close()


async def test_where_the_store_cannot_be_had_the_console_is_as_it_was(place: Place) -> None:
    console = await attached(place)
    assert place.lock is not None
    place.lock.unlink(missing_ok=True)
    place.lock.mkdir()
    with pytest.raises(StoreUnavailable):
        await take_over(console, place)
    assert await console.count("") == 0
    os.rmdir(place.lock)  # noqa: PTH106
    opened = await take_over(console, place)
    assert opened.where == "embedded"
    await opened.close()
