"""What MCP servers tell: lists of tools and results, bounded and taken for what they are: somebody else's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, cast

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.outside.wording import size
from fleetprompt.engine.tools.declare import allowed

TOOL_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")
MOST_TOOLS = 200
MOST_PAGES = 20
DESCRIPTION_CHARS = 4000
SCHEMA_BYTES = 64 * 1024
TEXT_BYTES = 256 * 1024
MOST_BLOCKS = 100


class Told(Struct, frozen=True):
    """A tool that a server told of."""

    name: str
    description: str
    schema: dict[str, Any]
    whole: dict[str, Any]
    """Everything, for its digest."""


def tool_told(tool: Any, server: str) -> Told:
    """A tool of the SDK as ours. Raises `InvalidInput` for one that cannot be used."""
    whole = cast("dict[str, Any]", tool.model_dump(mode="json", exclude={"icons", "meta"}, exclude_none=True))
    name = str(tool.name)
    if not TOOL_NAME.match(name):
        raise InvalidInput(
            f"the MCP server `{server}` has a tool with the name `{inert(name)[:80]}`, so none of its tools is offered",
            hint="names are letters, digits, `_`, `-` and `.`, and no longer than 64: ask whoever makes the server",
        )
    schema = cast("dict[str, Any]", tool.input_schema)
    if len(msgspec.json.encode(schema)) > SCHEMA_BYTES or schema.get("type") != "object":
        raise InvalidInput(f"the arguments of `{server}.{name}` are described by no usable JSON Schema")
    lines = (inert(line) for line in str(tool.description or "").splitlines())
    return Told(name, "\n".join(lines)[:DESCRIPTION_CHARS], schema, whole)


def check_arguments(name: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` unless arguments fit a schema that somebody else wrote."""
    validators: Any = import_module("jsonschema")
    referencing: Any = import_module("referencing")
    # Its own registry: without one, a reference to some address would be fetched.
    validator = validators.Draft202012Validator(harmless(dict(schema)), registry=referencing.Registry())
    try:
        found = sorted(validator.iter_errors(dict(arguments)), key=lambda error: list(map(str, error.path)))
    except Exception as error:
        raise InvalidInput(f"the schema of `{name}` cannot be used: {type(error).__name__}") from None
    if found:
        told = [
            f"`{'.'.join(map(str, error.path)) or 'arguments'}`: {inert(error.message)[:200]}" for error in found[:5]
        ]
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise InvalidInput(f"the arguments of `{name}` cannot be used: {'; '.join(told)}{more}", hint=allowed(schema))


def harmless(schema: Any) -> Any:
    """Without regular expressions: a hostile one could keep the engine busy for ever. The server knows them itself."""
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema).items()
        return {key: harmless(item) for key, item in items if key != "patternProperties" and not _is_regex(key, item)}
    if isinstance(schema, list):
        return [harmless(item) for item in cast("list[Any]", schema)]
    return schema


def _is_regex(key: str, value: Any) -> bool:
    return key == "pattern" and isinstance(value, str)


def content_told(result: Any) -> dict[str, Any]:
    """A result: text as it is, everything else described."""
    left = TEXT_BYTES
    blocks: list[dict[str, Any]] = []
    cut = len(result.content) > MOST_BLOCKS
    for block in list(result.content)[:MOST_BLOCKS]:
        told = _block(block)
        if "text" in told:
            text = told["text"]
            if len(text.encode()) > left:
                told["text"], cut = text.encode()[:left].decode("utf-8", "ignore"), True
            left -= len(told["text"].encode())
        blocks.append(told)
    answer: dict[str, Any] = {"content": blocks, "cut": cut}
    if result.structured_content is not None:
        encoded = msgspec.json.encode(result.structured_content)
        if len(encoded) <= TEXT_BYTES:
            answer["structured"] = result.structured_content
        else:
            answer["cut"] = True
    return answer


def _block(block: Any) -> dict[str, Any]:
    kind = str(block.type)
    if kind == "text":
        return {"kind": "text", "text": str(block.text)}
    if kind in ("image", "audio"):
        return {"kind": kind, "media_type": inert(str(block.mime_type))[:100], "size": size(len(block.data) * 3 // 4)}
    if kind == "resource":
        inside = block.resource
        told = {"kind": "resource", "uri": inert(str(inside.uri))[:500]}
        text = getattr(inside, "text", None)
        return {**told, "text": str(text)} if text is not None else {**told, "size": size(len(inside.blob) * 3 // 4)}
    if kind == "resource_link":
        return {"kind": kind, "uri": inert(str(block.uri))[:500], "name": inert(str(block.name))[:200]}
    return {"kind": inert(kind)[:50]}


def text_told(result: Any) -> str:
    """The text of a result, for an error."""
    blocks: Sequence[dict[str, Any]] = content_told(result)["content"]
    return inert(" ".join(block["text"] for block in blocks if "text" in block))[:2000]
