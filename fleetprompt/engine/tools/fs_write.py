"""Changing files of the workspace: `fs.write`, `fs.edit`, `fs.delete`, and `fs.restore`, which undoes one of them.

What is decided about is a difference, and bound to the file that it is a difference to.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Struct
from pydantic import Field

from fleetprompt.engine.core.errors import Failure, InvalidInput, NotFound
from fleetprompt.engine.outside.wording import size
from fleetprompt.engine.ports.tool import ActionType, Preview, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome
from fleetprompt.engine.tools._diff import unified
from fleetprompt.engine.tools._fs import FILE_BYTES, Digest, PathText, digest, fs_settings, is_free, text_of, workspace
from fleetprompt.engine.tools._workspace import Parts, Workspace, named
from fleetprompt.engine.tools.declare import ToolModel, tool

WRITE_CHARS = 1024 * 1024


class Change(Struct):
    """A file before and after; None: there is no file."""

    parts: Parts
    before: bytes | None
    after: bytes | None

    @property
    def bound(self) -> dict[str, str | None]:
        """What a decision about this change is bound to."""
        return {
            "before": None if self.before is None else digest(self.before),
            "after": None if self.after is None else digest(self.after),
        }


class Changing(ToolModel):
    """A tool that changes one file."""

    action: ClassVar[ActionType] = "file_write"
    verb: ClassVar[str] = "change"
    judged_by: ClassVar[tuple[str, ...] | None] = ("path",)

    path: PathText

    def change(self, place: Workspace, parts: Parts, kept: bytes | None) -> Change:
        """What becomes of the file. Raises `InvalidInput`, `NotFound`."""
        raise NotImplementedError

    async def preview(self, room: ToolRoom) -> Preview:
        """The difference."""
        change = await self._change(room)
        plain = "/".join(change.parts)
        free = is_free(change.parts, fs_settings(room).free)
        return Preview(
            summary=f"{self.verb} {named(plain)[1:-1]} ({_amount(change)})",
            kind="diff",
            show=_difference(plain, change),
            risk="" if free else "changes a file",
            bound=change.bound,
            subject={"path": plain},
            verdict="allow" if free and self.verb != "delete" else None,
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Change the file, if it is still the one that was looked at."""
        change = await self._change(room)
        if room.bound is not None and room.bound != change.bound:
            if await self._is_done(room, change):
                return Done(self._result(change, room.bound.get("before")))
            raise InvalidInput(
                f"{named('/'.join(change.parts))} has changed since the call was decided", hint="look at it again"
            )
        if change.before is not None:
            await room.keep(change.before)
        await room.in_thread(self._apply, workspace(room), change)
        return Done(self._result(change, change.bound["before"]))

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """By the digests that the call was bound to."""
        bound: dict[str, str | None] | None = room.bound
        if bound is None:
            return None
        now = (await self._now(room)).bound["before"]
        if now == bound["after"]:
            return Done({"path": self.path, "sha256": now, "before": bound["before"]})
        if now == bound["before"]:
            return Failed(Failure("TOOL_ERROR", f"{named(self.path)} was not changed"))
        return None

    async def _change(self, room: ToolRoom) -> Change:
        place = workspace(room)
        return await room.in_thread(self.change, place, place.parts(self.path, writing=True), None)

    async def _now(self, room: ToolRoom) -> Change:
        place = workspace(room)
        parts = place.parts(self.path, writing=True)
        return Change(parts, await room.in_thread(place.content, parts, FILE_BYTES), None)

    async def _is_done(self, room: ToolRoom, change: Change) -> bool:
        """Whether what was decided has happened already: an earlier attempt at this very call was interrupted."""
        return self.repeat == "safe" and change.bound["before"] == room.bound.get("after")

    @staticmethod
    def _apply(place: Workspace, change: Change) -> None:
        before = change.bound["before"]
        if change.after is not None:
            place.replace(change.parts, change.after, before)
        elif before is not None:
            place.remove(change.parts, before)

    @staticmethod
    def _result(change: Change, before: str | None) -> dict[str, Any]:
        old = change.before
        return {
            "path": "/".join(change.parts),
            "size": None if change.after is None else len(change.after),
            "sha256": change.bound["after"],
            "before": None if before is None else {"sha256": before, "size": len(old or b"")},
        }


