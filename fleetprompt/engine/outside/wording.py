"""Words of outcomes: failures, sizes and durations as people read them."""

from __future__ import annotations

from typing import Any

from fleetprompt.engine.core.errors import Code, Failure
from fleetprompt.engine.ports import Failed


def failed(
    message: str,
    *,
    code: Code = "TOOL_ERROR",
    hint: str = "",
    retryable: bool = True,
    data: Any = None,
    retry_after: float | None = None,
) -> Failed:
    """A definite failure as an outcome."""
    return Failed(Failure(code, message, hint=hint, retryable=retryable, data=data), retry_after)


def size(count: int) -> str:
    """A number of bytes for people: `1.2 kB`."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def took(seconds: float) -> str:
    """A duration for people: `12 ms`, `3.4 s`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
