"""What is wrong with a file, where, and what to do about it.

A problem is data: found by the loader, the models or the compiler, collected, ordered, and shown once at the edge.
Nothing taken from a file reaches a terminal as it is: `inert` makes it harmless first.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from typing import Any, Literal, Self

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput

Severity = Literal["error", "warning"]
Pointer = tuple[str | int, ...]
"""Where a value is in a document: keys and list positions from the root."""

PAGE_WIDTH = 120
"""Cells of a rendered source line, frame included."""
EXCERPT = 400
"""Longest stretch of a source line that a problem keeps: a file may be one line of ten megabytes."""


MAX_CANDIDATES = 500
"""Names that are compared for a did-you-mean: a hostile file may define a hundred thousand."""


class ProblemCode(StrEnum):
    """The closed list of problem codes; `doc` says what each means."""

    doc: str

    def __new__(cls, value: str, doc: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    # The file
    MISSING_FILE = "missing-file", "A file that is named does not exist or cannot be read."
    NOT_UTF8 = "not-utf8", "The file is not UTF-8 text."
    CONTROL_CHARACTER = "control-character", "The file contains a character that YAML does not allow."
    TOO_LARGE = "too-large", "The file, or what its aliases expand to, is over a limit."
    TOO_DEEP = "too-deep", "Lists and mappings are nested deeper than the limit."
    TOO_MANY = "too-many", "There are more problems than are shown."
    EMPTY_FILE = "empty-file", "The file has no content."
    MANY_DOCUMENTS = "many-documents", "The file holds more than one YAML document."
    TOML_SYNTAX = "toml-syntax", "The text of the settings is not well-formed TOML."
    # The YAML
    YAML_SYNTAX = "yaml-syntax", "The text is not well-formed YAML."
    DUPLICATE_KEY = "duplicate-key", "A mapping sets the same key twice."
    BAD_KEY = "bad-key", "A key of a mapping is not text."
    UNKNOWN_TAG = "unknown-tag", "A YAML tag (`!name`) that has no meaning here."
    UNKNOWN_ALIAS = "unknown-alias", "An alias (`*name`) without an anchor (`&name`) before it."
    CYCLIC_ALIAS = "cyclic-alias", "An alias inside the very value that it names."
    BAD_MERGE = "bad-merge", "A merge key (`<<`) whose value is not a mapping or a list of mappings."
    CUT_EXPRESSION = "cut-expression", "` #` started a YAML comment inside an expression."
    BARE_BRACES = "bare-braces", "`{{ … }}` outside of quotes is a YAML mapping, not an expression."
    # The shape
    UNKNOWN_KEY = "unknown-key", "A key that has no meaning at this place."
    MISSING_KEY = "missing-key", "A key that is required at this place is not there."
    CONFLICTING_KEYS = "conflicting-keys", "Keys that cannot stand together."
    WRONG_TYPE = "wrong-type", "A value of the wrong kind, such as text where a number is needed."
    BAD_VALUE = "bad-value", "A value of the right kind that cannot be used."
    UNKNOWN_TYPE = "unknown-type", "A `type` that no step, trigger or part of this kind has."
    BAD_INPUT = "bad-input", "An input that a run is given, or not given, does not fit its declaration."
    # The meaning
    BAD_ID = "bad-id", "An id or name that does not follow the naming rules."
    DUPLICATE_ID = "duplicate-id", "Two steps of a file have the same id."
    UNKNOWN_REFERENCE = (
        "unknown-reference",
        "An expression names something that does not exist or cannot be seen there.",
    )
    UNKNOWN_NEED = "unknown-need", "`needs` names a step that does not exist or cannot be seen there."
    BAD_PORT = "bad-port", "`needs` names a port that the step does not have."
    CYCLE = "cycle", "Steps that wait for each other."
    UNREACHABLE = "unreachable", "A step that can never run."
    BAD_EXPRESSION = "bad-expression", "An expression that cannot be read or uses what the language does not have."
    BAD_SECRET = "bad-secret", "A secret in a field that does not accept secrets."
    BAD_SCHEMA = "bad-schema", "A JSON Schema that is not valid."
    UNKNOWN_NAME = "unknown-name", "A workflow, agent, tool, model, pool or group that is not defined."
    UNSUPPORTED = "unsupported", "Something of a foreign format that has no counterpart here."
    SUSPICIOUS = "suspicious", "Allowed, but probably not what was meant."


class Problem(Struct, frozen=True):
    """One thing that is wrong, with the place where it can be fixed."""

    code: ProblemCode
    message: str
    hint: str = ""
    severity: Severity = "error"
    file: str = ""
    line: int = 0
    """Counted from 1; 0 when the problem belongs to no place in a file."""
    column: int = 0
    """In characters, counted from 1."""
    end_column: int = 0
    """The first column after the marked part, on the same line."""
    pointer: str = ""
    """RFC 6901 JSON pointer to the value; empty for the whole document."""
    source_line: str = ""
    """The line as it is in the file, at most `EXCERPT` characters of it; not fit for a terminal."""
    source_start: int = 1
    """The column at which `source_line` starts; above 1 only in very long lines."""


class Span(Struct, frozen=True):
    """A stretch of a file; lines and columns counted from 1, the end not included."""

    line: int
    column: int
    end_line: int
    end_column: int
    style: str = ""
    """How it is written: `plain`, `single`, `double`, `literal`, `folded`, `flow`, `block` or `alias`."""


class InvalidFile(InvalidInput):
    """The file cannot be used."""

    problems: tuple[Problem, ...]
    """Why, in the order of `ordered`; warnings included."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = ordered(problems)
        first = next((problem for problem in self.problems if problem.severity == "error"), None)
        if first is None:
            super().__init__()
            return
        others = sum(problem.severity == "error" for problem in self.problems) - 1
        more = f" (and {others} more {'problem' if others == 1 else 'problems'})" if others else ""
        super().__init__(inert(first.message) + more, where=_place(first), hint=inert(first.hint))


