"""Source text to Jinja2's syntax tree, with the character offset where Jinja2 keeps the line number.

Jinja2 only passes `lineno` through from its tokens to its nodes and errors, so tokens of our own that carry the
offset there make every node and every error point at its place. Nothing here evaluates, nothing of Jinja2's does.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from jinja2 import Environment, TemplateSyntaxError
from jinja2 import nodes as jinja
from jinja2.lexer import TOKEN_EOF, Token, TokenStream, operators
from jinja2.parser import Parser

from fleetprompt.engine.core.expr_values import ExpressionError, Refusal, number, quote

MAX_SOURCE: Final = 4_000
"""Characters of an expression."""
MAX_NODES: Final = 300
"""Names, literals, operators and so on in an expression."""
MAX_DEPTH: Final = 40
"""How deep an expression may be nested; chains of `and`, of `or` and of members are flat."""

_UNCLOSED: Final = "a ' #' started a YAML comment? Quote the value"

_ENVIRONMENT: Final = Environment()
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<float>(?<!\.)\d+(?:_\d+)*(?:\.\d+(?:_\d+)*(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
    |(?P<integer>\d+(?:_\d+)*)
    |(?P<name>[^\W\d]\w*)
    |(?P<string>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")
    |(?P<operator>\*\*|//|==|!=|>=|<=|[-+*/%~\[\](){}<>=.:|,;])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"""\\(?:([\\'"nrt])|(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}))""")
_SIMPLE: Final = {"n": "\n", "r": "\r", "t": "\t"}
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}"}
_CHAINS: Final = (jinja.And, jinja.Or, (jinja.Getattr, jinja.Getitem))
_PLACED: Final = (
    jinja.Name, jinja.Const, jinja.Getattr, jinja.Getitem, jinja.Filter, jinja.Test, jinja.Call,
    jinja.List, jinja.Dict, jinja.Neg, jinja.Pos, jinja.Not,
)  # fmt: skip
"""Nodes that carry the place of a token of their own; Jinja2 gives the others that of whatever comes next."""
RESERVED: Final = frozenset(
    {"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None", "secrets"}
)
"""Words that cannot be the name of a value."""
_HINTS: Final = {
    "$": "this is an expression already: write it without ${{ }}",
    "&": "write `and`",
    "!": "write `not`",
    "?": "write `value if condition else other`",
    "#": "there are no comments in an expression",
    "`": "quote text with ' or \"",
    "=": "write == to compare",
    "|": "write `or`",
}


Span = tuple[int, int]
"""Offset and length."""


class Lexeme(NamedTuple):
    """A token with its place."""

    offset: int
    text: str
    kind: str
    """Jinja2's name for its type."""
    value: Any

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


def scan(source: str, start: int = 0, *, embedded: bool = False) -> tuple[list[Lexeme], int]:
    """The tokens from `start` on, and where they end: with `embedded`, at the `}}` that closes the expression.

    Raises ExpressionError.
    """
    found: list[Lexeme] = []
    brackets: list[Lexeme] = []
    at = start
    while at < len(source):
        if embedded and not brackets and source.startswith("}}", at):
            return found, at
        if at - start > MAX_SOURCE:
            break
        match = _TOKEN.match(source, at)
        if match is None:
            raise _unclosed(start) if embedded and "}}" not in source[at:] else _illegal(source, at)
        at = match.end()
        if match.lastgroup == "space":
            continue
        lexeme = _lexeme(match)
        found.append(lexeme)
        if lexeme.text in _CLOSERS:
            brackets.append(lexeme)
            if len(brackets) > MAX_DEPTH:
                raise _too_deep(lexeme.offset)
        elif lexeme.text in (")", "]", "}"):
            opened = brackets.pop().text if brackets else ""
            if _CLOSERS.get(opened) != lexeme.text:
                hint = f"close {quote(opened)} first" if opened else ""
                raise ExpressionError(f"unexpected {quote(lexeme.text)}", offset=lexeme.offset, length=1, hint=hint)
    if at - start > MAX_SOURCE:
        message = f"the expression is longer than {MAX_SOURCE:,} characters"
        raise ExpressionError(message, offset=start, hint="split it, or do this work in a transform step")
    if embedded:
        raise _unclosed(start)
    if brackets:
        raise ExpressionError(f"{quote(brackets[-1].text)} is never closed", offset=brackets[-1].offset, length=1)
    return found, at


def _unclosed(start: int) -> ExpressionError:
    return ExpressionError("${{ is never closed by }}", offset=max(start - 3, 0), length=3, hint=_UNCLOSED)


def _illegal(source: str, at: int) -> ExpressionError:
    char = source[at]
    if char in "'\"":
        return ExpressionError("the string is never closed", offset=at, length=1)
    return ExpressionError(f"unexpected {quote(char)}", offset=at, length=1, hint=_HINTS.get(char, ""))


def _too_deep(offset: int) -> ExpressionError:
    return ExpressionError(f"the expression is nested more than {MAX_DEPTH} deep", offset=offset, length=1)


def _lexeme(match: re.Match[str]) -> Lexeme:
    kind, text, at = match.lastgroup or "", match.group(), match.start()
    value: Any = text
    try:
        if kind == "operator":
            kind = operators[text]
        elif kind == "string":
            value = _unquote(text)
        elif kind == "integer":
            digits = text.replace("_", "")
            # Python refuses thousands of digits with an advice that is none here; no integer of ours has 400.
            value = number(int(digits, 0) if len(digits) < 400 or digits[1].isalpha() else 1 << 10_000)
        elif kind == "float":
            value = number(float(text.replace("_", "")))
        elif text.startswith("_"):
            raise Refusal("names that begin with _ are private", f"read a key of data as value['{text}']")
    except Refusal as refusal:
        raise ExpressionError(refusal.message, offset=at, length=len(text), hint=refusal.hint) from None
    except ValueError as error:  # an escape that does not exist, half a surrogate pair, 007
        raise ExpressionError(f"not a valid {kind}: {error}", offset=at, length=len(text)) from None
    return Lexeme(at, text, kind, value)


def _unquote(text: str) -> str:
    """The value of a string literal: an escape that is not one of ours stays, so `'\\d+'` needs no doubling.

    Raises ValueError for half a surrogate pair.
    """
    value = _ESCAPE.sub(_unescape, text[1:-1])
    return value.encode("utf-16", "surrogatepass").decode("utf-16")


def _unescape(match: re.Match[str]) -> str:
    simple, code = match.groups()
    return _SIMPLE.get(simple, simple) if simple else chr(int(code[1:], 16))


class Tree:
    """The syntax tree of an expression, its nodes' `lineno` being offsets, and where everything in it stands."""

    def __init__(self, root: jinja.Expr, lexemes: list[Lexeme]) -> None:
        self.root = root
        self._lexemes = lexemes
        self._at = {lexeme.offset: index for index, lexeme in enumerate(lexemes)}

    @property
    def is_chain(self) -> bool:
        """Nothing but a name and members of it."""
        node: jinja.Node = self.root
        while isinstance(node, jinja.Getattr | jinja.Getitem):
            if isinstance(node, jinja.Getitem) and not isinstance(node.arg, jinja.Const | jinja.Neg):
                return False
            node = node.node
        return isinstance(node, jinja.Name)

    def error(self, where: jinja.Node | Span, message: str, hint: str = "") -> ExpressionError:
        """The error at a node, or at a span."""
        offset, length = self.span(where) if isinstance(where, jinja.Node) else where
        return ExpressionError(message, offset=offset, length=length, hint=hint)

    def span(self, node: jinja.Node) -> Span:
        """Where a node stands, with all its parts."""
        starts: list[int] = []
        ends: list[int] = []
        stack = [node]
        while stack:
            part = stack.pop()
            stack.extend(part.iter_child_nodes())
            if isinstance(part, _PLACED) and part.lineno in self._at:
                starts.append(part.lineno)
                ends.append(self._end(part.lineno))
        return (min(starts), max(ends) - min(starts)) if starts else (0, 0)

    def word(self, offset: int, skip: Collection[str] = ()) -> Span:
        """The token at an offset, or the first one after it that is not to be skipped."""
        index = self._at[offset]
        while self._lexemes[index].text in skip:
            index += 1
        return (self._lexemes[index].offset, len(self._lexemes[index].text))

    def bracketed(self, node: jinja.Node) -> bool:
        """The node is followed by a closing bracket."""
        end = sum(self.span(node))
        return next((lexeme.text for lexeme in self._lexemes if lexeme.offset >= end), "") == ")"

    def key(self, node: jinja.Getattr | jinja.Getitem) -> Span:
        """The member's name, or its brackets."""
        at, end = self.word(node.lineno, skip=".")[0], self._end(node.lineno)
        return (at, end - at)

    def _end(self, offset: int) -> int:
        """Where the token at an offset ends, or the bracket it opens, or the name after its dot."""
        index, depth = self._at[offset], 0
        if self._lexemes[index].text == ".":
            return self._lexemes[index + 1].end
        for lexeme in self._lexemes[index:]:
            depth += (lexeme.text in ("(", "[", "{")) - (lexeme.text in (")", "]", "}"))
            if depth <= 0:
                return lexeme.end
        return self._lexemes[-1].end


def parse(source: str) -> Tree:
    """The syntax tree of an expression within the bounds. Raises ExpressionError."""
    lexemes, end = scan(source)
    if not lexemes:
        raise ExpressionError("the expression is empty", length=len(source))
    tokens = [Token(lexeme.offset, lexeme.kind, lexeme.value) for lexeme in lexemes]
    parser = Parser(_ENVIRONMENT, "", state="variable")
    parser.stream = TokenStream([*tokens, Token(end, TOKEN_EOF, "")], None, None)
    try:
        root = parser.parse_expression()
        parser.stream.expect(TOKEN_EOF)
    except TemplateSyntaxError as error:
        raise _syntax_error(error, lexemes) from None
    except RecursionError:  # `not not not …`, which no bracket announces
        raise _too_deep(0) from None
    _check_size(root)
    return Tree(root, lexemes)


def _syntax_error(error: TemplateSyntaxError, lexemes: list[Lexeme]) -> ExpressionError:
    culprit = next((lexeme for lexeme in lexemes if lexeme.offset == error.lineno), None)
    if culprit is None:
        return ExpressionError("the expression ends too early", offset=error.lineno)
    message = (error.message or "").replace("expected token 'end of template', got", "unexpected").rstrip(".")
    return ExpressionError(message, offset=culprit.offset, length=len(culprit.text), hint=_HINTS.get(culprit.text, ""))


def _check_size(root: jinja.Expr) -> None:
    count = 0
    stack: list[tuple[jinja.Node, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if depth > MAX_DEPTH:
            raise _too_deep(node.lineno or 0)
        if count > MAX_NODES:
            message = f"the expression has more than {MAX_NODES} parts"
            raise ExpressionError(message, hint="split it, or do this work in a transform step")
        for child in node.iter_child_nodes():
            flat = any(isinstance(node, chain) and isinstance(child, chain) for chain in _CHAINS)
            stack.append((child, depth if flat else depth + 1))
