"""What requests cost: integer nano-USD from prices per token. PURE, but for the table, which is a file of litellm's.

The table is read without importing litellm: to know a price takes milliseconds, to import it seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.llm.settings import NANO
from fleetprompt.engine.ports.model import Price, Usage

MARGIN: Final = 1.1
"""Counters of tokens differ from the provider's by a few percent."""
LEAST_TOKENS: Final = 256
"""An answer that can be shorter than this is not worth a request."""
PICTURE_TOKENS: Final = 4160
"""Tokens of the best picture of a million pixels (1024 x 1024), of models that are paid by their tokens."""
LOCAL: Final = Price(source="local")

_TABLE: Final = "model_prices_and_context_window_backup.json"
_TIER: Final = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


class Priced(Struct, frozen=True):
    """What the table knows of a model."""

    price: Price | None = None
    context: int | None = None
    """Tokens of a prompt."""
    output: int | None = None
    """Tokens of an answer."""


def table_price(model: str) -> Priced:
    """What litellm's table says about `provider/model`; nothing of one that it does not know."""
    provider, _, name = model.partition("/")
    table = _table()
    entry = mapping(table.get(model))
    if not entry:
        entry = mapping(table.get(name))
        if entry.get("litellm_provider") not in (provider, f"text-completion-{provider}"):
            return Priced()
    return Priced(_price(entry), _whole(entry, "max_input_tokens"), _whole(entry, "max_output_tokens"))


def _price(entry: Mapping[str, Any]) -> Price | None:
    image = mapping({}) if entry.get("mode") != "image_generation" else entry
    base = _rates(entry, "")
    picture = _number(image, "output_cost_per_image") or _number(image, "input_cost_per_image") or 0.0
    if base is None and not picture:
        return None
    source = table_source()
    per_input, per_output, cached = base or (0.0, 0.0, None)
    if image:
        # What they write has another price, and there is next to nothing of it.
        per_output = max(per_output, _number(image, "output_cost_per_image_token") or 0.0)
    tiers = sorted(
        (int(found[1]), found[0][len("input_cost_per_token") :]) for found in map(_TIER.fullmatch, entry) if found
    )
    long: Price | None = None
    long_from = 0
    if tiers and (rates := _rates(entry, tiers[-1][1])) is not None:
        # One step is enough to never count too little: where there are more, the lowest border and the highest price.
        long_from = tiers[0][0] * 1000
        long = Price(_nano(rates[0]), _nano(rates[1] or per_output), _nano_or_none(rates[2]), source=source)
    return Price(
        _nano(per_input),
        _nano(per_output),
        _nano_or_none(cached),
        _nano(picture),
        source,
        long=long,
        long_from=long_from,
    )


def _rates(entry: Mapping[str, Any], suffix: str) -> tuple[float, float, float | None] | None:
    per_input = _number(entry, f"input_cost_per_token{suffix}")
    if per_input is None:
        return None
    per_output = _number(entry, f"output_cost_per_token{suffix}") or 0.0
    return per_input, per_output, _number(entry, f"cache_read_input_token_cost{suffix}")


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _nano(usd: float) -> float:
    return round(usd * NANO, 6)


def _nano_or_none(usd: float | None) -> float | None:
    return None if usd is None else _nano(usd)


@cache
def table_source() -> str:
    """What a price of the table is recorded with."""
    try:
        return f"litellm {version('litellm')}"
    except PackageNotFoundError:
        return "litellm"


@cache
def _table() -> dict[str, Any]:
    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    try:
        return mapping(msgspec.json.decode((Path(spec.origin).parent / _TABLE).read_bytes()))
    except (OSError, msgspec.DecodeError):
        return {}


def known_models(provider: str) -> Iterator[str]:
    """Chat models of a provider that the table knows, as `provider/model`; for a did-you-mean."""
    for name, entry in _table().items():
        if mapping(entry).get("litellm_provider") == provider and mapping(entry).get("mode") == "chat":
            yield name if name.startswith(f"{provider}/") else f"{provider}/{name}"


@cache
def known_vendors() -> frozenset[str]:
    """Providers of the table."""
    found = (str(mapping(entry).get("litellm_provider", "")) for entry in _table().values())
    return frozenset(found) - {""}


def cost(price: Price | None, usage: Usage, images: int = 0) -> int | None:
    """Nano-USD of what was used, rounded up; None where nobody knows the price."""
    if price is None:
        return None
    rate = _rate(price, usage.input)
    cached = min(usage.cached, usage.input)
    per_cached = rate.input if rate.cached is None else rate.cached
    tokens = (usage.input - cached) * rate.input + cached * per_cached + usage.output * rate.output
    # Pictures are sold by the piece or by their tokens, never by both.
    pictures = images * price.image if price.image else 0.0
    return _up(pictures or tokens) if images else _up(tokens)


def most(price: Price | None, prompt: int, max_tokens: int) -> int | None:
    """Nano-USD that a request with a prompt of so many counted tokens can cost at most; None: nobody knows."""
    if price is None:
        return None
    sure = math.ceil(prompt * MARGIN)
    rate = _rate(price, sure)
    return _up(sure * max(rate.input, rate.cached or 0.0) + max_tokens * rate.output)


def most_of_picture(price: Price | None, prompt: int, pixels: int) -> tuple[int, int] | None:
    """Nano-USD and tokens that a picture of so many pixels can take at most; None: nobody knows. Pictures that are sold
    by the piece take no tokens."""
    if price is None:
        return None
    if price.image or not price.output:
        return _up(price.image), 0
    tokens = picture_tokens(pixels)
    return most(price, prompt, tokens) or 0, math.ceil(prompt * MARGIN) + tokens


def picture_tokens(pixels: int) -> int:
    """Tokens that a picture takes at most, of models that are paid by their tokens."""
    return math.ceil(PICTURE_TOKENS * max(1.0, pixels / 2**20))


def affordable(price: Price | None, prompt: int, wanted: int, left: int | None) -> int:
    """How many of the wanted tokens of output `left` nano-USD can pay for after the prompt; 0 where that is so few
    that a request makes no sense. `left` None, or a price that nobody knows: all of them."""
    if left is None or price is None:
        return wanted
    for_prompt = most(price, prompt, 0) or 0
    rate = _rate(price, math.ceil(prompt * MARGIN))
    if for_prompt > left:
        return 0
    if not rate.output:
        return wanted
    tokens = int(min(wanted, (left - for_prompt) / rate.output))
    # The two roundings can differ by a nano-USD.
    while tokens > 0 and (most(price, prompt, tokens) or 0) > left:
        tokens -= 1
    return tokens if tokens >= min(wanted, LEAST_TOKENS) else 0


def _rate(price: Price, prompt: int) -> Price:
    return price.long if price.long is not None and prompt > price.long_from else price


def _up(nano: float) -> int:
    return math.ceil(round(nano, 3))
