"""What research-fanout does without a model: look whether quotes stand where they are said to stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from project_path import in_project

from fleetprompt.engine.steps.python import Permanent, StepContext

LEAST = 0.5
"""Share of the questions that have to be answered."""
MOST_BYTES = 1024 * 1024
"""Of a file that is looked into."""


def check_quotes(
    folder: str, questions: list[str], findings: list[Any], context: StepContext | None = None
) -> dict[str, Any]:
    """The findings with those of their quotes that stand in the files of a folder; answers without any are dropped with
    them. Raises `Permanent` where too few questions are left."""
    root = in_project(folder, context).resolve()
    kept: list[dict[str, Any]] = []
    quotes = dropped = 0
    for asked, found in zip(questions, findings, strict=False):
        if not isinstance(found, dict) or "answer" not in found:
            continue
        right = [quote for quote in found.get("quotes", []) if _stands(root, quote, context)]
        quotes += len(found.get("quotes", []))
        dropped += len(found.get("quotes", [])) - len(right)
        if right:
            kept.append({"question": asked, **found, "quotes": right})
    if len(kept) < LEAST * len(questions):
        raise Permanent(f"only {len(kept)} of {len(questions)} questions were answered with quotes that can be checked")
    return {"findings": kept, "quotes": quotes, "dropped": dropped}


def _stands(root: Path, quote: dict[str, Any], context: StepContext | None) -> bool:
    """Also where the lines are broken elsewhere. Files outside of the folder are not looked into."""
    wanted = " ".join(quote["text"].split())
    try:
        path = in_project(quote["path"], context).resolve()
        if not wanted or not path.is_relative_to(root):
            return False
        with path.open("rb") as file:
            return wanted in " ".join(file.read(MOST_BYTES).decode("utf-8", "replace").split())
    except (OSError, ValueError):
        return False
