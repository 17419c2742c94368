"""Workflow files by the path that is kept of them: from the project's folder where they lie in it.

So a project that was moved, copied or is mounted elsewhere finds the code of its old runs. Paths of other files, and
those that older engines kept, are absolute.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


def kept(file: Path | str, project: Path | str) -> str:
    """The path to keep of a file; empty for no file."""
    path = Path(file)
    if not str(file) or not path.is_absolute():
        return str(file)
    try:
        return str(path.relative_to(Path(project).resolve()))
    except ValueError:
        return str(file)


@lru_cache(256)
def code_folder(file: str, project: str) -> str:
    """The folder of a file that was kept so, where the code of its steps is looked for; empty for no file."""
    return str((Path(project) / file).parent) if file else ""
