"""Deliveries: who is told of what, what an answer means, and when it is tried again."""

from __future__ import annotations

from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from fleetprompt.engine.core.delivery import (
    FIRST_PAUSE,
    LONGEST_ASKED,
    LONGEST_PAUSE,
    Answered,
    Delivery,
    Subscriptions,
    after,
    letter_of,
    pause,
)
from fleetprompt.engine.core.signal import AGENT_FINISHED, APPROVAL_REQUESTED, FINISHED, START, STARTED, Signal
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings, subscription_faults

NOW = 1_800_000_000.0


def settings(**fields: Any) -> SubscriptionSettings:
    return SubscriptionSettings(**({"url": "https://a.example", "types": ["**"], "secret": "S"} | fields))


def sent(type_: str = "deploy.done", data: Any = None, **fields: Any) -> Signal:
    return Signal(id="s", type=type_, source="run/r", at=NOW, data=data, **fields)


def told(signal: Signal, **fields: Any) -> bool:
    found = Subscriptions({"ops": settings(**fields)}).deliveries([signal], NOW)
    assert all(each.due == NOW and each.signal == "s" and "." not in each.id for each in found)
    return bool(found)


def tried(**fields: Any) -> Delivery:
    known = {"id": "dv-1", "tenant": "default", "subscription": "ops", "signal": "s", "type": "a.b", "source": "run/r"}
    return Delivery(**known, **fields)


# ---------------------------------------------------------------- who is told


@pytest.mark.parametrize(
    ("types", "type_", "expected"),
    [
        (["deploy.*"], "deploy.done", True),
        (["deploy.*"], "test.done", False),
        (["test.*", "deploy.**"], "deploy.a.b", True),
        (["**"], FINISHED, False),
        (["fleet.**"], FINISHED, True),
        (["fleet.run.finished"], FINISHED, True),
        (["fleet.agent.*"], AGENT_FINISHED, True),
        (["fleet.run.*"], STARTED, True),
        (["fleet.run.finished"], STARTED, False),
        (["**"], APPROVAL_REQUESTED, False),
        (["fleet.**", "**"], START, False),
    ],
)
def test_types_decide_and_none_of_the_engines_commands_leaves(types: list[str], type_: str, expected: bool) -> None:
    assert told(sent(type_), types=types) is expected


def test_conditions_tenants_and_what_nobody_is_to_hear() -> None:
    failed = sent(FINISHED, {"status": "failed"})
    only = {"types": ["fleet.run.finished"], "when": "data.status == 'failed'"}
    assert told(failed, **only)
    assert not told(sent(FINISHED, {"status": "completed"}), **only)
    assert told(sent(FINISHED, None), **only), "what cannot be decided is told"
    assert not told(sent(), tenant="b")
    assert told(sent(tenant="b"), tenant="b")
    assert not told(sent(muted=True))
    assert not told(sent(unfit="no number"))


def test_the_id_is_that_of_the_signal_and_the_subscription() -> None:
    both = Subscriptions({"a": settings(), "b": settings()})
    first, second = both.deliveries([sent()], NOW)
    assert first.id != second.id
    assert [each.id for each in both.deliveries([sent()], NOW + 9)] == [first.id, second.id]


# ---------------------------------------------------------------- what an answer means


@pytest.mark.parametrize(
    ("answered", "status"),
    [
        (Answered(200), "delivered"),
        (Answered(204), "delivered"),
        (Answered(301), "dead"),
        (Answered(307), "dead"),
        (Answered(400), "dead"),
        (Answered(401), "dead"),
        (Answered(404), "dead"),
        (Answered(410), "dead"),
        (Answered(408), "pending"),
        (Answered(409), "pending"),
        (Answered(425), "pending"),
        (Answered(429), "pending"),
        (Answered(500), "pending"),
        (Answered(503), "pending"),
        (Answered(reason="no answer"), "pending"),
        (Answered(reason="a private address", hopeless=True), "dead"),
    ],
)
def test_an_answer_ends_it_or_has_it_tried_again(answered: Answered, status: str) -> None:
    found = after(tried(), answered, settings(), NOW)
    assert (found.status, found.attempts, found.at, found.http) == (status, 1, NOW, answered.status)
    assert bool(found.reason) is (status != "delivered")
    if status == "pending":
        assert found.due > NOW
    if status == "dead":
        letter = letter_of(found)
        assert (letter.kind, letter.target, letter.signal, letter.reason) == ("subscription", "ops", "s", found.reason)


def test_after_so_many_attempts_it_is_dead() -> None:
    delivery, dues = tried(), [NOW]
    while delivery.status == "pending":
        delivery = after(delivery, Answered(500), settings(max_attempts=7), delivery.due or NOW)
        dues.append(delivery.due)
    assert (delivery.attempts, delivery.status) == (7, "dead")
    assert "7 times" in delivery.reason


def test_pauses_grow_have_a_bound_and_differ() -> None:
    pauses = [pause(tried(attempts=n), "", NOW) for n in range(1, 100)]
    assert FIRST_PAUSE * 0.8 <= pauses[0] <= FIRST_PAUSE * 1.2
    assert all(later > before for before, later in pairwise(pauses[:8]))
    assert max(pauses) <= LONGEST_PAUSE * 1.2
    others = {pause(replace(tried(attempts=3), id=f"dv-{n}"), "", NOW) for n in range(20)}
    assert len(others) == 20


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("120", 120, 120),
        (" 120 ", 120, 120),
        (formatdate(NOW + 90, usegmt=True), 90, 90),
        (formatdate(NOW - 90, usegmt=True), 4, 6),
        ("99999999999999999999", LONGEST_ASKED, LONGEST_ASKED),
        ("soon", 4, 6),
        ("-5", 4, 6),
        ("٣", 4, 6),
        ("", 4, 6),
    ],
)
def test_a_receiver_may_ask_to_be_left_alone(header: str, least: float, most: float) -> None:
    assert least <= pause(tried(attempts=1), header, NOW) <= most


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("name", "wrong", "key"),
    [
        ("Ops", {}, []),
        ("ops", {"url": "ftp://a.example"}, ["url"]),
        ("ops", {"url": "https://ana:pw@a.example"}, ["url"]),
        ("ops", {"url": "https://"}, ["url"]),
        ("ops", {"url": "https://a.example/a b"}, ["url"]),
        ("ops", {"types": ["deploy"]}, None),
        ("ops", {"types": ["a..b"]}, ["types"]),
        ("ops", {"networks": ["10.0.0.0/99"]}, ["networks"]),
        ("ops", {"when": "data."}, ["if"]),
        ("ops", {"when": "run.id == 1"}, ["if"]),
        ("ops", {"when": "data.status == 'failed'"}, None),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(name: str, wrong: dict[str, Any], key: list[str] | None) -> None:
    found = [place for place, _, _ in subscription_faults({name: settings(**wrong)})]
    assert found == ([] if key is None else [[name, *key]])
