"""From the text of a filter to its tokens: where each begins and ends, its quotes, wildcards and commas.

Knows no fields. Every text has tokens: what is unfinished or misplaced is described, and judged by the parser.
"""

from __future__ import annotations

import re

from msgspec import Struct

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
"""What can stand before an operator: the name of a field, or `label.` and a key."""

_HEAD = re.compile(rf"({NAME.pattern})(:|==|>=|<=|!=|>|<|=)")
_SECOND_OPERATOR = re.compile(r"==|>=|<=|!=|>|<|=")
_SAFE = re.compile(r"\w[\w.@+%/#\[\]-]*")
_KEYWORDS = frozenset({"AND", "OR", "NOT"})


class Piece(Struct, frozen=True):
    """One value or bare word as it was written."""

    parts: tuple[str, ...]
    """The literal text between the wildcards: `dep*` is `("dep", "")`."""
    start: int
    end: int
    closed: bool = True
    """False when a quote was opened and never closed; the piece then reaches to the end of the text."""
    quoted: bool = False

    @property
    def text(self) -> str:
        """The value without its quotes; wildcards and literal stars both read `*`."""
        return "*".join(self.parts)


class Token(Struct, frozen=True):
    """One term as it was written, with offsets into the text."""

    start: int
    body: int
    """Where the term begins after a negating prefix."""
    end: int
    negated: bool
    name: str = ""
    """The field before the operator; empty for a bare word or a regular expression."""
    op: str = ""
    value_start: int = 0
    """Where the text after the operator begins."""
    pieces: tuple[Piece, ...] = ()
    """The values between commas (one of zero length where a comma has none), or the one bare word."""
    regex: str | None = None
    closed: bool = True
    """False for a regular expression without its closing slash."""


def scan(text: str) -> list[Token]:
    """The tokens of a filter, in order; never fails."""
    tokens: list[Token] = []
    position = _skip_space(text, 0)
    while position < len(text):
        tokens.append(_token(text, position))
        position = _skip_space(text, tokens[-1].end)
    return tokens


def quote(part: str) -> str:
    """A literal text written so that it is read back as itself, with quotes only where they are needed."""
    if _SAFE.fullmatch(part) and part not in _KEYWORDS:
        return part
    return '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote_regex(pattern: str) -> str:
    """A regular expression between slashes."""
    return "/" + re.sub(r"\\.|/", lambda m: r"\/" if m[0] == "/" else m[0], pattern, flags=re.DOTALL) + "/"


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _token(text: str, start: int) -> Token:
    negated = text[start] in "-!"
    body = start + 1 if negated else start
    if text.startswith("/", body):
        return _regex(text, start, body, negated)
    head = _HEAD.match(text, body)
    if head is None:
        word = _piece(text, body, commas=False)
        return Token(start=start, body=body, end=word.end, negated=negated, pieces=(word,))
    name, op = head.groups()
    position = head.end()
    if op == ":" and (second := _SECOND_OPERATOR.match(text, position)):
        op, position = second[0], second.end()
    pieces = [_piece(text, position, commas=True)]
    while text.startswith(",", pieces[-1].end):
        pieces.append(_piece(text, pieces[-1].end + 1, commas=True))
    return Token(
        start=start,
        body=body,
        end=pieces[-1].end,
        negated=negated,
        name=name,
        op="=" if op == "==" else op,
        value_start=position,
        pieces=tuple(pieces),
    )


def _piece(text: str, start: int, *, commas: bool) -> Piece:
    parts, position, quoted = [""], start, False
    while position < len(text):
        char = text[position]
        if char.isspace() or (commas and char == ","):
            break
        position += 1
        if char == '"':
            quoted = True
            inside, position, closed = _quoted(text, position)
            parts[-1] += inside
            if not closed:
                return Piece(parts=tuple(parts), start=start, end=position, closed=False, quoted=True)
        elif char != "*":
            parts[-1] += char
        elif len(parts) == 1 or parts[-1]:
            parts.append("")
    return Piece(parts=tuple(parts), start=start, end=position, quoted=quoted)


def _quoted(text: str, position: int) -> tuple[str, int, bool]:
    inside: list[str] = []
    while position < len(text):
        char = text[position]
        position += 1
        if char == '"':
            return "".join(inside), position, True
        if char == "\\" and text[position : position + 1] in ('"', "\\"):
            char = text[position]
            position += 1
        inside.append(char)
    return "".join(inside), position, False


def _regex(text: str, start: int, body: int, negated: bool) -> Token:
    """A slash inside the pattern needs no escape unless a space or the end follows it: `/var/log/` is one pattern."""
    pattern: list[str] = []
    position = body + 1
    while position < len(text):
        char = text[position]
        if char == "\\" and position + 1 < len(text):
            pair = text[position : position + 2]
            pattern.append("/" if pair == "\\/" else pair)
            position += 2
            continue
        position += 1
        if char == "/" and (position == len(text) or text[position].isspace()):
            return Token(start=start, body=body, end=position, negated=negated, regex="".join(pattern))
        pattern.append(char)
    end = body
    while end < len(text) and not text[end].isspace():
        end += 1
    return Token(start=start, body=body, end=end, negated=negated, regex=text[body + 1 : end], closed=False)
