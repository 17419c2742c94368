"""Where kinds of things register themselves by name: step types now, more families later.

The runtime fills it (built-ins by walking a package, third parties by entry point); the definition layer reads it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from fleetprompt.engine.core.errors import FleetError, NotFound

T = TypeVar("T")


class PluginFailed(FleetError):
    """A plugin could not be loaded."""


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """What installed packages offer to a group. It is looked for once: that opens a file of every package, and whoever
    installs one starts anew."""
    return tuple(entry_points(group=group))


class Registry(Generic[T]):
    """Named things of one family. Registering a name twice is a programming error and raises `ValueError`."""

    def __init__(self, family: str) -> None:
        self.family = family
        self._items: dict[str, T] = {}
        self._built_in: set[str] = set()
        """Packages whose modules are imported."""
        self.failed: dict[str, PluginFailed] = {}
        """Plugins that raised on import, by name: the rest of the product works without them."""

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files a thing under its name."""

        def add(item: T) -> T:
            known = self._items.get(name)
            if known is not None and known is not item:
                raise ValueError(f"{self.family} {name!r} is registered twice")
            self._items[name] = item
            return item

        return add

    def get(self, name: str) -> T:
        """The thing of that name. Raises `NotFound` with a did-you-mean."""
        try:
            return self._items[name]
        except KeyError:
            close = get_close_matches(name, self._items, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(self._items))}"
            raise NotFound(f"unknown {self.family} `{name}`", hint=hint) from None

    def names(self) -> list[str]:
        return sorted(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[tuple[str, T]]:
        return iter(sorted(self._items.items()))

    def discover(self, package: str, group: str) -> None:
        """Import every module of a package, then every entry point of a group.

        A third-party plugin that raises is recorded in `failed` and left out; a built-in that raises is a bug.
        """
        if package not in self._built_in:
            root = importlib.import_module(package)
            for module in pkgutil.iter_modules(root.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{package}.{module.name}")
            self._built_in.add(package)
        for point in installed(group):
            if point.name in self.failed:
                continue
            try:
                point.load()
            except (Exception, SystemExit) as error:
                self.failed[point.name] = PluginFailed(
                    f"plugin `{point.name}` ({point.value}) raised {type(error).__name__}: {error}",
                    hint=f"fix or uninstall it; its {self.family}s are not available",
                )


STEPS: Registry[Any] = Registry("step type")
"""Step types by the `type` of workflow files; each is a subclass of `definition.step.StepModel`."""

TOOLS: Registry[Any] = Registry("tool")
"""Tools by the name that models call them by; each is a `ports.tool.Tool`."""

IMPORTERS: Registry[Any] = Registry("format")
"""Foreign formats of workflows by name; each is a `definition.importers._build.Importer`."""
