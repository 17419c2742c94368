"""What a model is just saying, as it comes: the end of it, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

from fleetprompt.client.wording import sign
from fleetprompt.tui.state.agent_rows import doings
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.speech import lines, told

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

ROWS = 8
FRAME = 4
"""Cells beside the words."""


class SpeechBox(Static):
    """The words of the step at the cursor, while they come."""

    DEFAULT_CSS = f"""
    SpeechBox {{
        height: {ROWS + 2}; border: round $primary; padding: 0 1; display: none; border-title-color: $primary;
    }}
    SpeechBox.-speaks {{ display: block; }}
    """
    app: FleetConsole

    def __init__(self) -> None:
        super().__init__()
        self._shown = ("", -1, 0, "")

    def show(self, view: RunView | None) -> None:
        """Show what is said in the row of the cursor; while an agent is at work there and says nothing, what it does:
        what stands below would jump up and down otherwise."""
        node = view.tree.current if view is not None else None
        track = node.track if node is not None else None
        step = view.current_step if view is not None and view.current_fold is view.fold else None
        if view is None or step is None or track is None or step.settled:
            self._hide()
            return
        wanted = node.entry.key if node is not None and node.entry is not None else ""
        found = view.speech.of(step.path, wanted)
        doing = doings(track) if found is None and not wanted and step.status == "running" and view.may_speak else ()
        if found is None and not doing:
            self._hide()
            return
        self.add_class("-speaks")
        around = self.parent.content_size.width if isinstance(self.parent, Widget) else 0
        key, version, width = found[0] if found is not None else "", view.speech.version, max(8, around - FRAME)
        shown = (key, version, width, "".join(part for line in doing for part, _ in line))
        if self._shown == shown:
            return
        self._shown = shown
        self.border_title = f"{sign('●')} {told(key) if key else 'at work'}"
        style = self.app.palette.style
        rows: list[Text] = []
        for parts in (lines(found[1]) if found is not None else doing)[-ROWS:]:
            line = Text.assemble(*((text, style(name)) for text, name in parts))
            rows += line.wrap(self.app.console, width, overflow="fold")
        self.update(Text("\n").join(rows[-ROWS:]), layout=False)

    def _hide(self) -> None:
        self.remove_class("-speaks")
        self._shown = ("", -1, 0, "")
