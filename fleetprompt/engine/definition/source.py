"""The text of a file, and what stands where in it: lines and columns for what the parser knows by index."""

from __future__ import annotations

import re

from msgspec import Struct

from fleetprompt.engine.definition.problems import EXCERPT, Pointer, Problem, ProblemCode, Severity, json_pointer

_WORD = re.compile(r"\S+")
# The parser is one of YAML 1.1, which knows three more line breaks than everybody else.
_BREAKS = r"(?:\r\n?|[\n\x85\u2028\u2029])"
_BREAK = re.compile(_BREAKS)
_FOLD = rf"[ \t]*{_BREAKS}[ \t\r\n\x85\u2028\u2029]*"
_SINGLE = re.compile(rf"{_FOLD}|''|.")
_DOUBLE = re.compile(rf"{_FOLD}|\\(?:x..|u.{{4}}|U.{{8}}|{_BREAKS}[ \t\r\n\x85\u2028\u2029]*|.)|.")


class FileKind(Struct, frozen=True):
    """What a file is for, as far as it says how to mend one that is none."""

    name: str
    begins: str
    """The keys that it begins with."""
    large: str = "make it smaller"
    deep: str = "nest less"

    def remedy(self, code: ProblemCode) -> str:
        """The hint of a problem that has no better one."""
        match code:
            case ProblemCode.EMPTY_FILE:
                return f"begin with {self.begins}"
            case ProblemCode.TOO_LARGE:
                return self.large
            case ProblemCode.TOO_DEEP:
                return self.deep
            case _:
                return code.remedy


WORKFLOW_FILE = FileKind(
    "workflow",
    "`name:` and `steps:`",
    "move data out of the workflow file",
    "nest less, or move a part into a workflow of its own",
)
AGENT_FILE = FileKind(
    "agent",
    "`name:` and `system:`",
    "say less in the agent file: what an agent is to know besides, its tools can read",
    "nest less: nothing of an agent goes so deep",
)
SIMULATION_FILE = FileKind("simulation", "`rules:`", "say less in the simulation file")


class Span(Struct, frozen=True):
    """A stretch of a file; lines and columns counted from 1, the end not included."""

    line: int
    column: int
    end_line: int
    end_column: int
    style: str = ""
    """How it is written: `plain`, `single`, `double`, `literal`, `folded`, `flow`, `block` or `alias`."""


class Source:
    """The text of a file and what is where in it."""

    __slots__ = ("file", "kind", "text")

    def __init__(self, text: str, file: str, kind: FileKind = WORKFLOW_FILE) -> None:
        self.text = text
        self.file = file
        self.kind = kind

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
            hint=hint or self.kind.remedy(code),
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
