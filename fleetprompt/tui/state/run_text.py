"""Texts beside the tree of a run: the values of what is selected, one below the other, and the source. PURE."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence

from fleetprompt.client.wording import sign, size
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.json_text import JsonText
from fleetprompt.tui.state.lines import Cell, Column, Key, Part
from fleetprompt.tui.state.run_values import Held
from fleetprompt.tui.state.source import SourceText

TEXT = (Column(title="", width=1, grow=1),)


class TextLines(ABC):
    """Lines of text in one column, of which one may look at a part further to the right."""

    columns: Sequence[Column] = TEXT

    def __init__(self) -> None:
        self.left = 0
        """Characters to the left of what is shown."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many lines there are."""

    @abstractmethod
    def parts(self, index: int) -> Sequence[Part]:
        """A line, inert."""

    @abstractmethod
    def search(self, words: str, start: int) -> int | None:
        """The first line from `start` on, and then from the top, in which a text is."""

    def key(self, index: int) -> Key | None:
        """Lines are told apart by their number."""
        return index if 0 <= index < self.count else None

    def find(self, key: Key) -> int | None:
        """Where a line is."""
        return key if isinstance(key, int) and 0 <= key < self.count else None

    def show(self, first: int, last: int) -> None:  # noqa: B027  (most texts are there as a whole)
        """All lines are there already."""

    def cells(self, index: int) -> Sequence[Cell] | None:
        """A line from where one looks at it."""
        left = self.left
        shown: list[Part] = []
        for text, style in self.parts(index):
            if left < len(text):
                shown.append((text[left:], style))
            left = max(0, left - len(text))
        return (tuple(shown) or ("", ""),)


class ValueLines(TextLines):
    """Values one below the other, each under its name. One that is kept apart shows its text once that was loaded."""

    def __init__(self, values: Sequence[Held] = (), of: str = "") -> None:
        super().__init__()
        self.of = of
        """Key of what the values belong to."""
        self._given = list(values)
        self.values = list(values)
        self._texts: list[JsonText | None] = [_text_of(held) for held in self.values]
        self._firsts: list[int] = []
        self._count()

    def same(self, of: str, values: Sequence[Held]) -> bool:
        """Whether these values of that thing are what is shown."""
        return (
            of == self.of
            and len(values) == len(self._given)
            and all(
                new.name == old.name and (new.value is old.value or new.value == old.value) and new.blob == old.blob
                for new, old in zip(values, self._given, strict=True)
            )
        )

    def _count(self) -> None:
        self._firsts = [0]
        for text in self._texts:
            # A name, the value or what stands for it, and an empty line.
            self._firsts.append(self._firsts[-1] + 2 + (len(text) if text is not None else 1))

    @property
    def count(self) -> int:
        """How many lines there are, without the last empty one."""
        return max(0, self._firsts[-1] - 1)

    def at(self, index: int) -> int | None:
        """Which of the values a line belongs to."""
        found = bisect_right(self._firsts, index) - 1
        return found if 0 <= found < len(self.values) else None

    def is_loaded(self, which: int) -> bool:
        """Whether the whole value is there."""
        return self.values[which].blob is None

    def set(self, which: int, value: object) -> None:
        """A value that was kept apart is there."""
        self.values[which] = Held(self.values[which].name, value)
        self._texts[which] = JsonText(value)
        self._count()

    def text(self, which: int) -> str:
        """A value as text, to be copied: not inert."""
        text = self._texts[which]
        return text.text if text is not None else ""

    def parts(self, index: int) -> Sequence[Part]:
        """A name, a line of a value, or nothing between two values."""
        which = self.at(index)
        if which is None:
            return ()
        held, text = self.values[which], self._texts[which]
        line = index - self._firsts[which] - 1
        if line < 0:
            kept = f"  {size(held.blob.size)}, kept apart: enter loads it" if held.blob is not None else ""
            return ((inert(held.name), "title"), (kept, "link"))
        if text is None or line >= len(text):
            return ()
        found = text.line(line)
        shown: list[Part] = [("  ", "")]
        at = 0
        for start, end, kind in found.spans:
            if start > at:
                shown.append((found.text[at:start], ""))
            shown.append((found.text[start:end], kind))
            at = end
        if at < len(found.text):
            shown.append((found.text[at:], ""))
        return shown

    def search(self, words: str, start: int) -> int | None:
        """The first line from `start` on, and then from the top; values that are not loaded have no text."""
        for begin in (start, 0):
            for which, text in enumerate(self._texts):
                inside = max(0, begin - self._firsts[which] - 1)
                found = text.find(words, inside) if text is not None else None
                if found is not None:
                    return self._firsts[which] + 1 + found
        return None


def _text_of(held: Held) -> JsonText | None:
    if held.blob is not None and held.value is None:
        return None
    return JsonText(held.value)


class SourceLines(TextLines):
    """The YAML of a run, with the lines of one step marked."""

    def __init__(self, source: SourceText) -> None:
        super().__init__()
        self.source = source
        self.marked: tuple[int, int] | None = None
        """From this line to before that one."""

    @property
    def count(self) -> int:
        """How many lines there are."""
        return len(self.source)

    def parts(self, index: int) -> Sequence[Part]:
        """A line with its number."""
        marked = self.marked is not None and self.marked[0] <= index < self.marked[1]
        number = f"{index + 1:>{len(str(self.count))}} "
        mark = sign("▌") if marked else " "
        return ((mark, "accent"), (number, "accent" if marked else "faint"), *yaml_parts(self.source.line(index)))

    def search(self, words: str, start: int) -> int | None:
        """The first line from `start` on, and then from the top, in which a text is."""
        wanted = words.casefold()
        for index in (*range(start, self.count), *range(min(start, self.count))):
            if wanted and wanted in self.source.line(index).casefold():
                return index
        return None


_YAML = re.compile(
    r"(?P<comment>(?:^|(?<=\s))#.*)"
    r"|(?P<expression>\$\{\{.*?\}\})"
    r"|(?P<key>(?:(?<=^)|(?<=[\s{,]))[\w.$-]+(?=:(?:\s|$)))"
    r"|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*')"
    r"|(?P<literal>(?<![\w.-])(?:true|false|null)(?![\w.-]))"
    r"|(?P<number>(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.:-]))"
    r"|(?P<punctuation>[\[\]{},]|^\s*-(?=\s)|:(?=\s|$))"
)
_YAML_STYLES = {"expression": "accent"}


def yaml_parts(line: str) -> list[Part]:
    """A line of YAML in the styles of what it says: told by the line alone, which is enough to read by."""
    found: list[Part] = []
    at = 0
    for token in _YAML.finditer(line):
        kind = token.lastgroup or ""
        if token.start() > at:
            found.append((line[at : token.start()], ""))
        found.append((token.group(), _YAML_STYLES.get(kind, kind)))
        at = token.end()
    if at < len(line):
        found.append((line[at:], ""))
    return found
