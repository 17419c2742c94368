"""Arguments of a call as they stand in a file, before it is made: whatever an expression will become is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final, cast

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.template import Template, compile_template
from fleetprompt.engine.definition.names import Said
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.tools.declare import allowed

MOST: Final = 20
"""Faults of one call that are told."""
_KINDS: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_LIMITS: Final = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} items",
    "maxItems": "must have at most {} items",
    "maxProperties": "must have at most {} entries",
    "pattern": "must match the pattern `{}`",
}
_OF_TEXT: Final = frozenset({"pattern", "format", "enum", "const", "minLength", "maxLength"})
"""What a text with an expression in it cannot be judged by."""
_OF_ALL: Final = frozenset({"enum", "const", "not", "if", "oneOf", "contains", "uniqueItems", "unevaluatedProperties"})
"""What a value cannot be judged by of which a part is not known yet."""


class _Later:
    """Stands for what an expression will become."""


class _Partly(str):
    """A text of which a part is an expression."""


def misfits(tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[Said]:
    """What of the arguments does not fit the JSON Schema of a tool."""
    referencing: Any = import_module("referencing")
    # Its own registry: without one, a reference to some address would be fetched.
    validator = _validator()(dict(schema), registry=referencing.Registry())
    given = _later(dict(arguments))
    try:
        found = sorted(validator.iter_errors(given), key=lambda error: list(map(str, error.absolute_path)))
    except Exception as error:
        message = f"the arguments of `{tool}` cannot be checked: its schema raises {type(error).__name__}"
        yield Said(message, "ask who made the tool", ProblemCode.BAD_SCHEMA, "warning", at=())
        return
    told = dict.fromkeys(said for error in found for said in _told(error, tool, schema))
    yield from list(told)[:MOST]


def is_known(arguments: Any) -> bool:
    """Whether there is no expression in them."""
    return not _holds_later(_later(arguments))


def _later(value: Any) -> Any:
    if isinstance(value, str) and "${{" in value:
        try:
            template = compile_template(value)
        except ExpressionError:
            return _Later()
        if not isinstance(template, Template):
            return template
        return _Later() if len(template.parts) == 1 else _Partly(value)
    if isinstance(value, dict):
        return {key: _later(item) for key, item in cast("dict[str, Any]", value).items()}
    return [_later(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def _holds_later(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_later, cast("dict[str, Any]", value).values()))
    if isinstance(value, list):
        return any(map(_holds_later, cast("list[Any]", value)))
    return isinstance(value, _Later | _Partly)


@cache
def _validator() -> Any:
    """JSON Schema that knows of values to come."""
    validators: Any = import_module("jsonschema.validators")
    base = validators.Draft202012Validator
    return validators.extend(base, {keyword: _patient(keyword, judge) for keyword, judge in base.VALIDATORS.items()})


def _patient(keyword: str, judge: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def patient(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if isinstance(instance, _Later) or (keyword in _OF_TEXT and isinstance(instance, _Partly)):
            return
        if keyword in _OF_ALL and _holds_later(instance):
            return
        yield from judge(validator, value, instance, schema) or ()

    return patient


def _told(error: Any, tool: str, schema: Mapping[str, Any]) -> Iterator[Said]:
    at: Pointer = tuple(error.absolute_path)
    if error.validator in ("anyOf", "oneOf") and error.context:
        yield from _of_choice(error, tool, schema)
        return
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                about = _about(error.schema, name) or allowed(error.schema)
                message = f"`{tool}` needs the argument `{_path((*at, name))}`"
                yield Said(
                    message,
                    f"add `{name}`: {about}" if about else f"add `{name}`",
                    ProblemCode.MISSING_KEY,
                    at=at,
                    on="key",
                )
    elif error.validator == "additionalProperties" and error.validator_value is False:
        known = cast("dict[str, Any]", error.schema.get("properties", {}))
        for name in error.instance:
            if name not in known:
                hint = did_you_mean(name, [each for each in known if each not in error.instance] or known)
                message = f"`{tool}` has no argument `{inert(_path((*at, name)))}`"
                yield Said(message, hint or allowed(error.schema), ProblemCode.UNKNOWN_KEY, at=(*at, name), on="key")
    else:
        code = ProblemCode.WRONG_TYPE if error.validator == "type" else ProblemCode.BAD_VALUE
        yield Said(f"{_subject(tool, at)} {_wanted(error)}", _hint(error, schema, at), code, at=at)


def _of_choice(error: Any, tool: str, schema: Mapping[str, Any]) -> Iterator[Said]:
    """One of several forms: which of them was meant is told by the type of the value."""
    at: Pointer = tuple(error.absolute_path)
    types = [each for each in error.context if each.validator == "type" and list(each.absolute_path) == list(at)]
    others = [each for each in error.context if each not in types]
    if others:
        deepest = max(others, key=lambda each: len(each.absolute_path))
        for each in others:
            if each.schema_path[0] == deepest.schema_path[0]:
                yield from _told(each, tool, schema)
        return
    kinds = [kind for each in types for kind in _listed(each.validator_value)]
    wanted = f"must be {_any_of([_KINDS.get(kind, kind) for kind in kinds])}{_actual(error.instance)}"
    yield Said(f"{_subject(tool, at)} {wanted}", _hint(error, schema, at), ProblemCode.WRONG_TYPE, at=at)


def _wanted(error: Any) -> str:
    value = error.validator_value
    if error.validator == "type":
        return f"must be {_any_of([_KINDS.get(kind, kind) for kind in _listed(value)])}{_actual(error.instance)}"
    if error.validator == "enum":
        return f"must be {_any_of([f'`{inert(str(each))}`' for each in value])}"
    if error.validator == "const":
        return f"must be `{inert(str(value))}`"
    if error.validator in ("minLength", "minItems") and value == 1:
        return "must not be empty"
    if error.validator in _LIMITS:
        return _LIMITS[error.validator].format(inert(str(value)))
    return f"cannot be used: {inert(error.message)[:200]}"


def _hint(error: Any, schema: Mapping[str, Any], at: Pointer) -> str:
    if error.validator == "enum" and isinstance(error.instance, str):
        close = did_you_mean(error.instance, [each for each in error.validator_value if isinstance(each, str)])
        return close or "write one of them"
    numbers = {"integer", "number"} & {*_types(error)}
    if isinstance(error.instance, str) and numbers and error.instance.lstrip("-").isdecimal():
        return "remove the quotes"
    if isinstance(error.instance, _Partly) and "string" not in _types(error):
        return "an expression keeps its type where nothing else is in the value"
    if isinstance(error.instance, bool | int | float) and "string" in _types(error):
        return "quote it"
    if isinstance(error.instance, str) and "array" in _types(error):
        return f"write a list: [{error.instance[:60]}]"
    first = next((str(part) for part in at), "")
    return _about(schema, first) or allowed(schema)


def _types(error: Any) -> list[str]:
    if error.validator == "type":
        return _listed(error.validator_value)
    return [kind for each in error.context or () if each.validator == "type" for kind in _listed(each.validator_value)]


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else cast("list[str]", value)


def _about(schema: Any, name: str) -> str:
    """What a schema says about one of its properties."""
    return inert(str(mapping(mapping(mapping(schema).get("properties")).get(name)).get("description", "")))[:200]


def _subject(tool: str, at: Pointer) -> str:
    return f"the argument `{inert(_path(at))}` of `{tool}`" if at else f"`with` of `{tool}`"


def _path(at: Pointer) -> str:
    return ".".join(map(str, at))


def _actual(value: object) -> str:
    kinds: dict[type, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "a mapping",
        str: "text",
        _Partly: "text",
    }
    return ", but has no value" if value is None else f", not {kinds.get(type(value), 'that')}"


def _any_of(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
