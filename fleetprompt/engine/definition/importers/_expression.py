"""Expressions of other systems as ours: JSONPath, `{{ }}`, `{name}`, bare `step.output.field`, and their operators.

A source is gone through once, operand by operand. What names something is handed to a `Scope`, which says what it is
called here; operators and well-known functions are put into our words; anything else is not translated at all, rather
than into something that only looks alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from fleetprompt.engine.core.expr import RESERVED, ExpressionError, compile_expression

MAX_SOURCE: Final = 4_000
MAX_DEPTH: Final = 20

EACH: Final = "*"
"""A member of a path that stands for every item: `[*]`."""


class Name(str):
    """A member that is called so, as opposed to `EACH`."""


Path = Sequence[Any]
"""A root name and members: `Name`, a position, or `EACH`."""


class Untranslatable(Exception):
    """There is no such expression here; says why."""


class Unknown(Exception):
    """Nothing is called so; says what."""


class Operand(NamedTuple):
    """A translated value."""

    text: str
    simple: bool = True
    """It needs no brackets whatever is around it."""

    @property
    def bound(self) -> str:
        return self.text if self.simple else f"({self.text})"


class Scope(Protocol):
    """What names mean at a place of the file."""

    @property
    def roots(self) -> Sequence[str]:
        """Names that do not look like names, such as `step-1`, the longest first."""
        ...

    def knows(self, root: str) -> bool:
        """Whether something is called so."""
        ...

    def resolve(self, path: Path) -> Operand:
        """What a path is here. Raises `Unknown`, `Untranslatable`."""
        ...

    def word(self, text: str) -> None:
        """A bare word was taken for text."""
        ...


_IDENTIFIER: Final = re.compile(r"[A-Za-z_]\w*")
_MEMBER: Final = re.compile(r"\??\.([A-Za-z_]\w*)")
_INDEX: Final = re.compile(r"\[\s*(-?\d{1,9})\s*\]")
_KEY: Final = re.compile(r"""\[\s*(?:'([^'\\\n]*)'|"([^"\\\n]*)")\s*\]""")
_ALL: Final = re.compile(r"\[\s*\*\s*\]|\.\*")
_NUMBER: Final = re.compile(r"(?:\d+\.\d+|\d+)(?:[eE][-+]?\d+)?(?![\w.])")
_STRING: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_BRACES: Final = re.compile(r"\{\s*([A-Za-z_][\w.\-\[\]]*)\s*\}")
_PATH_MEMBER: Final = re.compile(r"\.([A-Za-z_]\w*(?:-\w+)*)")
_PATH_START: Final = re.compile(r"\$(?=\.[A-Za-z_]|\[['\"])")
_INSIDE_WORD: Final = re.compile(r"[\w-]")
_TRIMMED: Final = re.compile(r"^-(?=\s)|(?<=\s)-$")
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


def quoted(text: str) -> str:
    """A text as a literal of the language."""
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + plain.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"


def chain(base: str, path: Path) -> Operand:
    """A value and its members, as an expression. Raises `Untranslatable`."""
    text = base
    for at, member in enumerate(path):
        if isinstance(member, int):
            text += f"[{member}]"
        elif isinstance(member, Name):
            plain = re.fullmatch(r"[A-Za-z]\w*", member, re.ASCII) and member not in RESERVED
            text += f".{member}" if plain else f"[{quoted(member)}]"
        else:
            return _each(text, path[at + 1 :])
    return Operand(text)


