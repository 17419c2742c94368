"""Workflows that come as a text and not from a file of the project: over HTTP, or from another system."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fleetprompt.client.files import WorkflowFile, discover_steps
from fleetprompt.engine.core.errors import InvalidInput

if TYPE_CHECKING:
    from fleetprompt.engine.definition.names import Names


class Uploading:
    """The part of a console that reads workflows that are sent."""

    _root: Path
    workflow_folders: tuple[Path, ...]
    tenant: str
    names: Callable[[str], Names] | None

    async def read_workflow(self, text: str, named: str = "workflow.yaml") -> WorkflowFile:
        """A workflow's text, checked and compiled: what it names is looked for in the project's folder of workflows,
        and nowhere else. Raises `InvalidWorkflow` with every problem, `InvalidInput` for files elsewhere."""
        folder = self.workflow_folders[0] if self.workflow_folders else self._root
        return await asyncio.to_thread(_read, text, named, folder, self.names(self.tenant) if self.names else None)


def _read(text: str, named: str, folder: Path, names: Names | None) -> WorkflowFile:
    from fleetprompt.engine.definition.load import load_text

    discover_steps()
    loaded = load_text(text, named, folder, names)
    inside = folder.resolve()
    for name in loaded.plan.files:
        if not (folder / name).resolve().is_relative_to(inside):
            raise InvalidInput(
                f"`{name}` lies outside of the folder of workflows",
                where=named,
                hint="a workflow that is sent may name files of that folder only",
            )
    return WorkflowFile(plan=loaded.plan, digest=loaded.digest, text=loaded.source, file="", named=named)
