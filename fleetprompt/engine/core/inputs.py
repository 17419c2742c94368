"""The inputs of a run against what its workflow declares."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from fleetprompt.engine.core.entered import entered_problem
from fleetprompt.engine.core.plan import Input, Plan


def bind_inputs(plan: Plan, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The run's inputs with defaults filled in, and what is wrong with them, by the name of the input."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name in given:
        if name not in plan.inputs:
            close = get_close_matches(name, plan.inputs, n=1)
            known = f"did you mean `{close[0]}`?" if close else f"inputs: {', '.join(plan.inputs) or 'none'}"
            problems[name] = f"unknown input `{name}` ({known})"
    for name, spec in plan.inputs.items():
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
