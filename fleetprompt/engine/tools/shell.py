"""`shell.run`: run a program. There is no shell: arguments are a list, and nothing splits or expands them.

It is no sandbox. A program can do what the engine's user can do; what keeps it from that is that somebody is asked.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import AfterValidator, Field, field_validator

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import Preview, ToolRoom
from fleetprompt.engine.ports.world import Done, Outcome, Unknown
from fleetprompt.engine.tools import _argv
from fleetprompt.engine.tools._fs import PathText
from fleetprompt.engine.tools._settings import Misfit, Section, Unfit, read_section
from fleetprompt.engine.tools._workspace import Parts, Workspace, named
from fleetprompt.engine.tools.declare import ToolModel, tool

DEFAULT_TIMEOUT = 60.0
LONGEST_TIMEOUT = 3600.0
TAIL_CHARS = 2000


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL byte")
    return text


Argument: TypeAlias = Annotated[str, Field(max_length=100_000), AfterValidator(_no_nul)]


class ShellSettings(Section):
    """`[tools.shell]`."""

    path: str = ""
    """Folders in which programs are looked for, as in PATH. Default: the engine's PATH."""
    programs: list[str] = Field([])
    """Programs that may be named with their path, exactly so: `["./gradlew", "/opt/acme/bin/deploy"]`."""
    env: dict[str, str] = Field({})
    """Variables that every program gets. Nothing secret: programs print their environment."""
    timeout: Annotated[float, Field(gt=0, le=LONGEST_TIMEOUT)] = DEFAULT_TIMEOUT
    """Seconds that a program may take where the call does not say."""

    @field_validator("env")
    @classmethod
    def _variables(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not name or "=" in name or "\0" in name + value:
                raise Unfit(f"`{inert(name)}` cannot be a variable: its name is empty, or holds `=` or a NUL byte")
        return env

    def doubts(self) -> Iterator[Misfit]:
        """Folders in which nothing is looked for, and programs that need not be listed."""
        folders = [folder for folder in self.path.split(os.pathsep) if folder]
        for folder in folders:
            if not folder.startswith("/"):
                message = f"programs are not looked for in `{inert(folder)}`: its path is not absolute"
                yield Misfit(("path",), message, "write it from / on")
        for i, program in enumerate(self.programs):
            if "/" not in program:
                message = f"`{inert(program)}` is named without a path: every program can be"
                yield Misfit(("programs", i), message, "remove it, or write its path")


@tool("shell.run")
class ShellRun(ToolModel):
    """Run a program in the workspace and wait for it. No shell is involved: there are no pipes, redirections, variables
    or `&&`. The program gets a minimal environment and no secrets. Of each output the beginning and the end are given,
    64 KiB together. An exit code other than 0 is a result, not an error."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("argv", "program", "cwd")

    argv: Annotated[list[Argument], Field(min_length=1, max_length=1000)]
    """The program, then its arguments, each an item of its own: `["git", "log", "--oneline", "-20"]`."""
    cwd: PathText = "."
    """Folder to run in, relative to the workspace."""
    timeout: Annotated[float, Field(gt=0, le=LONGEST_TIMEOUT)] | None = None
    """Seconds after which it is ended. Default: 60."""

    grants_bound: ClassVar[bool] = True

    async def preview(self, room: ToolRoom) -> Preview:
        """The command line, the program that is meant by it, and what makes it dangerous."""
        settings = _settings(room)
        place, folder = _place(room, self.cwd)
        program = await room.in_thread(_program, self.argv, settings, place, folder)
        trick = _argv.trick(self.argv)
        where = "/".join(folder) or "."
        return Preview(
            summary=_shown(self.argv),
            kind="argv",
            show=[inert(argument) for argument in self.argv],
            risk=trick or "runs a program",
            bound={"program": program},
            subject={"argv": self.argv, "program": self.argv[0], "cwd": where},
            verdict="deny" if trick else None,
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Run it. Late, it is ended, and nobody knows how far it came."""
        # Not at the top: it brings asyncio's subprocess machinery, and this module is read wherever tools are listed.
        from fleetprompt.engine.tools._program import run

        settings = _settings(room)
        place, folder = _place(room, self.cwd)
        program = await room.in_thread(_program, self.argv, settings, place, folder)
        if room.bound is not None and room.bound != {"program": program}:
            raise InvalidInput(f"`{self.argv[0]}` is another program now: {program}", hint="look at it again")
        timeout = self.timeout or settings.timeout
        room.log(f"$ {_shown(self.argv)}")
        ran = await run(
            [program, *self.argv[1:]],
            place=place,
            folder=folder,
            env={"PATH": _search_path(settings), **settings.env},
            room=room,
            timeout=timeout,
        )
        if ran.late:
            tail = (ran.stderr or ran.stdout)[-TAIL_CHARS:]
            return Unknown(
                f"`{self.argv[0]}` was ended after {timeout:g} s; how far it came is not known\n{tail}".strip()
            )
        result: dict[str, Any] = {"exit_code": ran.code if ran.code >= 0 else None}
        if ran.signal:
            result["signal"] = ran.signal
        return Done({**result, "stdout": ran.stdout, "stderr": ran.stderr, "cut": ran.cut})


def _settings(room: ToolRoom) -> ShellSettings:
    return read_section(("tools", "shell"), ShellSettings, room.settings)


def _place(room: ToolRoom, cwd: str) -> tuple[Workspace, Parts]:
    place = Workspace(room.root)
    folder = place.parts(cwd)
    with place.folder(folder):
        return place, folder


def _search_path(settings: ShellSettings) -> str:
    from fleetprompt.engine.tools._program import search_path

    return search_path(settings.path)


def _program(argv: list[str], settings: ShellSettings, place: Workspace, folder: Parts) -> str:
    """The file that would be run. Raises `InvalidInput`."""
    from fleetprompt.engine.tools._program import find_program

    if reason := _argv.never(argv):
        raise InvalidInput(f"{reason}: no tool runs it", hint="a person has to do that")
    name = argv[0]
    if "/" not in name:
        return find_program(name, _search_path(settings))
    if name not in settings.programs:
        raise InvalidInput(
            f"{named(name)[:200]} is named with its path, and [tools.shell] programs does not list it",
            hint="name a program without its folder, or have the operator list it",
        )
    if name.startswith("/"):
        return find_program(name, "")
    parts = place.parts("/".join((*folder, name)))
    with place.file(parts):
        return find_program(str(place.root.joinpath(*parts)), "")


def _shown(argv: list[str]) -> str:
    text = inert(shlex.join(argv))
    return text if len(text) <= 500 else f"{text[:500]} …"
