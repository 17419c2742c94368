"""What a run is given, held against what its workflow declares."""

from __future__ import annotations

from typing import Any

from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inputs import bind_inputs, parse_input
from fleetprompt.engine.core.plan import Plan


def given_inputs(plan: Plan, request: StartRun) -> tuple[dict[str, Any], dict[str, str]]:
    """What the request gives, typed texts included, and what is wrong with it, by the name of an input."""
    typed = {name: parse_input(plan.inputs.get(name), text) for name, text in request.texts.items()}
    given = {**request.inputs, **typed}
    _, problems = bind_inputs(plan, given)
    return given, problems


def refused_inputs(plan: Plan, problems: dict[str, str], text: str, named: str) -> InvalidInput:
    """What is wrong with inputs, at their declarations in the plan's YAML `text`, whose file is called `named`."""
    from fleetprompt.engine.definition.problems import InvalidWorkflow, Pointer, ProblemCode
    from fleetprompt.engine.definition.yaml import load_document

    if not text:
        hint = "give inputs with -i NAME=VALUE"
        return InvalidInput("\n".join(problems.values()), where=f"workflow {plan.name}", hint=hint)
    document = load_document(text, named)
    found: list[Any] = []
    for name, message in problems.items():
        declared = name in plan.inputs
        pointer: Pointer = ("inputs", name) if declared else ("inputs",) if plan.inputs else ()
        hint = f"give it with -i {name}=VALUE" if declared else ""
        found.append(document.problem(pointer, ProblemCode.BAD_INPUT, message, hint, on="key"))
    return InvalidWorkflow(found)
