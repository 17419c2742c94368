"""What could be typed next in a filter: names of fields, values of a list, and values that rows really have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from fleetprompt.engine.core.query_fields import ORDERED, Field, FieldSet
from fleetprompt.engine.core.query_scan import NAME, Token, quote, scan
from fleetprompt.engine.core.query_values import fold

MAX_COMPLETIONS = 50

Values = Callable[[str], Iterable[str | tuple[str, int]]]
"""Live values for a field's canonical name, most useful first, each alone or with the number of rows that have it.

It is asked `label` for the keys of labels and `label.env` for the values of one.
"""


class Completion(Struct, frozen=True):
    """A text to put between two offsets."""

    start: int
    end: int
    text: str
    doc: str = ""


def complete(text: str, cursor: int, fields: FieldSet, values: Values) -> list[Completion]:
    """What fits at the cursor (an offset from 0 to `len(text)`), best first; empty where nothing does."""
    tokens = scan(text[:cursor])
    if any(token.regex is not None and not token.closed for token in tokens):
        return []
    token = tokens[-1] if tokens and tokens[-1].end == cursor else None
    if token is None:
        return _names(text, cursor, cursor, "", fields, values)
    if token.regex is not None:
        return []
    if token.name:
        return _values(text, token, cursor, fields, values)
    if token.pieces[0].quoted:
        return []
    return _names(text, token.body, cursor, text[token.body : cursor], fields, values)


def _names(text: str, start: int, cursor: int, typed: str, fields: FieldSet, values: Values) -> list[Completion]:
    end = _until(text, cursor, stops=":<>=!,")
    follows = text[end : end + 1] in tuple(":<>=!")
    name, dot, key = typed.partition(".")
    field = fields.find(name) if dot else None
    if field is not None and field.kind == "label":
        keys = _offered(values(field.name), key, taken=())
        mark = "" if follows else ":"
        offered = ((f"{field.name}.{key}", doc) for key, doc in keys)
        return [Completion(start, end, name + mark, doc) for name, doc in offered if NAME.fullmatch(name)]
    wanted = fold(typed)
    fitting = [f for f in fields.fields if any(n.startswith(wanted) for n in (f.name, *f.aliases))]
    return [Completion(start, end, f.name + ("" if follows else _mark(f)), f.doc) for f in fitting]


def _mark(field: Field) -> str:
    if field.kind == "label":
        return "."
    return ">" if field.kind in ORDERED else ":"


def _values(text: str, token: Token, cursor: int, fields: FieldSet, values: Values) -> list[Completion]:
    name, _, key = token.name.partition(".")
    field = fields.find(name if key else token.name)
    if field is None or (field.kind == "label") != bool(key):
        return []
    piece = token.pieces[-1]
    live = list(values(f"{field.name}.{key}" if key else field.name))
    known: Iterable[str | tuple[str, int]] = live or field.examples
    if field.values:
        rows = dict(entry for entry in live if not isinstance(entry, str))
        known = [(value, rows[value]) if value in rows else value for value in field.values]
    # Inside a quote the rest of the text belongs to the value, and is not ours to replace.
    end = cursor if not piece.closed else _until(text, cursor, stops=",")
    taken = tuple(fold(other.text) for other in token.pieces[:-1])
    return [Completion(piece.start, end, quote(word), doc) for word, doc in _offered(known, piece.text, taken)]


def _offered(known: Iterable[str | tuple[str, int]], typed: str, taken: tuple[str, ...]) -> list[tuple[str, str]]:
    """Those that begin with what was typed, then those that contain it."""
    wanted = fold(typed)
    begin: list[tuple[str, str]] = []
    inside: list[tuple[str, str]] = []
    for entry in known:
        word, doc = (entry, "") if isinstance(entry, str) else (entry[0], str(entry[1]))
        folded = fold(word)
        if folded not in taken and wanted in folded:
            (begin if folded.startswith(wanted) else inside).append((word, doc))
    return [*begin, *inside][:MAX_COMPLETIONS]


def _until(text: str, position: int, stops: str) -> int:
    while position < len(text) and not text[position].isspace() and text[position] not in stops:
        position += 1
    return position
