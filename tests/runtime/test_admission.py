"""Who comes in through the door of the bus, and what is left of who does not."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from world import World, tell

from fleetprompt.engine.core.errors import InvalidInput, RateLimited
from fleetprompt.engine.core.signal import TRIGGER_WEBHOOK, Signal
from fleetprompt.engine.core.signal_rules import MASK
from fleetprompt.engine.core.signal_settings import SignalRule
from fleetprompt.engine.runtime.admission import OF_TRIGGERS, OWN_SOURCES, Admission
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.signal_schemas import checker, read_rules

SCHEMA = {
    "type": "object",
    "required": ["env"],
    "properties": {"env": {"enum": ["prod", "test"]}, "n": {"type": "integer"}, "card": {"pattern": "^[0-9]+$"}},
}
LISTENS = """
name: listens
triggers: [{type: signal, match: "deploy.*"}, {type: signal, match: "pay.*"}]
steps: [{id: a, type: transform, output: "${{ trigger.data }}"}]
"""
EMITS = """
name: emits
inputs: {env: string}
steps: [{id: a, type: emit, signal: deploy.done, data: {env: "${{ inputs.env }}", card: "4111"}}]
"""


def signal(type_: str = "deploy.done", data: Any = None, **fields: Any) -> Signal:
    return Signal(**({"id": "s", "type": type_, "source": "ci", "at": 0.0, "data": data} | fields))


def door(folder: Path, now: list[float] | None = None, **rules: SignalRule) -> Admission:
    (folder / "deploy.json").write_text(json.dumps(SCHEMA))
    times = now or [0.0]
    named = {pattern.replace("__", "**").replace("_", "."): rule for pattern, rule in rules.items()}
    return Admission(read_rules(named, folder), now=lambda: times[0])


DEPLOY = SignalRule(schema="deploy.json", redact=["/card"])


def test_data_that_fits_comes_in_masked(tmp_path: Path) -> None:
    admission = door(tmp_path, deploy_done=DEPLOY)
    sent = signal(data={"env": "prod", "card": "4111"})
    assert admission.admit(sent).data == {"env": "prod", "card": MASK}
    assert admission.admit(signal("other.type", "anything")).data == "anything"
    assert not admission.tally


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "it lacks env"),
        ({"env": "dev"}, "/env does not fit `enum`"),
        ({"env": "prod", "n": "x"}, "/n is not of type integer"),
        (None, "is not of type object"),
        ({"env": "prod", "card": "secret-1"}, "/card does not fit `pattern`"),
    ],
)
def test_data_that_does_not_fit_is_refused_without_being_repeated(tmp_path: Path, data: Any, said: str) -> None:
    admission = door(tmp_path, deploy_done=DEPLOY)
    with pytest.raises(InvalidInput) as refused:
        admission.admit(signal(data=data))
    assert said in refused.value.message
    assert "secret-1" not in refused.value.message
    assert refused.value.where == "data"
    assert admission.tally == {"validate": 1}


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "k" * 2049},
        {"subject": "a\0b"},
        {"source": "x" * 2049},
        {"data": {"a": "\ud800"}},
        {"data": {"a": object()}},
    ],
)
def test_what_no_store_can_keep_is_refused(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        door(tmp_path).admit(signal(**fields))


@pytest.mark.parametrize("type_", sorted(OF_TRIGGERS))
def test_only_triggers_publish_what_triggers_say(type_: str, tmp_path: Path) -> None:
    admission = door(tmp_path)
    with pytest.raises(InvalidInput):
        admission.admit(signal(type_))
    assert admission.admit(signal(type_, source="webhook/x"), "trigger").type == type_
    assert admission.admit(signal(type_, replay_of="x"), "replay").type == type_
    for origin in ("trigger", "replay"):
        with pytest.raises(InvalidInput):
            admission.admit(signal("fleet.run.start"), origin)
    assert admission.tally["authenticate"] == 3


@pytest.mark.parametrize(
    "fields", [*({"source": f"{own}x"} for own in OWN_SOURCES), {"replay_of": "x"}, {"only": "flow"}, {"unfit": "x"}]
)
def test_nobody_poses_as_the_engine(fields: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        door(tmp_path).admit(signal(**fields))


def test_a_source_that_sends_too_many_waits_and_nobody_else_does(tmp_path: Path) -> None:
    now = [0.0]
    admission = door(tmp_path, now, deploy_done=SignalRule(rate="2/m"), deploy___=SignalRule(rate="3/m"))
    for _ in range(2):
        admission.admit(signal())
    with pytest.raises(RateLimited) as refused:
        admission.admit(signal())
    assert refused.value.code == "RATE_LIMIT"
    assert refused.value.retry_after == pytest.approx(30.0)
    admission.admit(signal(source="other"))
    admission.admit(signal(tenant="other"))
    admission.admit(signal("deploy.begun"))
    now[0] = 30.0
    admission.admit(signal())
    assert not admission.tally, "counted by the bus, once it is known whether it was only said again"


def test_a_replay_is_neither_counted_nor_checked_again(tmp_path: Path) -> None:
    """What was masked when it came may be what the schema asks for."""
    admission = door(tmp_path, deploy_done=SignalRule(schema="deploy.json", redact=["/card"], rate="1/d"))
    kept = admission.admit(signal(data={"env": "prod", "card": "1"}))
    again = admission.admit(signal(data=kept.data, replay_of="s", source="replay/ana"), "replay")
    assert again.data == {"env": "prod", "card": MASK}


def test_rules_for_everything_are_not_for_the_engine_s_own(tmp_path: Path) -> None:
    admission = door(tmp_path, __=SignalRule(redact=["/body"]))
    sent = signal(TRIGGER_WEBHOOK, {"body": 1}, source="webhook/x")
    assert admission.admit(sent, "trigger").data == {"body": 1}
    named = Admission(read_rules({TRIGGER_WEBHOOK: SignalRule(redact=["/body"])}, tmp_path), now=lambda: 0.0)
    assert named.admit(sent, "trigger").data == {"body": MASK}
    own = signal("fleet.run.finished", {"body": 1})
    assert named.redacted(own) is own


def test_secrets_are_masked_by_their_value(tmp_path: Path) -> None:
    def redact(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("hunter2", MASK))

    admission = Admission(read_rules({}, tmp_path), now=lambda: 0.0, redact=redact)
    found = admission.admit(signal(data={"a": ["hunter2"]}, subject="is hunter2"))
    assert (found.data, found.subject) == ({"a": [MASK]}, f"is {MASK}")


@pytest.mark.parametrize("text", ["{", "5", '{"type": 5}', '{"$ref": 1}', "[]"])
def test_a_schema_that_is_none_stops_the_engine(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InvalidInput) as refused:
        read_rules({"a": SignalRule(schema="s.json")}, tmp_path)
    assert refused.value.where == str(tmp_path / "s.json")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_rules({"a": SignalRule(schema="gone.json")}, tmp_path)


def test_a_schema_fetches_nothing() -> None:
    check = checker({"$ref": "http://127.0.0.1:1/schema.json"}, "s.json")
    assert "refers to what is not in it" in check({})
    assert checker({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, "s.json")(5) == "it is not of type string"


# In the engine


def with_rules(engine: Engine, folder: Path, **rules: SignalRule) -> None:
    engine.bus.admission = door(folder, **rules)


def test_what_is_refused_at_the_door_leaves_a_number(tmp_path: Path) -> None:
    async def story(world: World, engine: Engine) -> None:
        with_rules(engine, tmp_path, deploy_done=SignalRule(schema="deploy.json", rate="1/d"))
        with pytest.raises(InvalidInput):
            await world.publish("deploy.done", {})
        await world.publish("deploy.done", {"env": "prod"}, key="k")
        with pytest.raises(RateLimited):
            await world.publish("deploy.done", {"env": "prod"}, key="other")
        assert [each.key for each in world.disk.signals.values() if each.type == "deploy.done"] == ["k"]
        assert engine.bus.admission.tally == {"validate": 1, "rate-limit": 1, "accepted": 1}

    tell(story, LISTENS)


class Rising(Counter[str]):
    """Numbers, and those that ever fell."""

    def __init__(self) -> None:
        super().__init__()
        self.fell: list[str] = []

    def __setitem__(self, name: str, value: int) -> None:
        if value < self.get(name, 0):
            self.fell.append(name)
        super().__setitem__(name, value)


def test_what_is_said_again_is_not_too_much(tmp_path: Path) -> None:
    """A sender that did not hear the answer asks again: it is told what it was told before."""

    async def story(world: World, engine: Engine) -> None:
        with_rules(engine, tmp_path, deploy_done=SignalRule(rate="1/d"))
        first = await world.publish("deploy.done", key="k")
        counted = engine.bus.admission.tally = Rising()
        for id_, key in (("other", "k"), (first.id, "")):
            again = await engine.bus.publish(signal(id=id_, key=key, source=first.source))
            assert (again.duplicate, again.signal) == (True, first)
        await engine.bus.publish(signal(id="third", tenant="other"))
        with pytest.raises(RateLimited):
            await engine.bus.publish(signal(id=first.id, tenant="other", key="k"))
        assert counted == {"duplicate": 2, "accepted": 1, "rate-limit": 1}
        assert not counted.fell, "to who counts, a number that falls has begun anew"

    tell(story, LISTENS)


def test_what_runs_emit_is_masked_and_starts_nothing_that_it_does_not_fit(tmp_path: Path) -> None:
    async def story(world: World, engine: Engine) -> None:
        with_rules(engine, tmp_path, deploy_done=DEPLOY)
        await world.start("emits", "good", env="prod")
        await world.start("emits", "bad", env="moon")
        assert await world.over("good", "bad") == ["completed", "completed"]
        await world.until(lambda: not world.disk.unrouted)
        sent = [each for each in world.disk.signals.values() if each.type == "deploy.done"]
        came = {each.data["env"]: (each, [*world.disk.results.get(each.id, {}).values()]) for each in sent}
        assert all(each.data["card"] == MASK for each in sent)
        assert [result.status for result in came["prod"][1]] == ["accepted"]
        assert [result.status for result in came["moon"][1]] == ["refused"]
        assert "does not fit what deploy.done carries: /env" in came["moon"][1][0].reason
        await world.until(lambda: len(world.disk.runs) == 3)
        await world.over(*world.disk.runs)

    tell(story, EMITS, LISTENS)


def test_a_replay_says_so_and_so_does_the_run_that_it_starts(tmp_path: Path) -> None:
    async def story(world: World, engine: Engine) -> None:
        first = await world.publish("deploy.done", {"env": "prod"})
        again = signal(id="again", data=first.data, replay_of=first.id, source="replay/ana")
        await engine.bus.publish(again, "replay")
        await world.until(lambda: len(world.disk.runs) == 2)
        await world.over(*world.disk.runs)
        labels = sorted(head.labels.get("replay_of", "") for head in world.disk.runs.values())
        assert labels == ["", first.id]

    tell(story, LISTENS)


def test_a_replay_for_one_workflow_starts_that_one_alone() -> None:
    other = LISTENS.replace("name: listens", "name: other")
    waits = "name: waits\nsteps: [{id: one, type: wait, signal: 'deploy.*'}]"

    async def story(world: World, engine: Engine) -> None:
        await world.start("waits", "waiting")
        await world.until(lambda: world.waits("waiting", "signal"))
        again = signal(id="again", replay_of="x", only="other", source="replay/ana")
        await engine.bus.publish(again, "replay")
        await world.until(lambda: len(world.disk.runs) == 2)
        await asyncio.sleep(1)
        assert sorted(head.workflow for head in world.disk.runs.values()) == ["other", "waits"]
        assert world.waits("waiting", "signal")

    tell(story, LISTENS, other, waits)
