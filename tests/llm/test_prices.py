"""Money: integer nano-USD, never too little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.llm.prices import LEAST_TOKENS, LOCAL, affordable, cost, most, table_price
from fleetprompt.engine.ports.model import Price, Usage

PRICE = Price(input=150, output=600, cached=75, image=40_000_000)
LONG = Price(input=100, output=200, cached=10, long=Price(input=300, output=500, cached=30), long_from=1000)
RATES = st.just(0.0) | st.floats(0.01, 3000)


@pytest.mark.parametrize(
    ("price", "usage", "images", "nano"),
    [
        (None, Usage(1000, 1000), 0, None),
        (LOCAL, Usage(1000, 1000), 0, 0),
        (PRICE, Usage(10, 5), 0, 10 * 150 + 5 * 600),
        (PRICE, Usage(10, 5, cached=4), 0, 6 * 150 + 4 * 75 + 5 * 600),
        (PRICE, Usage(10, 0, cached=99), 0, 10 * 75),
        (Price(input=150), Usage(10, 5, cached=4), 0, 1500),
        (Price(input=0.05), Usage(3, 0), 0, 1),
        (PRICE, Usage(), 2, 80_000_000),
        (Price(input=5, output=40_000), Usage(10, 1000), 1, 40_000_050),
        (LONG, Usage(1000, 10), 0, 100_000 + 2000),
        (LONG, Usage(1001, 10, cached=1), 0, 300_000 + 30 + 5000),
    ],
)
def test_what_a_request_cost(price: Price | None, usage: Usage, images: int, nano: int | None) -> None:
    assert cost(price, usage, images) == nano


def test_what_it_can_cost_at_most() -> None:
    assert most(PRICE, 1000, 200) == 1100 * 150 + 200 * 600
    assert most(LOCAL, 1000, 200) == 0
    assert most(None, 1000, 200) is None
    # 950 counted tokens can be more than 1000.
    assert most(LONG, 950, 10) == 1045 * 300 + 10 * 500


@given(
    prompt=st.integers(0, 5000),
    wanted=st.integers(1, 5000),
    left=st.integers(0, 3_000_000),
    rates=st.tuples(RATES, RATES),
)
def test_what_is_afforded_fits_and_could_not_be_more(
    prompt: int, wanted: int, left: int, rates: tuple[float, float]
) -> None:
    price = Price(input=rates[0], output=rates[1])
    tokens = affordable(price, prompt, wanted, left)
    assert 0 <= tokens <= wanted
    if tokens:
        assert (most(price, prompt, tokens) or 0) <= left
    if 0 < tokens < wanted:
        assert tokens >= min(wanted, LEAST_TOKENS)
        assert (most(price, prompt, tokens + 2) or 0) > left
    if not tokens:
        assert (most(price, prompt, min(wanted, LEAST_TOKENS) + 1) or 0) > left


def test_without_a_limit_or_a_price_all_is_afforded() -> None:
    assert affordable(PRICE, 1000, 4000, None) == 4000
    assert affordable(None, 1000, 4000, 5) == 4000
    assert affordable(LOCAL, 1000, 4000, 0) == 4000


def test_the_table_knows_tiers_pictures_and_nothing_of_strangers() -> None:
    tiered = table_price("anthropic/claude-sonnet-4-5").price
    plain = table_price("anthropic/claude-haiku-4-5").price
    assert plain is not None
    assert plain.long is None
    assert tiered is not None
    if tiered.long is not None:
        assert tiered.long.input > tiered.input
    picture = table_price("openai/gpt-image-1").price
    assert picture is not None
    assert picture.output > 0
    assert table_price("openai/claude-haiku-4-5").price is None
    assert table_price("nobody/nothing").price is None