def _each(base: str, rest: Path) -> Operand:
    if not rest:
        return Operand(base)
    if not all(isinstance(member, int) or (isinstance(member, Name) and "." not in member) for member in rest):
        raise Untranslatable("`*` can stand once in a path")
    return Operand(f"{base} | map(attribute={quoted('.'.join(map(str, rest)))})", simple=False)


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
            alone = self._piece(pieces)

    def _piece(self, pieces: list[str]) -> Operand | None:
        """Add the next operand or operator; the operand, if it was one."""
        if self.source.startswith("!", self.at) and not self.source.startswith("!=", self.at):
            self.at += 1
            pieces.append(f"(not {self._operand().bound})")
            return None
        word = _IDENTIFIER.match(self.source, self.at)
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
        while (word := _IDENTIFIER.match(self.source, self.at)) is not None:
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
        word = _IDENTIFIER.match(self.source, self.at)
        if word is None:
            raise Untranslatable("`|` is followed by the name of a filter here")
        self.at = word.end()
        pieces.append(_FILTERS.get(word[0].lower(), word[0]) + self._arguments_text())

    def _arguments_text(self) -> str:
        return f"({', '.join(self._arguments())})" if self._called(self.at) else ""

    def _arguments(self) -> list[str]:
        """What stands between the brackets of a call, translated."""
        start = self.at + 1
        end = _closing(self.source, self.at)
        self.at = end + 1
        inside = self.source[start:end]
        found: list[str] = []
        for part in _split(inside):
            named = re.match(r"\s*([A-Za-z_]\w*)\s*=(?!=)", part)
            value = part[named.end() :] if named else part
            translated = _Reader(value, self.scope, self.depth + 1).whole().text
            found.append(f"{named[1]}={translated}" if named else translated)
        return found

    # Operands

    def _starts_operand(self) -> bool:
        here = self.source[self.at : self.at + 1]
        if here.isdigit() or here in "'\"" or here.isidentifier():
            return True
        if here == "{":
            return self.source.startswith("{{", self.at) or self._braced() is not None
        return here == "$" or bool(odd_root(self.source, self.at, self.scope))

    def _braced(self) -> re.Match[str] | None:
        found = _BRACES.match(self.source, self.at)
        return found if found is not None and self.scope.knows(re.split(r"[.\[]", found[1])[0]) else None

    def _operand(self) -> Operand:
        self._skip()
        return self._after(self._value())

    def _value(self) -> Operand:
        source = self.source
        if source.startswith("(", self.at):
            end = _closing(source, self.at)
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
            return _Reader(braced[1], self.scope, self.depth + 1).whole()
        if (text := _STRING.match(source, self.at)) is not None:
            self.at = text.end()
            return self._text(text[0])
        if (number := _NUMBER.match(source, self.at)) is not None:
            self.at = number.end()
            return Operand(number[0])
        if source.startswith("$", self.at):
            path, self.at = json_path(source, self.at, self.scope)
            return self.scope.resolve(path)
        return self._named()

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
        word = _IDENTIFIER.match(source, self.at)
        if word is not None and len(word[0]) > len(root):
            root = word[0]
        if not root:
            raise Untranslatable(f"`{source[self.at : self.at + 1] or 'the end'}` stands where a value is needed")
        self.at += len(root)
        if self._called(self.at) and not self.scope.knows(root):
            return self._function(root)
        path, self.at = members(source, self.at, [Name(root)])
        if not self.scope.knows(root):
            if len(path) > 1:
                raise Unknown(f"nothing is called `{root}`")
            self.scope.word(root)
            return Operand(quoted(root))
        if self._called(self.at) and len(path) > 1:
            method = path.pop()
            return self._method(self.scope.resolve(path), str(method))
        if path[-1] == "length" and len(path) > 1 and isinstance(path[-1], Name):
            return Operand(f"{self.scope.resolve(path[:-1]).bound} | length", simple=False)
        return self.scope.resolve(path)

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
            method = _MEMBER.match(source, self.at)
            if method is not None and self._called(method.end()):
                self.at = method.end()
                value = self._method(value, method[1])
            elif method is not None and method[1] == "length":
                self.at = method.end()
                value = Operand(f"{value.bound} | length", simple=False)
            elif (path := members(source, self.at, []))[0]:
                if source.startswith("(", path[1]):
                    # The last of them is a method: it comes in the next turn.
                    last = max(match.start() for match in _MEMBER.finditer(source, self.at, path[1]))
                    if last == self.at:
                        raise Untranslatable("this cannot be called")
                    path = members(source[:last], self.at, [])
                value, self.at = chain(value.bound, path[0]), path[1]
            elif source.startswith("[", self.at) and self.at and not source[self.at - 1].isspace():
                end = _closing(source, self.at)
                inner = _Reader(source[self.at + 1 : end], self.scope, self.depth + 1).whole()
                value, self.at = Operand(f"{value.bound}[{inner.text}]"), end + 1
            else:
                return value


def odd_root(source: str, at: int, scope: Scope) -> str:
    """The name that begins at a place and does not look like one; empty when there is none."""
    for root in scope.roots:
        if source.startswith(root, at) and not _INSIDE_WORD.match(source, at + len(root)):
            return root
    return ""


def bound(part: str | Operand) -> str:
    """A part of a text as an operand."""
    return quoted(part) if isinstance(part, str) else part.bound


def _wrapped(text: str) -> str:
    return text if re.fullmatch(r"[\w.\[\]']+", text) else f"({text})"


def members(source: str, at: int, path: list[Any]) -> tuple[list[Any], int]:
    """The members that follow a name, and where they end."""
    while True:
        if (found := _ALL.match(source, at)) is not None:
            path.append(EACH)
        elif (found := _MEMBER.match(source, at)) is not None:
            path.append(Name(found[1]))
        elif (found := _INDEX.match(source, at)) is not None:
            path.append(int(found[1]))
        elif (found := _KEY.match(source, at)) is not None:
            path.append(Name(found[1] if found[1] is not None else found[2]))
        else:
            return path, at
        at = found.end()


