"""What the tools for files share: their settings, text as models read it, and the shape of a digest."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.outside.wording import size
from fleetprompt.engine.ports.tool import ToolRoom
from fleetprompt.engine.tools._settings import Misfit, Section, Unfit, read_section
from fleetprompt.engine.tools._workspace import Parts, Workspace, named

READ_BYTES = 256 * 1024
"""Bytes of text that one call gives."""
FILE_BYTES = 16 * 1024 * 1024
"""Largest file that is read to its end, searched or changed."""
_BINARY_LOOK = 8192

PathText: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]
Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _name(pattern: str) -> str:
    if "/" in pattern or not pattern:
        # As a path it would keep nothing private.
        raise Unfit("this is the name of a file or folder at any depth, and no path", "write its name alone")
    return pattern


class FsSettings(Section):
    """`[tools.fs]`."""

    private: list[Annotated[str, AfterValidator(_name)]] = Field([])
    """Names of files and folders that no tool touches, besides the built-in ones: `["*.sqlite", "customers"]`."""
    free: list[str] = Field(["out"])
    """Folders in which files may be written without asking."""

    def doubts(self) -> Iterator[Misfit]:
        """Folders that no path can be in."""
        for i, folder in enumerate(self.free):
            parts = [part for part in folder.split("/") if part not in ("", ".")]
            if folder.startswith("/") or ".." in parts or not parts:
                message = f"nobody can write in `{inert(folder)}` without asking: it is no folder of the workspace"
                yield Misfit(("free", i), message, 'write it from the workspace on, such as "out"')


def fs_settings(room: ToolRoom) -> FsSettings:
    """The settings of these tools. Raises `InvalidInput`."""
    return read_section(("tools", "fs"), FsSettings, room.settings)


def workspace(room: ToolRoom) -> Workspace:
    """The workspace of a call."""
    return Workspace(room.root, fs_settings(room).private)


def is_free(parts: Parts, free: list[str]) -> bool:
    """Whether a path is inside of a folder in which nobody has to be asked."""
    for folder in free:
        inside = tuple(part for part in folder.split("/") if part not in ("", "."))
        if inside and parts[: len(inside)] == inside and len(parts) > len(inside):
            return True
    return False


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return sha256(content).hexdigest()


def text_of(content: bytes, parts: Parts) -> str:
    """Content as text. Raises `InvalidInput` for what is none."""
    where = named("/".join(parts))
    if b"\0" in content[:_BINARY_LOOK]:
        raise InvalidInput(f"{where} is binary ({size(len(content))})", hint="tools read and change text only")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where} is not UTF-8 text, from byte {error.start} on") from None
