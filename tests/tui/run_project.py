"""A project in a folder with an engine that works in it, for tests of what the console reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import Place, open_console
from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.core.signal import Signal

ME = "ana"
PARENT = """
name: parent
steps:
  - {id: first, type: transform, output: {a: 1}}
  - {id: below, type: workflow, workflow: child}
  - {id: last, type: transform, output: "${{ steps.below.output }}"}
"""
CHILD = """
name: child
steps:
  - {id: deeper, type: workflow, workflow: grandchild}
"""
GRANDCHILD = """
name: grandchild
steps:
  - {id: w, type: wait, signal: go}
  - {id: said, type: transform, output: "said"}
"""
FILES = {"parent": PARENT, "child": CHILD, "grandchild": GRANDCHILD}


class Project:
    """A folder with workflows, and a console with the engine in it."""

    def __init__(self, place: Place, console: EmbeddedConsole) -> None:
        self.place = place
        self.root = place.root
        self.console = console

    @classmethod
    async def open(cls, root: Path, **files: str) -> Project:
        for name, text in (FILES | files).items():
            (root / f"{name}.yaml").write_text(text)
        state = root / ".fleet"
        place = Place(root=root, state=state, database=str(state / "fleet.db"))
        console = await open_console(place, "engine")
        assert isinstance(console, EmbeddedConsole)
        return cls(place, console)

    async def start(self, name: str, **options: Any) -> str:
        """Start a workflow; its id."""
        file = self.root / f"{name}.yaml"
        return await self.console.start(StartRun(files=load_files(file, self.root), by=ME, **options))

    async def say(self, type_: str) -> None:
        """Publish a signal that runs wait for."""
        await self.console.publish(Signal(id=f"signal-{type_}", type=type_, source="test", at=0.0))

    async def wait(self, run: str) -> None:
        """Until a run is over, or waits."""
        await self.console.engine.wait(run)
