"""Regular expressions in linear time: no pattern and no text can hang the engine.

`re` parses the pattern and matches its single characters; the search is ours: all alternatives advance together, one
character at a time, so there is nothing to backtrack into (`(a+)+$` is as harmless as `a`). What needs backtracking
is refused: back references, look-around, atomic groups. The steps taken are paid for, memoised ones at a discount.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from fleetprompt.engine.core.expr_values import Meter, Refusal

_PARSER: Final[Any] = vars(re)["_parser"]
"""The one part of `re` without a public name; its tree has hardly changed since Python 2."""
_COMPILER: Final[Any] = vars(re)["_compiler"]

MAX_PATTERN: Final = 500
"""Characters of a pattern."""
MAX_SUBJECT: Final = 64 * 1024
"""Characters of the text that is searched."""
MAX_PIECES: Final = 2_000
"""Size of a pattern once its counted repetitions are written out."""

Check = Callable[[str], Any]
_Context = tuple[str, str, bool]  # the character before, the one after, and whether that is a final newline
_Pending = frozenset[int]  # indexes of the pieces to try next
_Move = tuple[_Pending, str, dict[str, Any]]  # a state, and its own moves by character
_SUPPORTED: Final = "patterns have no back references, look-around, atomic groups or possessive repetition"


class _Take:
    """Consume one character that passes the check."""

    def __init__(self, check: Check) -> None:
        self.check = check


class _Fork:
    """Go on at any of these pieces."""

    def __init__(self, *targets: int) -> None:
        self.targets = targets


class _Look:
    """Go on if the position (start, end, edge of a word) is right."""

    def __init__(self, holds: Callable[[_Context], bool]) -> None:
        self.holds = holds


class Pattern:
    """A compiled pattern. The same call takes the same number of steps every time: nothing is kept between calls."""

    def __init__(self, pieces: list[_Take | _Fork | _Look]) -> None:
        self._pieces = pieces
        self._looks = any(type(piece) is _Look for piece in pieces)

    def search(self, text: str, meter: Meter) -> bool:
        """True if the pattern matches anywhere in the text; anchor it with ^ and $. Raises Refusal over a bound."""
        if len(text) > MAX_SUBJECT:
            raise Refusal(f"a pattern searches at most {MAX_SUBJECT:,} characters, this text has {len(text):,}")
        meter.spend(1 + (len(text) >> 6))
        body = text[:-1] if text.endswith("\n") else text
        pending: _Pending = frozenset((0,))
        before = ""
        memo: dict[tuple[_Pending, str], dict[str, _Move]] = {}
        moves = memo.setdefault((pending, before), {})
        for char in body:
            move = moves.get(char)
            if move is None:
                found = self._step(pending, (before, char, False), meter)
                if found is None:
                    return True
                before = _class_of(char) if self._looks else ""
                move = moves[char] = (found, before, memo.setdefault((found, before), {}))
            pending, before, moves = move
        for char in ("\n", "") if body is not text else ("",):
            found = self._step(pending, (before, char, True), meter)
            if found is None:
                return True
            pending, before = found, char
        return False

    def _step(self, pending: _Pending, context: _Context, meter: Meter) -> _Pending | None:
        """The pieces to try at the next position; None when the pattern has matched."""
        char = context[1]
        nexts, seen, stack = {0}, set(pending), list(pending)
        while stack:
            at = stack.pop()
            if at == len(self._pieces):
                return None
            piece = self._pieces[at]
            targets: tuple[int, ...] = ()
            if type(piece) is _Take:
                if char and piece.check(char):
                    nexts.add(at + 1)
            elif type(piece) is _Fork:
                targets = piece.targets
            elif type(piece) is _Look and piece.holds(context):
                targets = (at + 1,)
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
        meter.spend(len(seen))
        return frozenset(nexts)


def _class_of(char: str) -> str:
    """One character for all that mean the same to what follows (few states, so the memo pays)."""
    if char == "\n":
        return char
    return ("a" if char.isascii() else "é") if _is_word(char) else " "


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def whole_problem(pattern: str, text: str) -> str:
    """Why a text is not, as a whole, what a pattern describes; empty when it is."""
    try:
        found = compile_pattern(pattern, whole=True).search(text, Meter())
    except Refusal as refusal:
        return refusal.message
    return "" if found else f"it does not match {pattern}"


@lru_cache(maxsize=256)
def compile_pattern(pattern: str, *, whole: bool = False) -> Pattern:
    """The compiled form of Python's `re` syntax; of one that has to match a `whole` text, not a part of it.

    Raises Refusal for what is invalid, unsupported or too large.
    """
    if len(pattern) > MAX_PATTERN:
        raise Refusal(f"the pattern is longer than {MAX_PATTERN} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "possible nested set": a pattern that will change its meaning
            tree = _PARSER.parse(pattern)
            builder = _Builder()
            if whole:
                builder.pieces.append(_Look(_look("AT_BEGINNING_STRING", 0)))
            builder.sequence(tree, tree.state.flags)
            if whole:
                builder.pieces.append(_Look(_look("AT_END_STRING", 0)))
    except (re.error, OverflowError, Warning) as error:
        raise Refusal(f"the pattern is not valid: {error}") from None
    except RecursionError:
        raise Refusal("the pattern is nested too deeply") from None
    return Pattern(builder.pieces)


class _Builder:
    def __init__(self) -> None:
        self.pieces: list[_Take | _Fork | _Look] = []
        self._visits = 0
        self._checks: dict[str, Check] = {}

    def sequence(self, tree: Any, flags: int) -> None:
        for item in tree:
            self._item(item, flags)

    def _item(self, item: Any, flags: int) -> None:
        self._visits += 1  # counts what repeats nothing too: `(((){999}){999}){999}`
        if self._visits > MAX_PIECES:
            raise Refusal(f"the pattern is too large: its repetitions make more than {MAX_PIECES:,} pieces")
        code, value = str(item[0]), item[1]
        match code:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                known = f"{item} {flags}"  # a repeated piece is compiled once
                if known not in self._checks:
                    self._checks[known] = _check(item, flags)
                self.pieces.append(_Take(self._checks[known]))
            case "SUBPATTERN":
                _, added, removed, body = value
                self.sequence(body, (flags | added) & ~removed)
            case "BRANCH":
                self._branch(value[1], flags)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, body = value
                self._repeat(least, most, body, flags)
            case "AT":
                self.pieces.append(_Look(_look(str(value), flags)))
            case _:
                raise Refusal("the pattern is not supported", _SUPPORTED)

    def _branch(self, branches: list[Any], flags: int) -> None:
        starts: list[int] = []
        ends: list[int] = []
        fork = self._hole()
        for branch in branches:
            starts.append(len(self.pieces))
            self.sequence(branch, flags)
            ends.append(self._hole())
        self.pieces[fork] = _Fork(*starts)
        for end in ends:
            self.pieces[end] = _Fork(len(self.pieces))

    def _repeat(self, least: int, most: int, body: Any, flags: int) -> None:
        for _ in range(least):
            self._item(("SUBPATTERN", (None, 0, 0, body)), flags)
        if most == _PARSER.MAXREPEAT:
            start = self._hole()
            self.sequence(body, flags)
            self.pieces.append(_Fork(start))
            self.pieces[start] = _Fork(start + 1, len(self.pieces))
            return
        exits: list[int] = []
        for _ in range(most - least):
            exits.append(self._hole())
            self._item(("SUBPATTERN", (None, 0, 0, body)), flags)
        for place in exits:
            self.pieces[place] = _Fork(place + 1, len(self.pieces))

    def _hole(self) -> int:
        """The index of a piece to be filled in once its targets are known."""
        self.pieces.append(_Fork())
        return len(self.pieces) - 1


def _check(item: Any, flags: int) -> Check:
    """What one character must be, decided by `re` itself; a plain letter needs no `re`."""
    if str(item[0]) == "LITERAL" and not flags & re.IGNORECASE:
        return chr(item[1]).__eq__
    state = _PARSER.State()
    state.flags = flags
    single: re.Pattern[str] = _COMPILER.compile(_PARSER.SubPattern(state, [item]), flags)
    return single.fullmatch


def _look(code: str, flags: int) -> Callable[[_Context], bool]:
    lines = bool(flags & re.MULTILINE)
    ascii_only = bool(flags & re.ASCII)

    def word(char: str) -> bool:
        return _is_word(char) and (char.isascii() or not ascii_only)

    match code:
        case "AT_BEGINNING":
            return lambda at: not at[0] or (lines and at[0] == "\n")
        case "AT_BEGINNING_STRING":
            return lambda at: not at[0]
        case "AT_END":
            return lambda at: not at[1] or (at[1] == "\n" and (lines or at[2]))
        case "AT_END_STRING":
            return lambda at: not at[1]
        case "AT_BOUNDARY":
            return lambda at: word(at[0]) != word(at[1])
        case "AT_NON_BOUNDARY":
            return lambda at: word(at[0]) == word(at[1])
        case _:
            raise Refusal("the pattern is not supported", _SUPPORTED)
