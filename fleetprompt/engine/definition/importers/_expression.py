"""Expressions of other systems as ours: JSONPath, `{{ }}`, `{name}`, bare `step.output.field`, and their operators.

A source is gone through once, operand by operand. What names something is handed to a `Scope`, which says what it is
called here; operators and well-known functions are put into our words; anything else is not translated at all, rather
than into something that only looks alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from fleetprompt.engine.core.expr import ExpressionError, compile_expression
from fleetprompt.engine.definition.importers._brackets import STRING, closing, closing_braces, split
from fleetprompt.engine.definition.importers._paths import MEMBER, chain, json_path, members, odd_root, resolved
from fleetprompt.engine.definition.importers._placeholders import BRACES, Left, filled, named
from fleetprompt.engine.definition.importers._terms import (
    IDENTIFIER,
    Name,
    Operand,
    Scope,
    Unknown,
    Untranslatable,
    bound,
    quoted,
)

MAX_SOURCE: Final = 4_000
MAX_DEPTH: Final = 20

_NUMBER: Final = re.compile(r"(?:\d+\.\d+|\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_SECRET: Final = re.compile(r"secrets\.[A-Za-z]\w*", re.ASCII)
_SPACE: Final = re.compile(r"\s+")
_OPERATORS: Final = (
    ("===", "=="), ("!==", "!="), ("&&", "and"), ("||", "or"), ("==", "=="), ("!=", "!="), ("<>", "!="), ("<=", "<="),
    (">=", ">="), ("//", "//"), ("**", "**"), ("<", "<"), (">", ">"), ("=", "=="), ("+", "+"), ("-", "-"), ("*", "*"),
    ("/", "/"), ("%", "%"), ("~", "~"), ("|", "|"), (",", ","), ("(", "("), (")", ")"), ("[", "["), ("]", "]"),
    (":", ":"), ("{", "{"), ("}", "}"),
)  # fmt: skip
_WORDS: Final = {
    "and": "and", "or": "or", "not": "not", "in": "in", "is": "is", "if": "if", "else": "else", "true": "true",
    "false": "false", "null": "none", "none": "none", "nil": "none", "undefined": "none",
}  # fmt: skip
_INFIX: Final = {
    "contains": "contains", "includes": "contains", "startswith": "startswith", "endswith": "endswith",
    "matches": "matches",
}  # fmt: skip
_TESTS: Final = {**_INFIX, "starts_with": "startswith", "ends_with": "endswith"}
_FILTERS: Final = {
    "lower": "lower", "tolowercase": "lower", "upper": "upper", "touppercase": "upper", "strip": "trim", "trim": "trim",
    "tostring": "string", "str": "string", "string": "string", "int": "int", "parseint": "int", "float": "float",
    "number": "float", "bool": "bool", "len": "length", "length": "length", "size": "length", "count": "length",
    "keys": "keys", "values": "values", "items": "items", "title": "title", "abs": "abs", "round": "round",
    "sum": "sum", "min": "min", "max": "max", "first": "first", "last": "last", "tojson": "tojson", "json": "tojson",
    "split": "split", "replace": "replace", "unique": "unique", "reverse": "reverse", "sort": "sort",
}  # fmt: skip
"""Functions and methods, without regard to capitals, that are filters here."""


def translate(source: str, scope: Scope) -> Operand:
    """An expression of another system as one of ours. Raises `Unknown`, `Untranslatable`."""
    if len(source) > MAX_SOURCE:
        raise Untranslatable(f"it is longer than {MAX_SOURCE:,} characters")
    reader = _Reader(source, scope)
    found = reader.whole()
    if _SECRET.fullmatch(found.text):
        # A template may refer to it, an expression cannot read it.
        return found
    try:
        compile_expression(found.text)
    except ExpressionError as error:
        raise Untranslatable(error.message) from None
    return found


def pieces_of(
    source: str, scope: Scope, *, braces: bool = True, paths: bool = True, left: list[Left] | None = None
) -> list[str | Operand]:
    """A text as its literal parts and what is to be filled in. What cannot be is literal, and told in `left`."""
    return filled(source, scope, translate, braces=braces, paths=paths, left=left)


class _Reader:
    """Goes through a source from left to right."""

    def __init__(self, source: str, scope: Scope, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise Untranslatable("it is nested too deeply")
        self.source = source
        self.scope = scope
        self.depth = depth
        self.at = 0

    def whole(self) -> Operand:
        pieces, alone = self._pieces(lambda: self.at >= len(self.source))
        if not pieces:
            raise Untranslatable("it is empty")
        return alone if alone is not None and len(pieces) == 1 else Operand(_joined(pieces), simple=False)

    def _pieces(self, done: Callable[[], bool]) -> tuple[list[str], Operand | None]:
        pieces: list[str] = []
        alone: Operand | None = None
        while True:
            self._skip()
            if done():
                # A value that stands alone keeps the brackets that others would need.
                if alone is not None and len(pieces) == 1:
                    pieces = [alone.text]
                return pieces, alone
            before, alone = alone, self._piece(pieces)
            if before is not None and alone is not None:
                # Two texts would become one here.
                raise Untranslatable(f"`{before.text[:40]}` and `{alone.text[:40]}` stand side by side")

    def _piece(self, pieces: list[str]) -> Operand | None:
        """Add the next operand or operator; the operand, if it was one."""
        if self._negates():
            pieces.append(self._negation())
            return None
        word = IDENTIFIER.match(self.source, self.at)
        if word is not None and not self._special(word[0]):
            text = word[0].lower()
            if text in _WORDS:
                self.at = word.end()
                pieces.append(_WORDS[text])
                if text == "is":
                    self._test(pieces)
                return Operand(_WORDS[text]) if _WORDS[text] in ("true", "false", "none") else None
            if text in _INFIX and pieces and not self._called(word.end()) and pieces[-1][-1:] not in "(,[":
                self.at = word.end()
                if pieces[-1] == "not":
                    pieces.pop()
                    pieces.append("is not")
                else:
                    pieces.append("is")
                pieces.append(f"{_INFIX[text]}({self._operand().text})")
                return None
        if self._starts_operand():
            found = self._operand()
            pieces.append(found.bound)
            return found
        for symbol, ours in _OPERATORS:
            if self.source.startswith(symbol, self.at):
                self.at += len(symbol)
                pieces.append(ours)
                if ours == "|":
                    self._filter(pieces)
                return None
        raise Untranslatable(f"`{self.source[self.at]}` has no meaning here")

    def _negates(self) -> bool:
        return self.source.startswith("!", self.at) and not self.source.startswith("!=", self.at)

    def _negation(self) -> str:
        """`!x`; `!!x` is whether there is something, as `not not x` is here."""
        times = 0
        while self._negates():
            times += 1
            self.at += 1
            self._skip()
        negated = f"(not {self._operand().bound})"
        return negated if times % 2 else f"(not {negated})"

    def _special(self, word: str) -> bool:
        """Whether a longer known name begins here, such as `in-box` where `in` does."""
        return len(odd_root(self.source, self.at, self.scope)) > len(word)

    def _called(self, at: int) -> bool:
        return self.source.startswith("(", at)

    def _skip(self) -> None:
        space = _SPACE.match(self.source, self.at)
        if space is not None:
            self.at = space.end()

    def _test(self, pieces: list[str]) -> None:
        """`is not none`, `is defined`, `is divisibleby(2)`: as in Jinja, whose tests ours are."""
        self._skip()
        while (word := IDENTIFIER.match(self.source, self.at)) is not None:
            self.at = word.end()
            text = _WORDS.get(word[0].lower(), word[0])
            if text == "not":
                pieces.append(text)
                self._skip()
                continue
            pieces.append(text + self._arguments_text())
            return

    def _filter(self, pieces: list[str]) -> None:
        self._skip()
        word = IDENTIFIER.match(self.source, self.at)
        if word is None:
            raise Untranslatable("`|` is followed by the name of a filter here")
        self.at = word.end()
        pieces.append(_FILTERS.get(word[0].lower(), word[0]) + self._arguments_text())

    def _arguments_text(self) -> str:
        return f"({', '.join(self._arguments())})" if self._called(self.at) else ""

    def _arguments(self) -> list[str]:
        """What stands between the brackets of a call, translated."""
        start = self.at + 1
        end = closing(self.source, self.at)
        self.at = end + 1
        inside = self.source[start:end]
        found: list[str] = []
        for part in split(inside):
            named = re.match(r"\s*([A-Za-z_]\w*)\s*=(?!=)", part)
            value = part[named.end() :] if named else part
            translated = _Reader(value, self.scope, self.depth + 1).whole().text
            found.append(f"{named[1]}={translated}" if named else translated)
        return found

    # Operands

    def _starts_operand(self) -> bool:
        here = self.source[self.at : self.at + 1]
        if here.isdigit() or here in "'\"[" or here.isidentifier():
            return True
        if here == "{":
            return self.source.startswith("{{", self.at) or self._braced() is not None
        return here == "$" or bool(odd_root(self.source, self.at, self.scope))

    def _braced(self) -> re.Match[str] | None:
        found = BRACES.match(self.source, self.at)
        return found if found is not None and self.scope.knows(re.split(r"[.\[]", found[1])[0]) else None

    def _operand(self) -> Operand:
        self._skip()
        return self._after(self._value())

    def _value(self) -> Operand:
        source = self.source
        if source.startswith("(", self.at):
            end = closing(source, self.at)
            inner = _Reader(source[self.at + 1 : end], self.scope, self.depth + 1).whole()
            self.at = end + 1
            return inner
        if source.startswith(("{{", "${{"), self.at):
            start = source.index("{{", self.at) + 2
            end = closing_braces(source, start)
            self.at = end + 2
            return _Reader(source[start:end], self.scope, self.depth + 1).whole()
        if source.startswith("{", self.at) and (braced := self._braced()) is not None:
            self.at = braced.end()
            if "-" in braced[1]:
                return named(braced[1], self.scope)
            return _Reader(braced[1], self.scope, self.depth + 1).whole()
        if source.startswith(("[", "{"), self.at):
            return self._literal()
        if source.startswith("-", self.at):
            self.at += 1
            return Operand(f"-{self._operand().bound}", simple=False)
        if (text := STRING.match(source, self.at)) is not None:
            self.at = text.end()
            return self._text(text[0])
        if (number := _NUMBER.match(source, self.at)) is not None:
            self.at = number.end()
            return Operand(number[0])
        if source.startswith("$", self.at):
            path, self.at = json_path(source, self.at, self.scope)
            return resolved(path, self.scope)
        return self._named()

    def _literal(self) -> Operand:
        """A list or a mapping."""
        start, end = self.at, closing(self.source, self.at)
        self.at = end + 1
        inner = self.source[start + 1 : end]
        text = _Reader(inner, self.scope, self.depth + 1).whole().text if inner.strip() else ""
        return Operand(f"{self.source[start]}{text}{self.source[end]}")

    def _text(self, literal: str) -> Operand:
        """A string, in which placeholders may stand: systems that fill in texts are content with that."""
        inner = re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), literal[1:-1])
        parts = pieces_of(inner, self.scope, braces=False, paths=False)
        if all(isinstance(part, str) for part in parts):
            return Operand(quoted(inner))
        if len(parts) == 1:
            return Operand(f"{bound(parts[0])} | string", simple=False)
        return Operand(" ~ ".join(bound(part) for part in parts), simple=False)

    def _named(self) -> Operand:
        source = self.source
        root = odd_root(source, self.at, self.scope)
        word = IDENTIFIER.match(source, self.at)
        if word is not None and len(word[0]) > len(root):
            root = word[0]
        if not root:
            raise Untranslatable(f"`{source[self.at : self.at + 1] or 'the end'}` stands where a value is needed")
        self.at += len(root)
        if self._called(self.at) and not self.scope.knows(root):
            return self._function(root)
        path, self.at = members(source, self.at, [Name(root)], self._is_word)
        if not self.scope.knows(root):
            if len(path) > 1:
                raise Unknown(f"nothing is called `{root}`")
            self.scope.word(root)
            return Operand(quoted(root))
        if self._called(self.at) and len(path) > 1:
            method = path.pop()
            return self._method(self.scope.resolve(path), str(method))
        return resolved(path, self.scope)

    def _is_word(self, at: int) -> bool:
        """Whether what follows a hyphen belongs to the name before it: nothing is called so, to be subtracted."""
        word = IDENTIFIER.match(self.source, at)
        known = word is None or self.scope.knows(word[0]) or bool(odd_root(self.source, at, self.scope))
        return not known and word is not None and not self._called(word.end())

    def _function(self, name: str) -> Operand:
        plain = name.lower()
        arguments = self._arguments()
        if plain in _TESTS and len(arguments) == 2:
            return Operand(f"{_wrapped(arguments[0])} is {_TESTS[plain]}({arguments[1]})", simple=False)
        if plain in ("exists", "defined", "isdefined", "is_defined") and len(arguments) == 1:
            return Operand(f"({_wrapped(arguments[0])} | default(none)) is not none", simple=False)
        if plain in ("isempty", "is_empty", "empty") and len(arguments) == 1:
            return Operand(f"{_wrapped(arguments[0])} is empty", simple=False)
        if plain in _FILTERS and arguments:
            more = f"({', '.join(arguments[1:])})" if arguments[1:] else ""
            return Operand(f"{_wrapped(arguments[0])} | {_FILTERS[plain]}{more}", simple=False)
        raise Untranslatable(f"there is no function `{name}` here")

    def _method(self, value: Operand, name: str) -> Operand:
        plain = name.lower()
        arguments = self._arguments()
        if plain == "get" and len(arguments) in (1, 2):
            other = arguments[1] if len(arguments) == 2 else "none"
            return Operand(f"{value.bound}[{arguments[0]}] | default({other})", simple=False)
        if plain in _TESTS and len(arguments) == 1:
            return Operand(f"{value.bound} is {_TESTS[plain]}({arguments[0]})", simple=False)
        if plain in _FILTERS:
            more = f"({', '.join(arguments)})" if arguments else ""
            return Operand(f"{value.bound} | {_FILTERS[plain]}{more}", simple=False)
        raise Untranslatable(f"there is no `{name}` here")

    def _after(self, value: Operand) -> Operand:
        """Members and calls of a value that is no plain chain."""
        while True:
            source = self.source
            method = MEMBER.match(source, self.at)
            if method is not None and self._called(method.end()):
                self.at = method.end()
                value = self._method(value, method[1])
            elif method is not None and method[1] == "length":
                self.at = method.end()
                value = Operand(f"{value.bound} | length", simple=False)
            elif (path := members(source, self.at, [], self._is_word))[0]:
                if source.startswith("(", path[1]):
                    # The last of them is a method: it comes in the next turn.
                    last = max(match.start() for match in MEMBER.finditer(source, self.at, path[1]))
                    if last == self.at:
                        raise Untranslatable("this cannot be called")
                    path = members(source[:last], self.at, [], self._is_word)
                value, self.at = chain(value.bound, path[0]), path[1]
            elif source.startswith("[", self.at) and self.at and not source[self.at - 1].isspace():
                end = closing(source, self.at)
                inner = _Reader(source[self.at + 1 : end], self.scope, self.depth + 1).whole()
                value, self.at = Operand(f"{value.bound}[{inner.text}]"), end + 1
            else:
                return value


def _wrapped(text: str) -> str:
    return text if re.fullmatch(r"[\w.\[\]']+", text) else f"({text})"


def _joined(pieces: list[str]) -> str:
    """Pieces as people write them."""
    text = ""
    for piece in pieces:
        glued = not text or text[-1] in "([{" or piece in (")", "]", "}", ",", ":")
        text += piece if glued else f" {piece}"
    return text
