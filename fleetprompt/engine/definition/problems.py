"""What is wrong with a file, where, and what to do about it.

A problem is data: found by the loader, the models or the compiler, collected, ordered, and shown once at the edge.
Nothing taken from a file reaches a terminal as it is: `inert` makes it harmless first.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal, Self

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import cell, inert

Severity = Literal["error", "warning"]
Pointer = tuple[str | int, ...]
"""Where a value is in a document: keys and list positions from the root."""

PAGE_WIDTH = 120
"""Cells of a rendered source line, frame included."""
EXCERPT = 400
"""Longest stretch of a source line that a problem keeps: a file may be one line of ten megabytes."""


class ProblemCode(StrEnum):
    """The closed list of problem codes."""

    doc: str
    """What it means."""
    remedy: str
    """The hint of a problem that has no better one."""

    def __new__(cls, value: str, doc: str, remedy: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        member.remedy = remedy
        return member

    # The file
    MISSING_FILE = "missing-file", "A file that is named does not exist or cannot be read."
    NOT_UTF8 = "not-utf8", "The file is not UTF-8 text."
    CONTROL_CHARACTER = "control-character", "The file contains a character that YAML does not allow."
    TOO_LARGE = "too-large", "The file, or what its aliases expand to, is over a limit."
    TOO_DEEP = "too-deep", "Lists and mappings are nested deeper than the limit."
    TOO_MANY = "too-many", "There are more problems than are shown.", "mend these first"
    EMPTY_FILE = "empty-file", "The file has no content."
    MANY_DOCUMENTS = "many-documents", "The file holds more than one YAML document."
    TOML_SYNTAX = "toml-syntax", "The text of the settings is not well-formed TOML."
    # The YAML
    YAML_SYNTAX = "yaml-syntax", "The text is not well-formed YAML."
    DUPLICATE_KEY = "duplicate-key", "A mapping sets the same key twice."
    BAD_KEY = "bad-key", "A key of a mapping is not text.", "write `key: value`, with text for the key"
    UNKNOWN_TAG = "unknown-tag", "A YAML tag (`!name`) that has no meaning here."
    UNKNOWN_ALIAS = "unknown-alias", "An alias (`*name`) without an anchor (`&name`) before it."
    CYCLIC_ALIAS = "cyclic-alias", "An alias inside the very value that it names.", "write the value out"
    BAD_MERGE = "bad-merge", "A merge key (`<<`) whose value is not a mapping or a list of mappings."
    CUT_EXPRESSION = "cut-expression", "` #` started a YAML comment inside an expression."
    BARE_BRACES = "bare-braces", "`{{ … }}` outside of quotes is a YAML mapping, not an expression."
    # The shape
    UNKNOWN_KEY = "unknown-key", "A key that has no meaning at this place.", "remove it"
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
    UNKNOWN_NEED = (
        "unknown-need",
        "`needs` names a step that does not exist or cannot be seen there.",
        "name a step of the same block",
    )
    BAD_PORT = "bad-port", "`needs` names a port that the step does not have."
    CYCLE = "cycle", "Steps that wait for each other."
    UNREACHABLE = "unreachable", "A step that can never run.", "remove it, or change what it waits for"
    BAD_EXPRESSION = "bad-expression", "An expression that cannot be read or uses what the language does not have."
    BAD_SECRET = "bad-secret", "A secret in a field that does not accept secrets."
    BAD_SCHEMA = "bad-schema", "A JSON Schema that is not valid."
    UNKNOWN_NAME = "unknown-name", "A workflow, agent, tool, function, model, pool or group that is not defined."
    UNSUPPORTED = "unsupported", "Something of a foreign format that has no counterpart here."
    DIFFERS = "differs", "Something of a foreign format that works otherwise in the result."
    ASSUMED = "assumed", "Something that a foreign file leaves open, and the result does not."
    UNKNOWN_FORMAT = "unknown-format", "A file of another system that is of no known format."
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


_COLORS = ("\x1b[1m", "\x1b[1;31m", "\x1b[34m", "\x1b[36m", "\x1b[0m")
_NO_COLORS = ("", "", "", "", "")


def _place(problem: Problem) -> str:
    position = f"{problem.line}:{problem.column}" if problem.line else ""
    return ":".join(part for part in (inert(problem.file), position) if part)


def _window(problem: Problem) -> tuple[str, str]:
    """The shown part of the source line, and the caret line that goes under it."""
    cells = [cell(character) for character in problem.source_line]
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
