"""Plain data as a workflow file that people read: short mappings on a line, long texts as blocks, nothing quoted that
need not be."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

WIDTH: Final = 110
_PLAIN: Final = re.compile(r"[A-Za-z_$/][^\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]*")
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[wdhms]))+")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,120}")
_OURS: Final = frozenset({"true", "false", "null", "~", "", "yes", "no", "on", "off"})
"""Words that are no text here, or were none in YAML 1.1."""
_BREAKS_FLOW: Final = re.compile(r"[,\[\]{}]")
_PRINTABLE: Final = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def dump(value: dict[str, Any]) -> str:
    """The text of a YAML file that holds a mapping; reading it gives the mapping again."""
    return "\n".join(_mapping(value, 0)) + "\n"


def _mapping(value: dict[str, Any], indent: int) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        steps = key in _BLOCKS or (not indent and key in _HEAD)
        lines += _entry(f"{' ' * indent}{_key(key)}:", item, indent, steps=steps)
    return lines


_BLOCKS: Final = frozenset({"steps", "then", "else", "branches"})
"""What is always written line by line, however short."""
_HEAD: Final = frozenset({"triggers", "inputs", "vars", "agents"})
"""And so is this at the top of a file."""


def _entry(head: str, value: Any, indent: int, *, steps: bool) -> list[str]:
    """A key, or the dash of a list, and what follows it."""
    if isinstance(value, str):
        block = _literal(value, indent + 2)
        return [f"{head} {block[0]}", *block[1:]] if block else [f"{head} {_scalar(value)}"]
    flow = _flow(value)
    fits = flow is not None and len(head) + 1 + len(flow) <= WIDTH
    if fits and (not steps or not value):
        return [f"{head} {flow}"]
    if isinstance(value, dict) and value:
        return [head, *_mapping(cast("dict[str, Any]", value), indent + 2)]
    if isinstance(value, list) and value:
        return [head, *_list(cast("list[Any]", value), indent + 2)]
    return [f"{head} {flow if flow is not None else _json(value)}"]


def _list(value: list[Any], indent: int) -> list[str]:
    lines: list[str] = []
    for item in value:
        if isinstance(item, dict) and item and ("id" in item or _flow(cast("Any", item)) is None):
            inner = _mapping(cast("dict[str, Any]", item), indent + 2)
            lines += [f"{' ' * indent}- {inner[0][indent + 2 :]}", *inner[1:]]
        elif isinstance(item, list) and item and _flow(cast("Any", item)) is None:
            inner = _list(cast("list[Any]", item), indent + 2)
            lines += [f"{' ' * indent}- {inner[0][indent + 2 :]}", *inner[1:]]
        else:
            lines += _entry(f"{' ' * indent}-", item, indent, steps=False)
    return lines


def _flow(value: Any) -> str | None:
    """A value on one line; None where it is too long, or nested too deeply to be read so."""
    text = _in_flow(value, 0)
    return text if text is not None and len(text) <= WIDTH else None


def _in_flow(value: Any, depth: int) -> str | None:
    if isinstance(value, str):
        # A long text is easier to read on a line of its own.
        return _scalar(value, flow=True) if "\n" not in value else None
    if isinstance(value, dict | list):
        if depth > 2 or len(cast("list[Any]", value)) > 12:
            return None
        if isinstance(value, list):
            items = [_in_flow(item, depth + 1) for item in cast("list[Any]", value)]
            return None if None in items else f"[{', '.join(cast('list[str]', items))}]"
        entries: list[str] = []
        for key, item in cast("dict[str, Any]", value).items():
            text = _in_flow(item, depth + 1)
            if text is None or sum(map(len, entries)) > WIDTH:
                return None
            entries.append(f"{_key(key)}: {text}")
        return f"{{{', '.join(entries)}}}"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _key(text: str) -> str:
    return text if _KEY.fullmatch(text) and text.lower() not in _OURS else _quoted(text)


def _scalar(text: str, *, flow: bool = False) -> str:
    plain = (
        (_PLAIN.fullmatch(text) or _DURATION.fullmatch(text))
        and text.lower() not in _OURS
        and text == text.strip()
        and ": " not in text
        and " #" not in text
        and not text.endswith(":")
        and "${{" not in text
        and not (flow and _BREAKS_FLOW.search(text))
        and len(text) <= 200
    )
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """In double quotes, with everything escaped that cannot be seen."""
    written = json.dumps(text, ensure_ascii=False)
    return _PRINTABLE.sub(_escape, written.replace("\x7f", "\\x7f"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _literal(text: str, indent: int) -> list[str] | None:
    """A text of several lines as a literal block; None where it has to be quoted."""
    body = text[:-1] if text.endswith("\n") else text
    lines = body.split("\n")
    sound = (
        len(lines) > 1
        and not text.endswith("\n\n")
        and not _PRINTABLE.search(text)
        and "\t" not in text
        and lines[0][:1] not in ("", " ")
        and not any(line != line.rstrip() for line in lines)
        and not re.search("[\x85\u2028\u2029]", text)
    )
    if not sound:
        return None
    return ["|" if text.endswith("\n") else "|-", *(f"{' ' * indent}{line}" if line else "" for line in lines)]
