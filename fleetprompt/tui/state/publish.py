"""A signal while somebody writes it: texts as they are typed, and what is wrong with them. PURE."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import MAX_TYPE, RESERVED, TYPE

MOST_DATA = 1024 * 1024
"""Bytes that a signal may carry."""
OFFERED = 6
_TYPE = re.compile(TYPE)


class Written(Struct, frozen=True):
    """A signal that is to be published."""

    type: str
    data: Any = None
    subject: str = ""
    key: str = ""


class Draft:
    """What has been typed so far."""

    def __init__(self, types: Sequence[str]) -> None:
        """`types` are those that are known, the likeliest first."""
        self.types = [each for each in types if not each.startswith(RESERVED)]
        self.type = ""
        self.data = ""
        self.subject = ""
        self.key = ""

    def type_problem(self) -> str:
        """What is wrong with the type; empty when nothing is."""
        text = self.type.strip()
        if not text:
            return "is needed"
        if text.startswith(RESERVED):
            return f"types under {RESERVED} are the engine's own"
        if len(text) > MAX_TYPE or not _TYPE.fullmatch(text):
            return "is dot-separated words of letters, digits, _ and -"
        return ""

    def data_problem(self) -> str:
        """What is wrong with the data: it is JSON, or nothing."""
        if len(self.data.encode("utf-8", "replace")) > MOST_DATA:
            return "is at most 1 MiB: store it elsewhere and send a reference"
        try:
            self._value()
        except RecursionError:
            return "is nested too deeply"
        except msgspec.DecodeError as error:
            return f"is not JSON: {self._place(str(error))}"
        return ""

    def _value(self) -> Any:
        text = self.data.strip()
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass")) if text else None

    def _place(self, said: str) -> str:
        """The position of a fault in bytes as line and column."""
        found = re.search(r"\(byte (\d+)\)", said)
        if found is None:
            return said.lower()
        stripped = self.data.strip().encode("utf-8", "surrogatepass")
        before = stripped[: int(found[1])].decode("utf-8", "replace")
        lead = self.data[: len(self.data) - len(self.data.lstrip())]
        lines = (lead + before).split("\n")
        reason = said[: found.start()].strip().removeprefix("JSON is malformed: ")
        return f"{reason} in line {len(lines)}, column {len(lines[-1]) + 1}"

    def offers(self) -> list[str]:
        """Known types that what was typed may become."""
        text = self.type.strip()
        begin = [each for each in self.types if each.startswith(text) and each != text]
        inside = [each for each in self.types if text in each and not each.startswith(text)]
        return [*begin, *inside][:OFFERED]

    @property
    def wrong(self) -> str:
        """The first field that is not in order; empty when all are."""
        return "type" if self.type_problem() else "data" if self.data_problem() else ""

    def written(self) -> Written:
        """The signal. Raises `InvalidInput` while something is wrong."""
        for name, problem in (("type", self.type_problem()), ("data", self.data_problem())):
            if problem:
                raise InvalidInput(f"the {name} {problem}")
        return Written(self.type.strip(), self._value(), self.subject.strip(), self.key.strip())