@tool("fs.write")
class FsWrite(Changing):
    """Write a text file of the workspace, whole: what it held before is replaced. Folders are made as needed. To change
    a part of a file, use fs.edit."""

    path: PathText
    """Path relative to the workspace, such as `out/report.md`."""
    content: Annotated[str, Field(max_length=WRITE_CHARS)]
    """All that the file shall hold."""
    expected: Digest | None = None
    """SHA-256 that the file has to have now, as fs.read gave it; the call fails if it is another."""
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verb: ClassVar[str] = "write"

    def change(self, place: Workspace, parts: Parts, kept: bytes | None) -> Change:
        """The content replaces what is there."""
        before = place.content(parts, FILE_BYTES)
        now = None if before is None else digest(before)
        if self.expected is not None and now != self.expected:
            raise InvalidInput(f"{named(self.path)} is not what was expected: it has {now}", hint="read it again")
        return Change(parts, before, self.content.encode())


@tool("fs.edit")
class FsEdit(Changing):
    """Replace a piece of text in a file of the workspace. `old` has to occur exactly once, with its white space: take
    enough lines around it."""

    path: PathText
    """Path relative to the workspace."""
    old: Annotated[str, Field(min_length=1, max_length=WRITE_CHARS)]
    """The text to replace, exactly as it stands in the file."""
    new: Annotated[str, Field(max_length=WRITE_CHARS)]
    """What to put in its place."""
    verb: ClassVar[str] = "edit"

    def change(self, place: Workspace, parts: Parts, kept: bytes | None) -> Change:
        """The one place where the text occurs is replaced."""
        before = _existing(place, parts)
        text = text_of(before, parts)
        count = text.count(self.old)
        if count != 1:
            raise InvalidInput(*_not_once(text, self.old, count, parts))
        if self.old == self.new:
            raise InvalidInput("`old` and `new` are the same: nothing would change")
        return Change(parts, before, text.replace(self.old, self.new).encode())


@tool("fs.delete")
class FsDelete(Changing):
    """Delete a file of the workspace. Folders cannot be deleted."""

    path: PathText
    """Path relative to the workspace."""
    verb: ClassVar[str] = "delete"

    def change(self, place: Workspace, parts: Parts, kept: bytes | None) -> Change:
        """There is no file afterwards."""
        return Change(parts, _existing(place, parts), None)


@tool("fs.restore")
class FsRestore(Changing):
    """Bring a file back to what it was before fs.write, fs.edit or fs.delete changed it: `sha256` is the one in the
    `before` of that call's result, null if there was no file."""

    path: PathText
    """Path relative to the workspace."""
    sha256: Digest | None
    """SHA-256 of what shall be there; null: nothing."""
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verb: ClassVar[str] = "restore"

    async def _change(self, room: ToolRoom) -> Change:
        kept = None if self.sha256 is None else await room.kept(self.sha256)
        place = workspace(room)
        return await room.in_thread(self.change, place, place.parts(self.path, writing=True), kept)

    def change(self, place: Workspace, parts: Parts, kept: bytes | None) -> Change:
        """What was kept replaces what is there."""
        return Change(parts, place.content(parts, FILE_BYTES), kept)


def _existing(place: Workspace, parts: Parts) -> bytes:
    content = place.content(parts, FILE_BYTES)
    if content is None:
        raise NotFound(f"there is no file {named('/'.join(parts))}", hint="fs.list shows what there is")
    return content


def _not_once(text: str, old: str, count: int, parts: Parts) -> tuple[str, ...]:
    where = named("/".join(parts))
    if count:
        places: list[str] = []
        at = -1
        while (at := text.find(old, at + 1)) >= 0 and len(places) < 10:
            places.append(str(text.count("\n", 0, at) + 1))
        return (f"`old` occurs {count} times in {where}, from lines {', '.join(places)}: give more of the text around",)
    if old.strip() and old.strip() in text:
        line = text.count("\n", 0, text.index(old.strip())) + 1
        return (f"`old` does not occur in {where}; with other white space it does, from line {line}",)
    return (f"`old` does not occur in {where}: read the file again and take its text exactly",)


def _amount(change: Change) -> str:
    if change.after is None:
        return "nothing to delete" if change.before is None else f"{size(len(change.before))} are deleted"
    return f"{size(len(change.after))}" + (", a new file" if change.before is None else "")


def _difference(path: str, change: Change) -> str:
    try:
        before = None if change.before is None else change.before.decode()
        after = None if change.after is None else change.after.decode()
    except UnicodeDecodeError:
        old = "nothing" if change.before is None else size(len(change.before))
        new = "nothing" if change.after is None else size(len(change.after))
        return f"{named(path)}: {old} of binary content becomes {new}"
    return unified(path, before, after)
