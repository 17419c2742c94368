"""Running Git in a repository that nobody has looked at: nothing that its files say is executed.

A repository can name programs in its configuration: hooks, filters, pagers, a file system monitor, an SSH command. What
can be switched off is; a repository with others is refused, unless the operator trusts it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Struct
from pydantic import Field

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import ToolRoom
from fleetprompt.engine.tools._private import git_excludes
from fleetprompt.engine.tools._program import Ran, find_program, run, search_path
from fleetprompt.engine.tools._settings import Misfit, Section, read_section
from fleetprompt.engine.tools._workspace import Parts, Workspace, named

TIMEOUT = 60.0
MOST_BYTES = 256 * 1024
OPTIONS = (
    "--no-pager", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=", "-c", "core.untrackedCache=false", "-c",
    "protocol.ext.allow=never", "-c", "core.pager=cat", "-c", "core.editor=false", "-c", "sequence.editor=false",
    "-c", "core.askPass=", "-c", "core.attributesFile=/dev/null", "-c", "commit.gpgSign=false", "-c",
    "tag.gpgSign=false", "-c", "log.showSignature=false", "-c", "gpg.program=false", "-c", "push.gpgSign=false", "-c",
    "diff.external=", "-c", "submodule.recurse=false", "-c", "diff.ignoreSubmodules=all", "-c", "color.ui=never",
    "-c", "push.followTags=false", "-c", "push.recurseSubmodules=no", "-c", "gc.auto=0", "-c",
    "maintenance.auto=false", "-c", "core.quotePath=false", "-c", "credential.helper=", "-c",
    "safe.bareRepository=explicit",
)  # fmt: skip
PROGRAMS = (
    "core.sshcommand", "core.gitproxy", "core.alternaterefscommand", "core.worktree", "core.hookspath",
    "core.fsmonitor", "filter.*", "diff.*.command", "diff.*.textconv", "merge.*.driver", "credential*",
    "remote.*.vcs", "remote.*.receivepack", "remote.*.uploadpack", "remote.*.proxy", "url.*", "include.*",
    "includeif.*", "gpg.*", "trailer.*.cmd", "trailer.*.command", "uploadpack.packobjectshook",
    "extensions.worktreeconfig", "http.*", "protocol.*", "interactive.difffilter", "ssh.*",
)  # fmt: skip
"""Settings of a repository that name a program, or send what is asked for somewhere else."""


class GitSettings(Section):
    """`[tools.git]`."""

    trusted: list[str] = Field([])
    """Repositories, by their folder, whose configuration may name programs: `["vendor/big"]`."""
    name: str = "FleetPrompt agent"
    """Who commits."""
    email: str = "agent@fleetprompt.invalid"
    ssh: bool = False
    """Whether git.push gets the engine's HOME and SSH agent, for remotes by SSH."""
    tokens: dict[str, str] = Field({})
    """Names of secrets with access tokens by host, for remotes by HTTPS: `{"git.example.com" = "GIT_TOKEN"}`."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = TIMEOUT

    def doubts(self) -> Iterator[Misfit]:
        """Tokens that are never sent."""
        for host in self.tokens:
            address = urlsplit(host if "://" in host else f"//{host}")
            plain = address.netloc.rpartition("@")[2].partition(":")[0].lower()
            if plain != host:
                message = f"the token for `{inert(host)}` is never sent: tokens are looked for by the name of the host"
                yield Misfit(("tokens", host), message, f'write "{inert(plain)}"')


class Repository(Struct):
    """A repository that was looked at."""

    place: Workspace
    folder: Parts
    settings: GitSettings
    program: str

    @property
    def name(self) -> str:
        return "/".join(self.folder) or "."

    async def git(
        self,
        room: ToolRoom,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        kept: int = MOST_BYTES,
        ok: Sequence[int] = (0,),
        changes: bool = False,
    ) -> Ran:
        """Run it; `changes`: it does not only look. Raises `InvalidInput` with what Git says where its exit code is not
        one of `ok`."""
        argv = [self.program, *OPTIONS, *arguments]
        whole = {**environment(self.place), **(env or {})}
        ran = await run(
            argv,
            place=self.place,
            folder=self.folder,
            env=whole,
            room=room,
            timeout=self.settings.timeout,
            stdin=stdin,
            kept=kept,
            log=False,
            changes=changes,
        )
        if not ran.late and ran.code not in ok:
            raise InvalidInput(f"git {arguments[0]}: {said(ran)}")
        return ran


def environment(place: Workspace) -> dict[str, str]:
    """The variables that Git gets; none of them comes from the engine but PATH."""
    return {
        "PATH": search_path(),
        "LANG": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": "false",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_CEILING_DIRECTORIES": str(place.root.resolve().parent),
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
    }


def git_settings(room: ToolRoom) -> GitSettings:
    """The settings of these tools. Raises `InvalidInput`."""
    return read_section(("tools", "git"), GitSettings, room.settings)


async def repository(room: ToolRoom, repo: str) -> Repository:
    """The repository in a folder of the workspace. Raises `InvalidInput`, `NotFound`."""
    place, settings = Workspace(room.root), git_settings(room)
    folder = place.parts(repo)
    with place.folder(folder):
        pass
    program = await room.in_thread(find_program, "git", search_path())
    found = Repository(place, folder, settings, program)
    top = await found.git(room, "rev-parse", "--show-toplevel", "--absolute-git-dir", "--git-common-dir", ok=range(256))
    if top.code != 0:
        if "dubious ownership" in top.stderr:
            raise InvalidInput(f"{named(found.name)} belongs to another user", hint="the engine's user has to own it")
        raise NotFound(f"{named(found.name)} is not in a Git repository", hint="`repo` is its folder")
    if found.name not in settings.trusted:
        lines = top.stdout.splitlines()
        _inside(place, [lines[0], lines[1], os.path.join(place.root.joinpath(*folder), lines[2])])  # noqa: PTH118
        await _refuse_programs(room, found)
    return found


def _inside(place: Workspace, folders: Sequence[str]) -> None:
    root = place.root.resolve()
    for folder in folders:
        if not Path(folder).resolve().is_relative_to(root):
            raise InvalidInput(
                "the repository keeps its files outside of the workspace",
                hint="the operator can list its folder in [tools.git] trusted",
            )


async def _refuse_programs(room: ToolRoom, repo: Repository) -> None:
    ran = await repo.git(room, "config", "--local", "--no-includes", "--list", "--name-only", "-z", ok=(0, 1))
    for key in ran.stdout.split("\0"):
        plain = key.strip().casefold()
        if any(fnmatchcase(plain, pattern) for pattern in PROGRAMS):
            raise InvalidInput(
                f"the configuration of the repository {named(repo.name)} sets `{inert(key)}`, which can start programs",
                hint=f'if it is meant, the operator writes [tools.git] trusted = ["{repo.name}"]',
            )


def revision(text: str) -> str:
    """A revision as it is handed to Git. Raises `InvalidInput` for what Git would take for something else."""
    if not text or text.startswith("-") or len(text) > 300 or any(each.isspace() or each < " " for each in text):
        raise InvalidInput(f"{named(text)[:100]} is not a revision", hint="a branch, a tag, a commit, HEAD~2")
    return text


def commit_range(start: str | None, end: str | None) -> str:
    """The revision or range that two ends mean. Raises `InvalidInput`."""
    for text in (start, end):
        if text and ".." in text:
            raise InvalidInput("a revision here is one commit", hint="give both ends of a range by themselves")
    if start is None:
        return revision(end or "HEAD")
    return f"{revision(start)}..{revision(end or 'HEAD')}"


async def commit_of(room: ToolRoom, repo: Repository, text: str) -> str:
    """The commit that a revision names. Raises `NotFound`."""
    ran = await repo.git(
        room, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision(text)}^{{commit}}", ok=range(256)
    )
    if ran.code != 0:
        raise NotFound(f"there is no commit {named(text)} in {named(repo.name)}", hint="git.log shows commits")
    return ran.stdout.strip()


async def ref_of(room: ToolRoom, repo: Repository, ref: str) -> str | None:
    """What a whole name of a ref points to; None: there is none."""
    ran = await repo.git(room, "rev-parse", "--verify", "--quiet", "--end-of-options", ref, ok=range(256))
    return ran.stdout.strip() if ran.code == 0 else None


async def ref_name(room: ToolRoom, repo: Repository, kind: str, name: str) -> str:
    """The whole name of a branch (`heads`) or tag (`tags`). Raises `InvalidInput` for what cannot be one."""
    ref = f"refs/{kind}/{name}"
    checked = await repo.git(room, "check-ref-format", ref, ok=range(256))
    if checked.code != 0 or name.startswith("-") or name == "HEAD" or not name.isprintable():
        raise InvalidInput(f"{named(name)[:100]} cannot be the name of a {'branch' if kind == 'heads' else 'tag'}")
    return ref


def paths_of(repo: Repository, paths: Sequence[str], *, writing: bool = False) -> list[str]:
    """Paths relative to the repository's folder, checked like any path of the workspace. Raises `InvalidInput`."""
    checked: list[str] = []
    for path in paths:
        whole = repo.place.parts("/".join((*repo.folder, path)), writing=writing)
        if whole[: len(repo.folder)] != repo.folder:
            raise InvalidInput(f"{named(path)} is outside of {named(repo.name)}")
        checked.append("/".join(whole[len(repo.folder) :]) or ".")
    return checked


def pathspecs(repo: Repository, paths: Sequence[str], *, writing: bool = False) -> list[str]:
    """What Git is told to look at: those paths or all of the repository, and nothing private in any case."""
    named_ones = [f":(literal){path}" for path in paths_of(repo, paths, writing=writing)]
    return ["--", *(named_ones or [":/"]), *git_excludes()]


def said(ran: Ran) -> str:
    """What Git complains about, in a line or two."""
    lines = [line.strip() for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
    text = "; ".join(lines[:3])
    return inert(text)[:500] or f"it ended with {ran.signal or ran.code}"
