"""Changing a repository: `git.branch`, `git.commit`, `git.tag`, `git.delete_tag`, `git.push`. Nothing is ever forced.

A commit is made of exactly the tree that was decided about, and a ref is moved only from where it was seen: what
somebody else did meanwhile makes the call fail.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field

from fleetprompt.engine.core.errors import Failure, InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import ActionType, Preview, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome, Unknown
from fleetprompt.engine.tools._fs import PathText
from fleetprompt.engine.tools._workspace import named
from fleetprompt.engine.tools.declare import ToolModel, tool
from fleetprompt.engine.tools.git import Revision

RefName: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Message: TypeAlias = Annotated[str, Field(min_length=1, max_length=20_000)]


class GitChange(ToolModel):
    """A tool that changes a repository."""

    repo: PathText = "."
    """Folder of the repository, relative to the workspace."""

    grants_bound: ClassVar[bool] = True


def _changed(room: ToolRoom, bound: dict[str, Any]) -> None:
    if room.bound is not None and room.bound != bound:
        raise InvalidInput("the repository has changed since the call was decided", hint="look at it again")


@tool("git.branch")
class GitBranch(GitChange):
    """Create a branch. It is not checked out, and a branch that exists is left alone."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("repo", "name", "start")

    name: RefName
    start: Revision = "HEAD"
    """Where it begins: a branch, a tag, a commit."""
    kind: ClassVar[str] = "heads"
    what: ClassVar[str] = "branch"

    async def preview(self, room: ToolRoom) -> Preview:
        """The name and the commit."""
        ref, commit, repo = await self._ref(room)
        show = {"repo": repo, self.what: ref, "commit": commit}
        return Preview(
            summary=f"git {self.what} {inert(self.name)} {commit[:12]}",
            show=show,
            risk=f"creates a {self.what}",
            bound={"commit": commit},
            subject={"repo": repo, "name": self.name, "start": self.start},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Create the ref, unless there is one."""
        from fleetprompt.engine.tools._git import repository
        from fleetprompt.engine.tools._git_change import NOTHING

        ref, commit, _ = await self._ref(room)
        _changed(room, {"commit": commit})
        repo = await repository(room, self.repo)
        await repo.git(room, "update-ref", "-m", f"{self.what}: by {room.run}", ref, commit, NOTHING, changes=True)
        return Done({"repo": repo.name, "name": self.name, "commit": commit})

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """By looking where the ref points."""
        from fleetprompt.engine.tools._git import ref_name, ref_of, repository

        repo = await repository(room, self.repo)
        ref = await ref_name(room, repo, self.kind, self.name)
        commit = await ref_of(room, repo, f"{ref}^{{commit}}")
        if commit is None:
            return Failed(Failure("TOOL_ERROR", f"the {self.what} {named(self.name)} was not created"))
        if room.bound is not None and commit == room.bound["commit"]:
            return Done({"repo": repo.name, "name": self.name, "commit": commit})
        return None

    async def _ref(self, room: ToolRoom) -> tuple[str, str, str]:
        from fleetprompt.engine.tools._git import commit_of, ref_name, ref_of, repository

        repo = await repository(room, self.repo)
        ref = await ref_name(room, repo, self.kind, self.name)
        if await ref_of(room, repo, ref) is not None:
            raise InvalidInput(f"there is a {self.what} {named(self.name)} already", hint="nothing is ever overwritten")
        return ref, await commit_of(room, repo, self.start), repo.name


@tool("git.tag")
class GitTag(GitBranch):
    """Create a tag: with a message an annotated one, else a lightweight one. A tag that exists is left alone."""

    name: RefName
    start: Revision = "HEAD"
    """What it is on: a branch, a commit."""
    message: Message | None = None
    kind: ClassVar[str] = "tags"
    what: ClassVar[str] = "tag"

    async def call(self, room: ToolRoom) -> Outcome:
        """Create the tag, unless there is one."""
        if self.message is None:
            return await super().call(room)
        from fleetprompt.engine.tools._git import repository
        from fleetprompt.engine.tools._git_change import who

        _, commit, _ = await self._ref(room)
        _changed(room, {"commit": commit})
        repo = await repository(room, self.repo)
        arguments = ("tag", "--annotate", "--no-sign", "--cleanup=verbatim", "--file=-", self.name, commit)
        await repo.git(room, *arguments, stdin=self.message.encode() + b"\n", env=who(repo), changes=True)
        return Done({"repo": repo.name, "name": self.name, "commit": commit})


@tool("git.delete_tag")
class GitDeleteTag(GitChange):
    """Delete a tag of this repository: what git.tag did is undone. Tags of remotes are left alone."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("repo", "name")

    name: RefName

    async def preview(self, room: ToolRoom) -> Preview:
        """The tag and what it is on."""
        ref, at, repo = await self._ref(room)
        return Preview(
            summary=f"git tag --delete {inert(self.name)}",
            show={"repo": repo, "tag": ref, "object": at},
            risk="deletes a tag",
            bound={"object": at},
            subject={"repo": repo, "name": self.name},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Delete it, if it is where it was."""
        from fleetprompt.engine.tools._git import repository

        ref, at, _ = await self._ref(room)
        _changed(room, {"object": at})
        repo = await repository(room, self.repo)
        await repo.git(room, "update-ref", "-d", ref, at, changes=True)
        return Done({"repo": repo.name, "name": self.name, "object": at})

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """By looking whether there is one."""
        try:
            await self._ref(room)
        except NotFound:
            return Done({"repo": self.repo, "name": self.name})
        return Failed(Failure("TOOL_ERROR", f"the tag {named(self.name)} is still there"))

    async def _ref(self, room: ToolRoom) -> tuple[str, str, str]:
        from fleetprompt.engine.tools._git import ref_name, ref_of, repository

        repo = await repository(room, self.repo)
        ref = await ref_name(room, repo, "tags", self.name)
        at = await ref_of(room, repo, ref)
        if at is None:
            raise NotFound(f"there is no tag {named(self.name)} in {named(repo.name)}")
        return ref, at, repo.name


@tool("git.commit")
class GitCommit(GitChange):
    """Commit files as they are now, and nothing else that is staged. No hooks run; private files are left out."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("repo", "path")

    message: Message
    """First line: what changes and why, in at most 72 characters."""
    paths: Annotated[list[PathText], Field(min_length=1, max_length=200)]
    """Files and folders to commit, relative to `repo`; a deleted file is committed as deleted."""
    action: ClassVar[ActionType] = "file_write"

    async def preview(self, room: ToolRoom) -> Preview:
        """The difference, and the tree that it makes."""
        from fleetprompt.engine.tools._git import repository
        from fleetprompt.engine.tools._git_change import draft

        repo = await repository(room, self.repo)
        made = await draft(room, repo, self.paths, keep=False)
        subject = self.message.splitlines()[0][:100]
        return Preview(
            summary=f"git commit -m {inert(subject)!r} {inert(' '.join(self.paths))}"[:300],
            kind="diff",
            show="\n".join(inert(line) for line in [*self.message.splitlines(), "", *made.patch.splitlines()]),
            risk="makes a commit" + (", and not all of it is shown" if made.cut else ""),
            bound=made.bound,
            subject={"repo": repo.name, "path": self.paths},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Commit the tree that was decided about, on top of the commit that it was decided on."""
        from fleetprompt.engine.tools._git import pathspecs, repository
        from fleetprompt.engine.tools._git_change import KEY_TRAILER, NOTHING, draft, who

        repo = await repository(room, self.repo)
        made = await draft(room, repo, self.paths, keep=True)
        _changed(room, made.bound)
        parent = ["-p", made.head] if made.head else []
        text = f"{self.message.rstrip()}\n\n{KEY_TRAILER}: {room.key}\n"
        ran = await repo.git(room, "commit-tree", *parent, "-F", "-", made.tree, stdin=text.encode(), env=who(repo))
        commit = ran.stdout.strip()
        reason = f"commit: {inert(self.message.splitlines()[0])[:100]}"
        await repo.git(room, "update-ref", "-m", reason, "HEAD", commit, made.head or NOTHING, changes=True)
        staged = await repo.git(room, "add", "--all", *pathspecs(repo, self.paths), ok=range(256), changes=True)
        if staged.code != 0:
            room.log("the commit is made, but the index still shows its files as changed", "warning")
        return Done({"repo": repo.name, "commit": commit, "tree": made.tree})

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """By looking for a commit with our key."""
        from fleetprompt.engine.tools._git import repository
        from fleetprompt.engine.tools._git_change import KEY_TRAILER

        repo = await repository(room, self.repo)
        wanted = f"--grep={KEY_TRAILER}: {room.key}"
        ran = await repo.git(room, "log", "--all", "HEAD", "--fixed-strings", wanted, "--format=%H", ok=range(256))
        if ran.late or ran.code != 0:
            return None
        if commits := ran.stdout.split():
            return Done({"repo": repo.name, "commit": commits[0]})
        return Failed(Failure("TOOL_ERROR", "no commit has the key of this call: it was not made"))


@tool("git.push")
class GitPush(GitChange):
    """Push one branch or one tag to a remote of the repository. Nothing is forced: what the remote has and we do not
    have makes it fail."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("repo", "remote", "url", "branch", "tag")

    remote: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = "origin"
    """Name of the remote; an address cannot be given."""
    branch: RefName | None = None
    tag: RefName | None = None
    action: ClassVar[ActionType] = "publish"

    async def preview(self, room: ToolRoom) -> Preview:
        """What would be pushed where."""
        from fleetprompt.engine.tools._git import repository
        from fleetprompt.engine.tools._git_change import remote

        repo = await repository(room, self.repo)
        ref, at = await self._ref(room)
        there = await remote(room, repo, self.remote, reveal=False)
        known = f"refs/remotes/{self.remote}/{self.branch}..{at}" if self.branch else ""
        ran = await repo.git(room, "log", "--oneline", "--max-count=50", known or at, "--", ok=range(256))
        commits = [inert(line) for line in ran.stdout.splitlines()] if known and ran.code == 0 else None
        show: dict[str, Any] = {"repo": repo.name, "remote": self.remote, "url": there.url, "ref": ref, "commit": at}
        return Preview(
            summary=f"git push {self.remote} {inert(self.branch or self.tag or '')}",
            show={**show, "commits": commits},
            risk=f"publishes to {inert(there.url)}",
            bound={"commit": at, "url": there.url},
            subject={
                "repo": repo.name,
                "remote": self.remote,
                "url": there.url,
                "branch": self.branch,
                "tag": self.tag,
            },
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Push the very commit that was decided about."""
        from fleetprompt.engine.tools._git import repository, said
        from fleetprompt.engine.tools._git_change import remote

        repo = await repository(room, self.repo)
        ref, at = await self._ref(room)
        there = await remote(room, repo, self.remote, reveal=True)
        _changed(room, {"commit": at, "url": there.url})
        arguments = ("push", "--porcelain", "--no-verify", "--no-recurse-submodules", "--", self.remote, f"{at}:{ref}")
        ran = await repo.git(room, *arguments, env=there.env, ok=range(-64, 256), changes=True)
        text = said(ran)
        for secret in there.secrets:
            text = text.replace(secret, "•••")
        if ran.code == 0:
            return Done({"repo": repo.name, "remote": self.remote, "url": there.url, "ref": ref, "commit": at})
        if not ran.late and any(line.startswith("!\t") for line in ran.stdout.splitlines()):
            return Failed(Failure("TOOL_ERROR", f"the remote refuses it: {text}", retryable=False))
        return Unknown(f"git push ended without an answer: {text}")

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """By asking the remote where the ref is."""
        from fleetprompt.engine.tools._git import repository
        from fleetprompt.engine.tools._git_change import remote

        repo = await repository(room, self.repo)
        ref, at = await self._ref(room)
        there = await remote(room, repo, self.remote, reveal=True)
        if room.bound is not None:
            at = room.bound["commit"]
        ran = await repo.git(room, "ls-remote", "--", self.remote, ref, env=there.env, ok=range(-64, 256))
        if ran.late or ran.code != 0:
            return None
        if ran.stdout.split("\t")[0] == at:
            return Done({"repo": repo.name, "remote": self.remote, "url": there.url, "ref": ref, "commit": at})
        return Failed(Failure("TOOL_ERROR", f"{named(self.remote)} does not have {at[:12]} at {ref}"))

    async def _ref(self, room: ToolRoom) -> tuple[str, str]:
        from fleetprompt.engine.tools._git import ref_name, ref_of, repository

        if (self.branch is None) == (self.tag is None):
            raise InvalidInput("either `branch` or `tag` is pushed")
        repo = await repository(room, self.repo)
        name = self.branch or self.tag or ""
        ref = await ref_name(room, repo, "heads" if self.branch else "tags", name)
        at = await ref_of(room, repo, ref)
        if at is None:
            raise NotFound(f"there is no {named(name)} in {named(repo.name)}")
        return ref, at
