"""The YAML that a run was made from, line by line, with the lines of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fleetprompt.client.definitions import LINE_BREAK, step_lines
from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.program import path_parts
from fleetprompt.engine.core.transition import COMPENSATION

LONGEST = 2_000
"""Characters of a line that are shown."""


class SourceText:
    """The text of a workflow file, and where its steps are in it."""

    def __init__(self, text: str, ranges: Mapping[str, tuple[int, int]]) -> None:
        self.text = text
        self._lines = LINE_BREAK.split(text.removesuffix("\n")) if text else []
        self._ranges = ranges

    @classmethod
    async def load(cls, console: Console, plan: str) -> SourceText:
        """The source of a plan; empty where the store has none. Raises `FleetError`."""
        text = await console.source(plan)
        # A file may have ten megabytes, and the screen goes on meanwhile.
        return cls(text, await asyncio.to_thread(step_lines, text))

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, number: int) -> str:
        """A line, counted from 0: inert, and cut where it is very long. Raises `IndexError`."""
        line = self._lines[number]
        shown = inert(line[:LONGEST])
        return shown if len(line) <= LONGEST else f"{shown}… {len(line) - LONGEST:,} more characters"

    def lines_of(self, path: str) -> tuple[int, int] | None:
        """The lines of the step at a path, from the first to before the last, counted from 0; None when the file does
        not say where it is."""
        if not path:
            return None
        id_ = path_parts(path)[-1]
        return self._ranges.get(id_ + COMPENSATION if path.endswith(COMPENSATION) else id_)
