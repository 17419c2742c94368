"""What a run is given, held against what its workflow declares."""

from __future__ import annotations

from typing import Any

from fleetprompt.client.files import WorkflowFile
from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inputs import bind_inputs, parse_input
from fleetprompt.engine.core.plan import Plan


def given_inputs(plan: Plan, request: StartRun) -> dict[str, Any]:
    """What the request gives, typed texts included. Raises `InvalidInput` with everything that is wrong with it."""
    typed = {name: parse_input(plan.inputs.get(name), text) for name, text in request.texts.items()}
    given = {**request.inputs, **typed}
    _, problems = bind_inputs(plan, given)
    if problems and request.files:
        raise _at_declarations(request.files[0], problems)
    if problems:
        hint = "give inputs with -i NAME=VALUE"
        raise InvalidInput("\n".join(problems.values()), where=f"workflow {plan.name}", hint=hint)
    return given


def _at_declarations(file: WorkflowFile, problems: dict[str, str]) -> InvalidInput:
    """The problems at the places of the file that say what is wanted."""
    from fleetprompt.engine.definition.problems import InvalidWorkflow, Pointer, ProblemCode
    from fleetprompt.engine.definition.yaml import load_document

    document = load_document(file.text, file.named)
    found: list[Any] = []
    for name, message in problems.items():
        declared = name in file.plan.inputs
        pointer: Pointer = ("inputs", name) if declared else ("inputs",) if file.plan.inputs else ()
        hint = f"give it with -i {name}=VALUE" if declared else ""
        found.append(document.problem(pointer, ProblemCode.BAD_INPUT, message, hint, on="key"))
    return InvalidWorkflow(found)
