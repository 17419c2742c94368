"""What may be left of a SQLite file whose parts were cut off or deleted. SQLite itself would silently start anew, and
go on writing to an open file whose path leads elsewhere by now: to what is gone once it is closed.

A store is the file and, while it is in use or after a crash, a log (`-wal`) that holds what was committed last and an
index of that log (`-shm`). SQLite writes the first page of a new file before there is a log, makes the log before its
index, and deletes the index before the log.
"""

from __future__ import annotations

import os
from pathlib import Path

from fleetprompt.engine.core.errors import StoreLost, StoreUnavailable

BACK = "put the store or a backup back, then open it anew; nothing that is done meanwhile is kept"


def require_whole(path: Path) -> None:
    """Raise `StoreUnavailable` where a part of a store is gone while another is there. Must come before SQLite."""
    log, index = _beside(path, "-wal"), _beside(path, "-shm")
    size = _size(path)
    if not size and (_size(log) or _size(index)):
        what = "empty" if size == 0 else "gone"
        raise StoreUnavailable(
            f"the store is {what}, but what belongs to it is still there: it was {'cut off' if size == 0 else 'moved'}",
            where=str(path),
            hint=f"put the file or a backup back; to start anew, move {path.name}* away",
        )
    if size and _log_is_lost(log, index):
        raise StoreUnavailable(
            f"the store was not closed, and its log {log.name} is gone: what was committed last is lost",
            where=str(path),
            hint=f"put the log back, or a backup; to go on without, delete {index.name}, then run `fleet db check`",
        )


def _log_is_lost(log: Path, index: Path) -> bool:
    """Whether there is an index without a log. Others may open and close the store at this very moment."""
    try:
        before = index.stat().st_ino
        return not log.exists() and index.stat().st_ino == before
    except OSError:
        return False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


class OpenFiles:
    """The file and the log of a store that is open, as their paths led to them first."""

    def __init__(self, path: Path, since: OpenFiles | None = None) -> None:
        """`since`: as the file was known before the connection was made. A log can be another one by then: who closes
        a store last deletes it."""
        self._path = path
        self._log = _beside(path, "-wal")
        self._identities: dict[Path, tuple[int, int]] = {}
        if since is not None:
            self._identities |= {known: which for known, which in since._identities.items() if known == path}

    def require(self) -> None:
        """Raise `StoreLost` where they are others by now, gone or empty. Only once SQLite has opened both."""
        self.require_file()
        self._require_same(self._log, self._called_log)

    def require_there(self) -> None:
        """The same before a commit, but for a log that was replaced: to ask Linux (6.13 and later) when a file was
        written makes the next write record its time anew, which costs each commit a tenth more."""
        self.require_file()
        if not os.access(self._log, os.F_OK):
            raise self._gone(self._called_log)

    def require_file(self) -> None:
        """The same of the file alone, before SQLite has opened it: it would make do with whatever is there."""
        if not self._require_same(self._path, "the store").st_size:
            raise self._lost("the store", "is empty: it was cut off while it was open")

    def _require_same(self, path: Path, called: str) -> os.stat_result:
        try:
            found = path.stat()
        except FileNotFoundError:
            raise self._gone(called) from None
        except OSError as error:
            raise StoreUnavailable(f"{called} cannot be looked at: {error.strerror}", where=str(path)) from error
        identity = found.st_dev, found.st_ino
        if self._identities.setdefault(path, identity) != identity:
            raise self._lost(called, "was replaced while it was open")
        return found

    @property
    def _called_log(self) -> str:
        return f"its log {self._log.name}"

    def _gone(self, called: str) -> StoreLost:
        return self._lost(called, "is gone: it was moved or deleted while it was open")

    def _lost(self, called: str, what: str) -> StoreLost:
        return StoreLost(f"{called} {what}", where=str(self._path), hint=BACK)
