"""Which rules hold for a type of signals, how many may come, and what is masked."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.core.signal_rules import MASK, Buckets, Rule, Rules, compiled, masked
from fleetprompt.engine.core.signal_settings import Rate, SignalRule, read_rate, signal_faults

FIVE = Rate(5, 10.0)
ANA = ("deploy.*", "default", "ana", "deploy.done")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("100/s", Rate(100, 1)), ("10/m", Rate(10, 60)), ("1/h", Rate(1, 3600)), ("9/d", Rate(9, 86_400))],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert read_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0/s", "s", "10", "10/w", "-1/s", "1.5/s", "10 / s", "1/s\n", "9" * 10 + "/s"])
def test_other_rates_are_not(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        read_rate(text)


def test_every_rule_that_matches_holds() -> None:
    rules = Rules([Rule("deploy.*"), Rule("**"), Rule("build.*"), Rule("deploy.done")])
    assert [rule.pattern for rule in rules.of("deploy.done")] == ["deploy.*", "**", "deploy.done"]
    assert [rule.pattern for rule in rules.of("deploy.x.y")] == ["**"]
    assert rules.of("deploy.done") is rules.of("deploy.done")
    assert Rules().of("deploy.done") == ()


def test_settings_become_rules() -> None:
    settings = {"deploy.*": SignalRule(rate="10/m", redact=["/a~1b/*/~0c"]), "x": SignalRule()}
    rules = compiled(settings, {"x": lambda data: "no"})
    (deploy,) = rules.of("deploy.a")
    assert (deploy.rate, deploy.redact, deploy.check) == (Rate(10, 60), (("a/b", "*", "~c"),), None)
    (x,) = rules.of("x")
    assert x.check is not None
    assert x.check(None) == "no"


def test_every_fault_of_the_settings_is_told_with_its_keys() -> None:
    rules = {
        "deploy.*": SignalRule(rate="100/s", redact=["/card", "/items/*/card"]),
        "a b": SignalRule(rate="fast", redact=["card", "/", "/a~2", ""]),
        "": SignalRule(),
        "a" * 201: SignalRule(),
    }
    found = [(place, said) for place, said, _ in signal_faults(rules)]
    assert [place for place, _ in found] == [
        ["a b"],
        ["a b", "rate"],
        *[["a b", "redact"]] * 4,
        [""],
        ["a" * 201],
    ]


# How many may come


def test_as_many_as_the_rate_come_at_once_and_then_one_by_one() -> None:
    buckets = Buckets()
    assert [buckets.take([(ANA, FIVE)], 0.0) for _ in range(5)] == [0.0] * 5
    assert buckets.take([(ANA, FIVE)], 0.0) == pytest.approx(2.0)
    assert buckets.take([(ANA, FIVE)], 1.5) == pytest.approx(0.5)
    assert buckets.take([(ANA, FIVE)], 2.0) == 0.0
    assert buckets.take([(ANA, FIVE)], 2.0) == pytest.approx(2.0)
    assert buckets.take([(("other", *ANA[1:]), FIVE)], 2.0) == 0.0


def test_what_one_rule_refuses_takes_nothing_from_another() -> None:
    buckets, narrow = Buckets(), Rate(1, 10.0)
    both = [(("wide", *ANA[1:]), FIVE), (("narrow", *ANA[1:]), narrow)]
    assert buckets.take(both, 0.0) == 0.0
    for _ in range(10):
        assert buckets.take(both, 0.0) == pytest.approx(10.0)
    assert [buckets.take(both[:1], 0.0) for _ in range(4)] == [0.0] * 4


def test_a_clock_that_is_set_back_gives_nothing_and_locks_nobody_out() -> None:
    buckets = Buckets()
    for _ in range(5):
        buckets.take([(ANA, FIVE)], 1000.0)
    assert buckets.take([(ANA, FIVE)], 0.0) == pytest.approx(2.0)
    assert buckets.take([(ANA, FIVE)], 1002.0) == 0.0


def test_few_are_kept_in_mind() -> None:
    buckets = Buckets(most=3)
    for number in range(100):
        buckets.take([((str(number),), FIVE)], 0.0)
    assert len(buckets._left) == 3


@given(
    st.integers(1, 20),
    st.integers(1, 1000),
    st.lists(st.integers(0, 500), max_size=60),
)
def test_never_more_than_the_rate_allows_and_waiting_as_told_is_enough(
    amount: int, tenths: int, gaps: list[int]
) -> None:
    """In any stretch of time at most the amount, and what is filled in meanwhile. Whoever waits as told is let in."""
    rate, buckets, now, let_in = Rate(amount, tenths / 10), Buckets(), 1000.0, list[float]()
    for gap in gaps:
        now += gap / 100
        wait = buckets.take([(ANA, rate)], now)
        if wait == 0:
            let_in.append(now)
        else:
            now += wait
            assert buckets.take([(ANA, rate)], now + 1e-6) == 0
            let_in.append(now)
    for first, begin in enumerate(let_in):
        for last, end in enumerate(let_in[first:], first):
            assert last - first + 1 <= amount + (end - begin) * amount / rate.seconds + 1e-3


# What is masked


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("card",), {"card": "4111", "n": 1}, {"card": MASK, "n": 1}),
        (("a", "card"), {"a": {"card": {"number": 1}}}, {"a": {"card": MASK}}),
        (("items", "*", "card"), {"items": [{"card": 1}, {"n": 1}, 5]}, {"items": [{"card": MASK}, {"n": 1}, 5]}),
        (("*", "card"), {"a": {"card": 1}, "b": {"card": 2}}, {"a": {"card": MASK}, "b": {"card": MASK}}),
        (("1",), ["a", "b"], ["a", MASK]),
        (("card",), {"n": 1}, {"n": 1}),
        (("card", "x"), {"card": "text"}, {"card": "text"}),
        (("card",), "text", "text"),
        (("*",), [1, 2], [MASK, MASK]),
        (("9",), [1], [1]),
    ],
)
def test_what_is_at_a_path_is_masked(path: tuple[str, ...], value: Any, found: Any) -> None:
    before = deepcopy(value)
    assert masked(value, [path]) == found
    assert value == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def at(value: Any, path: tuple[str, ...]) -> list[Any]:
    """Everything that a path leads to."""
    if not path:
        return [value]
    if isinstance(value, dict):
        inner = value.values() if path[0] == "*" else [value[path[0]]] if path[0] in value else []
    elif isinstance(value, list):
        inner = [item for i, item in enumerate(value) if path[0] in ("*", str(i))]
    else:
        inner = []
    return [found for each in inner for found in at(each, path[1:])]


@given(json_values, st.lists(st.sampled_from(["a", "b", "c", "*", "0", "1"]), min_size=1, max_size=3))
def test_nothing_that_a_path_leads_to_is_left_and_nothing_else_changes(value: Any, segments: list[str]) -> None:
    path, before = tuple(segments), deepcopy(value)
    found = masked(value, [path])
    assert value == before
    assert all(each == MASK for each in at(found, path))
    if not at(value, path):
        assert found == value
    assert masked(found, [path]) == found
