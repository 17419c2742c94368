"""Where ways of asking models register themselves, by what a model's name begins with.

One in another package is found by the entry-point group `fleetprompt.models`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from fleetprompt.engine.ports.model import Provider
from fleetprompt.engine.registry import Registry

Lines: TypeAlias = Iterable[Mapping[str, Any]]
"""The entries of a recording."""


async def _no_runs(run: str, asker: str) -> Lines | None:
    """Where there is no journal, there are no runs."""


class Room(Struct, frozen=True, kw_only=True):
    """What a provider is given when it is made."""

    root: Path = Path()
    """Folder of the project: paths start here."""
    workflows: tuple[Path, ...] = ()
    """Folders of workflow files."""
    redact: Callable[[str], str] = lambda text: text
    """Takes secrets out of a text."""
    recording: Callable[[str, str], Awaitable[Lines | None]] = _no_runs
    """The model calls of a run, from its journal, for the run that asks; None where it knows no such run."""


Make: TypeAlias = Callable[[Room], Provider]
LITELLM: Final = "litellm"
"""The one that is asked for every model that belongs to no other."""
PROVIDERS: Registry[Make] = Registry("model provider")


def provider_of(model: str) -> str:
    """The name under which the provider of a model is registered."""
    begins = model.partition("/")[0]
    return begins if begins in PROVIDERS else LITELLM


def load_providers() -> None:
    """Register the built-in providers, and those of other packages."""
    PROVIDERS.discover("fleetprompt.engine.llm", "fleetprompt.models")
