"""Calls of tools and HTTP requests of foreign files."""

from __future__ import annotations

import re
from typing import Any, Final, cast
from urllib.parse import urlsplit

from fleetprompt.engine.definition.importers._draft import template
from fleetprompt.engine.definition.importers._given import Found, Given
from fleetprompt.engine.definition.importers._making import Making, is_one_expression
from fleetprompt.engine.definition.importers._name import slug
from fleetprompt.engine.definition.problems import Pointer, ProblemCode

_TOOL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_FRAMING: Final = frozenset(
    {"connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_URL: Final = re.compile(r"https?://[^\s/\\?#]+[^\s\\\x00-\x1f\x7f]*", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"authorization|cookie|api-?key|token|secret", re.IGNORECASE)


def tool(step: Making) -> dict[str, Any]:
    """One call of a tool."""
    given = step.given
    theirs = given.text("tool_name", "tool", "tool_id", "function")
    if not theirs:
        message = f"`{step.node.key}` does not name its tool"
        step.draft.report.wrong(given.pointer, ProblemCode.MISSING_KEY, message, "such as `tool_name: search`")
    place = given.find("tool_name", "tool", "tool_id", "function").pointer
    arguments = given.find("tool_args", "arguments", "args", "tool_parameters", "parameters", "params")
    with_: dict[str, Any] = {}
    if arguments:
        if isinstance(arguments.value, dict):
            with_ = step.scope.value(cast("Any", arguments.value), arguments.pointer)
        else:
            Given(step.draft.report, arguments.value, arguments.pointer)
    mapped = given.mapping("param_mapping", "parameter_mapping")
    for key in mapped.rest() if mapped is not None else ():
        assert mapped is not None
        value = step.scope.reference(Found(mapped.body[key], (*mapped.pointer, key)))
        if value is not None:
            with_[key] = template([value])
    for key, value in step.unused().items():
        with_.setdefault(key, template([value]))
    found: dict[str, Any] = {"tool": _tool_name(step, theirs, place)}
    return found | ({"with": with_} if with_ else {})


def unknown(step: Making) -> dict[str, Any]:
    """A kind of step that is not there: it becomes a call of a tool that could be."""
    theirs = str(step.node.given.body.get("step_type") or step.node.given.body.get("type") or "unknown")
    pointer = step.node.pointer
    name = _tool_name(step, theirs, pointer)
    step.lost(
        (*pointer, "step_type" if "step_type" in step.node.given.body else "type"),
        f"there is no step type `{theirs[:60]}` here: `{step.node.key}` calls a tool `{name}`",
        "write that tool (docs/tools.md), or put a step of another type there",
    )
    with_ = {key: step.scope.value(step.given.body[key], (*step.given.pointer, key)) for key in step.given.rest()}
    for key, value in step.unused().items():
        with_.setdefault(key, template([value]))
    return {"tool": name, **({"with": with_} if with_ else {})}


def _tool_name(step: Making, theirs: str, pointer: Pointer) -> str:
    if _TOOL.fullmatch(theirs):
        return theirs
    name = slug(theirs, "_", 100, "tool")
    if theirs:
        step.draft.report.differs(pointer, f"the tool `{theirs[:60]}` is called `{name}` here")
    return name


def http(step: Making) -> dict[str, Any]:
    """A request."""
    given, report = step.given, step.draft.report
    address = given.find("url", "endpoint")
    found: dict[str, Any] = {}
    method = given.text("method", "http_method").upper()
    if method and method not in _METHODS:
        place = given.find("method", "http_method").pointer
        report.wrong(place, ProblemCode.BAD_VALUE, f"there is no method `{method[:20]}`", ", ".join(_METHODS))
    elif method and method != "GET":
        found["method"] = method
    url = step.text(address) if address else ""
    if not address:
        report.wrong(given.pointer, ProblemCode.MISSING_KEY, f"`{step.node.key}` has no `url`")
    elif "${{" not in url and (said := _bad_url(url)):
        report.wrong(address.pointer, ProblemCode.BAD_VALUE, said)
    found["url"] = url
    headers = _headers(step)
    if headers:
        found["headers"] = headers
    query = given.mapping("query_params", "params", "query")
    if query is not None:
        found["query"] = {
            key: _word(step.scope.value(query.body[key], (*query.pointer, key))) for key in query.rest() if key
        }
    body = given.find("body", "json", "data", "payload")
    if body:
        value = step.scope.value(body.value, body.pointer)
        found["body" if isinstance(value, str) and not is_one_expression(value) else "json"] = value
    rest = {key: template([value]) for key, value in step.unused().items()}
    if rest and "body" not in found and isinstance(found.get("json", {}), dict):
        found["json"] = {**found.get("json", {}), **rest}
    elif rest:
        for key in rest:
            step.lost(step.local[key][1], f"`{key}` is not used by the request")
    return found


def _bad_url(url: str) -> str:
    try:
        sound = _URL.fullmatch(url) is not None and urlsplit(url).port != 0 and urlsplit(url).hostname
    except ValueError:
        sound = False
    return "" if sound else "an address begins with http:// or https://, and has no spaces"


def _headers(step: Making) -> dict[str, Any]:
    found: dict[str, Any] = {}
    headers = step.given.mapping("headers")
    for key in headers.rest() if headers is not None else ():
        assert headers is not None
        pointer = (*headers.pointer, key)
        value = headers.body[key]
        if value is None:
            continue
        if not _HEADER.fullmatch(key) or key.lower() in _FRAMING or isinstance(value, dict | list):
            step.lost(pointer, f"the header `{key[:60]}` cannot be set here")
            continue
        step.scope.secrets = True
        found[key] = step.scope.value(value, pointer)
        step.scope.secrets = False
        if _CREDENTIALS.search(key) and isinstance(value, str) and "${{" not in found[key]:
            step.draft.report.lost(
                pointer,
                f"the header `{key}` stands in the result as it is",
                "if it is a credential, write ${{ secrets.NAME }} instead",
                ProblemCode.SUSPICIOUS,
            )
    return found


def _word(value: Any) -> Any:
    if isinstance(value, list):
        return [_word(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        import json

        return json.dumps(value, ensure_ascii=False)
    return value
