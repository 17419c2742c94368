"""The YAML of a workflow: its file as it is now, or what was registered of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult

from fleetprompt.client.wording import count
from fleetprompt.client.workflow_files import text_of
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.screens.base import ConsoleScreen
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.run_text import SourceLines
from fleetprompt.tui.state.source import SourceText
from fleetprompt.tui.state.workflows import Entry
from fleetprompt.tui.widgets.bars import Pill, spread
from fleetprompt.tui.widgets.text_view import TextView

if TYPE_CHECKING:
    from fleetprompt.client.protocol import Console


class SourceScreen(ConsoleScreen):
    """One file; the line of its first error is marked, and the cursor stands on it."""

    PLACES: ClassVar = ()
    NAME: ClassVar = "source"

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.workflow = entry
        self._lines = 0

    def body(self) -> ComposeResult:
        yield Pill(self._about)
        view = TextView()
        view.empty = (("loading…", "dim"),)
        yield view

    def crumb(self) -> str:
        """The workflow in the trail."""
        return f"{inert(self.workflow.name)} source"

    def _about(self, width: int) -> Sequence[Part]:
        entry = self.workflow
        from_file = entry.state is not None and not entry.state.missing
        what = inert(entry.file) if from_file else "as it was registered"
        said: list[Part] = [(inert(entry.name), "strong"), (f"  {what}", "link")]
        if entry.state is not None and entry.state.errors:
            said.append((f"  {count(entry.state.errors, 'error')}", "error"))
        return spread(said, [(count(self._lines, "line"), "dim")] if self._lines else [], width)

    async def opened(self, console: Console) -> None:
        """Read it."""
        self.query_one(TextView).focus()
        await self.reload()

    async def reload(self) -> None:
        """Read it again."""
        view = self.query_one(TextView)
        try:
            source = SourceText(await self._text(), {})
        except FleetError as error:
            view.empty = ((inert(error.message), "error"),)
            view.renew()
            return
        lines = SourceLines(source)
        self._lines = lines.count
        problems = self.workflow.state.problems if self.workflow.state is not None else ()
        wrong = next((problem.line - 1 for problem in problems if problem.severity == "error" and problem.line), None)
        if wrong is not None:
            lines.marked = (wrong, wrong + 1)
        view.empty = (("it is empty", "dim"),)
        view.show(lines, at=wrong or 0)
        self.query_one(Pill).refresh()

    async def _text(self) -> str:
        entry = self.workflow
        if entry.state is not None and not entry.state.missing:
            return await asyncio.to_thread(text_of, entry.state.path)
        return await self.client.source(entry.workflow.plan) if entry.workflow is not None else ""