class InvalidWorkflow(InvalidFile):
    """The workflow file cannot be used."""


class Source:
    """The text of a file and what is where in it."""

    __slots__ = ("file", "text")

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file

    def position(self, index: int) -> tuple[int, int]:
        """Line and column, both counted from 1, of the character at `index`."""
        # Counting beats a table of line starts: a table for ten megabytes of newlines would take 400 MB.
        text = self.text
        line = text.count("\n", 0, index) + 1
        if "\r" in text:
            line += text.count("\r", 0, index) - text.count("\r\n", 0, index)
        return line, index - self._line_start(index) + 1

    def line_end(self, index: int) -> int:
        """Index of the line break, or of the end of the text, that ends the line of `index`."""
        end = self.text.find("\n", index)
        end = len(self.text) if end < 0 else end
        cut = self.text.find("\r", index, end)
        return end if cut < 0 else cut

    def problem(
        self,
        start: int,
        end: int,
        code: ProblemCode,
        message: str,
        hint: str = "",
        *,
        pointer: Pointer = (),
        severity: Severity = "error",
    ) -> Problem:
        """A problem that marks `text[start:end]`, or as much of it as is on the first line."""
        start = max(0, min(start, len(self.text)))
        line, column = self.position(start)
        line_start, line_end = start - column + 1, self.line_end(start)
        width = max(1, min(end, line_end) - start)
        first = line_start if line_end - line_start <= EXCERPT else max(line_start, start - EXCERPT // 4)
        return Problem(
            code=code,
            message=message,
            hint=hint,
            severity=severity,
            file=self.file,
            line=line,
            column=column,
            end_column=column + width,
            pointer=json_pointer(pointer),
            source_line=self.text[first : min(line_end, first + EXCERPT)],
            source_start=first - line_start + 1,
        )

    def span(self, start: int, end: int, style: str = "") -> Span:
        return Span(*self.position(start), *self.position(max(start, end)), style)

    def locate(self, start: int, end: int, style: str, value: str, offset: int) -> int:
        """Index of the character at `offset` of `value`, which `text[start:end]` writes in the given YAML style."""
        offset = max(0, min(offset, len(value)))
        if style in {"single", "double"}:
            if self.text.startswith(value, start + 1) and start + 1 + len(value) == end - 1:
                return start + 1 + offset
            return self._locate_quoted(start + 1, end - 1, _SINGLE if style == "single" else _DOUBLE, offset)
        if style == "plain" and end - start == len(value):
            return start + offset
        if style in {"literal", "folded"}:
            start = min(end, self.line_end(start) + 1)
        return self._locate_by_words(start, end, value, offset)

    def _locate_quoted(self, start: int, end: int, units: re.Pattern[str], offset: int) -> int:
        for unit in units.finditer(self.text, start, end):
            breaks = len(_BREAK.findall(unit.group()))
            # One line break is read as a space, more as one break fewer; escaped with a backslash, as nothing.
            length = breaks - 1 if unit.group().startswith("\\") and breaks else max(1, breaks - 1)
            if offset < length:
                return unit.start()
            offset -= length
        return end

    def _locate_by_words(self, start: int, end: int, value: str, offset: int) -> int:
        """Folding and indentation change white space only, so the n-th word of the value is the n-th in the file."""
        done, at = 0, start
        for word, found in zip(_WORD.finditer(value), _WORD.finditer(self.text, start, end), strict=False):
            if offset < word.end():
                if offset >= word.start() or "\n" not in value[offset : word.start()]:
                    return found.start() - (word.start() - offset)
                break
            done, at = word.end(), found.end()
        return min(at + offset - done, max(start, end - 1))

    def _line_start(self, index: int) -> int:
        return max(self.text.rfind("\n", 0, index), self.text.rfind("\r", 0, index)) + 1


_WORD = re.compile(r"\S+")
# The parser is one of YAML 1.1, which knows three more line breaks than everybody else.
_BREAKS = r"(?:\r\n?|[\n\x85\u2028\u2029])"
_BREAK = re.compile(_BREAKS)
_FOLD = rf"[ \t]*{_BREAKS}[ \t\r\n\x85\u2028\u2029]*"
_SINGLE = re.compile(rf"{_FOLD}|''|.")
_DOUBLE = re.compile(rf"{_FOLD}|\\(?:x..|u.{{4}}|U.{{8}}|{_BREAKS}[ \t\r\n\x85\u2028\u2029]*|.)|.")

_SYNTAX = (
    ("quoted scalar: found unexpected", "this quote is never closed", ""),
    ("tab character", "a tab cannot indent YAML", "use spaces"),
    ("mapping values", "a `: ` cannot stand here", "quote the value if it contains `: `, or check the indentation"),
    ("start any token", "an unquoted value cannot start like this", "quote the value"),
    ("mapping keys", "an unquoted `?` starts a YAML key", "quote the value"),
    ("document start", "nothing can follow the value that ends before here", "check the quotes and the indentation"),
    ("directive", "a line that starts with `%` is a YAML directive", "quote the value"),
    ("node content", "a value cannot start like this", "quote the value if it is text"),
    ("flow sequence", "the list is not closed before here", "separate items with `,` and end the list with `]`"),
    ("flow mapping", "the mapping is not closed before here", "separate entries with `,` and end it with `}`"),
    ("expected ':'", "this line is not `key: value`", "check the indentation and the `: ` after the key"),
    ("block collection", "a list item (`- `) is expected here", "check the indentation"),
    (
        "block mapping",
        "a key is expected here",
        "check the indentation; a value that begins with a quote must end with it",
    ),
    ("an alias", "an unquoted `*` starts a YAML alias", "quote the value"),
    ("an anchor", "an unquoted `&` starts a YAML anchor", "quote the value"),
    (
        "unknown escape",
        "this escape does not exist",
        "in double quotes write `\\\\` for a backslash, or use single quotes",
    ),
    ("tag", "an unquoted `!` starts a YAML tag", "quote the value"),
    ("sequence entries", "a list cannot start on this line", "put each `- ` on its own line"),
    ("block scalar", "nothing can follow `|` or `>` on its line", "start the text on the next line"),
)


def explain_syntax(words: str, text: str, index: int) -> tuple[str, str]:
    """Message and hint for what the YAML parser says in its `words` about `text[index]`."""
    line = text[max(text.rfind("\n", 0, index) + 1, index - EXCERPT) : index]
    if text.startswith("{{", index) and line.endswith("$"):
        return "an expression inside `[…]` or `{…}` needs quotes", 'write "${{ … }}"'
    if "block mapping" in words and re.search(r"(?<!\$)\{\{", line):
        return "text cannot follow `{{ … }}` here", 'quote the whole value and write the expression as "${{ … }}"'
    if text.startswith("\t", index) and not line.strip():
        words = "tab character"
    for fragment, message, hint in _SYNTAX:
        if fragment in words:
            return message, hint
    return words.strip(": "), ""


def json_pointer(pointer: Pointer) -> str:
    """The RFC 6901 form of a pointer: `("steps", 0, "a/b")` is `/steps/0/a~1b`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in pointer)


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems by file, line, column and code, each once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column, p.code, p.message)))


def as_json(problem: Problem) -> dict[str, Any]:
    """The problem for machines: always the same keys, text unchanged."""
    return {
        "code": str(problem.code),
        "severity": problem.severity,
        "message": problem.message,
        "hint": problem.hint,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "end_column": problem.end_column,
        "pointer": problem.pointer,
    }


def render(problem: Problem, color: bool = False) -> str:
    """The problem for people: the place, the message, the line with a caret under the fault, and the hint.

    Whatever the file contains, the result is safe to print: no control character but the line breaks between its
    own lines and, with `color`, its own colours.
    """
    bold, red, blue, cyan, end = _COLORS if color else _NO_COLORS
    place = _place(problem)
    where = f"{bold}{place}:{end} " if place else ""
    warning = " (warning)" if problem.severity == "warning" else ""
    lines = [f"{where}{red}{problem.code}{end} {bold}{inert(problem.message)}{end}{warning}"]
    if problem.source_line.strip():
        source, caret = _window(problem)
        lines += [f"    {blue}|{end} {source}", f"    {blue}|{end} {red}{caret}{end}"]
    if problem.hint:
        lines.append(f"    {blue}={end} {cyan}hint:{end} {inert(problem.hint)}")
    return "\n".join(lines)


def inert(text: str) -> str:
    """The text with everything that could move a cursor, hide or reorder characters shown as an escape."""
    return text if text.isascii() and text.isprintable() else "".join(_cell(character)[0] for character in text)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`did you mean …?` with the one to three closest candidates, or nothing when none is close."""
    if not word or len(word) > 100:
        return ""
    plain = _plain_word(word)
    scores: dict[str, float] = {}
    for candidate in islice(candidates, MAX_CANDIDATES):
        score = _closeness(plain, _plain_word(candidate))
        if score >= 0.6 and candidate != word:
            scores[candidate] = score
    best = sorted(scores, key=lambda candidate: (-scores[candidate], candidate))[:3]
    close = [f"`{name}`" for name in best if scores[name] >= scores[best[0]] - 0.1]
    if not close:
        return ""
    listed = close[0] if len(close) == 1 else f"{', '.join(close[:-1])} or {close[-1]}"
    return f"did you mean {listed}?"


def _plain_word(word: str) -> str:
    return word.casefold().replace("-", "_").replace(" ", "_")


def _closeness(word: str, candidate: str) -> float:
    if word == candidate:
        return 1.0
    # The ratio of short words is useless: `fi` and `if` share half their letters and are one slip apart.
    if len(word) == len(candidate) and len(word) > 1 and sorted(word) == sorted(candidate):
        return 0.9
    matcher = difflib.SequenceMatcher(a=word, b=candidate, autojunk=False)
    if matcher.real_quick_ratio() < 0.6 or matcher.quick_ratio() < 0.6:
        return 0.0
    return matcher.ratio()


_COLORS = ("\x1b[1m", "\x1b[1;31m", "\x1b[34m", "\x1b[36m", "\x1b[0m")
_NO_COLORS = ("", "", "", "", "")
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _place(problem: Problem) -> str:
    position = f"{problem.line}:{problem.column}" if problem.line else ""
    return ":".join(part for part in (inert(problem.file), position) if part)


def _cell(character: str) -> tuple[str, int]:
    """How a character is shown, and how many terminal cells that takes."""
    if " " <= character <= "~":
        return character, 1
    if character == "\t":
        return "    ", 4
    category = unicodedata.category(character)
    if category in _ESCAPED:
        code = ord(character)
        shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        return shown, len(shown)
    if "\ufe00" <= character <= "\ufe0f":
        # Terminals disagree on the width of a character with a variation selector, never on one without it.
        return "", 0
    if category in {"Mn", "Me"}:
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _window(problem: Problem) -> tuple[str, str]:
    """The shown part of the source line, and the caret line that goes under it."""
    cells = [_cell(character) for character in problem.source_line]
    first = min(max(0, problem.column - problem.source_start), len(cells))
    last = min(max(first, problem.end_column - problem.source_start), len(cells))
    budget = PAGE_WIDTH - len("    | ")
    start, stop = 0, len(cells)
    cut_left = problem.source_start > 1
    if cut_left or sum(width for _, width in cells) > budget:
        start, room = first, budget // 3
        while start > 0 and cells[start - 1][1] <= room:
            start -= 1
            room -= cells[start][1]
        cut_left = cut_left or start > 0
        stop, room = start, budget - 2
        while stop < len(cells) and cells[stop][1] <= room:
            room -= cells[stop][1]
            stop += 1
    left = "…" if cut_left else ""
    right = "…" if stop < len(cells) else ""
    before = len(left) + sum(width for _, width in cells[start:first])
    marked = sum(width for _, width in cells[first : min(last, stop)])
    source = left + "".join(shown for shown, _ in cells[start:stop]) + right
    return source.rstrip(" "), " " * before + "^" * max(1, marked)
