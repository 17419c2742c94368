"""The JSON Schema of workflow files, for editors: draft-07, which is what yaml-language-server handles best.

Made from the models and the registry. A step is judged by the definition of its `type` alone, so that an editor
reports what is wrong with that step, and not that it fits none of fifteen types.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fleetprompt.engine.core.condition import OPERATORS
from fleetprompt.engine.definition.fields import DEFINITION
from fleetprompt.engine.definition.models import WorkflowModel
from fleetprompt.engine.definition.parts import Part
from fleetprompt.engine.definition.step import NOT_IN_A_BODY, ReconcileModel, StepModel, own_fields
from fleetprompt.engine.definition.triggers import TRIGGERS
from fleetprompt.engine.registry import STEPS

Schema = dict[str, Any]

_REF = "#/definitions/"
_CONDITION: Schema = {
    "description": "A condition: an expression without ${{ }}, true or false, or a structured comparison.",
    "anyOf": [
        {"type": ["string", "boolean"]},
        {
            "type": "object",
            "properties": {
                "field": {"type": "string", "description": "What is compared, such as `steps.a.output.count`."},
                "operator": {"enum": [*OPERATORS, "exists"]},
                "value": {"description": "What it is compared with; `exists` takes none."},
            },
            "required": ["field", "operator"],
            "additionalProperties": False,
        },
        *(
            {
                "type": "object",
                "properties": {word: {"type": "array", "items": {"$ref": f"{_REF}condition"}}},
                "required": [word],
                "additionalProperties": False,
            }
            for word in ("all", "any")
        ),
        {
            "type": "object",
            "properties": {"not": {"$ref": f"{_REF}condition"}},
            "required": ["not"],
            "additionalProperties": False,
        },
    ],
}


def workflow_schema() -> Schema:
    """The schema of a workflow file with the step types that are registered now."""
    steps = {name: cast("type[StepModel]", model) for name, model in STEPS}
    made = _definitions([WorkflowModel, ReconcileModel, StepModel, *TRIGGERS.values(), *steps.values()])
    common = made.pop("StepModel")["properties"]
    reconcile = made.pop("ReconcileModel")["properties"]
    definitions: Schema = {"condition": _CONDITION}
    for key, schema in common.items():
        definitions[f"step.{key}"] = schema
    for name, model in steps.items():
        schema = made.pop(model.__name__)
        _share_common_fields(schema, model)
        schema["properties"]["type"] = {"const": name, "description": _summary(model)}
        # `id` and `type` are asked for by `step` itself: an editor would report them twice.
        schema["required"] = [key for key in schema["required"] if key != "type"]
        definitions[f"step_{name}"] = schema
        if model.kind == "effect":
            body = _without(schema, NOT_IN_A_BODY)
            definitions[f"body_{name}"] = body
            definitions[f"reconcile_{name}"] = {
                **body,
                "properties": {**body["properties"], "happened": reconcile["happened"], "output": reconcile["output"]},
            }
    for name, model in TRIGGERS.items():
        schema = made.pop(model.__name__)
        schema["properties"]["type"] = {"const": name, "description": _summary(model)}
        definitions[f"trigger_{name}"] = schema
    effects = {name: model for name, model in steps.items() if model.kind == "effect"}
    definitions["step"] = _by_type("step", steps, ["id", "type"])
    definitions["body"] = _by_type("body", effects, ["type"])
    definitions["reconcile"] = _by_type("reconcile", effects, ["type", "happened"])
    definitions["trigger"] = _by_type("trigger", TRIGGERS, ["type"])
    root = made.pop("WorkflowModel")
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "FleetPrompt workflow",
        **root,
        "definitions": definitions | {name: schema for name, schema in made.items() if name != "TriggerModel"},
    }


def _definitions(models: Iterable[type[BaseModel]]) -> Schema:
    """Every model, and those they refer to, by class name."""
    _, whole = models_json_schema([(model, "validation") for model in models], ref_template=_REF + "{model}")
    made = cast("dict[str, Schema]", whole["$defs"])
    for name, schema in made.items():
        made[name] = _plain(schema)
    for model in _all_models():
        if model.__name__ in made:
            _describe(made[model.__name__], model)
    return made


def _all_models() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    left: list[type[BaseModel]] = [Part]
    while left:
        model = left.pop()
        found.append(model)
        left += model.__subclasses__()
    return found


def _plain(schema: Any) -> Any:
    """The schema without what only pydantic needs: titles, nulls that stand for "not there", placeholders."""
    if isinstance(schema, list):
        return [_plain(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    body = cast("Schema", schema)
    if DEFINITION in body:
        return {"$ref": _REF + body[DEFINITION]}
    plain = {key: _plain(value) for key, value in body.items() if key != "title" or not isinstance(value, str)}
    if plain.get("default", ...) is None:
        plain.pop("default")
        plain["anyOf"] = [option for option in plain.get("anyOf", []) if option != {"type": "null"}]
        if len(plain["anyOf"]) <= 1:
            plain |= (plain.pop("anyOf") or [{}])[0]
    if "patternProperties" in plain:
        plain["additionalProperties"] = False
    return plain


def _describe(schema: Schema, model: type[BaseModel]) -> None:
    schema["description"] = _summary(model)
    docs = field_docs(model)
    for name, field in model.model_fields.items():
        known = schema["properties"].get(field.alias or name)
        if known is not None and name in docs:
            known["description"] = docs[name]


def _summary(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "")


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The text that stands under each field of a model, by Python name; inherited ones included."""
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if not issubclass(parent, BaseModel) or parent is BaseModel:
            continue
        body = cast("ast.ClassDef", ast.parse(dedent(inspect.getsource(parent))).body[0]).body
        for field, text in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                value = text.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[field.target.id] = " ".join(value.value.split())
    return found


def _share_common_fields(schema: Schema, model: type[StepModel]) -> None:
    """Common fields are defined once: fifteen copies would make the file large and editors slow."""
    own = own_fields(model)
    for name, field in StepModel.model_fields.items():
        key = field.alias or name
        if name not in own and key != "type":
            schema["properties"][key] = {"$ref": f"{_REF}step.{key}"}


def _without(schema: Schema, keys: Iterable[str]) -> Schema:
    properties = {key: value for key, value in schema["properties"].items() if key not in keys}
    return {**schema, "properties": properties}


def _by_type(family: str, models: dict[str, Any], required: list[str]) -> Schema:
    return {
        "type": "object",
        "required": required,
        "properties": {
            "type": {
                "enum": list(models),
                "enumDescriptions": [_summary(model).partition("\n")[0] for model in models.values()],
            }
        },
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"{_REF}{family}_{name}"},
            }
            for name in models
        ],
    }