def json_path(source: str, at: int, scope: Scope) -> tuple[list[Any], int]:
    """The path that begins with `$` at a place, and where it ends. Raises `Unknown`, `Untranslatable`."""
    start = at
    if _PATH_START.match(source, at) is None:
        raise Untranslatable("`$` begins a path such as $.step.field")
    at += 1
    path: list[Any] = []
    root = odd_root(source, at + 1, scope) if source.startswith(".", at) else ""
    if root:
        path.append(Name(root))
        at += 1 + len(root)
    while True:
        if (found := _ALL.match(source, at)) is not None:
            path.append(EACH)
        elif (found := _PATH_MEMBER.match(source, at)) is not None:
            path.append(Name(found[1]))
        elif (found := _INDEX.match(source, at)) is not None:
            path.append(int(found[1]))
        elif (found := _KEY.match(source, at)) is not None:
            path.append(Name(found[1] if found[1] is not None else found[2]))
        else:
            break
        at = found.end()
    if source.startswith(("..", "[?", "[("), at) and path:
        raise Untranslatable(f"`{source[start : at + 2]}…` searches, and paths here do not")
    if not path or not isinstance(path[0], Name):
        raise Untranslatable("a path begins with a name")
    return path, at


def closing_braces(source: str, at: int) -> int:
    """Where the `}}` is that closes what begins at a place. Raises `Untranslatable`."""
    while at < len(source):
        if source.startswith("}}", at):
            return at
        text = _STRING.match(source, at)
        at = text.end() if text is not None else at + 1
    raise Untranslatable("`{{` is never closed")


def _closing(source: str, at: int) -> int:
    """Where the bracket is that closes the one at a place."""
    depth = 0
    while at < len(source):
        text = _STRING.match(source, at)
        if text is not None:
            at = text.end()
            continue
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if depth <= 0:
            return at
        at += 1
    raise Untranslatable("a bracket is never closed")


def _split(source: str) -> list[str]:
    """The arguments of a call."""
    found: list[str] = []
    start = at = depth = 0
    while at < len(source):
        text = _STRING.match(source, at)
        if text is not None:
            at = text.end()
            continue
        depth += (source[at] in "([{") - (source[at] in ")]}")
        if source[at] == "," and depth == 0:
            found.append(source[start:at])
            start = at + 1
        at += 1
    return [*found, source[start:]] if source.strip() else found


def _joined(pieces: list[str]) -> str:
    """Pieces as people write them."""
    text = ""
    for piece in pieces:
        glued = not text or text[-1] in "([{" or piece in (")", "]", "}", ",", ":")
        text += piece if glued else f" {piece}"
    return text


# ---------------------------------------------------------------- texts with placeholders

_MARKS: Final = re.compile(r"\{\{|\{%|\{(?=\s*[A-Za-z_])|\$(?=\.[A-Za-z_]|\[['\"])")


class Left(NamedTuple):
    """A placeholder that stays as it is, and why."""

    text: str
    why: str


def pieces_of(
    source: str, scope: Scope, *, braces: bool = True, paths: bool = True, left: list[Left] | None = None
) -> list[str | Operand]:
    """A text as its literal parts and what is to be filled in. What cannot be is literal, and told in `left`."""
    parts: list[str | Operand] = []
    literal, at = "", 0
    while (mark := _MARKS.search(source, at)) is not None:
        start, kind = mark.start(), mark[0]
        literal += source[at:start]
        at = start
        found: Operand | None = None
        try:
            if kind == "{{":
                end = closing_braces(source, start + 2) + 2
                inside = _TRIMMED.sub("", source[start + 2 : end - 2])
                at = end
                found = translate(inside, scope)
            elif kind == "{%":
                at = end = start + 2
                raise Untranslatable("statements have no counterpart here")
            elif kind == "{":
                match = _BRACES.match(source, start)
                at = end = match.end() if match is not None else start + 1
                if match is not None and braces:
                    found = _plain(match[1], scope)
            elif paths:
                path, end = json_path(source, start, scope)
                at = end
                if not scope.knows(str(path[0])):
                    raise Unknown(f"nothing is called `{path[0]}`")
                found = scope.resolve(path)
            else:
                at = start + 1
        except (Untranslatable, Unknown) as error:
            at = max(at, start + len(kind))
            if left is not None:
                left.append(Left(source[start:at], str(error)))
        if found is None:
            literal += source[start:at]
        else:
            if literal:
                parts.append(literal)
            parts.append(found)
            literal = ""
    literal += source[at:]
    return [*parts, literal] if literal or not parts else parts


def _plain(name: str, scope: Scope) -> Operand:
    """`{name}`, or `{name.member}`."""
    match = _IDENTIFIER.match(name)
    root = odd_root(name, 0, scope) or (match[0] if match else name)
    path, end = members(name, len(root), [])
    if end != len(name) or not scope.knows(root):
        raise Unknown(f"nothing is called `{name}`")
    return scope.resolve([Name(root), *path])
