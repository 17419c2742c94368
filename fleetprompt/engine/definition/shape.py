"""What pydantic found, in the words of the product and at the place in the file.

A validator that has something better to say raises `PydanticCustomError` with a problem code for its type, and may
add `hint`, `offset` and `length` (within a text value) to the context.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, cast

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.problems import Pointer, Problem, ProblemCode, ordered

Candidates = Callable[[Pointer], Iterable[str]]
"""The keys that a mapping can have; asked with the pointer of that mapping in the document."""

MAX_LISTED = 12
"""Names that a hint lists in full."""

_TEXT, _LIST, _MAPPING = "text", "a list", "a mapping"
_INTEGER, _NUMBER, _BOOL, _NOTHING = "a whole number", "a number", "true or false", "nothing"
_EXPECTED = {
    **dict.fromkeys(("string_type", "string_sub_type", "string_unicode"), _TEXT),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _INTEGER),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), _BOOL),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "iterable_type"), _LIST),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), _MAPPING),
    "none_required": _NOTHING,
}
_LIMITS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "string_pattern_mismatch": "must match the pattern `{pattern}`",
    "string_too_short": "must have at least {min_length} {characters}",
    "string_too_long": "must have at most {max_length} {characters}",
    "too_short": "must have at least {min_length} {items}",
    "too_long": "must have at most {max_length} {items}",
}
_CODES = frozenset(ProblemCode)
_AT_KEY = {ProblemCode.UNKNOWN_KEY, ProblemCode.BAD_KEY, ProblemCode.DUPLICATE_KEY, ProblemCode.CONFLICTING_KEYS}
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")
_TRUTH = {"yes": "true", "y": "true", "on": "true", "no": "false", "n": "false", "off": "false"}
_MISSING = object()


class _Finding(Struct):
    """One error, placed, before the branches of a union are made one problem."""

    pointer: Pointer
    code: ProblemCode
    value: Any
    message: str = ""
    """Complete, or empty when it follows from `expects` and `choices`."""
    hint: str = ""
    on: Literal["value", "key", "first"] = "value"
    expects: list[str] = []
    choices: list[str] = []
    branch: bool = False
    """Found by one branch of a union: another branch may have got further."""
    offset: int | None = None
    length: int | None = None


def problems_from(
    error: ValidationError,
    document: Document,
    base: Pointer = (),
    candidates: Candidates = lambda pointer: (),
) -> list[Problem]:
    """The problems behind a validation error of the value at `base`, in the order of the file."""
    found = [_finding(item, document, base, candidates) for item in error.errors(include_url=False)]
    return list(ordered(_problem(finding, document) for finding in _one_per_union(found)))


def _finding(error: ErrorDetails, document: Document, base: Pointer, candidates: Candidates) -> _Finding:
    kind, loc, value = error["type"], tuple(error["loc"]), error["input"]
    context = error.get("ctx", {})
    root = _at(document.data, base)
    if kind == "missing":
        parent = base + _resolve(loc[:-1], root, value)
        return _missing(parent, str(loc[-1]))
    at_key = bool(loc) and loc[-1] == "[key]"
    place = _resolve(loc[:-1] if at_key else loc, root, _MISSING if at_key else value)
    pointer = base + place
    branch = bool(loc) and not at_key and (not place or place[-1] != loc[-1])
    if kind in _CODES:
        return _said(ProblemCode(kind), error["msg"], context, pointer, at_key)
    if kind == "extra_forbidden":
        return _unknown_key(pointer, str(loc[-1]), candidates)
    finding = _Finding(pointer, ProblemCode.BAD_VALUE, value, branch=branch, on="key" if at_key else "value")
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        key = str(context["discriminator"]).strip("'")
        return _wrong_tag(finding, key, context)
    if kind in {"literal_error", "enum"}:
        finding.choices = _QUOTED.findall(str(context["expected"])) or str(context["expected"]).split(", ")
    elif kind in _EXPECTED:
        finding.code = ProblemCode.WRONG_TYPE
        finding.expects = [_EXPECTED[kind]]
    elif kind in {"value_error", "assertion_error"} and "error" in context:
        finding.message = str(context["error"])
        finding.hint = str(getattr(context["error"], "hint", ""))
    elif limit := limit_words(kind, context, value):
        finding.message = f"{_subject(pointer, at_key)} {limit}"
    else:
        finding.message = f"{_subject(pointer, at_key)}: {error['msg'][:1].lower()}{error['msg'][1:]}"
    return finding


def _said(code: ProblemCode, message: str, context: dict[str, Any], pointer: Pointer, at_key: bool) -> _Finding:
    """What a validator of ours said, as it said it."""
    offset, length = context.get("offset"), context.get("length")
    on = "key" if at_key or code in _AT_KEY else "first" if code == ProblemCode.MISSING_KEY else "value"
    hint = str(context.get("hint") or "")
    return _Finding(pointer, code, None, message, hint, on=on, offset=offset, length=length)


def _missing(parent: Pointer, key: str) -> _Finding:
    return _Finding(parent, ProblemCode.MISSING_KEY, None, f"missing key `{key}`", on="first")


_ELSEWHERE = {
    **dict.fromkeys(("command", "cmd", "run", "script", "args"), "argv"),
    **dict.fromkeys(("for", "foreach", "for_each", "items", "with_items", "in"), "over"),
    **dict.fromkeys(("depends_on", "after", "requires"), "needs"),
    **dict.fromkeys(("function", "func", "callable"), "call"),
    **dict.fromkeys(("when", "condition", "unless"), "if"),
    **dict.fromkeys(("ignore_errors", "continue_on_error"), "on_error"),
    **dict.fromkeys(("parameters", "params", "kwargs", "arguments"), "with"),
    **dict.fromkeys(("jobs", "tasks", "nodes"), "steps"),
    "uses": "type",
    "on": "triggers",
    "sleep": "for",
}
"""What people who know other systems write for a key of ours."""


def _unknown_key(pointer: Pointer, key: str, candidates: Candidates) -> _Finding:
    known = list(candidates(pointer[:-1]))
    hint = did_you_mean(key, known)
    if _ELSEWHERE.get(key) in known:
        hint = f"did you mean `{_ELSEWHERE[key]}`?"
    if not hint and 0 < len(known) <= MAX_LISTED:
        hint = f"known here: {_listed(known, 'and')}"
    return _Finding(pointer, ProblemCode.UNKNOWN_KEY, None, f"unknown key `{key}`", hint, on="key")


def _wrong_tag(finding: _Finding, key: str, context: dict[str, Any]) -> _Finding:
    if "tag" not in context:
        return _missing(finding.pointer, key)
    finding.pointer = (*finding.pointer, key)
    finding.value = context["tag"]
    finding.choices = _QUOTED.findall(str(context["expected_tags"]))
    if key == "type":
        finding.code = ProblemCode.UNKNOWN_TYPE
        finding.message = f"unknown type `{context['tag']}`"
    return finding


def limit_words(kind: str, context: dict[str, Any], value: Any) -> str:
    """What an error of pydantic says about a limit, such as `must be at least 1`; empty for one that is about none."""
    if kind not in _LIMITS:
        return ""
    limit = context.get("min_length", context.get("max_length"))
    if kind in {"string_too_short", "too_short"} and limit == 1:
        return "must not be empty"
    few = limit == 1
    items = ("entry" if few else "entries") if isinstance(value, dict) else ("item" if few else "items")
    words = {"characters": "character" if few else "characters", "items": items}
    plain = {name: str(word).removesuffix(".0") for name, word in context.items()}
    return _LIMITS[kind].format_map(words | plain)


def _one_per_union(found: Sequence[_Finding]) -> list[_Finding]:
    """A value that fits no branch of a union is one problem; one that got into a branch is judged there."""
    kept: dict[Any, _Finding] = {}
    for index, finding in enumerate(found):
        mismatch = bool(finding.expects) or (bool(finding.choices) and not isinstance(finding.value, str))
        if finding.branch and mismatch and _entered(finding, found):
            continue
        derived = not finding.message
        key = (finding.pointer, finding.on) if derived else index
        if derived and key in kept:
            first = kept[key]
            first.expects = list(dict.fromkeys(first.expects + finding.expects))
            first.choices = list(dict.fromkeys(first.choices + finding.choices))
            first.code = ProblemCode.BAD_VALUE if first.choices else first.code
        else:
            kept[key] = finding
    return list(kept.values())


def _entered(finding: _Finding, found: Sequence[_Finding]) -> bool:
    """Whether another branch took the value for its own, and found fault with what is in it."""
    place = finding.pointer
    return any(
        other.pointer[: len(place)] == place and (len(other.pointer) > len(place) or bool(other.message))
        for other in found
        if other is not finding
    )


def _problem(finding: _Finding, document: Document) -> Problem:
    message, hint = finding.message, finding.hint
    value = finding.value
    if finding.choices and not hint:
        hint = did_you_mean(value, finding.choices) if isinstance(value, str) else ""
        if message and not hint and len(finding.choices) <= MAX_LISTED:
            hint = f"known types: {_listed(finding.choices, 'and')}"
    if not message:
        wanted = [f"`{choice}`" for choice in finding.choices] + finding.expects
        actual = "" if finding.choices and isinstance(value, str) else _actual(value)
        message = f"{_subject(finding.pointer, finding.on == 'key')} must be {_any_of(wanted)}{actual}"
        hint = hint or _conversion(finding, document)
    if not finding.pointer and not hint and not isinstance(document.data, dict):
        hint = document.kind.remedy(ProblemCode.EMPTY_FILE)
    return document.problem(finding.pointer, finding.code, message, hint, finding.on, finding.offset, finding.length)


def _conversion(finding: _Finding, document: Document) -> str:
    """How to write the value so that it has the right type, where that is plain to see."""
    value = finding.value
    if isinstance(value, str):
        if _BOOL in finding.expects and value.lower() in _TRUTH:
            return f"write `{_TRUTH[value.lower()]}`: in YAML 1.2 `{value}` is text"
        number = re.fullmatch(r"-?\d+" if _INTEGER in finding.expects else r"-?\d+(\.\d+)?", value)
        return "remove the quotes" if number and {_INTEGER, _NUMBER} & {*finding.expects} else ""
    if _LIST in finding.expects and isinstance(value, dict):
        return "begin each item of a list with `- `"
    if _TEXT in finding.expects and isinstance(value, bool | int | float):
        # As it is written, not as it was read: 1.10 is the number 1.1.
        place = document.problem(finding.pointer, finding.code, "")
        shift = place.source_start
        return f'quote it: "{place.source_line[place.column - shift : place.end_column - shift]}"'
    return ""


def _subject(pointer: Pointer, at_key: bool) -> str:
    if not pointer:
        return "the file"
    if at_key:
        return f"the key `{pointer[-1]}`"
    return f"`{pointer[-1]}`" if isinstance(pointer[-1], str) else "this item"


def _actual(value: Any) -> str:
    if value is None:
        return ", but has no value"
    kinds: dict[Any, str] = {
        str: _TEXT,
        bool: "true or false",
        int: _INTEGER,
        float: _NUMBER,
        list: _LIST,
        dict: _MAPPING,
    }
    kind = kinds.get(type(value), "")
    if isinstance(value, bool | float):
        kind = str(value).lower()
    return f", not {kind}" if kind else ""


def _any_of(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _listed(names: Sequence[str], word: str) -> str:
    shown = [f"`{name}`" for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {word} {shown[-1]}"


def _at(data: Any, pointer: Pointer) -> Any:
    for part in pointer:
        if isinstance(data, dict) and part in data:
            data = cast("dict[str | int, Any]", data)[part]
        elif isinstance(data, list) and isinstance(part, int) and 0 <= part < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[part]
        else:
            return _MISSING
    return data


def _resolve(loc: Pointer, root: Any, value: Any) -> Pointer:
    """The pointer in the data that pydantic's `loc` means: a loc also names union branches and validators.

    A branch can have the name of a key (`{type: agent, agent: sre}`), so the value that pydantic complained about
    decides: the first reading that leads to it wins.
    """
    plain = _walk(loc, root)
    if value is _MISSING or _same(_at(root, plain), value):
        return plain
    for index in range(len(loc)):
        reading = _walk(loc[:index] + loc[index + 1 :], root)
        if _same(_at(root, reading), value):
            return reading
    return plain


def _walk(loc: Pointer, root: Any) -> Pointer:
    pointer: list[str | int] = []
    for part in loc:
        below = _at(root, (part,))
        if below is not _MISSING:
            pointer.append(part)
            root = below
    return tuple(pointer)


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and one == other)
