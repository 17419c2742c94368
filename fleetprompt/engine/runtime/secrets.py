"""Secrets: found by name when an effect is dispatched, and redacted by value wherever text leaves the engine."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import InvalidInput, NotFound

PREFIX = "FLEET_SECRET_"
MASK = "•••"
SHORTEST = 4
"""Shorter values are not redacted: they would blank out half of every text."""


class Secrets:
    """Values from `FLEET_SECRET_<NAME>` in the environment, then from a TOML file of mode 0600."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._values: set[str] = set()
        """Everything that was ever handed out: what was changed since may still turn up."""
        self._pattern: re.Pattern[str] | None = None

    def get(self, name: str) -> str:
        """The value of a secret. Raises `NotFound` when nobody defined it, `InvalidInput` for an unsafe file."""
        value = os.environ.get(PREFIX + name.upper())
        if value is None:
            value = self._from_file(name)
        if value is None:
            where = f" or in {self._file}" if self._file else ""
            raise NotFound(f"secret `{name}` is not defined", hint=f"set {PREFIX}{name.upper()}{where}")
        if value not in self._values:
            self._values.add(value)
            self._pattern = None
        return value

    def _from_file(self, name: str) -> str | None:
        if self._file is None or not self._file.is_file():
            return None
        if self._file.stat().st_mode & 0o077:
            raise InvalidInput(f"{self._file} can be read by others", hint=f"chmod 600 {self._file}")
        try:
            with self._file.open("rb") as stream:
                found: Any = tomllib.load(stream).get(name)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not TOML"
            raise InvalidInput(f"{self._file} cannot be read: {reason}", hint='write NAME = "value"') from None
        return str(found) if found is not None else None

    @property
    def known(self) -> bool:
        """Something was handed out, so text has to be looked through."""
        return bool(self._values)

    def redact(self, text: str) -> str:
        """The text without any value that was handed out."""
        if not self._values:
            return text
        if self._pattern is None:
            values = sorted({form for value in self._values for form in _forms(value)}, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, values))) if values else re.compile(r"(?!)")
        return self._pattern.sub(MASK, text)

    def redact_value(self, value: Any) -> Any:
        """A JSON value in which no string, and no key, holds a secret."""
        if not self._values:
            return value
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {self.redact(key): self.redact_value(item) for key, item in mapping(value).items()}
        if isinstance(value, list):
            return [self.redact_value(item) for item in items(value)]
        return value


def _forms(value: str) -> list[str]:
    """A value as it can turn up: whole, and line by line."""
    forms = [value, *value.splitlines()]
    return [form for form in forms if len(form.strip()) >= SHORTEST]
