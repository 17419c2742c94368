"""Running a program for a tool: nothing of the engine's environment but its PATH, bounded output, no way to stay."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.outside.output import Stream
from fleetprompt.engine.outside.process import Process, identity
from fleetprompt.engine.ports.tool import ToolRoom
from fleetprompt.engine.tools._workspace import Parts, Workspace

KEPT = 64 * 1024
"""Bytes of each output that are kept: half of them its beginning, half its end."""
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


class Ran(Struct, kw_only=True):
    """What became of a program."""

    code: int
    """Exit code; negative: the signal it died of."""
    stdout: str
    stderr: str
    cut: bool
    """More was written than is kept."""
    late: bool = False
    """It was ended because its time was over."""

    @property
    def signal(self) -> str:
        """Name of the signal it died of; empty: none."""
        if self.code >= 0:
            return ""
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"

    @property
    def last_words(self) -> str:
        """The last line of its errors."""
        lines = (line.strip() for line in reversed(self.stderr.splitlines()))
        return next((line for line in lines if line), "")[:300]


def search_path(wanted: str = "") -> str:
    """Where programs are looked for: absolute folders only, so that none is found in whatever folder we are in."""
    path = wanted or os.environ.get("PATH") or USUAL_PATH
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if folder.startswith("/")) or USUAL_PATH


def find_program(name: str, path: str) -> str:
    """Where a program is. Raises `InvalidInput`."""
    found = shutil.which(name, path=path)
    if found is None:
        spaced = any(character.isspace() for character in name)
        hint = "the first item is the program alone, its arguments are items of their own" if spaced else ""
        raise InvalidInput(f"there is no program `{name[:100]}`", hint=hint or "it is not installed where tools run")
    return found


async def run(
    argv: Sequence[str],
    *,
    place: Workspace,
    folder: Parts,
    env: Mapping[str, str],
    room: ToolRoom,
    timeout: float,
    stdin: bytes = b"",
    kept: int = KEPT,
    log: bool = True,
    changes: bool = True,
) -> Ran:
    """Run a program in a folder of the workspace, with a home of its own that is gone afterwards. `argv[0]` is a path.
    One that `changes` something is noted before it begins, so that it does not outlive an engine that dies.

    Raises `InvalidInput` where it cannot be started. Cancelled, or late, its whole process group is ended.
    """
    home = await room.in_thread(tempfile.mkdtemp, prefix="fleet-home-")
    try:
        whole = {"LANG": "C.UTF-8", "HOME": home, "TMPDIR": home, "FLEET_IDEMPOTENCY_KEY": room.key, **env}
        return await _run(argv, place, folder, whole, room, timeout, stdin, kept, log, changes)
    finally:
        await room.in_thread(shutil.rmtree, home, ignore_errors=True)


async def _run(
    argv: Sequence[str],
    place: Workspace,
    folder: Parts,
    env: Mapping[str, str],
    room: ToolRoom,
    timeout: float,
    stdin: bytes,
    kept: int,
    log: bool,
    changes: bool,
) -> Ran:
    streams = {
        1: Stream((lambda text: room.log(text, "stdout")) if log else _nowhere, head=(kept + 1) // 2, tail=kept // 2),
        2: Stream((lambda text: room.log(text, "stderr")) if log else _nowhere, head=KEPT // 2, tail=KEPT // 2),
    }
    late = False
    process = _spawn(argv, place, folder, env)
    try:
        if changes:
            await room.runs(identity(process.pid, Path(argv[0]).name))
        async with asyncio.timeout(timeout):
            await process.release(stdin, lambda fd, data: streams[fd].feed(data))
            code = await process.ended()
    except TimeoutError:
        await process.stop(GRACE)
        late, code = True, -int(signal.SIGKILL)
    except BaseException:
        await process.stop(GRACE)
        raise
    finally:
        for stream in streams.values():
            stream.close()
    cut = streams[1].truncated or streams[2].truncated
    return Ran(code=code, stdout=streams[1].text(), stderr=streams[2].text(), cut=cut, late=late)


def _spawn(argv: Sequence[str], place: Workspace, folder: Parts, env: Mapping[str, str]) -> Process:
    with place.folder(folder) as fd:
        # By its descriptor: what the path leads to a moment later may be another folder.
        descriptor = Path(f"/proc/self/fd/{fd}")
        cwd = descriptor if descriptor.exists() else place.root.joinpath(*folder)
        try:
            return Process.spawn(argv, env=env, cwd=cwd)
        except OSError as error:
            raise InvalidInput(f"`{Path(argv[0]).name}` cannot be started: {error.strerror}") from None


def _nowhere(text: str) -> None:
    del text
