"""Looking into a repository: `git.log`, `git.diff`, `git.show`, `git.blame`, `git.status`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import ActionType, Preview, Reach, ToolRoom, Verdict
from fleetprompt.engine.ports.world import Done, Outcome
from fleetprompt.engine.tools._fs import PathText
from fleetprompt.engine.tools.declare import ToolModel, refused, summary_of, tool

if TYPE_CHECKING:
    from fleetprompt.engine.tools._git import Repository

Revision: TypeAlias = Annotated[str, Field(min_length=1, max_length=300)]
When: TypeAlias = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9 :.,+/-]*$")]
QUIET = ("--no-ext-diff", "--no-textconv", "--no-color")
_FORMAT = "%H%x1f%an%x1f%aI%x1f%D%x1f%s%x1f%b%x1e"
BODY_CHARS = 2000


class GitLook(ToolModel):
    """A tool that looks into a repository."""

    reach: ClassVar[Reach] = "read"
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verdict: ClassVar[Verdict] = "allow"
    untrusted: ClassVar[bool] = True
    parallel: ClassVar[bool] = True
    action: ClassVar[ActionType] = "file_read"
    verb: ClassVar[str] = "status"

    repo: PathText = "."
    """Folder of the repository, relative to the workspace."""

    async def preview(self, room: ToolRoom) -> Preview:
        """What would be looked at."""
        from fleetprompt.engine.tools._git import repository

        found = await repository(room, self.repo)
        await self._arguments(room, found)
        given = {name: value for name, value in self.model_dump().items() if value not in (None, [], False)}
        return Preview(
            summary=f"git {self.verb} {summary_of(given)}", show=given, subject={**given, "repo": found.name}
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Look."""
        from fleetprompt.engine.tools._git import repository

        found = await repository(room, self.repo)
        ran = await found.git(room, *await self._arguments(room, found))
        if ran.late:
            return refused(InvalidInput(f"git {self.verb} took longer than {found.settings.timeout:g} s"))
        return Done({"repo": found.name, **self._result(ran.stdout), "cut": ran.cut})

    async def _arguments(self, room: ToolRoom, repo: Repository) -> list[str]:
        raise NotImplementedError

    def _result(self, text: str) -> dict[str, Any]:
        return {"text": text}


@tool("git.log")
class GitLog(GitLook):
    """Commits of a repository, newest first: id, author, date, subject, body, and names of branches and tags."""

    start: Revision | None = None
    """Commits after this one only."""
    end: Revision = "HEAD"
    """The newest commit: a branch, a tag, a commit."""
    paths: list[PathText] = Field([], max_length=100)
    """Commits that changed these files or folders only."""
    since: When | None = None
    """A date, such as `2026-11-01` or `2 weeks ago`."""
    until: When | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    stat: bool = False
    """Whether to name the files that each commit changed."""
    verb: ClassVar[str] = "log"

    async def _arguments(self, room: ToolRoom, repo: Repository) -> list[str]:
        from fleetprompt.engine.tools._git import commit_range, pathspecs

        arguments = ["log", f"--max-count={self.limit}", f"--format=%x1d{_FORMAT}", *QUIET]
        arguments += [f"--since={self.since}"] * (self.since is not None)
        arguments += [f"--until={self.until}"] * (self.until is not None)
        arguments += ["--name-status"] * self.stat
        return [*arguments, "--end-of-options", commit_range(self.start, self.end), *pathspecs(repo, self.paths)]

    def _result(self, text: str) -> dict[str, Any]:
        return {"commits": [_commit(piece) for piece in text.split("\x1d") if "\x1f" in piece]}


def _commit(text: str) -> dict[str, Any]:
    head, _, files = text.partition("\x1e")
    fields = [*head.split("\x1f"), *[""] * 6]
    commit: dict[str, Any] = {"commit": fields[0], "author": inert(fields[1]), "date": fields[2]}
    commit["subject"] = inert(fields[4])
    if fields[3]:
        commit["refs"] = [inert(ref) for ref in fields[3].split(", ")]
    if body := fields[5].strip():
        commit["body"] = body[:BODY_CHARS]
    if changed := [line.split("\t") for line in files.strip().splitlines() if "\t" in line]:
        commit["files"] = [{"status": line[0], "path": inert(line[-1])} for line in changed]
    return commit


