"""Files beneath a folder, and nothing else: every component is opened from the one before it, and no link is followed.

A path is checked by opening it, never beforehand, so that nothing can be swapped between a check and its use.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.outside.wording import size
from fleetprompt.engine.tools._private import private

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
MAX_PATH = 1024
MAX_DEPTH = 64

Parts = tuple[str, ...]


class Workspace:
    """A folder that paths start in and never leave. Every method raises `InvalidInput` for a path that it refuses and
    `NotFound` where nothing is there."""

    def __init__(self, root: Path, more_private: Sequence[str] = ()) -> None:
        self.root = Path(root)
        self.more_private = more_private

    def parts(self, path: str, *, writing: bool = False) -> Parts:
        """The components of a path, which is relative to the root."""
        shown = named(path)
        if len(path) > MAX_PATH or "\0" in path:
            raise InvalidInput(f"this is not a path: {shown[:80]}")
        if path.startswith(("/", "~")):
            raise InvalidInput(f"{shown} is not in the workspace", hint="paths are relative to the workspace: a/b.txt")
        parts: list[str] = []
        for part in path.split("/"):
            if part == "..":
                if not parts:
                    raise InvalidInput(f"{shown} leaves the workspace", hint="paths stay in the workspace: a/b.txt")
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        if len(parts) > MAX_DEPTH:
            raise InvalidInput(f"{shown[:80]}… is nested deeper than {MAX_DEPTH} folders")
        self.refuse_private(parts, writing=writing)
        return tuple(parts)

    def refuse_private(self, parts: Sequence[str], *, writing: bool = False) -> None:
        """Raise `InvalidInput` for what no tool touches."""
        rule = private(parts, writing=writing, more=self.more_private)
        if rule:
            verb = "written" if writing else "read"
            raise InvalidInput(
                f"{named('/'.join(parts))} is never {verb} by tools: `{rule}` is private",
                hint="a person has to do that; the rule cannot be lifted by a policy",
            )

    @contextmanager
    def folder(self, parts: Sequence[str], *, create: bool = False) -> Generator[int]:
        """The descriptor of a folder."""
        fd = self._root()
        try:
            for i, part in enumerate(parts):
                below = self._step(fd, parts[: i + 1], part, create)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def file(self, parts: Parts) -> Generator[tuple[int, os.stat_result]]:
        """The descriptor of a regular file, to be read, and what is known of it."""
        where = named("/".join(parts))
        if not parts:
            raise InvalidInput("this is the workspace itself, not a file")
        with self.folder(parts[:-1]) as folder:
            try:
                fd = os.open(parts[-1], _READ, dir_fd=folder)
            except OSError as error:
                raise _refusal(error, folder, parts) from None
            try:
                found = os.fstat(fd)
                if stat.S_ISDIR(found.st_mode):
                    raise InvalidInput(f"{where} is a folder, not a file", hint="list it with fs.list")
                if not stat.S_ISREG(found.st_mode):
                    raise InvalidInput(f"{where} is {kind_of(found.st_mode)}, not a file")
                yield fd, found
            finally:
                os.close(fd)

    def content(self, parts: Parts, most: int) -> bytes | None:
        """All of a file; None: there is none. Raises `InvalidInput` for one that is larger than `most` bytes."""
        try:
            with self.file(parts) as (fd, found):
                if found.st_size > most:
                    where = named("/".join(parts))
                    raise InvalidInput(f"{where} has {size(found.st_size)}; this tool takes {size(most)} at most")
                return read_all(fd, most)
        except NotFound:
            return None

    def replace(self, parts: Parts, content: bytes, expected: str | None) -> None:
        """Put content there whole or not at all, with the mode that was there; folders are made as needed.

        `expected`: the SHA-256 of what has to be there now, None: nothing. Looked at from the same folder descriptor
        that the new file is renamed in, right before that.
        """
        with self.folder(parts[:-1], create=True) as folder:
            mode = self._mode(folder, parts)
            temporary = f".fleet-{token_hex(8)}.tmp"
            fd = os.open(temporary, _CREATE, 0o666 if mode is None else 0o600, dir_fd=folder)
            try:
                with os.fdopen(fd, "wb") as stream:
                    stream.write(content)
                    stream.flush()
                    if mode is not None:
                        os.fchmod(stream.fileno(), mode)
                    os.fsync(stream.fileno())
                self.same(folder, parts, expected)
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            _settle(folder)

    def append(self, parts: Parts, content: bytes) -> None:
        """Put content at the end of a regular file, which is made if there is none."""
        with self.folder(parts[:-1], create=True) as folder:
            try:
                fd = os.open(parts[-1], _APPEND, 0o666, dir_fd=folder)
            except OSError as error:
                raise _refusal(error, folder, parts) from None
            with os.fdopen(fd, "ab", buffering=0) as stream:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise InvalidInput(f"{named('/'.join(parts))} is not a regular file")
                stream.write(content)

    def remove(self, parts: Parts, expected: str) -> None:
        """Remove a regular file that has that SHA-256."""
        with self.folder(parts[:-1]) as folder:
            self.same(folder, parts, expected)
            os.unlink(parts[-1], dir_fd=folder)
            _settle(folder)

    def same(self, folder: int, parts: Parts, expected: str | None) -> None:
        """Raise `InvalidInput` unless the file in that folder has the SHA-256; None: is not there."""
        try:
            fd = os.open(parts[-1], _READ, dir_fd=folder)
        except FileNotFoundError:
            now = None
        except OSError as error:
            raise _refusal(error, folder, parts) from None
        else:
            with os.fdopen(fd, "rb") as stream:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise InvalidInput(f"{named('/'.join(parts))} is not a regular file any more")
                digest = sha256()
                while piece := stream.read(1 << 20):
                    digest.update(piece)
                now = digest.hexdigest()
        if now != expected:
            where = named("/".join(parts))
            what = "is gone" if now is None else "was made" if expected is None else "has changed"
            raise InvalidInput(
                f"{where} {what} since the call was looked at", hint="look at it again, then decide anew"
            )

    def _root(self) -> int:
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(f"the workspace {self.root} cannot be opened: {os.strerror(error.errno or 0)}") from None

    def _step(self, folder: int, parts: Sequence[str], part: str, create: bool) -> int:
        try:
            return os.open(part, _FOLDER, dir_fd=folder)
        except FileNotFoundError as error:
            if not create:
                raise _refusal(error, folder, parts) from None
        except OSError as error:
            raise _refusal(error, folder, parts) from None
        try:
            os.mkdir(part, 0o777, dir_fd=folder)
        except FileExistsError:
            pass
        except OSError as error:
            raise _refusal(error, folder, parts) from None
        try:
            return os.open(part, _FOLDER, dir_fd=folder)
        except OSError as error:
            raise _refusal(error, folder, parts) from None

    def _mode(self, folder: int, parts: Parts) -> int | None:
        """The mode that a file gets: that of the one before it, never with set-id bits; None: there was none."""
        try:
            before = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(before.st_mode):
            raise InvalidInput(f"{named('/'.join(parts))} is {kind_of(before.st_mode)}, not a file")
        return before.st_mode & 0o777


def _settle(folder: int) -> None:
    """Let a change of the folder outlive a loss of power. It has taken effect already, so this cannot fail it."""
    with suppress(OSError):
        os.fsync(folder)


def read_all(fd: int, most: int) -> bytes:
    """What a descriptor gives, up to so many bytes and one."""
    pieces: list[bytes] = []
    left = most + 1
    while left > 0 and (piece := os.read(fd, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def named(path: str) -> str:
    """A path for messages: in backticks, and inert."""
    return f"`{inert(path) or '.'}`"


def kind_of(mode: int) -> str:
    """What something in a folder is."""
    kinds = (
        (stat.S_ISREG, "a file"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "a device")


def _refusal(error: OSError, folder: int, parts: Sequence[str]) -> InvalidInput | NotFound:
    where = named("/".join(parts))
    if error.errno == errno.ENOENT:
        return NotFound(f"there is no {where} in the workspace", hint="fs.list shows what there is")
    try:
        mode = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        mode = 0
    if error.errno == errno.ELOOP or stat.S_ISLNK(mode):
        return InvalidInput(f"{where} is a symbolic link, which tools do not follow", hint="use the path of its target")
    if error.errno == errno.ENOTDIR:
        return InvalidInput(f"{where} is {kind_of(mode)}, not a folder")
    return InvalidInput(f"{where} cannot be opened: {os.strerror(error.errno or 0).lower()}")
