"""Deliveries to a real receiver: signed, under one id, tried until they succeed, and never in anybody's way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from client_kit import ME, place_at, start_of

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_file
from fleetprompt.client.opening import open_store
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.delivery import Delivery, Subscriptions
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings
from fleetprompt.engine.ports import Approval, Page
from fleetprompt.engine.runtime import deliveries
from fleetprompt.engine.runtime.engine import Engine, Limits
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.deliveries import SqlDeliveries

sys.path.insert(0, str(Path(__file__).parents[1]))
from receiver import LOCAL, SECRET, Receiver, receiving

SENDS = """
name: sends
triggers: [{id: t, type: signal, match: go}]
steps:
  - {id: say, type: emit, signal: deploy.done, data: {env: prod}}
"""


class Ahead:
    """The clock of the system, so many seconds ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        import time

        return time.time() + self._seconds


@asynccontextmanager
async def opened(
    root: Path,
    subscriptions: dict[str, SubscriptionSettings],
    *,
    ahead: float = 0.0,
    resolve: Any = None,
    grace: float = 5.0,
) -> AsyncIterator[EmbeddedConsole]:
    place = place_at(root)
    place.state.mkdir(exist_ok=True)
    (place.state / "secrets.toml").write_text(f'OPS = "{SECRET}"\n')
    (place.state / "secrets.toml").chmod(0o600)
    engine = Engine(
        open_store(place),
        secrets=Secrets(place.state / "secrets.toml"),
        subscriptions=Subscriptions(subscriptions),
        clock=Ahead(ahead),
        limits=Limits(grace=grace),
        directory=root,
    )
    if resolve is not None:
        engine.deliverer.resolve_by(resolve)
    await engine.open()
    console = EmbeddedConsole(engine, None, None)
    try:
        yield console
    finally:
        await console.close()


def to(receiver: Receiver, **fields: Any) -> SubscriptionSettings:
    known: dict[str, Any] = {
        "url": receiver.url("/hook?x=1"),
        "types": ["deploy.*", "fleet.run.finished"],
        "secret": "OPS",
        "networks": LOCAL,
    }
    return SubscriptionSettings(**(known | fields))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def run(console: EmbeddedConsole, root: Path) -> str:
    file = root / "sends.yaml"
    file.write_text(SENDS)
    run = await console.start(start_of(file))
    await console.engine.wait(run)
    return run


async def settled(console: EmbeddedConsole, test: Callable[[list[Delivery]], Any]) -> list[Delivery]:
    """The deliveries, once they are as the test wants them."""
    async with asyncio.timeout(60):
        while True:
            found, _ = await console.deliveries("", Page())
            if test(found):
                return found
            await asyncio.sleep(0.01)


def all_are(status: str, count: int) -> Callable[[list[Delivery]], bool]:
    return lambda found: len(found) == count and all(each.status == status for each in found)


async def letters(console: EmbeddedConsole) -> list[DeadLetter]:
    found, _ = await console.dead_letters("", Page())
    return found


async def test_what_a_run_says_and_that_it_is_over_are_delivered_signed(tmp_path: Path, receiver: Receiver) -> None:
    async with opened(tmp_path, {"ops": to(receiver)}) as console:
        run_id = await run(console, tmp_path)
        requests = await receiver.until(lambda all_: len(all_) == 2)
        events = {request.event["type"]: request for request in requests}
        said = events["deploy.done"]
        assert said.path == "/hook?x=1"
        assert said.headers["content-type"] == "application/cloudevents+json"
        assert (said.event["data"], said.event["source"]) == ({"env": "prod"}, f"run/{run_id}/say")
        over = events["fleet.run.finished"].event
        assert (over["data"]["status"], over["data"]["workflow"], over["subject"]) == ("completed", "sends", run_id)
        found = await settled(console, all_are("delivered", 2))
        assert {each.id for each in found} == {request.id for request in requests}
        assert [each.http for each in found] == [204, 204]