@tool("git.diff")
class GitDiff(GitLook):
    """Differences: between two commits, or between a commit (or what is staged) and the files as they are. Private
    files are left out."""

    start: Revision | None = None
    """Commit to compare from. Default: what is staged, or HEAD with `staged`."""
    end: Revision | None = None
    """Commit to compare to. Default: the files as they are."""
    staged: bool = False
    """Compare to what is staged instead of to the files."""
    paths: list[PathText] = Field([], max_length=100)
    stat: bool = False
    """Only how much changed in which file."""
    verb: ClassVar[str] = "diff"

    async def _arguments(self, room: ToolRoom, repo: Repository) -> list[str]:
        from fleetprompt.engine.tools._git import pathspecs, revision

        if self.end is not None and (self.start is None or self.staged):
            raise InvalidInput("`end` needs `start`, and excludes `staged`")
        arguments = ["diff", *QUIET, *["--stat=200"] * self.stat, *["--cached"] * self.staged, "--end-of-options"]
        arguments += [revision(text) for text in (self.start, self.end) if text is not None]
        return [*arguments, *pathspecs(repo, self.paths)]


@tool("git.show")
class GitShow(GitLook):
    """A commit with its difference, or with `path`, a file as it was in that commit. Private files are left out."""

    revision: Revision = "HEAD"
    path: PathText | None = None
    """File to give, relative to `repo`."""
    verb: ClassVar[str] = "show"

    async def _arguments(self, room: ToolRoom, repo: Repository) -> list[str]:
        from fleetprompt.engine.tools._git import commit_of, paths_of, pathspecs

        commit = await commit_of(room, repo, self.revision)
        if self.path is not None:
            return ["cat-file", "blob", f"{commit}:./{paths_of(repo, [self.path])[0]}"]
        shown = ["show", "--stat", "--patch", "--format=fuller", *QUIET, "--end-of-options", commit]
        return [*shown, *pathspecs(repo, [])]

    def _result(self, text: str) -> dict[str, Any]:
        if self.path is not None and "\0" in text[:8192]:
            return {"text": "", "binary": True}
        return {"text": text}


@tool("git.blame")
class GitBlame(GitLook):
    """Which commit each line of a file comes from."""

    path: PathText
    """File, relative to `repo`."""
    revision: Revision = "HEAD"
    first: Annotated[int, Field(ge=1)] = 1
    """First line, counted from 1."""
    lines: Annotated[int, Field(ge=1, le=2000)] = 200
    verb: ClassVar[str] = "blame"

    async def _arguments(self, room: ToolRoom, repo: Repository) -> list[str]:
        from fleetprompt.engine.tools._git import commit_of, paths_of

        commit = await commit_of(room, repo, self.revision)
        reach = f"-L{self.first},+{self.lines}"
        return ["blame", "--no-textconv", "--date=short", reach, commit, "--", paths_of(repo, [self.path])[0]]


_BRANCH = re.compile(r"^# branch\.(\w+) (.*)$")


@tool("git.status")
class GitStatus(GitLook):
    """The branch, and which files are changed, staged, untracked or in conflict."""

    verb: ClassVar[str] = "status"

    async def _arguments(self, room: ToolRoom, repo: Repository) -> list[str]:
        return ["status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--ignore-submodules=all", "-z"]

    def _result(self, text: str) -> dict[str, Any]:
        branch: dict[str, str] = {}
        files: list[dict[str, str]] = []
        pieces = iter(text.split("\0"))
        for piece in pieces:
            if found := _BRANCH.match(piece):
                branch[found[1]] = found[2]
            elif piece.startswith(("1 ", "u ")):
                fields = piece.split(" ", 8 if piece[0] == "1" else 10)
                files.append({"status": fields[1], "path": inert(fields[-1])})
            elif piece.startswith("2 "):
                fields = piece.split(" ", 9)
                files.append({"status": fields[1], "path": inert(fields[-1]), "from": inert(next(pieces, ""))})
            elif piece.startswith("? "):
                files.append({"status": "??", "path": inert(piece[2:])})
        head, commit = branch.get("head", ""), branch.get("oid", "")
        return {"branch": inert(head), "commit": commit, "files": files[:1000], "clean": not files}
