"""TOML whose faults have a place: the standard library tells where a file is not TOML, and nothing about its keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from fleetprompt.engine.definition.problems import InvalidFile, Pointer, Problem, ProblemCode, Severity
from fleetprompt.engine.definition.source import Source

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_MEANINGS = (
    ("Invalid value", "this is not a value", 'text needs quotes: "text"; others are 3, 1.5, true, ["a", "b"]'),
    ("'=' after a key", "a key needs a `=` and a value", "write key = value"),
    ("overwrite a value", "this is set twice", "keep one of the two"),
    ("twice", "this table is there twice", "put its keys together"),
    ("end of document after a statement", "nothing can follow the value on its line", "one key = value on each line"),
    ("table declaration", "the name of the table is not closed", "write [name]"),
    ("Unclosed array", "the list is not closed", "end it with ]"),
    ("Unclosed inline table", "the table is not closed", "end it with }"),
    ("Unescaped '\\'", "this escape does not exist", "write \\\\ for a backslash, or use single quotes"),
    ("Illegal character '\\n'", "the quote is not closed on its line", ""),
    ("Unterminated string", "the quote is never closed", ""),
    ("Expected \"'", "the quote is never closed", ""),
    ("Invalid statement", "a line is `key = value` or `[table]`", "begin comments with #"),
)
_ENDINGS = (" = 0", "]", "]]", " = 0}", " = 0}]", " = 0}}]", " = 0}}")
"""What makes TOML of a text that is cut after a key, or after an item of a list."""
_HEADER = re.compile(r"^[ \t]*(\[\[[^\]\n]+\]\])", re.MULTILINE)
_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|\#[^\n]*|\s+|[\[\]{},=]|[^\s\[\]{},=\#"\']+|.''',
    re.DOTALL,
)
"""A text, a comment, white space, a mark, or any other word."""


class TomlFile(Source):
    """A TOML file: its values, and where they are."""

    __slots__ = ("values",)

    def __init__(self, path: Path, named: str) -> None:
        """Read a file that problems call `named`. Raises `InvalidFile`."""
        super().__init__("", named)
        try:
            self.text = path.read_bytes().decode().removeprefix("\ufeff").replace("\r\n", "\n")
            self.values: dict[str, Any] = tomllib.loads(self.text)
        except OSError as error:
            said = f"the file cannot be read: {(error.strerror or type(error).__name__).lower()}"
            raise InvalidFile([self.problem(0, 0, ProblemCode.MISSING_FILE, said)]) from None
        except UnicodeDecodeError as error:
            said = f"the file is not UTF-8 text, from byte {error.start} on"
            raise InvalidFile([self.problem(0, 0, ProblemCode.NOT_UTF8, said, "save it as UTF-8")]) from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InvalidFile([self._syntax(str(error))]) from None

    def at(
        self,
        path: Pointer | Sequence[str],
        code: ProblemCode,
        message: str,
        hint: str = "",
        severity: Severity = "error",
    ) -> Problem:
        """A problem with what is at a path of keys, and of positions in lists."""
        start, end = self._find(tuple(path))
        return self.problem(start, end, code, message, hint, pointer=tuple(path), severity=severity)

    def _syntax(self, words: str) -> Problem:
        found = _POSITION.search(words)
        index = len(self.text.rstrip()) - 1
        if found is not None and found[1]:
            lines = self.text.split("\n", int(found[1]) - 1)
            index = len(self.text) - len(lines[-1]) + int(found[2]) - 1
        words = words[: found.start()] if found is not None else words
        message, hint = next((meaning[1:] for meaning in _MEANINGS if meaning[0] in words), (words, ""))
        code = ProblemCode.DUPLICATE_KEY if "twice" in message else ProblemCode.TOML_SYNTAX
        return self.problem(index, index + 1, code, message, hint)

    def _find(self, path: Pointer) -> tuple[int, int]:
        """The first place where a text that is cut there, and made TOML again, has the path; of an item of a list, its
        first character on."""
        while path:
            found = self._item(path) if isinstance(path[-1], int) else self._key(path)
            if found is not None:
                return found
            # What is not found has its place where that is in which it is.
            path = path[:-1]
        return 0, 1

    def _key(self, path: Pointer) -> tuple[int, int] | None:
        """Where a key stands."""
        key = re.escape(str(path[-1]))
        for found in re.finditer(rf"""(?<![\w-])(["']?){key}\1(?=\s*[=.\]])""", self.text):
            if any(_holds(self.text[: found.end()] + ending, path) for ending in _ENDINGS):
                return found.span()
        return None

    def _item(self, path: Pointer) -> tuple[int, int] | None:
        """Where an item of a list stands: the table `[[…]]` of that number, or what is between commas of `[…]`."""
        for header in _HEADER.finditer(self.text):
            if _holds(self.text[: header.end()], path):
                if not _holds(self.text[: header.start()], path):
                    return header.span(1)
                break
        start, end = self._find(path[:-1])
        inside = _items(self.text, start if isinstance(path[-2], int) else end)
        return next(islice(inside, int(path[-1]), None), None)


def _items(text: str, begin: int) -> Iterator[tuple[int, int]]:
    """The items of the list that begins behind a place, each from its first to its last character."""
    depth, start, end = 0, -1, -1
    for token in _TOKEN.finditer(text, begin):
        word = token[0]
        if word.isspace() or word[0] == "#":
            continue
        if depth == 1 and word in (",", "]") and start >= 0:
            yield start, end
            start = -1
        elif depth >= 1 and start < 0 and word not in (",", "]"):
            start = token.start()
        end = token.end()
        depth += (word in ("[", "{")) - (word in ("]", "}"))
        if depth == 0 and word != "=":
            return


def _at(value: Any, path: Pointer) -> Any:
    """What a path leads to; raises `LookupError`."""
    for part in path:
        value = value[part]
    return value


def _holds(text: str, path: Pointer) -> bool:
    try:
        _at(tomllib.loads(text), path)
    except (tomllib.TOMLDecodeError, LookupError, TypeError):
        return False
    return True
