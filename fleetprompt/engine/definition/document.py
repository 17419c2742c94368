"""A workflow file that was read: its data, its problems, and the place of every key and value."""

from __future__ import annotations

from typing import Any, Literal

from fleetprompt.engine.definition.problems import Pointer, Problem, ProblemCode, Severity, ordered
from fleetprompt.engine.definition.source import Source, Span


class Node:
    """A value and its place. `items` is set for a list, `entries` (key, value) for a mapping, else `value` counts."""

    __slots__ = ("end", "entries", "height", "items", "key", "merges", "origin", "size", "start", "style", "value")

    def __init__(self, start: int, end: int, style: str) -> None:
        self.start = start
        self.end = end
        self.style = style
        self.value: Any = None
        self.items: list[Node] | None = None
        self.entries: dict[str, tuple[Node, Node]] | None = None
        self.merges: list[tuple[Node, Node]] | None = None
        self.key: Node | None = None
        """The key whose value has not been read."""
        self.size = 1
        """Nodes in here, aliases expanded; below 1 while the collection is still open."""
        self.height = 0
        self.origin = self
        """The anchored node that an alias stands for."""

    def plain(self) -> Any:
        if self.entries is not None:
            return {key: value.plain() for key, (_, value) in self.entries.items()}
        return self.value if self.items is None else [item.plain() for item in self.items]


class Document:
    """A loaded file: its data, its problems, and the place of every key and value.

    A pointer that does not exist stands for its nearest existing parent.
    """

    def __init__(self, source: Source, root: Node | None, problems: list[Problem]) -> None:
        self.text = source.text
        self.file = source.file
        self.kind = source.kind
        """What the file is for."""
        self.problems = ordered(problems)
        self.data: Any = root.plain() if root is not None else None
        """Plain `dict`, `list`, `str`, `int`, `float`, `bool` and `None`; never shared between two places."""
        self.complete = root is not None
        """False when there is no data to judge: the file is empty, too large or not YAML."""
        self._source = source
        self._root = root or Node(0, 0, "plain")

    def key(self, pointer: Pointer) -> Span:
        """Where the key of a value stands; for an item of a list, the item."""
        key, node = self._find(pointer)
        return self._span(key or node)

    def value(self, pointer: Pointer) -> Span:
        """Where a value stands; for an alias, the alias."""
        return self._span(self._find(pointer)[1])

    def offset(self, pointer: Pointer, char_offset: int) -> Span:
        """Where one character of a text value stands: exact unless the text is folded (`>`)."""
        node = self._find(pointer)[1]
        index = self._locate(node, char_offset)
        return self._source.span(index, index + 1, node.origin.style)

    def problem(
        self,
        pointer: Pointer,
        code: ProblemCode,
        message: str,
        hint: str = "",
        on: Literal["value", "key", "first"] = "value",
        offset: int | None = None,
        length: int | None = None,
        severity: Severity = "error",
    ) -> Problem:
        """A problem at a value, its key or its first entry, or at `length` characters from `offset` of a text."""
        key, node = self._find(pointer)
        if offset is not None:
            start = self._locate(node, offset)
            end = self._locate(node, offset + (length or 1) - 1) + 1
        else:
            # Nothing can be underlined under a value that is not there; its key is what people look at.
            target = key if key is not None and (on == "key" or node.start == node.end) else node
            if target.entries and (on == "first" or target.style == "block"):
                target = next(iter(target.entries.values()))[0]
            start, end = target.start, self._end(target)
        return self._source.problem(start, end, code, message, hint, pointer=pointer, severity=severity)

    def _find(self, pointer: Pointer) -> tuple[Node | None, Node]:
        key, node = None, self._root
        for part in pointer:
            if node.entries is not None and isinstance(part, str) and part in node.entries:
                key, node = node.entries[part]
            elif node.items is not None and isinstance(part, int) and 0 <= part < len(node.items):
                key, node = None, node.items[part]
            else:
                break
        return key, node

    def _locate(self, node: Node, offset: int) -> int:
        node = node.origin
        value = node.value if isinstance(node.value, str) else self.text[node.start : node.end]
        return self._source.locate(node.start, node.end, node.style, value, offset)

    def _end(self, node: Node) -> int:
        return node.start + len(self.text[node.start : node.end].rstrip())

    def _span(self, node: Node) -> Span:
        return self._source.span(node.start, self._end(node), node.style)
