"""Arguments of calls: as models write them, and as people change them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports.model import ToolCall

ARGUMENTS = 1024 * 1024
"""Characters of arguments that are read."""


def arguments_of(asked: ToolCall) -> dict[str, Any]:
    """The arguments of a call as a mapping. Raises `InvalidInput`."""
    if len(asked.arguments) > ARGUMENTS:
        raise InvalidInput("the arguments are too long", hint=f"at most {ARGUMENTS:,} characters")
    try:
        value: Any = msgspec.json.decode(asked.arguments or "{}")
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInput(f"the arguments are not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput("the arguments have to be a JSON object")
    return mapping(value)


def check_object(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Whether arguments are those that a schema names. Raises `InvalidInput`."""
    properties = mapping(schema.get("properties"))
    unknown = [name for name in arguments if name not in properties]
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    if unknown or missing:
        said = [f"there is no argument `{name}`" for name in unknown] + [f"`{name}` is missing" for name in missing]
        raise InvalidInput("; ".join(said), hint=f"arguments: {', '.join(properties) or 'none'}")


_FIELDS = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean", "array": "array"}


def form_of(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a form, so that whoever approves can change them."""
    form: dict[str, Any] = {}
    for name, raw in mapping(schema.get("properties")).items():
        spec = mapping(raw)
        field: dict[str, Any] = {"type": _FIELDS.get(str(spec.get("type")), "any")}
        if spec.get("description"):
            field["description"] = str(spec["description"])[:300]
        if spec.get("enum"):
            field["enum"] = spec["enum"]
        if name in arguments:
            field["default"] = arguments[name]
        form[name] = field
    return form