async def test_a_receiver_that_fails_gets_the_same_again_later_also_from_the_next_engine(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = lambda request: "503 Service Unavailable\r\nretry-after: 100"
    only = {"ops": to(receiver, types=["deploy.*"])}
    async with opened(tmp_path, only) as console:
        await run(console, tmp_path)
        [failed] = await settled(console, lambda found: found and found[0].attempts)
        assert (failed.status, failed.http, failed.reason) == ("pending", 503, "the receiver answered 503")
        assert failed.due - failed.at == 100
    receiver.answer = lambda request: "200 OK"
    async with opened(tmp_path, only, ahead=90.0) as console:
        await run(console, tmp_path)
        await receiver.until(lambda all_: len(all_) == 2)
        assert len({request.id for request in receiver.requests}) == 2
    async with opened(tmp_path, only, ahead=110.0) as console:
        await settled(console, all_are("delivered", 2))
    assert [request.id for request in receiver.requests] == [failed.id, receiver.requests[1].id, failed.id]


async def test_one_that_never_answers_keeps_nobody_waiting_but_itself(tmp_path: Path, receiver: Receiver) -> None:
    async with receiving() as silent:
        silent.answer = lambda request: None
        both = {"ops": to(receiver), "slow": to(silent, concurrency=2, timeout=60.0)}
        async with opened(tmp_path, both, grace=0.2) as console:
            for _ in range(5):
                await run(console, tmp_path)
            await receiver.until(lambda all_: len(all_) == 10)
            await silent.until(lambda all_: len(all_) == 2)
            await settled(console, lambda found: sum(each.status == "delivered" for each in found) == 10)
            assert len(silent.requests) == 2
        silent.answer = lambda request: "200 OK"
        async with opened(tmp_path, both) as console:
            await settled(console, all_are("delivered", 20))
        assert len({request.id for request in silent.requests}) == 10


@pytest.mark.parametrize(("status", "why"), [("404 Not Found", "404"), ("302 Found\r\nlocation: /other", "redirect")])
async def test_what_cannot_succeed_is_dead_and_can_be_delivered_again(
    tmp_path: Path, receiver: Receiver, status: str, why: str
) -> None:
    receiver.answer = lambda request: status
    async with opened(tmp_path, {"ops": to(receiver, types=["deploy.*"])}) as console:
        await run(console, tmp_path)
        await settled(console, all_are("dead", 1))
        [letter] = await letters(console)
        assert (letter.kind, letter.target, letter.status, letter.attempts) == ("subscription", "ops", "dead", 1)
        assert why in letter.reason
        assert [request.path for request in receiver.requests] == ["/hook?x=1"]
        receiver.answer = lambda request: "200 OK"
        assert (await console.replay_letter(letter.id, by=ME)).status == "accepted"
        await settled(console, all_are("delivered", 1))
        assert [each.status for each in await letters(console)] == ["replayed"]
        assert len({request.id for request in receiver.requests}) == 1


async def test_one_that_is_gone_gets_nothing_of_what_was_on_its_way(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda request: "503 No" if len(receiver.requests) < 3 else "410 Gone"
    async with opened(tmp_path, {"ops": to(receiver, types=["deploy.*"])}) as console:
        for _ in range(3):
            await run(console, tmp_path)
            await settled(console, lambda found: all(each.attempts for each in found))
        await settled(console, all_are("dead", 3))
        assert {"gone" in each.reason for each in await letters(console)} == {True}


async def test_private_addresses_are_refused_unless_they_are_allowed(tmp_path: Path, receiver: Receiver) -> None:
    inside = {"inside.example": ["127.0.0.1"], "meta.example": ["169.254.169.254"]}
    inside["both.example"] = ["1.1.1.1", "10.0.0.1"]

    async def resolve(host: str, port: int) -> list[str]:
        return inside[host]

    port = receiver.port
    hosts = {
        "number": f"http://127.0.0.1:{port}/",
        "name": f"http://inside.example:{port}/",
        "six": f"http://[::ffff:127.0.0.1]:{port}/",
        "both": f"http://both.example:{port}/",
    }
    every = {name: to(receiver, url=url, networks=[], types=["deploy.*"]) for name, url in hosts.items()}
    every["meta"] = to(receiver, url="http://meta.example/", networks=["0.0.0.0/0"], types=["deploy.*"])
    every["allowed"] = to(receiver, url=f"http://inside.example:{port}/ok", types=["deploy.*"])
    async with opened(tmp_path, every, resolve=resolve) as console:
        await run(console, tmp_path)
        found = await settled(console, lambda found: all(each.status != "pending" for each in found))
        assert {each.subscription for each in found if each.status == "delivered"} == {"allowed"}
        assert {each.attempts for each in found} == {1}
        [request] = receiver.requests
        assert (request.path, request.headers["host"]) == ("/ok", f"inside.example:{port}")


async def test_an_attempt_that_goes_wrong_here_counts_and_is_tried_again(tmp_path: Path, receiver: Receiver) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError(24, "Too many open files")

    everybody = {"away": to(receiver, url="http://away.example/", max_attempts=2), "ops": to(receiver)}
    async with opened(tmp_path, everybody, resolve=resolve) as console:
        await run(console, tmp_path)
        found = await settled(console, lambda found: sum(each.attempts for each in found) == 4)
        pending = [each for each in found if each.status == "pending"]
        assert [each.subscription for each in pending] == ["away", "away"]
        assert all("Too many open files" in each.reason for each in pending)
        assert len(receiver.requests) == 2, "the other one is told of all"
        assert any("Too many open files" in what for _, _, what in console.engine.troubles)
    async with opened(tmp_path, everybody, resolve=resolve, ahead=10) as console:
        await settled(console, lambda found: sum(each.status == "dead" for each in found) == 2)


async def test_what_keeps_one_from_being_begun_is_told_and_the_others_come_later(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LONGEST_SLEEP", 0.1)
    due, failed = SqlDeliveries.due, []

    async def failing(self: SqlDeliveries) -> Any:
        if not failed:
            failed.append(self)
            raise ValueError("once")
        return await due(self)

    monkeypatch.setattr(SqlDeliveries, "due", failing)
    async with opened(tmp_path, {"ops": to(receiver)}) as console:
        await run(console, tmp_path)
        await settled(console, all_are("delivered", 2))
        assert any(what == "ValueError: once" for _, _, what in console.engine.troubles)


async def test_a_secret_that_is_missing_is_told_and_tried_again(tmp_path: Path, receiver: Receiver) -> None:
    async with opened(tmp_path, {"ops": to(receiver, secret="NONE", types=["deploy.*"])}) as console:
        await run(console, tmp_path)
        [found] = await settled(console, lambda found: found and found[0].attempts)
        assert (found.status, "NONE" in found.reason) == ("pending", True)
        assert receiver.requests == []


async def test_a_replay_is_not_told_unless_that_was_asked_for(tmp_path: Path, receiver: Receiver) -> None:
    async with opened(tmp_path, {"ops": to(receiver)}) as console:
        file = tmp_path / "sends.yaml"
        file.write_text(SENDS)
        await console.register(load_file(file))
        await console.publish(Signal(id="s1", type="go", source="ci", at=console.clock.now()))
        await settled(console, all_are("delivered", 2))
        quiet = await console.replay("s1", by=ME)
        loud = await console.replay("s1", by=ME, deliver=True)
        await settled(console, all_are("delivered", 4))
        runs = [result.run for each in (quiet, loud) for result in each.results]
        told = {request.event["source"].split("/")[1] for request in receiver.requests}
        assert [run in told for run in runs] == [False, True]


ASKS = """
name: asks
steps: [{id: gate, type: approval, message: "Go?", show: {for: "their eyes"}, approvers: [me, ana]}]
"""


async def until_asked(console: EmbeddedConsole) -> list[Approval]:
    async with asyncio.timeout(60):
        while not (found := (await console.approvals("status:pending", Page()))[0]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_what_becomes_of_a_run_is_told_to_who_wants_it(tmp_path: Path, receiver: Receiver) -> None:
    file = tmp_path / "asks.yaml"
    file.write_text(ASKS)
    subscriptions = {"all": to(receiver, types=["fleet.**"]), "end": to(receiver, types=["fleet.run.finished"])}
    async with opened(tmp_path, subscriptions) as console:
        run = await console.start(start_of(file))
        await receiver.until(lambda all_: len(all_) == 2)
        for type_ in (types.PAUSE, types.RESUME):
            assert (await console.command(type_, run, by="ana", data={"reason": "lunch"})).status == "accepted"
        [asked] = await until_asked(console)
        assert (await console.vote(asked.id, "approved", by="ana", comment="fine")).status == "accepted"
        await console.engine.wait(run)
        await receiver.until(lambda all_: len(all_) == 7)
        told = {request.event["type"]: request.event for request in receiver.requests}
        assert len(told) == 6, "none twice, but for the end, which two are told of"
        assert {event["source"] for event in told.values()} == {f"run/{run}"}
        assert {(event["data"]["run"], event["data"]["workflow"]) for event in told.values()} == {(run, "asks")}
        asking, decided = told["fleet.approval.requested"], told["fleet.approval.decided"]
        assert (asking["data"]["approval"], asking["data"]["message"]) == (asked.id, "Go?")
        assert "their eyes" not in str(told)
        assert (decided["data"]["decision"], decided["data"]["by"], decided["data"]["comment"]) == (
            "approved",
            ["ana"],
            "fine",
        )
        assert told["fleet.run.paused"]["data"]["by"] == "ana"
        assert told["fleet.run.finished"]["data"]["status"] == "completed"
        assert not await console.store.signals.unrouted()


async def test_what_nobody_wants_is_not_made(tmp_path: Path, receiver: Receiver) -> None:
    file = tmp_path / "asks.yaml"
    file.write_text(ASKS)
    elsewhere = to(receiver, types=["fleet.**"], tenant="b")
    async with opened(tmp_path, {"end": to(receiver, types=["fleet.run.finished"]), "b": elsewhere}) as console:
        run = await console.start(start_of(file))
        [asked] = await until_asked(console)
        await console.vote(asked.id, "approved", by="ana")
        await console.engine.wait(run)
        found, _ = await console.signals("", Page())
        assert {signal.type for signal in found} == {types.START, types.VOTE, types.FINISHED}
