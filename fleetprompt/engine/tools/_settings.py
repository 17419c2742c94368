"""Settings of tools: what `[tools.FAMILY]` of `fleet.toml` may hold, told as exactly as arguments are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fleetprompt.engine.core.errors import InvalidInput


class Section(BaseModel):
    """A table of the settings: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


S = TypeVar("S", bound=BaseModel)


def read_section(name: str, section: type[S], values: Mapping[str, Any]) -> S:
    """A table as its model. Raises `InvalidInput` with the place of each fault."""
    try:
        return section.model_validate(dict(values))
    except ValidationError as error:
        told = [
            f"`{'.'.join(map(str, problem['loc']))}`: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
    known = ", ".join(section.model_fields)
    raise InvalidInput(f"[{name}] of the settings cannot be used: {'; '.join(told)}", hint=f"settings are {known}")
