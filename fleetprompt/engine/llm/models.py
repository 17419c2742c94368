"""What the name of a model stands for: an alias of `fleet.toml`, a provider's model, a local server, a simulation.

What is asked for by its name is never replaced by something else: where it cannot be had, that is an error that says
what to do. Only where nothing is configured at all does `default` go looking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.llm import prices
from fleetprompt.engine.llm.discovery import LocalServer, Place, discover, is_loopback, places, probe
from fleetprompt.engine.llm.providers import LITELLM, PROVIDERS, Room, load_providers, provider_of
from fleetprompt.engine.llm.settings import ModelSettings
from fleetprompt.engine.llm.vendors import DEFAULT, VENDORS, unknown_model, unknown_vendor
from fleetprompt.engine.ports.model import Mode, ModelTarget, Probe, Provider

SIMULATED: Final = "simulated/script"
ENVIRONMENT: Final = "env:"
"""What the name of a credential that is in an environment variable begins with."""
LOOK_AGAIN: Final = 60.0
"""Seconds after which servers that were not there are looked for again."""
_BASES: Final = ("OPENAI_API_BASE", "OPENAI_BASE_URL")


class KnownModels:
    """All models that an installation knows."""

    def __init__(
        self,
        settings: Mapping[str, ModelSettings],
        environment: Mapping[str, str],
        room: Room,
        *,
        secret: Callable[[str], str] | None = None,
        where: Sequence[Place] | None = None,
    ) -> None:
        """`secret` gives the value of a secret, or raises `NotFound`; without it none is looked at before a call."""
        self._settings = settings
        self._environment = environment
        self._room = room
        self._secret = secret
        self._where = where
        self._providers: dict[str, Provider] = {}
        self._probes: dict[tuple[str, str], Probe] = {}
        self._probing = asyncio.Lock()
        self._servers: list[LocalServer] = []
        self._looked: float | None = None
        load_providers()

    async def find(self, name: str) -> ModelTarget:
        """What a name stands for; empty: `default`. Raises `NotFound` or `InvalidInput`, with the remedy."""
        name = name or DEFAULT
        if name in self._settings:
            return await self._alias(name, self._settings[name])
        if name == DEFAULT:
            return await self._default()
        if "/" not in name.strip("/"):
            raise unknown_model(name, self._settings)
        return await self._named(name, name)

    def fallbacks(self, name: str) -> Sequence[str]:
        """Names of the models that are asked instead when that one fails, in order."""
        settings = self._settings.get(name or DEFAULT)
        return tuple(settings.fallback) if settings is not None else ()

    def provider(self, target: ModelTarget) -> Provider:
        """The way to ask a model."""
        name = provider_of(target.model)
        if name not in self._providers:
            self._providers[name] = PROVIDERS.get(name)(self._room)
        return self._providers[name]

    def reveal(self, target: ModelTarget) -> str:
        """The key of a model, at the last moment; empty where none is needed. Raises `NotFound`."""
        name = target.credential
        if not name:
            return ""
        if name.startswith(ENVIRONMENT):
            variable = name.removeprefix(ENVIRONMENT)
            value = self._environment.get(variable, "")
            if not value:
                raise NotFound(f"`{target.name}` needs a key, and {variable} is not set", hint=f"set {variable}")
            return value
        if self._secret is None:
            raise NotFound(f"`{target.name}` needs the secret `{name}`, and there are no secrets here")
        return self._secret(name)

    async def local(self) -> list[LocalServer]:
        """Servers for models on this machine, looked for once; again after a minute where there were none."""
        now = time.monotonic()
        if self._looked is None or (not self._servers and now - self._looked > LOOK_AGAIN):
            where = self._where if self._where is not None else places(self._base())
            self._servers, self._looked = await discover(where), now
        return self._servers

    def probed(self, target: ModelTarget) -> Probe | None:
        """What is known already of whether a model calls tools."""
        return self._probes.get((target.model, target.api_base))

    async def probe(self, target: ModelTarget) -> Probe:
        """Whether a model calls a tool when it is told to: asked once, and remembered where it has answered."""
        async with self._probing:
            found = self.probed(target)
            if found is None:
                found = await probe(target, self.provider(target), self.reveal(target))
                if found.answered:
                    self._probes[target.model, target.api_base] = found
            return found

    async def close(self) -> None:
        """Close what the providers hold open."""
        for provider in self._providers.values():
            if (close := getattr(provider, "close", None)) is not None:
                await close()

    # ---------------------------------------------------------------- the ways to a target

    async def _default(self) -> ModelTarget:
        for vendor, about in VENDORS.items():
            if vendor == "openai" and is_loopback(self._base()):
                continue
            if about.model and self._key_of(vendor):
                return await self._named(DEFAULT, f"{vendor}/{about.model}")
        for server in await self.local():
            return _priced(
                ModelTarget(
                    name=DEFAULT,
                    model=f"openai/{server.models[0]}",
                    mode="local",
                    api_base=server.base,
                    credential=self._key_of("openai") if server.base == self._base().rstrip("/") else "",
                    discovered=True,
                )
            )
        return ModelTarget(name=DEFAULT, model=SIMULATED, mode="simulated")

    async def _alias(self, name: str, settings: ModelSettings) -> ModelTarget:
        target = await self._named(name, settings.model, settings)
        return replace(
            target,
            price=settings.price.price if settings.price is not None else target.price,
            context=settings.context or target.context,
            headers=settings.headers,
            timeout=settings.timeout,
            idle=settings.idle,
            first=settings.first,
        )

    async def _named(self, name: str, model: str, settings: ModelSettings | None = None) -> ModelTarget:
        begins = model.partition("/")[0]
        own = provider_of(model)
        if own != LITELLM:
            modes: dict[str, Mode] = {"simulated": "simulated", "replay": "replay"}
            target = ModelTarget(name=name, model=model, mode=modes.get(own, "live"))
            return replace(target, credential=self._credential(name, "", settings)) if own not in modes else target
        base = (settings.api_base if settings is not None else None) or (self._base() if begins == "openai" else "")
        if not base and (error := unknown_vendor(model)) is not None:
            raise error
        # A key of the environment belongs to the provider's own server, or to that of OPENAI_API_BASE beside it.
        usual = begins if settings is None or settings.api_base is None else ""
        credential = self._credential(name, usual, settings)
        target = ModelTarget(
            name=name,
            model=model,
            mode="local" if is_loopback(base) else "live",
            api_base=base,
            credential=credential,
        )
        if not credential and usual in VENDORS and target.mode == "live":
            raise self._no_key(name, model, usual)
        return _priced(target) if target.mode == "local" else await asyncio.to_thread(_priced, target)

    def _credential(self, name: str, vendor: str, settings: ModelSettings | None) -> str:
        """What the key is called, which must be there. Raises `NotFound`."""
        if settings is not None and settings.secret is not None:
            if self._secret is not None:
                self._secret(settings.secret)
            return settings.secret
        if settings is not None and settings.api_key_env is not None:
            variable = settings.api_key_env
            if not self._environment.get(variable):
                hint = f"set {variable}; to go without a model, use {SIMULATED}"
                raise NotFound(f"`{name}` takes its key from {variable}, which is not set", hint=hint)
            return ENVIRONMENT + variable
        return self._key_of(vendor)

    def _key_of(self, vendor: str) -> str:
        about = VENDORS.get(vendor)
        found = next((key for key in about.keys if self._environment.get(key)), "") if about is not None else ""
        return ENVIRONMENT + found if found else ""

    def _base(self) -> str:
        return next((self._environment[name] for name in _BASES if self._environment.get(name)), "")

    def _no_key(self, name: str, model: str, vendor: str) -> InvalidInput:
        keys = " or ".join(VENDORS[vendor].keys)
        shown = f"`{name}`" if name == model else f"`{name}` ({model})"
        hint = f"set {keys}, or `api_key_env` or `secret` in [models.<name>]; to go without a model, use {SIMULATED}"
        return InvalidInput(f"{shown} needs a key, and there is none", hint=hint)


def _priced(target: ModelTarget) -> ModelTarget:
    """The target with its price and its context, as far as they are known."""
    if target.mode == "local":
        return replace(target, price=prices.LOCAL)
    known = prices.table_price(target.model)
    return replace(target, price=known.price, context=known.context)
