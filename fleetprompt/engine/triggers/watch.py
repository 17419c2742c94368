"""The files that patterns mean: found below a project's folder, and nowhere else.

`*`, `?` and `[…]` stand for a part of one name, `**` for any number of folders. Names that begin with a full stop are
meant only by patterns that do so, too. Folders that are links are not entered, and files that are links count only
where they lead to one below the project's folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.watching import Stamp

MOST_FILES = 100_000
"""Files that one watch may mean."""
DEEPEST = 64
"""Folders in one another that are entered."""
NEVER = frozenset({".git", ".fleet", "__pycache__", "node_modules", ".venv"})
"""Folders that `**` does not enter: they change all the time, and nobody means them."""
_MAGIC = re.compile(r"[*?\[]")


class Place:
    """Where the files of one pattern are: a folder below the project's, and what stands below it."""

    def __init__(self, folder: Path, parts: tuple[str, ...]) -> None:
        self.folder = folder
        self.parts = parts


def places(patterns: Sequence[str], base: Path, root: Path) -> list[Place]:
    """Where to look for files that fit patterns, which count from the folder `base`.

    Raises `InvalidInput` for one that leads out of the project's folder `root`.
    """
    found: list[Place] = []
    for pattern in patterns:
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        # Any number of folders, twice, is any number of folders.
        parts = [part for at, part in enumerate(parts) if part != "**" or parts[at - 1 : at] != ["**"]]
        if not parts or parts[-1] == "..":
            raise InvalidInput(f"`{pattern[:200]}` names no file", hint="such as inbox/*.csv")
        fixed = 0
        while fixed < len(parts) - 1 and not _MAGIC.search(parts[fixed]):
            fixed += 1
        folder = Path(os.path.normpath(base.joinpath(*parts[:fixed])))
        if pattern.startswith("/") or ".." in parts[fixed:] or not _is_below(folder, root):
            hint = "paths count from the workflow's file, and lead to files below the project's folder"
            raise InvalidInput(f"`{pattern[:200]}` leads out of the project's folder", hint=hint)
        found.append(Place(folder, tuple(parts[fixed:])))
    return found


def _is_below(folder: Path, root: Path) -> bool:
    """Also where links on the way lead."""
    return folder.is_relative_to(root) and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root))


def scan(found: Sequence[Place], root: Path) -> tuple[dict[str, Stamp], list[str]]:
    """The files that are there now, by their paths from `root`; and paths of those whose names are no UTF-8, so that
    nobody can be told of them, in a form that can be shown. Raises `InvalidInput` for too many."""
    files: dict[str, Stamp] = {}
    nameless: list[str] = []
    real = os.path.realpath(root)
    for place in found:
        # A folder on the way may have become a link since.
        if not _is_below(place.folder, root):
            continue
        for path in _walk(str(place.folder), place.parts):
            stamp = _stamp(path, real)
            if stamp is None:
                continue
            name = os.path.relpath(path, root)
            try:
                name.encode()
            except UnicodeEncodeError:
                nameless.append(os.fsencode(name).decode("utf-8", "backslashreplace"))
                continue
            files[name] = stamp
            if len(files) > MOST_FILES:
                raise InvalidInput(f"more than {MOST_FILES:,} files fit", hint="name fewer files")
    return files, nameless


def _walk(folder: str, parts: tuple[str, ...], depth: int = 0) -> Iterator[str]:
    if depth > DEEPEST:
        return
    head, rest = parts[0], parts[1:]
    if not rest and not _MAGIC.search(head):
        yield f"{folder}/{head}"
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        # It is not there (yet), or not for us: its files are not.
        return
    if head == "**":
        if rest:
            yield from _walk(folder, rest, depth + 1)
        for entry in entries:
            if _is_folder(entry):
                if entry.name not in NEVER and not entry.name.startswith("."):
                    yield from _walk(entry.path, parts, depth + 1)
            elif not rest and not entry.name.startswith("."):
                yield entry.path
        return
    fits = _matcher(head)
    for entry in entries:
        if fits.match(entry.name) is None or (entry.name.startswith(".") and not head.startswith(".")):
            continue
        if not rest:
            if not _is_folder(entry):
                yield entry.path
        elif _is_folder(entry):
            yield from _walk(entry.path, rest, depth + 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


@lru_cache(maxsize=1024)
def _matcher(part: str) -> re.Pattern[str]:
    return re.compile(translate(part), re.DOTALL)


def _stamp(path: str, root: str) -> Stamp | None:
    """How a file is; None for what is no file, is gone, or is a link that leads out of the root."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            if not Path(os.path.realpath(path)).is_relative_to(root):
                return None
            found = Path(path).stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Stamp(found.st_mtime_ns, found.st_size, max(found.st_mtime, found.st_ctime))
