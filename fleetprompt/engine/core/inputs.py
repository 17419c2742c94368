"""The inputs of a run against what its workflow declares."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from fleetprompt.engine.core.entered import entered_problem
from fleetprompt.engine.core.plan import Input, Plan


def bind_inputs(plan: Plan, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The run's inputs with defaults filled in, and what is wrong with them, by the name of the input."""
    return bound(plan.inputs, given)


def bound(inputs: Mapping[str, Input], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """As `bind_inputs`, for whoever has the declared inputs alone."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name in given:
        if name not in inputs:
            close = get_close_matches(name, inputs, n=1)
            known = f"did you mean `{close[0]}`?" if close else f"inputs: {', '.join(inputs) or 'none'}"
            problems[name] = f"unknown input `{name}` ({known})"
    for name, spec in inputs.items():
        if name not in given:
            if spec.required:
                described = f": {spec.description}" if spec.description else ""
                problems[name] = f"missing input `{name}` ({spec.type}){described}"
            values[name] = spec.default
            continue
        values[name] = given[name]
        problem = value_problem(spec, given[name])
        if problem:
            problems[name] = f"input `{name}` {problem}"
    return values, problems


def inputs_schema(inputs: Mapping[str, Input]) -> dict[str, Any]:
    """Declared inputs as a JSON Schema of an object, as a model is told of them."""
    required = [name for name, spec in inputs.items() if spec.required]
    properties = {name: _schema(spec) for name, spec in inputs.items()}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schema(spec: Input) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if spec.type != "any":
        said["type"] = spec.type
    if spec.description:
        said["description"] = spec.description
    if spec.enum:
        said["enum"] = list(spec.enum)
    if spec.pattern:
        # Ours is about the whole text, that of JSON Schema about any part of it.
        said["pattern"] = f"^(?:{spec.pattern})$"
    bounds = {"minimum": spec.minimum, "maximum": spec.maximum}
    said |= {name: value for name, value in bounds.items() if value is not None}
    if not spec.required and spec.default is not None:
        said["default"] = spec.default
    return said


def value_problem(spec: Input, value: Any) -> str:
    """What is wrong with a value; empty when nothing is."""
    if value is None and not spec.required:
        return ""
    return entered_problem(
        value, spec.type, enum=spec.enum, pattern=spec.pattern, minimum=spec.minimum, maximum=spec.maximum
    )


def parse_input(spec: Input | None, text: str) -> Any:
    """A value from the command line: by its declared type, text as it is."""
    import msgspec

    if spec is not None and spec.type == "string":
        return text
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text
