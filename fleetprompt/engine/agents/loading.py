"""What a provider has to load before it can be asked for the first time, which takes seconds: those who watch are told
meanwhile, and nothing of it is kept."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from fleetprompt.engine.ports.model import Delta, Loads, Provider
from fleetprompt.engine.ports.work import WorkContext

SAID: Final = "loading the model layer"


async def loaded(ctx: WorkContext, provider: Provider, key: str) -> Provider:
    """A provider that is ready to be asked. `key`: of the request for which it is loaded."""
    if isinstance(provider, Loads) and not provider.loaded:
        ctx.show(key, Delta("status", SAID))
        try:
            # What goes wrong is told by the request, in its own words.
            with suppress(Exception):
                await provider.load()
        finally:
            ctx.show(key, Delta("reset"))
    return provider
