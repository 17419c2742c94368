"""What was seen of MCP servers when an operator accepted them: `.fleet/mcp.lock`.

A server says itself what its tools do, and may say something else tomorrow. The first use records all of it; whatever
differs later is refused until somebody has looked at the difference and accepted it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert

FILE = "mcp.lock"
VERSION = 1


class SeenTool(Struct, frozen=True, kw_only=True):
    """A tool as its server told of it."""

    description: str
    digest: str
    """SHA-256 of everything that was told: name, title, description, schemas, annotations."""
    schema: dict[str, Any] | None = None
    """JSON Schema of its arguments, for files that name it; None: the record is of a time when it was not kept."""


class SeenServer(Struct, frozen=True, kw_only=True):
    """A server with its whole list of tools."""

    start: str
    """Its command line as JSON, or its address."""
    tools: dict[str, SeenTool]


class _Lock(Struct, kw_only=True):
    version: int = VERSION
    servers: dict[str, SeenServer] = {}


def seen_tool(told: Mapping[str, Any]) -> SeenTool:
    """A tool, from what its server told."""
    text = msgspec.json.encode(told, order="sorted")
    schema = told.get("input_schema", told.get("inputSchema"))
    return SeenTool(
        description=str(told.get("description") or ""),
        digest=sha256(text).hexdigest(),
        schema=cast("dict[str, Any]", schema) if isinstance(schema, dict) else None,
    )


def differences(accepted: SeenServer, now: SeenServer) -> list[str]:
    """What is different from what was accepted, a sentence each; empty: nothing is."""
    found: list[str] = []
    if accepted.start != now.start:
        found.append(f"it is started by {inert(now.start)}, no longer by {inert(accepted.start)}")
    for name in sorted(accepted.tools.keys() | now.tools.keys()):
        before, after = accepted.tools.get(name), now.tools.get(name)
        if after is None:
            found.append(f"the tool `{inert(name)}` is gone")
        elif before is None:
            found.append(f"the tool `{inert(name)}` is new: {_short(after.description)}")
        elif before.description != after.description:
            found.append(f"the tool `{inert(name)}` is described as {_short(after.description)}")
        elif before.digest != after.digest:
            found.append(f"the arguments or other facts of the tool `{inert(name)}` have changed")
    return found


def _short(text: str) -> str:
    plain = inert(" ".join(text.split()))
    return f'"{plain[:200]}{"…" if len(plain) > 200 else ""}"'


class Pins:
    """The file, read and written whole."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the project's `.fleet`."""
        self.path = folder / FILE

    def read(self) -> dict[str, SeenServer]:
        """The servers that were accepted. Raises `InvalidInput` for a file that cannot be read."""
        try:
            lock = msgspec.json.decode(self.path.read_bytes(), type=_Lock)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(
                f"{self.path} cannot be read: {error}", hint="restore it from a backup, or remove it"
            ) from None
        if lock.version != VERSION:
            raise InvalidInput(f"{self.path} is of a newer version ({lock.version})", hint="use the newer fleet")
        return lock.servers

    def check(self, name: str, now: SeenServer) -> list[str]:
        """What is different from what was accepted. A server that nobody has seen before is recorded as it is."""
        accepted = self.read().get(name)
        if accepted is None:
            self.accept(name, now)
            return []
        found = differences(accepted, now)
        if not found and accepted != now:
            # The same by its digests, of a time when schemas were not kept.
            self.accept(name, now)
        return found

    def accept(self, name: str, now: SeenServer) -> None:
        """From here on, the server is expected to be like this."""
        self._write({**self.read(), name: now})

    def forget(self, names: Sequence[str]) -> None:
        """The next use of these servers records them anew."""
        self._write({name: server for name, server in self.read().items() if name not in names})

    def _write(self, servers: dict[str, SeenServer]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(_Lock(servers=servers), order="sorted"), indent=2)
        with NamedTemporaryFile(dir=self.path.parent, prefix=f".{FILE}-", delete=False) as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self.path)
