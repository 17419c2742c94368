"""TOML whose faults have a place: the standard library tells where a file is not TOML, and nothing about its keys."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetprompt.engine.definition.problems import InvalidFile, Problem, ProblemCode
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
_ENDINGS = (" = 0", "]", " = 0}")
"""What makes TOML of a text that is cut after a key."""


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

    def at(self, path: Sequence[str], code: ProblemCode, message: str, hint: str = "") -> Problem:
        """A problem with what is at a path of keys."""
        start, end = self._find(path)
        return self.problem(start, end, code, message, hint, pointer=tuple(path))

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

    def _find(self, path: Sequence[str]) -> tuple[int, int]:
        """The first place where a text that is cut there, and made TOML again, has the path."""
        key = re.escape(path[-1])
        for found in re.finditer(rf"""(?<![\w-])(["']?){key}\1(?=\s*[=.\]])""", self.text):
            if any(_holds(self.text[: found.end()] + ending, path) for ending in _ENDINGS):
                return found.span()
        return 0, 1


def _holds(text: str, path: Sequence[str]) -> bool:
    try:
        value: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
