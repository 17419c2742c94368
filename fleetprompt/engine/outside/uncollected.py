"""Spans of time in which no garbage is looked for, in whatever thread."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Final

_once: Final = Lock()
_spans = 0
_collecting = False


@contextmanager
def uncollected() -> Generator[None]:
    """No garbage is looked for until all such spans that overlap have ended."""
    global _spans, _collecting
    with _once:
        if not _spans:
            _collecting = gc.isenabled()
            gc.disable()
        _spans += 1
    try:
        yield
    finally:
        with _once:
            _spans -= 1
            if not _spans and _collecting:
                gc.enable()
