"""The filter language of the console and the command line: `status:failed -wf:crawl cost>0.5 since:2h "rate limit"`.

`parse` never raises: what cannot be understood becomes a problem with a place, and the other terms still stand.
Whoever changes something by a filter calls `require` first, for a dropped term would widen what is changed.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal, assert_never

from msgspec import Struct

from fleetprompt.engine.core import query_regex
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.query_fields import ORDERED, Field, FieldSet
from fleetprompt.engine.core.query_scan import Piece, Token, quote_regex, scan
from fleetprompt.engine.core.query_values import (
    Amount,
    Moment,
    Text,
    Value,
    anywhere,
    read_amount,
    read_moment,
    read_text,
    write,
    write_text,
)

MAX_QUERY = 4_000
"""Characters in one filter."""
MAX_TERMS = 50
MAX_VALUES = 100
"""Values in one term; with `MAX_TERMS` this keeps the SQL below the depth that SQLite allows."""

Operator = Literal["=", ">", ">=", "<", "<="]
_COMPARISONS: dict[str, Operator] = {">": ">", ">=": ">=", "<": "<", "<=": "<="}


class Compare(Struct, frozen=True, tag=True, kw_only=True):
    """An ordered field against one value: `cost>0.5`, `since:2h` (which is `>=`), `started:today` (which is `=`)."""

    field: Field
    op: Operator
    value: Amount | Moment
    start: int
    end: int
    negated: bool = False


class OneOf(Struct, frozen=True, tag=True, kw_only=True):
    """A field that equals at least one of the values: `status:failed,waiting`, `attempt:2,3`."""

    field: Field
    values: tuple[Value, ...]
    """`Text` for enum, text and label fields, else what the field's kind says."""
    start: int
    end: int
    negated: bool = False
    key: str = ""
    """Which label; empty for other kinds."""


class Match(Struct, frozen=True, tag=True, kw_only=True):
    """A text that occurs in at least one of the columns."""

    text: Text
    columns: tuple[str, ...]
    start: int
    end: int
    negated: bool = False


class Regex(Struct, frozen=True, tag=True, kw_only=True):
    """A regular expression that occurs in at least one of the columns; already checked to be cheap."""

    pattern: str
    columns: tuple[str, ...]
    start: int
    end: int
    negated: bool = False


Term = Compare | OneOf | Match | Regex


class QueryProblem(Struct, frozen=True):
    """Something in a filter that cannot be understood, between two offsets of its text."""

    start: int
    end: int
    message: str
    hint: str = ""


class Query(Struct, frozen=True):
    """What a filter asks for: rows for which every term is true."""

    terms: tuple[Term, ...]
    problems: tuple[QueryProblem, ...]
    text: str

    def require(self) -> Query:
        """The query itself; raises `InvalidInput` that shows every problem under its place when there are any."""
        if not self.problems:
            return self
        if len(self.text) > MAX_QUERY:
            raise InvalidInput(self.problems[0].message)
        lines = ["the filter cannot be understood", f"  {_one_line(self.text)}"]
        for problem in self.problems:
            carets = "^" * max(1, problem.end - problem.start)
            lines.append(f"  {' ' * problem.start}{carets} {problem.message}")
            if problem.hint:
                lines.append(f"  {' ' * problem.start}{problem.hint}")
        raise InvalidInput("\n".join(lines))


def parse(text: str, fields: FieldSet) -> Query:
    """Read a filter; never raises.

    Offsets count characters of `text`. An empty text is a query without terms, which every row fulfils.
    """
    if len(text) > MAX_QUERY:
        message = f"a filter may have {MAX_QUERY} characters, this one has {len(text)}"
        return Query(terms=(), problems=(QueryProblem(MAX_QUERY, len(text), message),), text=text)
    terms: list[Term] = []
    problems: list[QueryProblem] = []
    for number, token in enumerate(scan(text)):
        try:
            if number >= MAX_TERMS:
                raise _Bad(token.start, len(text), f"a filter may have {MAX_TERMS} terms")
            terms.append(_term(token, text, fields))
        except _Bad as bad:
            problems.extend(bad.problems)
            if number >= MAX_TERMS:
                break
    return Query(terms=tuple(terms), problems=tuple(problems), text=text)


def format(query: Query) -> str:
    """The canonical text of the terms that were understood; it parses to the same terms, offsets aside."""
    return " ".join(("-" if term.negated else "") + _written(term) for term in query.terms)


class _Bad(Exception):
    """Leaves the reading of one term; never leaves this module."""

    def __init__(self, start: int, end: int, message: str, hint: str = "") -> None:
        self.problems = [QueryProblem(start, end, message, hint)]


def _term(token: Token, text: str, fields: FieldSet) -> Term:
    written = text[token.start : token.end]
    # Neither NUL nor half of a surrogate pair can be sent to a database.
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in written):
        raise _Bad(token.start, token.end, "this contains a character that no text can have")
    if unclosed := next((piece for piece in token.pieces if not piece.closed), None):
        raise _Bad(unclosed.start, unclosed.end, "the quote is not closed", 'add a " at its end')
    if token.regex is not None:
        return _regex(token, written, fields)
    if token.name:
        return _field_term(token, fields)
    return _word(token, text, fields)


def _regex(token: Token, written: str, fields: FieldSet) -> Regex:
    pattern = token.regex or ""
    if not token.closed:
        hint = f'close it with / and a space, or search for the text: "{written.lstrip("-!")}"'
        raise _Bad(token.body, token.end, "the regular expression is not closed", hint)
    try:
        query_regex.check(pattern)
    except ValueError as problem:
        raise _Bad(token.body, token.end, str(problem)) from None
    return Regex(pattern=pattern, columns=fields.search, start=token.start, end=token.end, negated=token.negated)


