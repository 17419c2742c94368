"""The rules of a project hold wherever signals are published: with the engine here, or beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from client_kit import ME, attached, embedded, place_at

from fleetprompt.client.opening import Place, open_console
from fleetprompt.engine.core.errors import InvalidInput, RateLimited
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.signal_rules import MASK
from fleetprompt.engine.core.signal_settings import SignalRule


def signal(id_: str, **data: object) -> Signal:
    return Signal(id=id_, type="pay.done", source="shop", at=0.0, data=data, by=ME)


def shop(folder: Path) -> Place:
    (folder / "pay.json").write_text(json.dumps({"required": ["sum"]}))
    rule = SignalRule(schema="pay.json", rate="2/d", redact=["/card"])
    return place_at(folder, signals={"pay.*": rule})


@pytest.mark.parametrize("beside", [False, True])
async def test_rules_hold_with_the_engine_and_beside_it(tmp_path: Path, beside: bool) -> None:
    place = shop(tmp_path)
    first = await embedded(place)
    console = await attached(place) if beside else first
    try:
        with pytest.raises(InvalidInput, match="lacks sum"):
            await console.publish(signal("a", card="4111"))
        for id_ in ("b", "c"):
            stored, duplicate = await console.publish(signal(id_, sum=1, card="4111"))
            assert (stored.data, duplicate) == ({"sum": 1, "card": MASK}, False)
        with pytest.raises(RateLimited):
            await console.publish(signal("d", sum=1))
        again = await console.replay("b", by=ME)
        assert (again.signal.data, again.signal.replay_of) == ({"sum": 1, "card": MASK}, "b")
        assert await console.signal_ids("type:pay.done") == [again.signal.id, "c", "b"]
    finally:
        if beside:
            await console.close()
        await first.close()


async def test_rules_that_cannot_be_read_stop_the_engine_and_not_who_looks(tmp_path: Path) -> None:
    place = shop(tmp_path)
    await (await embedded(place)).close()
    (tmp_path / "pay.json").write_text("{")
    for _ in range(2):
        with pytest.raises(InvalidInput) as refused:
            await open_console(place, "engine")
        assert refused.value.where == str(tmp_path / "pay.json")
    console = await attached(place)
    try:
        assert await console.signal_ids("") == []
        with pytest.raises(InvalidInput):
            await console.publish(signal("a", sum=1))
    finally:
        await console.close()
