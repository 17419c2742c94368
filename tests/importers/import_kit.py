"""What the tests of importers share: files in a few words, what comes of them, and runs of that."""

from __future__ import annotations

import random
from typing import Any

from play import Play

from fleetprompt.engine.core.facts import StepStarted
from fleetprompt.engine.definition.importing import Imported, import_workflow, load_imported
from fleetprompt.engine.definition.load import Loaded
from fleetprompt.engine.definition.problems import InvalidFile
from fleetprompt.engine.definition.yaml import load_document


def node(id_: str, type_: str = "data_transform", *, to: Any = (), **fields: Any) -> dict[str, Any]:
    """A step of the graph form; what is not one of its fields is a parameter."""
    own = ("else_steps", "dependencies", "input_mapping", "conditions", "name", "retry", "config", "description")
    step: dict[str, Any] = {"step_id": id_, "step_type": type_}
    step |= {key: fields.pop(key) for key in own if key in fields}
    if to:
        step["next_steps"] = [to] if isinstance(to, str) else list(to)
    if "config" not in step:
        step["parameters"] = fields
    return step


def graph(*steps: dict[str, Any], **top: Any) -> dict[str, Any]:
    return {"name": "flow", "steps": list(steps), **top}


def listed(*steps: dict[str, Any], **top: Any) -> dict[str, Any]:
    return {"name": "flow", "steps": list(steps), **top}


def imported(source: Any, **options: Any) -> Imported:
    """The result, which must be valid."""
    found = import_workflow(source, **options)
    valid(found)
    return found


def valid(found: Imported) -> Loaded:
    try:
        return load_imported(found)
    except InvalidFile as invalid:
        raise AssertionError(f"{[problem.message for problem in invalid.problems]}\n{found.text}") from None


def data(found: Imported) -> dict[str, Any]:
    """The result as plain data."""
    document = load_document(found.text, "")
    assert document.problems == ()
    return document.data


def steps(source: Any, **options: Any) -> list[dict[str, Any]]:
    return data(imported(source, **options))["steps"]


def step(source: Any, id_: str, **options: Any) -> dict[str, Any]:
    """One step of the result, wherever it lies, without id and type."""
    stack: list[Any] = [steps(source, **options)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if value.get("id") == id_:
                return {key: each for key, each in value.items() if key != "id"}
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    raise AssertionError(f"there is no step {id_}")


def told(found: Imported, code: str = "") -> list[str]:
    """What was lost, as `pointer: message`."""
    return [f"{each.pointer}: {each.message}" for each in found.losses if not code or each.code == code]


def wrong(source: Any, **options: Any) -> list[str]:
    """Why a file cannot be imported, as `pointer code: message`."""
    try:
        import_workflow(source, **options)
    except InvalidFile as invalid:
        return [f"{each.pointer} {each.code}: {each.message}" for each in invalid.problems]
    raise AssertionError("it can be imported")


def play(found: Imported, seed: int = 0, *, inputs: Any = None, votes: Any = None, outputs: Any = None) -> Play:
    """A run to its end, in which what can happen happens in any order. `votes` says what people decide, by step."""
    run = Play(valid(found).plan, inputs=inputs or {}, verify=False)
    dice = random.Random(seed)
    for _ in range(10_000):
        if run.run.ended:
            return run
        owed = sorted(run.owed)
        asked = sorted(path for path, each in run.run.steps.items() if each.open_gates)
        if owed or asked:
            path = dice.choice([*owed, *asked])
            if path in asked:
                run.vote(path, decision=(votes or {}).get(path, "approved"))
            else:
                run.ok(path, (outputs or {}).get(path, f"{path} done"))
        elif run.run.wants_slot:
            run.grant()
        else:
            run.wake()
    raise AssertionError("it never ends")


def order(run: Play) -> list[tuple[str, str]]:
    """What began and what ended, in order."""
    found: list[tuple[str, str]] = []
    for fact in run.facts:
        path = getattr(fact, "path", "")
        if isinstance(fact, StepStarted):
            found.append(("begins", path))
        elif type(fact).__name__ in ("StepSucceeded", "StepFailed", "StepSkipped", "ApprovalRequested"):
            found.append((type(fact).__name__.removeprefix("Step").lower(), path))
    return found
