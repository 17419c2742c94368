"""Changes of files, as the kernel tells of them. The only module that imports watchfiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

AGAIN_MS = 1_000
"""How long nothing is told after the kernel has told of a file whose name cannot be read."""


async def changes(
    folders: Sequence[Path], counts: Callable[[str], bool], *, debounce: int, step: int, look: int = 0
) -> AsyncGenerator[None]:
    """Whenever something has changed in folders, or below them, whose path counts. In milliseconds: `debounce` is how
    long what follows one another is one change, `step` how long nothing has to follow.

    Not every file system tells, and some changes are missed: who needs all has to look besides, at least every so many
    milliseconds as `look` says, and folders may come later then. Raises `OSError` and `RuntimeError` where the kernel
    cannot tell at all.
    """
    from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

    while (there := [folder for folder in folders if folder.is_dir()]) or look:
        if there:
            told = awatch(
                *there,
                watch_filter=lambda _, path: counts(path),
                debounce=debounce,
                step=step,
                rust_timeout=look or None,
                yield_on_timeout=look > 0,
                ignore_permission_denied=True,
            )
            try:
                async with aclosing(told):
                    async for _ in told:
                        yield
                        if look and there != [folder for folder in folders if folder.is_dir()]:
                            break
            except ExceptionGroup as group:
                # A name that is no UTF-8 ends it, whoever has given it to a file: it is begun anew.
                if group.split((OSError, RuntimeError))[1] is not None:
                    raise
        await asyncio.sleep((look or AGAIN_MS) / 1000)
        yield
