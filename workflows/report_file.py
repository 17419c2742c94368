"""Where the reports of the workflows end up."""

from __future__ import annotations

from contextlib import suppress

from project_path import in_project

from fleetprompt.engine.steps.python import Permanent, StepContext


def write_report(path: str, text: str, context: StepContext | None = None) -> str:
    """Write a report so that no reader sees half of it; its path. `Permanent` when that is not possible."""
    target = in_project(path, context)
    draft = target.with_name(target.name + ".draft") if target.name else target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            draft.unlink()
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise Permanent(f"the report {path or 'without a name'} cannot be written: {reason}") from None
    return path
