"""JSON Schemas of signals, read once: a file that cannot be used stops the engine, for nothing would be checked."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal_rules import Check, Rules, compiled
from fleetprompt.engine.core.signal_settings import SignalRule

SHOWN = 3
"""Problems that are told at a time."""
LONGEST = 300


def read_rules(rules: Mapping[str, SignalRule], root: Path) -> Rules:
    """The rules of a project in this folder. Raises `InvalidInput`, with the file as `where`."""
    checks = {pattern: _check(root / rule.schema) for pattern, rule in rules.items() if rule.schema}
    return compiled(rules, checks)


def _check(file: Path) -> Check:
    try:
        schema: Any = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InvalidInput(f"the schema of signals cannot be read: {reason}", where=str(file)) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the schema of signals is not JSON: {error}", where=str(file)) from None
    return checker(schema, str(file))


def checker(schema: Any, where: str) -> Check:
    """What a schema says of data. Raises `InvalidInput` for what is no schema. What a schema refers to elsewhere is
    not fetched."""
    from jsonschema import SchemaError, validators
    from jsonschema_specifications import REGISTRY  # pyright: ignore[reportMissingTypeStubs]
    from referencing.exceptions import Unresolvable

    kind: Any = validators.validator_for(cast("dict[str, Any]", schema) if isinstance(schema, dict) else {})
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        said = f"the schema of signals is not a JSON Schema: {error.message[:LONGEST]}"
        raise InvalidInput(said, where=where) from None
    validator: Any = kind(schema, registry=REGISTRY)

    def check(data: Any) -> str:
        try:
            found: list[Any] = list(islice(validator.iter_errors(data), SHOWN))
        except Unresolvable as error:
            return f"the schema refers to what is not in it: {str(error.ref)[:LONGEST]}"
        except RecursionError:
            return "it is nested too deeply"
        # Messages of the library repeat the data, of which some may be what is masked before anything is stored.
        return "; ".join(f"{_place(each.absolute_path)} {_said(each)}" for each in found)

    return check


def _place(path: Any) -> str:
    return "/" + "/".join(map(str, path)) if path else "it"


def _said(error: Any) -> str:
    match error.validator:
        case "required":
            names = [name for name in error.validator_value if name not in error.instance]
            return f"lacks {', '.join(map(str, names))[:LONGEST]}"
        case "type":
            return f"is not of type {error.validator_value}"
        case "additionalProperties" | "unevaluatedProperties":
            return "has members that are not allowed"
        case _:
            return f"does not fit `{error.validator}`: {str(error.validator_value)[:LONGEST]}"