def _word(token: Token, text: str, fields: FieldSet) -> Match:
    piece = token.pieces[0]
    written = text[token.body : token.end]
    if not any(piece.parts):
        hint = "" if written else f"write the term right after the {text[token.start]}"
        raise _Bad(token.start, token.end, "there is nothing to search for", hint)
    if not piece.quoted:
        if written in ("AND", "OR", "NOT", "&&", "||"):
            hint = 'a space is "and"; "or" is a comma: wf:a,b; "not" is a minus: -wf:a; quote it to search for text'
            raise _Bad(token.body, token.end, f"{written} is not part of the filter language", hint)
        if written in (":", "=", "==", "!=", ">", ">=", "<", "<="):
            raise _Bad(token.body, token.end, f"{written} stands alone", "leave out the spaces: cost>0.5")
        if written[0] in "()":
            raise _Bad(token.body, token.end, "parentheses are not part of the filter language", "quote them as text")
    return Match(
        text=Text(parts=anywhere(piece.parts)),
        columns=fields.search,
        start=token.start,
        end=token.end,
        negated=token.negated,
    )


def _field_term(token: Token, fields: FieldSet) -> Compare | OneOf:
    field, key = _field(token, fields)
    negated = token.negated != (token.op == "!=")
    if len(token.pieces) > MAX_VALUES:
        raise _Bad(token.start, token.end, f"a term may have {MAX_VALUES} values")
    op = _COMPARISONS.get(token.op)
    if op is not None and field.kind not in ORDERED:
        raise _Bad(token.start, token.end, f"{field.name} cannot be compared with {op}", f"write {field.name}:…")
    if op is not None or field.kind == "since":
        value = _single(token, field)
        return Compare(field=field, op=op or ">=", value=value, start=token.start, end=token.end, negated=negated)
    if field.kind in ("duration", "age"):
        example = f"{field.name}>10m or {field.name}<10m"
        raise _Bad(token.start, token.end, f"{field.name} is never exactly one value", f"compare it: {example}")
    value, *others = values = _values(token, field)
    if not others and not isinstance(value, Text):
        return Compare(field=field, op="=", value=value, start=token.start, end=token.end, negated=negated)
    return OneOf(field=field, values=tuple(values), start=token.start, end=token.end, negated=negated, key=key)


def _field(token: Token, fields: FieldSet) -> tuple[Field, str]:
    name, _, key = token.name.partition(".")
    at = token.body, token.body + len(token.name)
    field = fields.find(name)
    if field is not None and field.kind == "label":
        if not key:
            raise _Bad(*at, f"{name} needs a key", f"write {field.name}.env:prod")
        return field, key
    field = fields.find(token.name)
    if field is None:
        close = get_close_matches(token.name.lower(), fields.names(), n=1)
        known = f"did you mean {close[0]}?" if close else f"fields: {', '.join(f.name for f in fields.fields)}"
        raise _Bad(*at, f'{fields.name} have no field "{token.name}"', f"quote it to search for text; {known}")
    return field, ""


def _single(token: Token, field: Field) -> Amount | Moment:
    value, *others = _values(token, field)
    if others:
        raise _Bad(token.pieces[0].end, token.end, "there can be only one value here", "use one term for each")
    assert not isinstance(value, Text)
    return value


def _values(token: Token, field: Field) -> list[Value]:
    """Every value of a term; all the bad ones are reported together."""
    values: list[Value] = []
    bad: list[QueryProblem] = []
    for piece in token.pieces:
        try:
            values.append(_value(token, field, piece))
        except _Bad as problem:
            bad.extend(problem.problems)
    if bad:
        failure = _Bad(token.start, token.end, "")
        failure.problems = bad
        raise failure
    return values


def _value(token: Token, field: Field, piece: Piece) -> Value:
    if piece.start == piece.end:
        if len(token.pieces) == 1:
            raise _Bad(token.start, token.end, f"{token.name} needs a value", "write it without a space in between")
        comma = max(piece.start - 1, token.value_start)
        raise _Bad(comma, comma + 1, "a value is missing beside the comma")
    if not piece.text:
        hint = f"rows without one: -{token.name}:*"
        raise _Bad(piece.start, piece.end, "no row has an empty value", hint)
    try:
        if field.kind in ("enum", "text", "label"):
            return read_text(field, piece)
        if field.kind in ("time", "since"):
            return read_moment(field, piece.text)
        return read_amount(field, piece.text)
    except ValueError as problem:
        raise _Bad(piece.start, piece.end, str(problem), _choices(field, piece.text)) from None


def _choices(field: Field, text: str) -> str:
    if not field.values:
        return ""
    close = get_close_matches(text.lower(), field.values, n=1)
    return f"did you mean {close[0]}?" if close else f"one of {', '.join(field.values)}"


def _written(term: Term) -> str:
    match term:
        case Compare(field=field, op=op, value=value):
            return f"{field.name}{':' if op == '=' or field.kind == 'since' else op}{write(field, value)}"
        case OneOf(field=field, values=values, key=key):
            name = f"{field.name}.{key}" if key else field.name
            return f"{name}:{','.join(write(field, value) for value in values)}"
        case Match(text=text):
            return write_text(text.parts, contains=True)
        case Regex(pattern=pattern):
            return quote_regex(pattern)
        case _:
            assert_never(term)


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
