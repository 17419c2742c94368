"""The OpenAPI document: what the framework does not find out by itself about what is sent and answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fleetprompt.daemon.access import ORGANIZATION, PROJECT, USER
from fleetprompt.daemon.idempotency import LONGEST_KEY, OTHERS
from fleetprompt.daemon.models import Problem
from fleetprompt.daemon.problems import MEDIA_TYPE

PROBLEM: dict[str, Any] = {
    "description": "What went wrong (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
"""The answer to whatever goes wrong."""

_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
    "description": "A second request with it has the effect and the answer of the first.",
}
_KNOWN = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 1_000},
    "description": "The `ETag` of what was read before: 304 where it is still the same.",
}
_TAG = {"description": "Names what was read: see `If-None-Match`, `If-Match`.", "schema": {"type": "string"}}
_LINK = {"description": '`<…>; rel="next"` leads to the next page (RFC 8288).', "schema": {"type": "string"}}
_SAME = {"description": "It is what was read before."}
_CLAIM = "where no token says it: on this machine only, and as long as nobody has a token"
_WHO: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `fleet token create`."},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "Of `POST /api/tickets`, for browsers, which can send no headers with an `EventSource`.",
    },
    "user": {"type": "apiKey", "in": "header", "name": USER, "description": f"Who asks, {_CLAIM}."},
    "organization": {
        "type": "apiKey",
        "in": "header",
        "name": ORGANIZATION,
        "description": f"The tenant, {_CLAIM}.",
    },
}
_NOBODY: dict[str, list[str]] = {}
_PROJECT = {
    "name": PROJECT,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "The tenant's project, a label of what is started.",
}
_OPEN = frozenset({"/healthz"})
"""Where nobody has to say who they are."""
_PAGED = frozenset({"cursor", "after", "before"})
"""Parameters that say where a page begins."""


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with who asks, what tells two answers apart, and what makes a request one that was sent before."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = _WHO
    document["security"] = [{"bearer": []}, {"user": [], "organization": []}, _NOBODY]
    for path, method, operation in _operations(document):
        if path in _OPEN:
            operation["security"] = [_NOBODY]
        elif method == "get":
            operation["security"] = [*document["security"], {"ticket": []}]
        if method == "post" and not path.startswith(OTHERS):
            _add(operation, _KEY)
        if path.endswith("/execute"):
            _add(operation, _PROJECT)
        answer = operation["responses"].get("200", {})
        if method == "get" and path not in _OPEN and {"application/json", "application/yaml"} & {*answer["content"]}:
            _add(operation, _KNOWN)
            paged = any(each["name"] in _PAGED for each in operation["parameters"])
            answer["headers"] = {"ETag": _TAG} | ({"Link": _LINK} if paged else {})
            operation["responses"]["304"] = _SAME
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _add(operation: dict[str, Any], parameter: dict[str, Any]) -> None:
    others = [each for each in operation.get("parameters", []) if each["name"] != parameter["name"]]
    operation["parameters"] = [*others, parameter]
