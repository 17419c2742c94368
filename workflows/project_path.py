"""Where the paths of a workflow's inputs lead: they start in the project's folder, as those of tools do."""

from __future__ import annotations

from pathlib import Path

from fleetprompt.engine.steps.python import StepContext


def in_project(path: str, context: StepContext | None) -> Path:
    """The path for a function that a step calls; called by hand, it starts where the process does."""
    return Path(path) if context is None else context.directory / path
