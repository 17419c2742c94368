"""Looking at files of the workspace: `fs.read`, `fs.list`, `fs.stat`, `fs.grep`."""

from __future__ import annotations

import os
import re
import stat
import time
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.query_regex import check as check_pattern
from fleetprompt.engine.ports.tool import ActionType, Preview, Reach, ToolRoom, Verdict
from fleetprompt.engine.ports.world import Done, Outcome
from fleetprompt.engine.tools._fs import FILE_BYTES, READ_BYTES, PathText, digest, text_of, workspace
from fleetprompt.engine.tools._private import private
from fleetprompt.engine.tools._workspace import Parts, Workspace, kind_of, named, read_all
from fleetprompt.engine.tools.declare import ToolModel, tool

MOST_ENTRIES = 500
MOST_MATCHES = 200
LINE_CHARS = 300
GREP_BYTES = 64 * 1024 * 1024
GREP_SECONDS = 10.0
_KINDS = {"a file": "file", "a folder": "folder", "a symbolic link": "link"}


class Look(ToolModel):
    """A tool that only looks."""

    reach: ClassVar[Reach] = "read"
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verdict: ClassVar[Verdict] = "allow"
    untrusted: ClassVar[bool] = True
    parallel: ClassVar[bool] = True
    action: ClassVar[ActionType] = "file_read"
    verb: ClassVar[str] = "read"
    judged_by: ClassVar[tuple[str, ...] | None] = ("path",)

    path: PathText

    async def preview(self, room: ToolRoom) -> Preview:
        """What would be looked at."""
        parts = workspace(room).parts(self.path)
        plain = "/".join(parts)
        return Preview(
            summary=f"{self.verb} {named(plain)[1:-1]}", show=self.model_dump(), subject={"path": plain or "."}
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Look, in a thread."""
        place = workspace(room)
        return Done(await room.in_thread(self._look, place, place.parts(self.path)))

    def _look(self, place: Workspace, parts: Parts) -> dict[str, Any]:
        raise NotImplementedError


@tool("fs.read")
class FsRead(Look):
    """Read a text file of the workspace. At most 256 KiB come at once: where `next` is not null, call again with it as
    `first`. Binary files are refused."""

    path: PathText
    """Path relative to the workspace, such as `src/app.py`."""
    first: Annotated[int, Field(ge=1)] = 1
    """First line to give, counted from 1."""
    lines: Annotated[int, Field(ge=1, le=10_000)] = 2000
    """How many lines to give."""

    def _look(self, place: Workspace, parts: Parts) -> dict[str, Any]:
        content = place.content(parts, FILE_BYTES)
        if content is None:
            raise NotFound(f"there is no file {named('/'.join(parts))}", hint="fs.list shows what there is")
        lines = text_of(content, parts).split("\n")
        if lines[-1] == "":
            lines.pop()
        if self.first > max(len(lines), 1):
            raise InvalidInput(f"{named('/'.join(parts))} has {len(lines)} lines; line {self.first} is behind its end")
        given, cut = _fitting(lines[self.first - 1 : self.first - 1 + self.lines])
        last = self.first + len(given) - 1
        return {
            "path": "/".join(parts),
            "text": "\n".join(given),
            "first": self.first,
            "last": last,
            "next": last + 1 if last < len(lines) else None,
            "lines": len(lines),
            "cut": cut,
            "size": len(content),
            "sha256": digest(content),
        }


def _fitting(lines: list[str]) -> tuple[list[str], bool]:
    """As many lines as fit, at least a part of the first one; whether a line was cut."""
    left = READ_BYTES
    given: list[str] = []
    for line in lines:
        size = len(line.encode()) + 1
        if size > left:
            if not given:
                return [line.encode()[:left].decode("utf-8", "ignore")], True
            break
        given.append(line)
        left -= size
    return given, False


@tool("fs.stat")
class FsStat(Look):
    """Whether a path of the workspace exists, and what is there: file, folder or link, its size, when it changed, and
    the SHA-256 of a file."""

    path: PathText
    """Path relative to the workspace."""
    verb: ClassVar[str] = "stat"

    def _look(self, place: Workspace, parts: Parts) -> dict[str, Any]:
        if not parts:
            with place.folder(()) as fd:
                return {"path": ".", "exists": True, **_facts(os.fstat(fd))}
        try:
            with place.folder(parts[:-1]) as folder:
                found = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except (NotFound, FileNotFoundError):
            return {"path": "/".join(parts), "exists": False}
        result = {"path": "/".join(parts), "exists": True, **_facts(found)}
        if stat.S_ISREG(found.st_mode) and found.st_size <= FILE_BYTES:
            content = place.content(parts, FILE_BYTES)
            if content is not None:
                result["sha256"] = digest(content)
        return result


def _facts(found: os.stat_result) -> dict[str, Any]:
    what = kind_of(found.st_mode)
    return {
        "kind": _KINDS.get(what, "other"),
        "size": found.st_size,
        "modified": datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds"),
        "mode": f"{found.st_mode & 0o7777:04o}",
    }


@tool("fs.list")
class FsList(Look):
    """List a folder of the workspace, folders inside of it as deep as `depth` says. At most 500 entries are given.
    Links are named, never followed. A name that cannot be shown as it is comes with `escaped` and cannot be opened."""

    path: PathText = "."
    """Folder, relative to the workspace."""
    depth: Annotated[int, Field(ge=1, le=20)] = 1
    """1: what is in the folder itself."""
    match: Annotated[str, Field(max_length=200)] = "*"
    """Pattern of names to list, such as `*.py`."""
    kind: Literal["any", "file", "folder"] = "any"
    verb: ClassVar[str] = "list"

    def _look(self, place: Workspace, parts: Parts) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        more = False
        for below, found in walk(place, parts, self.depth):
            kind = _KINDS.get(kind_of(found.st_mode), "other")
            if not fnmatchcase(below[-1], self.match) or self.kind not in ("any", kind):
                continue
            if len(entries) == MOST_ENTRIES:
                more = True
                break
            entries.append(_entry("/".join(below[len(parts) :]), kind, found, private(below, more=place.more_private)))
        return {"path": "/".join(parts) or ".", "entries": entries, "more": more}


def _entry(name: str, kind: str, found: os.stat_result, rule: str) -> dict[str, Any]:
    shown = inert(name)
    entry: dict[str, Any] = {"name": shown, "kind": kind}
    if kind == "file":
        entry["size"] = found.st_size
    if shown != name:
        entry["escaped"] = True
    if rule:
        entry["private"] = True
    return entry


@tool("fs.grep")
class FsGrep(Look):
    """Search text files of the workspace, line by line. The pattern is a regular expression without look-around, back
    references or nested repetition, with at most two of `*` and `+`; `literal` takes it as plain text. At most 200
    matching lines are given, each cut at 300 characters. Binary files and those over 16 MB are skipped and counted."""

    pattern: Annotated[str, Field(min_length=1, max_length=200)]
    """What to look for."""
    path: PathText = "."
    """File or folder to search in, relative to the workspace."""
    files: Annotated[str, Field(max_length=200)] = "*"
    """Pattern of names of files to search, such as `*.log`."""
    literal: bool = False
    ignore_case: bool = False
    context: Annotated[int, Field(ge=0, le=5)] = 0
    """Lines to give before and after each match."""
    verb: ClassVar[str] = "search"

    def _look(self, place: Workspace, parts: Parts) -> dict[str, Any]:
        search = _Search(self)
        with_facts = _is_file(place, parts)
        for file in [parts] if with_facts else _files(place, parts, self.files):
            if not search.file(place, file):
                break
        return search.result(with_facts)


class _Search:
    """A search as it goes on."""

    def __init__(self, wanted: FsGrep) -> None:
        text = wanted.pattern
        if wanted.literal:
            text = re.escape(text)
        else:
            try:
                check_pattern(text)
            except ValueError as error:
                raise InvalidInput(str(error), hint="simplify the pattern, or set `literal`") from None
        self._pattern = re.compile(text, re.IGNORECASE if wanted.ignore_case else 0)
        self._context = wanted.context
        self._until = time.monotonic() + GREP_SECONDS
        self._bytes = 0
        self._matches: list[dict[str, Any]] = []
        self._files = 0
        self._skipped = 0
        self._stopped = ""

    def file(self, place: Workspace, parts: Parts) -> bool:
        """Search a file; whether to go on."""
        content = _searchable(place, parts)
        if content is None:
            self._skipped += 1
            return True
        self._files += 1
        self._bytes += len(content)
        lines = content.decode("utf-8", "replace").split("\n")
        for i, line in enumerate(lines):
            if self._pattern.search(line, 0, 1000):
                if len(self._matches) == MOST_MATCHES:
                    self._stopped = f"more than {MOST_MATCHES} lines match"
                    return False
                self._matches.append(self._match(parts, lines, i))
            if not i % 1000 and time.monotonic() > self._until:
                self._stopped = f"the search took longer than {GREP_SECONDS:g} s"
                return False
        if self._bytes > GREP_BYTES:
            self._stopped = "64 MiB were searched"
        return not self._stopped

    def result(self, alone: bool) -> dict[str, Any]:
        """What was found."""
        result: dict[str, Any] = {
            "matches": self._matches,
            "files_searched": self._files,
            "files_skipped": self._skipped,
            "more": bool(self._stopped),
        }
        if self._stopped:
            result["stopped"] = f"{self._stopped}: narrow the pattern{'' if alone else ', `path` or `files`'}"
        return result

    def _match(self, parts: Parts, lines: list[str], i: int) -> dict[str, Any]:
        match: dict[str, Any] = {"path": inert("/".join(parts)), "line": i + 1, "text": lines[i][:LINE_CHARS]}
        if self._context:
            match["before"] = [line[:LINE_CHARS] for line in lines[max(0, i - self._context) : i]]
            match["after"] = [line[:LINE_CHARS] for line in lines[i + 1 : i + 1 + self._context]]
        return match


def _is_file(place: Workspace, parts: Parts) -> bool:
    if not parts:
        return False
    with place.folder(parts[:-1]) as folder:
        try:
            return stat.S_ISREG(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            raise NotFound(f"there is no {named('/'.join(parts))} in the workspace") from None


def _searchable(place: Workspace, parts: Parts) -> bytes | None:
    """Content of a text file; None: it is too large, binary, private, or gone."""
    try:
        with place.file(parts) as (fd, found):
            content = read_all(fd, FILE_BYTES) if found.st_size <= FILE_BYTES else b"\0"
    except (InvalidInput, NotFound):
        return None
    return None if b"\0" in content[:8192] else content


def _files(place: Workspace, parts: Parts, match: str) -> Any:
    for below, found in walk(place, parts, 64):
        if (
            stat.S_ISREG(found.st_mode)
            and fnmatchcase(below[-1], match)
            and not private(below, more=place.more_private)
        ):
            yield below


def walk(place: Workspace, parts: Parts, depth: int) -> Any:
    """Paths below a folder with what is known of each, in order; private folders are named and not entered."""
    with place.folder(parts) as fd:
        names = sorted(entry.name for entry in os.scandir(fd))
        found: list[tuple[Parts, os.stat_result]] = []
        for name in names:
            try:
                found.append(((*parts, name), os.stat(name, dir_fd=fd, follow_symlinks=False)))
            except FileNotFoundError:
                continue
    for below, known in found:
        yield below, known
        if depth > 1 and stat.S_ISDIR(known.st_mode) and not private(below, more=place.more_private):
            try:
                yield from walk(place, below, depth - 1)
            except (InvalidInput, NotFound):
                continue
