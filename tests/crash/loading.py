"""What a process loads before it forks engines that are to be killed: loading is most of what a short engine costs."""

from __future__ import annotations

import gc
import pkgutil
from importlib import import_module

from fleetprompt.client.files import discover_steps

PACKAGES = ("agents", "definition", "llm", "outside", "store", "tools")
OTHERS = ("anyio._backends._asyncio", "httpcore", "httpx", "jsonschema", "sqlglot.dialects.sqlite", "sqlglot.optimizer")


def load_everything() -> None:
    """Import here what engines would import, once for all of them."""
    discover_steps()
    for name in PACKAGES:
        package = import_module(f"fleetprompt.engine.{name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for name in OTHERS:
        import_module(name)
    # What is never looked at again is not copied for each of them.
    gc.collect()
    gc.freeze()
