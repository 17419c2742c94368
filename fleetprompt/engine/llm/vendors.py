"""Names of models, as far as they can be judged without asking anybody: whose they are, what may have been meant."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec import Struct

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.llm import prices
from fleetprompt.engine.llm.providers import PROVIDERS, load_providers

DEFAULT: Final = "default"
"""The alias that is meant where none is named."""


class Vendor(Struct, frozen=True):
    """A provider whose key is in the environment."""

    keys: tuple[str, ...]
    """Variables that may hold it."""
    model: str = ""
    """What is asked when nobody says which: cheap, priced, and able to call tools. Empty: it makes no default."""


VENDORS: Final[dict[str, Vendor]] = {
    "openai": Vendor(("OPENAI_API_KEY",), "gpt-5.4-mini"),
    "anthropic": Vendor(("ANTHROPIC_API_KEY",), "claude-haiku-4-5"),
    "gemini": Vendor(("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini-2.5-flash"),
    "mistral": Vendor(("MISTRAL_API_KEY",), "mistral-small-latest"),
    "groq": Vendor(("GROQ_API_KEY",), "openai/gpt-oss-120b"),
    "deepseek": Vendor(("DEEPSEEK_API_KEY",), "deepseek-v4-flash"),
    "xai": Vendor(("XAI_API_KEY",), "grok-4.3"),
    "openrouter": Vendor(("OPENROUTER_API_KEY",)),
}
"""In the order in which `default` looks for their keys."""


def unknown_model(name: str, aliases: Collection[str]) -> NotFound:
    """What is wrong with a name that is no alias and does not say whose model it is."""
    hint = did_you_mean(name, (*aliases, DEFAULT))
    if not hint:
        owner = next((v for v in VENDORS if f"{v}/{name}" in set(prices.known_models(v))), "")
        written = f"write `{owner}/{name}`" if owner else "write provider/model"
        hint = f"{written}, or add [models.{name}] to fleet.toml"
    return NotFound(f"there is no model `{name}`", hint=hint)


def unknown_vendor(model: str) -> NotFound | None:
    """What is wrong with a model of a provider that nobody knows."""
    begins = model.partition("/")[0]
    if begins in VENDORS or begins in prices.known_vendors():
        return None
    load_providers()
    if begins in PROVIDERS:
        return None
    hint = did_you_mean(begins, (*VENDORS, *PROVIDERS.names(), *prices.known_vendors()))
    hint = hint or "for a server of your own write openai/<its name for the model>, and api_base in fleet.toml"
    return NotFound(f"nobody knows the provider `{begins}` of `{model}`", hint=hint)


def wrong_model(name: str, aliases: Collection[str]) -> NotFound | None:
    """What is wrong with a name of a model, whatever it takes to use it."""
    if name in aliases or name == DEFAULT:
        return None
    return unknown_vendor(name) if "/" in name.strip("/") else unknown_model(name, aliases)
