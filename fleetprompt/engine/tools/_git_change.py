"""What a commit would be, before it is one: in an index and a store of objects of its own, which are thrown away."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.ports.tool import ToolRoom
from fleetprompt.engine.tools._git import Repository, pathspecs
from fleetprompt.engine.tools._workspace import named

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
NOTHING = "0" * 40
KEY_TRAILER = "Fleet-Key"


class Draft(Struct, frozen=True):
    """A commit that could be made."""

    head: str
    """The commit that it would follow; empty: it would be the first one."""
    tree: str
    patch: str
    cut: bool

    @property
    def bound(self) -> dict[str, str]:
        """What a decision about it is bound to."""
        return {"head": self.head, "tree": self.tree}


async def draft(room: ToolRoom, repo: Repository, paths: Sequence[str], *, keep: bool) -> Draft:
    """What committing the paths would make. `keep`: the objects are written to the repository, where a commit needs
    them; otherwise nothing of it remains. Raises `InvalidInput` where there is nothing to commit."""
    head = (await repo.git(room, "rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))).stdout.strip()
    for state in ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"):
        if (await repo.git(room, "rev-parse", "--verify", "--quiet", state, ok=range(256))).code == 0:
            raise InvalidInput(f"a merge or another operation is unfinished in {named(repo.name)} ({state})")
    async with _aside(room, repo, keep) as env:
        await repo.git(room, "read-tree", head or "--empty", env=env)
        await repo.git(room, "add", "--all", *pathspecs(repo, paths), env=env)
        tree = (await repo.git(room, "write-tree", env=env)).stdout.strip()
        base = head or EMPTY_TREE
        if (await repo.git(room, "rev-parse", f"{base}^{{tree}}", env=env, ok=range(256))).stdout.strip() == tree:
            raise InvalidInput(f"there is nothing to commit in {', '.join(map(named, paths))}")
        shown = await repo.git(
            room, "diff-tree", "-p", "--no-ext-diff", "--no-textconv", "-M", base, tree, env=env, kept=64 * 1024
        )
    return Draft(head, tree, shown.stdout, shown.cut)


@asynccontextmanager
async def _aside(room: ToolRoom, repo: Repository, keep: bool) -> AsyncGenerator[dict[str, str]]:
    objects = (await repo.git(room, "rev-parse", "--path-format=absolute", "--git-path", "objects")).stdout.strip()
    folder = await room.in_thread(tempfile.mkdtemp, prefix="fleet-index-")
    env = {"GIT_INDEX_FILE": f"{folder}/index"}
    if not keep:
        env |= {"GIT_OBJECT_DIRECTORY": folder, "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}
    try:
        yield env
    finally:
        await room.in_thread(shutil.rmtree, folder, ignore_errors=True)


def who(repo: Repository) -> dict[str, str]:
    """The variables that say who commits."""
    name, email = repo.settings.name, repo.settings.email
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": email,
    }


class Remote(Struct, frozen=True):
    """Where something is pushed to."""

    name: str
    url: str
    """As people may see it: without credentials."""
    env: dict[str, str]
    """Variables that Git gets to reach it."""
    secrets: tuple[str, ...] = ()


async def remote(room: ToolRoom, repo: Repository, name: str, *, reveal: bool) -> Remote:
    """A remote of the repository. Raises `InvalidInput`."""
    found = await repo.git(room, "remote", "get-url", "--push", "--all", "--", name, ok=range(256))
    urls = found.stdout.split()
    if found.code != 0 or len(urls) != 1:
        raise InvalidInput(
            f"{named(repo.name)} has no single remote {named(name)}", hint="a remote is named, not given"
        )
    url = urls[0]
    parts = urlsplit(url) if "://" in url else None
    scheme = parts.scheme if parts is not None else ("ssh" if ":" in url.split("/")[0] else "file")
    shown = url if parts is None else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if scheme == "ssh":
        return Remote(name, shown, _ssh(repo, shown))
    if scheme == "https":
        secret = repo.settings.tokens.get(parts.hostname or "") if parts is not None else None
        if secret is None or not reveal:
            return Remote(name, shown, {})
        token = room.secret(secret).strip()
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        header = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.https://{parts.netloc.rpartition('@')[2] if parts else ''}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }
        return Remote(name, shown, header, (token, basic))
    if scheme == "file":
        return Remote(name, shown, {})
    raise InvalidInput(
        f"the remote {named(name)} is reached by {scheme}, which is not allowed", hint="use https or ssh"
    )


def _ssh(repo: Repository, url: str) -> dict[str, str]:
    import os

    if not repo.settings.ssh:
        raise InvalidInput(
            f"{named(url)} is reached by SSH", hint="the operator allows that with [tools.git] ssh = true"
        )
    kept = {name: os.environ[name] for name in ("HOME", "SSH_AUTH_SOCK") if name in os.environ}
    return {**kept, "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10"}
