"""YAML files as plain data that remembers where everything stands.

The parser is PyYAML's; what its events mean is decided here: YAML 1.2 core scalars, no tags, no silent surprises.
Events and not PyYAML's node tree, because composing nodes recurses (a deep file would crash the process), and
because a syntax error then still leaves the problems that were found before it.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, NoReturn, cast

import yaml
from yaml import events

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.definition.document import Document, Node
from fleetprompt.engine.definition.problems import Problem, ProblemCode, Severity
from fleetprompt.engine.definition.source import WORKFLOW_FILE, FileKind, Source
from fleetprompt.engine.definition.syntax import explain_syntax

MAX_BYTES: Final = 10_000_000
MAX_NODES: Final = 200_000
"""Keys and values of a file, counted after aliases are expanded."""
MAX_DEPTH: Final = 60
MAX_PROBLEMS: Final = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_TAG_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
_STYLES = {"": "plain", "'": "single", '"': "double", "|": "literal", ">": "folded"}
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_START = frozenset("0123456789+-.")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
# An extension of YAML 1.2, for limits that people read: thousands only, so that `2024_01_05` stays text.
_GROUPED_INT = re.compile(r"[-+]?[1-9][0-9]{0,2}(_[0-9]{3})+")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PROPERTIES = re.compile(r"(?:(?:&[\w-]+|![^\s]*)\s*)+")
_TAG_DIRECTIVE = re.compile("(?<![^\n\r\x85\u2028\u2029])%TAG")
_COMMENT = re.compile(r"[ \t]+#")


def load_document(text: str | bytes, file: str, kind: FileKind = WORKFLOW_FILE) -> Document:
    """Read a YAML file. Raises nothing for what is in it: all that is wrong is in `Document.problems`. `kind` is what
    hints are about."""
    size = len(text) if isinstance(text, bytes) or len(text) > MAX_BYTES else len(text.encode("utf-8", "replace"))
    if size > MAX_BYTES:
        message = f"the file has more than {MAX_BYTES:,} bytes"
        return _unreadable(Source("", file, kind), ProblemCode.TOO_LARGE, message)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"byte {error.start:,} (0x{text[error.start]:02x}) is not UTF-8"
            if text.startswith((b"\xff\xfe", b"\xfe\xff")):
                message = "the file is UTF-16, not UTF-8"
            source = Source(text.decode("utf-8", "replace"), file, kind)
            before = len(text[: error.start].decode("utf-8"))
            return _unreadable(source, ProblemCode.NOT_UTF8, message, "save the file as UTF-8", before)
    source = Source(text.removeprefix("\ufeff"), file, kind)
    composer = _Composer(source)
    return Document(source, composer.compose(), composer.problems)


def _unreadable(source: Source, code: ProblemCode, message: str, hint: str = "", at: int = 0) -> Document:
    return Document(source, None, [source.problem(at, at + 1, code, message, hint)])


class _Stop(Exception):
    """Reading cannot go on; the reason is among the problems."""


class _Composer:
    """Builds the nodes of one document from parser events, and collects what is wrong with them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.stack: list[Node] = []
        self.anchors: dict[str, Node] = {}
        self.count = 0
        self.documents = 0

    def compose(self) -> Node | None:
        """The root, or nothing when reading had to stop."""
        try:
            loader = _LOADER(self.readable_text())
            while not isinstance(event := self.next_event(loader), events.StreamEndEvent):
                self.take(event, event.start_mark.index, event.end_mark.index)
            if self.root is None:
                self.fail(0, 0, ProblemCode.EMPTY_FILE, "the file is empty")
        except _Stop:
            return None
        return self.root

    def readable_text(self) -> str:
        """The text for the parser: characters that YAML forbids are problems and, to read on, replaced."""
        # Tags have no meaning here, and libyaml compares each `%TAG` with all before it: many would take minutes.
        if tag := _TAG_DIRECTIVE.search(self.text):
            self.fail(tag.start(), tag.end(), ProblemCode.UNKNOWN_TAG, "%TAG has no meaning here", "remove it")
        for _, match in zip(range(10), _NOT_YAML.finditer(self.text), strict=False):
            code = ord(match.group())
            hint = f'"\\x{code:02x}" in double quotes writes it' if code < 0x100 else "remove it"
            message = f"the character U+{code:04X} cannot stand in YAML"
            self.add(match.start(), match.end(), ProblemCode.CONTROL_CHARACTER, message, hint)
        return _NOT_YAML.sub("\ufffd", self.text) if self.problems else self.text

    def next_event(self, loader: Any) -> Any:
        try:
            return loader.get_event()
        except yaml.MarkedYAMLError as error:
            words = f"{error.context or ''}: {error.problem or ''}"
            begun = error.context_mark.index if error.context_mark else 0
            # The parser notices at the end of the file, or on the next line, what began here.
            late = "quoted scalar: found unexpected" in words or "simple key" in words
            index = begun if late or not error.problem_mark else min(error.problem_mark.index, len(self.text))
            message, hint = explain_syntax(words, self.text, index)
            if "not closed" in message:
                message += f", and begins on line {self.source.position(begun)[0]}"
            self.fail(index, index + 1, ProblemCode.YAML_SYNTAX, message, hint)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            # PyYAML's own scanner, used where libyaml is missing, lets `chr` fail on an escape like "\UFFFFFFFF".
            self.fail(0, 0, ProblemCode.YAML_SYNTAX, f"this is not YAML: {error}")

    def take(self, event: Any, start: int, end: int) -> None:
        if isinstance(event, events.ScalarEvent):
            self.place(self.scalar(event, start, end))
        elif isinstance(event, events.CollectionStartEvent):
            self.stack.append(self.collection(event, start, end))
        elif isinstance(event, events.CollectionEndEvent):
            self.place(self.close(end))
        elif isinstance(event, events.AliasEvent):
            self.place(self.alias(str(event.anchor), start, end))
        elif isinstance(event, events.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                message = "a second YAML document starts here"
                self.fail(start, end, ProblemCode.MANY_DOCUMENTS, message, "keep one document per file")

    def collection(self, event: events.CollectionStartEvent, start: int, end: int) -> Node:
        self.grow(1, 1, start, end)
        flow = bool(event.flow_style)
        node = Node(end - 1 if flow else start, end, "flow" if flow else "block")
        node.size = -self.count
        if isinstance(event, events.MappingStartEvent):
            node.entries = {}
        else:
            node.items = []
        if event.tag not in (None, "!", _CORE + ("seq" if node.entries is None else "map")):
            self.unknown_tag(str(event.tag), start)
        return self.anchored(event, node)

    def close(self, end: int) -> Node:
        node = self.stack[-1]
        if node.style == "flow":
            node.end = end
        for key, value in node.merges or ():
            self.merge(node, key, value)
        node.size += self.count + 1
        self.stack.pop()
        braces = node.entries is not None and self.text.startswith("{{", node.start)
        return self.without_braces(node) if braces else node

    def place(self, node: Node) -> None:
        """Put a finished node where it belongs: the root, the next item, the next key or its value."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.end = max(parent.end, node.end)
        parent.height = max(parent.height, node.height + 1)
        if parent.items is not None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            self.enter(parent, cast("dict[str, tuple[Node, Node]]", parent.entries), parent.key, node)
            parent.key = None

    def enter(self, parent: Node, entries: dict[str, tuple[Node, Node]], key: Node, value: Node) -> None:
        name: Any = key.value
        if key.value == "<<" and key.style == "plain":
            if parent.merges:
                self.duplicate(key, "<<", parent.merges[0][0])
            parent.merges = [*(parent.merges or ()), (key, value)]
            return
        if key.items is not None or key.entries is not None:
            if not self.text.startswith("{{", parent.start):
                self.add(key.start, key.end, ProblemCode.BAD_KEY, "a list or a mapping cannot be a key")
            return
        if not isinstance(name, str):
            name = self.key_name(key)
            message = f"a key must be text; `{name}` is not" if name else "there is no key before this `:`"
            self.add(key.start, key.end, ProblemCode.BAD_KEY, message, f'quote it: "{name}"' if name else "")
        if name in entries:
            self.duplicate(key, name, entries[name][0])
        else:
            entries[name] = (key, value)

    def key_name(self, key: Node) -> str:
        return key.value if isinstance(key.value, str) else self.text[key.start : min(key.end, key.start + 60)].strip()

    def duplicate(self, key: Node, name: str, first: Node) -> None:
        message = f"`{name}` is already set on line {self.source.position(first.start)[0]}"
        self.add(key.start, key.end, ProblemCode.DUPLICATE_KEY, message, "remove one of the two")

    def merge(self, node: Node, key: Node, value: Node) -> None:
        """Merge keys are YAML 1.1, but the one way people know to share settings; a key that is set here wins."""
        entries = cast("dict[str, tuple[Node, Node]]", node.entries)
        for part in value.items if value.items is not None else [value]:
            if part.entries is None:
                hint = "write `<<: *name`, where `&name` marks a mapping"
                self.add(key.start, key.end, ProblemCode.BAD_MERGE, "`<<` takes a mapping or a list of them", hint)
            for name, entry in (part.entries or {}).items():
                if name not in entries:
                    self.grow(entry[1].size + 1, 0, key.start, key.end)
                    entries[name] = entry

    def without_braces(self, node: Node) -> Node:
        """`{{ x }}` is a mapping with a mapping for a key; taken for the expression it was meant to be."""
        raw = self.text[node.start : node.end]
        shown = raw if len(raw) <= 60 and "\n" not in raw else "{{ … }}"
        message = "`{{ … }}` without quotes is a YAML mapping, not an expression"
        self.add(node.start, node.end, ProblemCode.BARE_BRACES, message, f'write "${shown}", with the quotes')
        text = Node(node.start, node.end, "plain")
        text.value = f"${raw}"
        return text

    def scalar(self, event: events.ScalarEvent, start: int, end: int) -> Node:
        self.grow(1, 0, start, end)
        tag, tagged = event.tag, start
        if event.anchor or tag:
            # The properties belong to the node, but a caret belongs under the value.
            match = _PROPERTIES.match(self.text, start, end)
            start = match.end() if match else start
        node = Node(start, end, _STYLES[event.style or ""])
        node.value = text = event.value
        if tag is None and node.style == "plain":
            if text in _CONSTANTS:
                node.value = _CONSTANTS[text]
            elif text[0] in _NUMBER_START:
                node.value, wrong = _number(text)
                hint = f'quote it if it is text: "{text[:60]}"'
                if wrong:
                    self.add(start, end, ProblemCode.BAD_VALUE, wrong, hint)
                elif _LEADING_ZERO.fullmatch(text):
                    # Octal in YAML 1.1; and who writes a postal code means text.
                    message = f"`{text[:60]}` is the number {node.value}: its zeros are lost"
                    self.add(start, end, ProblemCode.SUSPICIOUS, message, hint, "warning")
            elif "${{" in text and text.rfind("${{") > text.rfind("}}") and _COMMENT.match(self.text, end):
                hint = "` #` started a YAML comment; quote this value"
                at = self.text.rfind("${{", start, end)
                self.add(at, end, ProblemCode.CUT_EXPRESSION, "a comment cuts this expression short", hint)
        elif tag not in (None, "!", _CORE + "str"):
            self.tagged(node, text, str(tag), tagged)
        return self.anchored(event, node)

    def unknown_tag(self, tag: str, start: int) -> None:
        message = f"the tag `{tag.replace(_CORE, '!!')}` has no meaning here"
        at = self.text.index("!", start)
        self.add(at, at + 1, ProblemCode.UNKNOWN_TAG, message, "remove it, or quote the value if it starts with `!`")

    def tagged(self, node: Node, text: str, tag: str, start: int) -> None:
        name = tag.removeprefix(_CORE)
        if name not in _TAG_TYPES or tag == name:
            self.unknown_tag(tag, start)
            return
        value: Any = _CONSTANTS.get(text, text)
        value, wrong = _number(text) if value is text else (value, "")
        if wrong or type(value) not in _TAG_TYPES[name]:
            message = wrong or f"`{text[:60]}` is not a `!!{name}`"
            self.add(node.start, node.end, ProblemCode.BAD_VALUE, message)
        else:
            node.value = float(value) if name == "float" else value

    def anchored(self, event: events.ScalarEvent | events.CollectionStartEvent, node: Node) -> Node:
        if event.anchor:
            self.anchors[str(event.anchor)] = node
        return node

    def alias(self, name: str, start: int, end: int) -> Node:
        node = Node(start, end, "alias")
        target = self.anchors.get(name)
        if target is None:
            hint = did_you_mean(name, self.anchors) or "quote the value if it is text"
            self.add(start, end, ProblemCode.UNKNOWN_ALIAS, f"no anchor `&{name}` before this alias", hint)
            return node
        if target.size < 1:
            self.fail(start, end, ProblemCode.CYCLIC_ALIAS, f"`*{name}` is inside the value that it names")
        self.grow(target.size, target.height, start, end)
        node.value, node.items, node.entries = target.value, target.items, target.entries
        node.size, node.height, node.origin = target.size, target.height, target.origin
        return node

    def grow(self, nodes: int, levels: int, start: int, end: int) -> None:
        """Count what is about to be added; every way for a small file to become large passes here."""
        self.count += nodes
        if self.count > MAX_NODES:
            message = f"more than {MAX_NODES:,} values, aliases expanded"
            self.fail(start, end, ProblemCode.TOO_LARGE, message)
        if len(self.stack) + levels > MAX_DEPTH:
            self.fail(start, end, ProblemCode.TOO_DEEP, f"nested more than {MAX_DEPTH} levels deep")

    def add(
        self, start: int, end: int, code: ProblemCode, message: str, hint: str = "", severity: Severity = "error"
    ) -> None:
        if len(self.problems) == MAX_PROBLEMS:
            message = f"more than {MAX_PROBLEMS} problems; the rest is not shown"
            self.problems.append(self.source.problem(start, end, ProblemCode.TOO_MANY, message))
            raise _Stop
        pointer: list[str | int] = []
        for node in self.stack:
            if node.items is not None:
                pointer.append(len(node.items))
            elif node.key is not None:
                pointer.append(self.key_name(node.key))
        self.problems.append(
            self.source.problem(start, end, code, message, hint, pointer=tuple(pointer), severity=severity)
        )

    def fail(self, start: int, end: int, code: ProblemCode, message: str, hint: str = "") -> NoReturn:
        self.add(start, end, code, message, hint)
        raise _Stop


def _number(text: str) -> tuple[Any, str]:
    """What a plain scalar that looks like a number stands for, and what is wrong with it."""
    number: int | float = math.inf
    if _INT.fullmatch(text) or _GROUPED_INT.fullmatch(text):
        # `int` refuses thousands of digits; no number of 40 fits into 64 bits, save for leading zeros.
        if len(text) < 40:
            number = int(text.replace("_", ""), 0 if text[:2] in ("0o", "0x") else 10)
        fits = -(2**63) <= number < 2**64
    elif _FLOAT.fullmatch(text):
        fits = math.isfinite(number := float(text))
    elif _NOT_FINITE.fullmatch(text):
        return 0.0, f"`{text}` is a number that JSON cannot hold"
    else:
        return text, ""
    return (number, "") if fits else (0, "this number is too large")
