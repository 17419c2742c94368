"""What `fleet.toml` says about models: one table `[models.<alias>]` each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from fleetprompt.engine.ports.model import Price

FILE: Final = "fleet.toml"
NANO: Final = 1_000_000_000
"""Nano-USD of a USD."""
_PER_MTOK: Final = NANO // 1_000_000

Text: TypeAlias = Annotated[str, Meta(min_length=1, description='text in quotes, such as "a"')]
Usd: TypeAlias = Annotated[float, Meta(ge=0, le=1e6, description="an amount in USD, such as 0.15")]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400, description="seconds, such as 60")]
Tokens: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000, description="a whole number of tokens, such as 128000")]
Names: TypeAlias = Annotated[list[str], Meta(description='a list of names, such as ["cheap", "openai/gpt-5.4-mini"]')]


class PriceSettings(Struct, frozen=True, kw_only=True):
    """What a model costs, where litellm's table does not know or knows it wrong."""

    input_usd_per_mtok: Usd = 0.0
    """Per million tokens of the prompt."""
    output_usd_per_mtok: Usd = 0.0
    """Per million tokens of the answer."""
    cached_usd_per_mtok: Usd | None = None
    """Per million tokens of the prompt that the provider had in its cache; default: as any other."""
    image_usd: Usd = 0.0
    """Per picture."""

    @property
    def price(self) -> Price:
        cached = None if self.cached_usd_per_mtok is None else self.cached_usd_per_mtok * _PER_MTOK
        return Price(
            input=self.input_usd_per_mtok * _PER_MTOK,
            output=self.output_usd_per_mtok * _PER_MTOK,
            cached=cached,
            image=self.image_usd * NANO,
            source=FILE,
        )


class ModelSettings(Struct, frozen=True, kw_only=True):
    """A model under a name of its own."""

    model: Text
    """Provider and model: `openai/gpt-5.4-mini`; any OpenAI-compatible server: `openai/<its name>` and `api_base`."""
    api_base: Text | None = None
    """Address of the server, up to and with `/v1`; without it, the provider's own."""
    api_key_env: Text | None = None
    """Environment variable that holds the key; default for a provider's own server: the usual one, OPENAI_API_KEY."""
    secret: Text | None = None
    """The secret that holds the key, in place of `api_key_env`."""
    fallback: Names = []
    """Aliases or models that are asked instead, in order, when this one fails."""
    price: PriceSettings | None = None
    """What it costs; default: what litellm's table says, nothing on this machine."""
    context: Tokens | None = None
    """Tokens that fit in; default: what the table says."""
    timeout: Seconds = 600.0
    """Seconds that one request may take in all."""
    idle: Seconds = 60.0
    """Seconds without a piece of the answer after which it counts as dead."""
    first: Seconds = 180.0
    """Seconds until the first piece of the answer."""
    headers: dict[str, Text] = {}
    """Sent with every request; they are recorded, so none of them is a secret."""


def faults(models: Mapping[str, ModelSettings], aliases: Collection[str]) -> Iterator[tuple[list[str], str, str]]:
    """What each value alone does not show: the keys that lead to it, what is wrong, what to do. `aliases`: all names
    that are written, those of models that cannot be used among them."""
    for alias, model in models.items():
        if "/" in alias:
            yield [alias], "the name of a model holds no `/`: that is how providers are told apart from names", ""
        if "/" not in model.model.strip("/"):
            hint = f'write provider/model, such as "openai/{model.model}"'
            yield [alias, "model"], f"`{model.model}` does not say whose model it is", hint
        if model.api_base is not None and not _is_address(model.api_base):
            hint = 'such as "http://127.0.0.1:11434/v1"'
            yield [alias, "api_base"], f"`{model.api_base}` is not an address", hint
        if model.api_key_env is not None and model.secret is not None:
            yield [alias, "secret"], "the key comes from `api_key_env` or from `secret`, not from both", "remove one"
        if alias in model.fallback:
            yield [alias, "fallback"], f"`{alias}` cannot be asked in its own place", "remove it"
        for name in model.fallback:
            if "/" not in name and name not in aliases:
                hint = f"write provider/model, or a table [models.{name}]"
                yield [alias, "fallback"], f"there is no model `{name}`", hint


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:
        return False
