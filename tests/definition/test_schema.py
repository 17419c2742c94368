"""The schema for editors: it takes every good file, refuses slips at their place, and describes every field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.core.expr_apply import EACH
from fleetprompt.engine.core.expr_filters import FILTERS
from fleetprompt.engine.core.expr_tests import TESTS
from fleetprompt.engine.definition.load import check
from fleetprompt.engine.definition.schema import workflow_schema
from fleetprompt.engine.definition.step import StepModel
from fleetprompt.engine.definition.triggers import TRIGGERS
from fleetprompt.engine.definition.yaml import load_document
from fleetprompt.engine.registry import STEPS
from tests.definition.test_lint import BAD as BAD_MEANING
from tests.definition.test_lint import GOOD
from tests.definition.test_load import EVERYTHING, EXAMPLE

STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
SCHEMA = workflow_schema()
ROOT = Path(__file__).parents[2]
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "number": (int, float), "integer": int,
}  # fmt: skip


def faults(value: Any, schema: Any, at: str = "") -> list[str]:
    """What a JSON Schema validator would say, for the keywords that our schema uses."""
    found: list[str] = []
    for keyword, wanted in schema.items() if isinstance(schema, dict) else ():
        match keyword:
            case "$ref":
                found += faults(value, SCHEMA["definitions"][wanted.removeprefix("#/definitions/")], at)
            case "type":
                kinds = wanted if isinstance(wanted, list) else [wanted]
                if not any(
                    isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))
                    for kind in kinds
                ):
                    found.append(f"{at}: type {wanted}")
            case "const" | "enum":
                if value not in (wanted if keyword == "enum" else [wanted]):
                    found.append(f"{at}: {keyword} {wanted}")
            case "anyOf":
                if all(faults(value, option, at) for option in wanted):
                    found.append(f"{at}: none of {len(wanted)}")
            case "allOf":
                found += [fault for part in wanted for fault in faults(value, part, at)]
            case "if":
                found += [] if faults(value, wanted) else faults(value, schema["then"], at)
            case "pattern":
                found += [f"{at}: pattern"] if isinstance(value, str) and not re.search(wanted, value) else []
            case "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties":
                found += [] if within(value, keyword, wanted) else [f"{at}: {keyword}"]
            case "items" if isinstance(value, list):
                found += [fault for i, item in enumerate(value) for fault in faults(item, wanted, f"{at}/{i}")]
            case "required" if isinstance(value, dict):
                found += [f"{at}: no {key}" for key in wanted if key not in value]
            case "properties" if isinstance(value, dict):
                found += [
                    fault for key in wanted if key in value for fault in faults(value[key], wanted[key], f"{at}/{key}")
                ]
            case "patternProperties" if isinstance(value, dict):
                for pattern, part in wanted.items():
                    keys = [key for key in value if re.search(pattern, key)]
                    found += [fault for key in keys for fault in faults(value[key], part, f"{at}/{key}")]
            case "additionalProperties" if isinstance(value, dict):
                patterns = schema.get("patternProperties", {})
                extra = [
                    key
                    for key in value
                    if key not in schema.get("properties", {}) and not any(re.search(p, key) for p in patterns)
                ]
                found += [f"{at}/{key}: unknown" for key in extra if wanted is False]
                found += [fault for key in extra if wanted for fault in faults(value[key], wanted, f"{at}/{key}")]
            case "propertyNames" if isinstance(value, dict):
                found += [fault for key in value for fault in faults(key, wanted, f"{at}/{key}")]
            case "not" | "oneOf" | "dependentRequired":
                raise AssertionError(f"the schema uses {keyword}, which this test does not judge")
            case _:
                pass
    return found


def within(value: Any, keyword: str, limit: float) -> bool:
    if keyword in ("minimum", "maximum"):
        size = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    else:
        kind = str if keyword.endswith("Length") else list if keyword.endswith("Items") else dict
        size = len(value) if isinstance(value, kind) else None
    return size is None or (size >= limit if keyword.startswith("min") else size <= limit)


def judged(text: str) -> list[str]:
    return faults(load_document(text, "flow.yaml").data, SCHEMA)


@pytest.mark.parametrize("name", GOOD)
def test_good_files_are_taken(name: str) -> None:
    assert judged(GOOD[name]) == []


@pytest.mark.parametrize("text", [EXAMPLE, EVERYTHING], ids=["example", "everything"])
def test_the_large_examples_are_taken(text: str) -> None:
    assert judged(text) == []


def files() -> list[Path]:
    return sorted([*(ROOT / "workflows").glob("*.yaml"), *(ROOT / "docs" / "patterns").glob("*.yaml")])


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_every_file_of_the_repository_is_taken(path: Path) -> None:
    problems = check(path.read_text(), path.name, path.parent)
    assert [problem for problem in problems if problem.severity == "error"] == []
    assert judged(path.read_text()) == []


def test_what_only_the_meaning_makes_wrong_is_taken_too() -> None:
    for name, (text, code, _) in BAD_MEANING.items():
        if code in ("unknown-reference", "unknown-need", "cycle", "unreachable", "duplicate-id", "bad-secret"):
            assert judged(text.replace("▸", "")) == [], name


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("{id: a, type: shel}", "/steps/0/type: enum"),
        ("{id: a, type: stop, mesage: x}", "/steps/0/mesage: unknown"),
        ("{type: stop}", "/steps/0: no id"),
        ("{id: a, type: transform}", "/steps/0: no output"),
        ("{id: a, type: delay, for: 5 minutes}", "/steps/0/for: none of"),
        ("{id: a, type: approval, message: x, quorum: 0}", "/steps/0/quorum: none of"),
        ("{id: a, type: loop, over: x, steps: [{id: b, type: stop, x: 1}]}", "/steps/0/steps/0/x: unknown"),
        ("{id: a, type: parallel, branches: {x: [{id: b, type: stop, x: 1}]}}", "/steps/0/branches/x/0/x: unknown"),
        ("{id: a, type: stop, compensate: {type: shell, argv: [ls], id: b}}", "/steps/0/compensate/id: unknown"),
        ("{id: a, type: stop, retry: {attempts: 3}}", "/steps/0/retry: none of"),
        ("{id: a, type: stop, if: {field: x, operator: equals, value: 1}}", "/steps/0/if: none of"),
    ],
)
def test_slips_are_refused_at_their_place(step: str, fault: str) -> None:
    (found,) = judged(f"name: flow\nsteps: [{step}]\n")
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "step",
    [
        "{id: a, type: delay, for: '${{ inputs.t }}'}",
        "{id: a, type: approval, message: x, quorum: '${{ inputs.n }}', timeout: '${{ inputs.t }}'}",
        "{id: a, type: stop, retry: 3, needs: b, assert: [result, true]}",
        "{id: a, type: approval, message: x, approvers: ana, form: {why: string}}",
    ],
)
def test_expressions_and_short_forms_are_taken(step: str) -> None:
    assert judged(f"name: flow\nsteps: [{step}]\n") == []


@pytest.mark.parametrize(
    "step",
    [
        "{id: a, type: delay}",
        "{id: a, type: loop, steps: [{id: b, type: stop}]}",
        "{id: a, type: switch, value: run.id, cases: {}}",
        "{id: a, type: http, url: 'ftp://example.org'}",
        "{id: a, type: stop, if: }",
        "{id: , type: stop}",
    ],
)
def test_what_the_loader_refuses_is_refused(step: str) -> None:
    text = f"name: flow\nsteps: [{step}]\n"
    assert check(text, "flow.yaml") != ()
    assert judged(text) != []


def test_every_mapping_is_closed_and_every_reference_leads_somewhere() -> None:
    def walk(schema: Any, at: str) -> None:
        if isinstance(schema, list):
            for index, item in enumerate(schema):
                walk(item, f"{at}/{index}")
        if not isinstance(schema, dict):
            return
        if "$ref" in schema:
            assert schema["$ref"].removeprefix("#/definitions/") in SCHEMA["definitions"], at
        if "properties" in schema and "if" not in at.split("/") and "allOf" not in schema:
            assert schema.get("additionalProperties") is False, at
        for key, part in schema.items():
            walk(part, f"{at}/{key}")

    walk(SCHEMA, "")


def own_definitions() -> dict[str, Any]:
    """What the language itself defines: the head, the parts and the types, not the parts of one type."""
    shared = {"step", "body", "reconcile", "trigger", "condition"}
    parts = {name for name in SCHEMA["definitions"] if name.endswith("Model")} | {"FormField"}
    return {
        name: definition
        for name, definition in {"": SCHEMA, **SCHEMA["definitions"]}.items()
        if name not in shared and (name == "" or name in parts or name.startswith(("step_", "trigger_")))
    }


def test_every_field_is_described() -> None:
    for name, definition in own_definitions().items():
        for key, schema in definition["properties"].items():
            target = schema
            if "$ref" in schema and "description" not in schema:
                target = SCHEMA["definitions"][schema["$ref"].removeprefix("#/definitions/")]
            assert target.get("description") or key == "method", f"{name}.{key}"


def test_the_schema_is_json_and_not_huge() -> None:
    assert len(json.dumps(SCHEMA)) < 200_000


def test_the_reference_mentions_every_type_and_field() -> None:
    """`docs/workflows.md` is the page that people read: nothing of the language is missing from it."""
    page = (ROOT / "docs" / "workflows.md").read_text()
    for name, _ in STEPS:
        assert f"### `{name}`" in page, name
    for name in TRIGGERS:
        assert f"| `{name}` |" in page, name
    for name, definition in own_definitions().items():
        for key in definition["properties"]:
            assert f"`{key}`" in page, f"{name}.{key}"
    for key in [*SCHEMA["properties"], *(field.alias or name for name, field in StepModel.model_fields.items())]:
        assert f"| `{key}` |" in page, key


def test_the_reference_has_every_filter_and_test_in_the_words_of_the_code() -> None:
    rows = set((ROOT / "docs" / "workflows.md").read_text().splitlines())
    for operation in [*FILTERS.values(), *TESTS.values()]:
        shown = f"{operation.name}({', '.join(operation.params)})" if operation.params else operation.name
        assert f"| `{shown}` | {' '.join(operation.doc.split())} |" in rows
    for name, doc in EACH.items():
        assert f"| `{name}` | {doc} |" in rows


def blocks() -> list[str]:
    page = (ROOT / "docs" / "workflows.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("block", blocks())
def test_every_block_of_the_reference_is_taken(block: str) -> None:
    """A whole file has no problem; a part may name what stands elsewhere, and nothing else is wrong with it."""
    whole = block.startswith("#")
    text = block if whole else f"name: part\non_failure: compensate\nsteps:\n{block}"
    elsewhere = set() if whole else {"unknown-reference", "suspicious"}
    assert [problem for problem in check(text, "part.yaml") if problem.code not in elsewhere] == []
    assert judged(text) == []
