"""An exception of the user's code, told without the engine's own frames."""

from __future__ import annotations

from pathlib import Path
from traceback import StackSummary, TracebackException

TRACE_CHARS = 4096
MESSAGE_CHARS = 1000
_OURS = (str(Path(__file__).parent.parent), "<frozen importlib")


def describe(error: BaseException) -> str:
    """`ValueError: what it says`, whatever the exception's own `__str__` does."""
    try:
        text = str(error)
    except Exception as other:
        text = f"(its text cannot be read: {type(other).__name__})"
    name = type(error).__name__
    text = f"{name}: {text}" if text else name
    return text if len(text) <= MESSAGE_CHARS else f"{text[: MESSAGE_CHARS - 2]} …"


def tail_of(error: BaseException) -> str:
    """The end of the traceback: frames of the user's code, and the exceptions it came from."""
    try:
        story = TracebackException.from_exception(error, limit=-50)
        _strip(story, set())
        text = "".join(story.format())
    except Exception:
        # Texts and sources of a user's exceptions are the user's code too, and may fail in any way.
        return describe(error)
    return text if len(text) <= TRACE_CHARS else f"…{text[1 - TRACE_CHARS :]}"


def _strip(story: TracebackException, seen: set[int]) -> None:
    if id(story) in seen:
        return
    seen.add(id(story))
    story.stack = StackSummary.from_list([frame for frame in story.stack if not frame.filename.startswith(_OURS)])
    for other in (story.__cause__, story.__context__, *(story.exceptions or ())):
        if other is not None:
            _strip(other, seen)
