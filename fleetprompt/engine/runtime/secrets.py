"""Secrets: found by name when an effect is dispatched, and redacted by value wherever text leaves the engine."""

from __future__ import annotations

import base64
import json
import os
import re
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import InvalidInput, NotFound

PREFIX = "FLEET_SECRET_"
MASK = "•••"
SHORTEST = 4
"""Shorter values are not redacted: they would blank out half of every text."""
SETTLED_SECONDS = 1.0
"""A file that was changed longer ago than this has another time of change when it is changed again."""


class Secrets:
    """Values from `FLEET_SECRET_<NAME>` in the environment, then from a TOML file of mode 0600."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._kept: tuple[tuple[int, ...], dict[str, Any]] = (), {}
        """What the file held, and by what it is told that it still does."""
        self._values: set[str] = set()
        """Everything that was ever known: what was changed since may still turn up."""
        self._pattern: re.Pattern[str] | None = None
        self._beginnings: dict[str, list[str]] = {}
        """What `_pattern` finds, by its first character."""
        self._longest = 0
        # Code that reads the environment, or the file, by itself has them as well: what it prints is looked through.
        for name, value in os.environ.items():
            if name.startswith(PREFIX):
                self.learn(value)
        with suppress(InvalidInput):
            for value in self._read().values():
                self.learn(str(value))

    def get(self, name: str) -> str:
        """The value of a secret. Raises `NotFound` when nobody defined it, `InvalidInput` for an unsafe file."""
        value = os.environ.get(PREFIX + name.upper())
        if value is None:
            value = self._from_file(name)
        if value is None:
            where = f" or in {self._file}" if self._file else ""
            raise NotFound(f"secret `{name}` is not defined", hint=f"set {PREFIX}{name.upper()}{where}")
        self.learn(value)
        return value

    def require_readable(self) -> None:
        """Raise `InvalidInput` for a file that is unsafe, or cannot be read: nothing in it is found then."""
        self._read()

    def learn(self, value: str) -> None:
        """Redact a value from now on, wherever it came from."""
        if value not in self._values:
            self._values.add(value)
            self._pattern = None

    def _from_file(self, name: str) -> str | None:
        found = self._read().get(name)
        return str(found) if found is not None else None

    def _read(self) -> dict[str, Any]:
        """What the file holds. Raises `InvalidInput` for one that is unsafe, or cannot be read."""
        if self._file is None or not self._file.is_file():
            return {}
        found = self._file.stat()
        if found.st_mode & 0o077:
            raise InvalidInput(f"{self._file} can be read by others", hint=f"chmod 600 {self._file}")
        stamp = found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size
        if stamp == self._kept[0]:
            return self._kept[1]
        try:
            with self._file.open("rb") as stream:
                values = tomllib.load(stream)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not TOML"
            raise InvalidInput(f"{self._file} cannot be read: {reason}", hint='write NAME = "value"') from None
        if time.time() - max(found.st_mtime, found.st_ctime) > SETTLED_SECONDS:
            self._kept = stamp, values
        return values

    @property
    def known(self) -> bool:
        """There are secrets, so text has to be looked through."""
        return bool(self._values)

    def redact(self, text: str) -> str:
        """The text without any secret."""
        if not self._values:
            return text
        return self._known().sub(MASK, text)

    def redact_part(self, text: str) -> tuple[str, str]:
        """A text that goes on: what can be said of it without any secret, and the rest as it is, which may be the
        beginning of one. Put the rest before what comes next, and keep it to yourself until then."""
        if not self._values:
            return text, ""
        known = self._known()
        first = max(0, len(text) - self._longest + 1)
        cut = next((at for at in range(first, len(text)) if self._begins(text, at)), len(text))
        for found in known.finditer(text):
            if found.start() < cut < found.end():
                cut = found.start()
        return known.sub(MASK, text[:cut]), text[cut:]

    def _begins(self, text: str, at: int) -> bool:
        """Whether the text from there on is the beginning of a secret, and not the whole of it."""
        left = len(text) - at
        return any(len(form) > left and text.startswith(form[:left], at) for form in self._beginnings.get(text[at], ()))

    def _known(self) -> re.Pattern[str]:
        if self._pattern is None:
            values = sorted({form for value in self._values for form in _forms(value)}, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, values))) if values else re.compile(r"(?!)")
            self._longest = len(values[0]) if values else 0
            self._beginnings = {}
            for value in values:
                self._beginnings.setdefault(value[0], []).append(value)
        return self._pattern

    def redact_value(self, value: Any) -> Any:
        """A JSON value in which no string, and no key, holds a secret, however deeply it is nested."""
        if not self._values:
            return value
        whole = [value]
        # Lists and mappings of ours whose members are still those that were given.
        left: list[Any] = [whole]
        while left:
            ours = left.pop()
            members: list[tuple[Any, Any]] = [*(mapping(ours).items() if isinstance(ours, dict) else enumerate(ours))]
            for at, item in members:
                if isinstance(item, str):
                    ours[at] = self.redact(item)
                elif isinstance(item, dict):
                    ours[at] = {self.redact(key): each for key, each in mapping(item).items()}
                    left.append(ours[at])
                elif isinstance(item, list):
                    ours[at] = [*items(item)]
                    left.append(ours[at])
        return whole[0]


def _forms(value: str) -> list[str]:
    """A value as it can turn up: whole, line by line, and as URLs, JSON and headers write it."""
    forms = [value, *value.splitlines(), quote(value, safe=""), json.dumps(value)[1:-1]]
    if len(value) >= SHORTEST:
        forms.append(base64.b64encode(value.encode()).decode())
    return [form for form in forms if len(form.strip()) >= SHORTEST]
