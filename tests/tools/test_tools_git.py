"""Repositories: what is seen, what is changed, and what a hostile one cannot do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.ports.world import Done, Failed, Unknown
from tests.tools.toolkit import Room, call, done, find, preview, problem, refusal

CANARY = "CANARY-31cd"


def git(folder: Path, *arguments: str) -> str:
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "Ana",
        "GIT_AUTHOR_EMAIL": "ana@example.com",
        "GIT_COMMITTER_NAME": "Ana",
        "GIT_COMMITTER_EMAIL": "ana@example.com",
    }
    ran = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    root = tmp_path / "work"
    shop = root / "shop"
    shop.mkdir(parents=True)
    git(shop, "init", "-q", "-b", "main")
    (shop / "a.txt").write_text("one\n")
    (shop / ".env").write_text(f"KEY={CANARY}\n")
    git(shop, "add", "-A")
    git(shop, "commit", "-q", "-m", "First\n\nWith a body.")
    (shop / "a.txt").write_text("one\ntwo\n")
    git(shop, "commit", "-q", "-am", "Second")
    return Room(root)


def shop(room: Room) -> Path:
    return room.root / "shop"


async def test_the_history_is_told(room: Room) -> None:
    told = await done(room, "git.log", repo="shop", stat=True)
    assert [commit["subject"] for commit in told["commits"]] == ["Second", "First"]
    assert told["commits"][0]["files"] == [{"status": "M", "path": "a.txt"}]
    assert told["commits"][1]["body"] == "With a body."
    assert told["commits"][0]["refs"] == ["HEAD -> main"]
    assert len((await done(room, "git.log", repo="shop", start="HEAD~1"))["commits"]) == 1
    assert (await done(room, "git.log", repo="shop", paths=["none.txt"]))["commits"] == []
    assert (await preview(room, "git.log", repo="shop", limit=5)).verdict is None
    assert find("git.log").info.verdict == "allow"


async def test_differences_and_files_are_told(room: Room) -> None:
    assert "+two" in (await done(room, "git.diff", repo="shop", start="HEAD~1", end="HEAD"))["text"]
    assert "+two" in (await done(room, "git.show", repo="shop"))["text"]
    assert (await done(room, "git.show", repo="shop", revision="HEAD~1", path="a.txt"))["text"] == "one\n"
    assert "Ana" in (await done(room, "git.blame", repo="shop", path="a.txt"))["text"]
    (shop(room) / "a.txt").write_text("changed\n")
    (shop(room) / "new file").write_text("x")
    status = await done(room, "git.status", repo="shop")
    assert (status["branch"], status["clean"]) == ("main", False)
    assert status["files"] == [{"status": ".M", "path": "a.txt"}, {"status": "??", "path": "new file"}]
    assert "+changed" in (await done(room, "git.diff", repo="shop"))["text"]


async def test_private_files_are_not_told_of_their_past(room: Room) -> None:
    first = git(shop(room), "rev-list", "--max-parents=0", "HEAD")
    (shop(room) / ".env").write_text(f"KEY={CANARY}-2\n")
    for name, arguments in [
        ("git.show", {"revision": first}),
        ("git.diff", {}),
        ("git.diff", {"start": first, "paths": ["."]}),
        ("git.log", {"stat": True}),
    ]:
        assert CANARY not in str(await done(room, name, repo="shop", **arguments))
    assert "is private" in await refusal(room, "git.show", repo="shop", path=".env")
    assert "is private" in await refusal(room, "git.blame", repo="shop", path=".env")
    assert "is private" in await refusal(room, "git.diff", repo="shop", paths=[".env"])
    assert "is private" in await refusal(room, "git.commit", repo="shop", paths=[".env"], message="x")
    assert "nothing to commit" in await refusal(room, "git.commit", repo="shop", paths=["."], message="x")


@pytest.mark.parametrize("text", ["--output=/tmp/x", "-p", "", "HEAD --all", "a\nb", "HEAD..main"])
async def test_revisions_that_are_none(room: Room, text: str) -> None:
    for name, field in (("git.log", "end"), ("git.diff", "start"), ("git.show", "revision"), ("git.branch", "start")):
        arguments: dict[str, Any] = {"repo": "shop", field: text}
        if name == "git.branch":
            arguments["name"] = "x"
        if not text:
            assert "at least 1 character" in problem(name, arguments)
        elif name == "git.diff" and text == "HEAD..main":
            continue
        else:
            said = await refusal(room, name, **arguments)
            assert "is not a revision" in said or "is one commit" in said or "there is no commit" in said, said


async def test_paths_that_look_like_options_are_paths(room: Room) -> None:
    (shop(room) / "--all").write_text("x")
    assert (await done(room, "git.log", repo="shop", paths=["--all"]))["commits"] == []
    committed = await done(room, "git.commit", repo="shop", paths=["--all"], message="Odd name")
    assert git(shop(room), "show", "--name-only", "--format=", committed["commit"]) == "--all"
    assert "leaves the workspace" in await refusal(room, "git.log", repo="shop", paths=["../../x"])
    assert "is outside of" in await refusal(room, "git.log", repo="shop", paths=["../x"])


async def test_a_commit_is_what_was_shown(room: Room) -> None:
    (shop(room) / "a.txt").write_text("one\ntwo\nthree\n")
    (shop(room) / "other.txt").write_text("not this\n")
    git(shop(room), "add", "other.txt")
    before = git(shop(room), "count-objects", "-v")
    arguments = {"repo": "shop", "paths": ["a.txt"], "message": "Third\n\nBecause."}
    shown = await preview(room, "git.commit", **arguments)
    assert "+three" in shown.show
    assert "not this" not in shown.show
    assert git(shop(room), "count-objects", "-v") == before
    made = await done(room, "git.commit", **arguments)
    assert git(shop(room), "rev-parse", "HEAD") == made["commit"]
    assert git(shop(room), "show", "--name-only", "--format=", "HEAD") == "a.txt"
    assert (
        git(shop(room), "log", "-1", "--format=%an|%(trailers:key=Fleet-Key,valueonly)")
        == f"FleetPrompt agent|{room.key}"
    )
    assert git(shop(room), "status", "--porcelain") == "A  other.txt"
    assert "nothing to commit" in await refusal(room, "git.commit", **arguments)


async def test_what_was_not_shown_is_not_committed(room: Room) -> None:
    arguments = {"repo": "shop", "paths": ["a.txt"], "message": "Third"}
    (shop(room) / "a.txt").write_text("shown\n")
    room.bound = (await preview(room, "git.commit", **arguments)).bound
    (shop(room) / "a.txt").write_text("swapped\n")
    head = git(shop(room), "rev-parse", "HEAD")
    outcome = await find("git.commit").call(arguments, room)  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    assert "has changed since" in outcome.error.message
    assert git(shop(room), "rev-parse", "HEAD") == head


async def test_whether_a_commit_was_made_is_found_by_its_key(room: Room) -> None:
    arguments = {"repo": "shop", "paths": ["a.txt"], "message": "Third"}
    (shop(room) / "a.txt").write_text("x\n")
    tool = find("git.commit")
    assert isinstance(await tool.reconcile(arguments, room), Failed)  # type: ignore[arg-type]
    made = await done(room, "git.commit", **arguments)
    found = await tool.reconcile(arguments, room)  # type: ignore[arg-type]
    assert isinstance(found, Done)
    assert found.output["commit"] == made["commit"]


async def test_the_first_commit_of_a_repository(room: Room) -> None:
    (room.root / "fresh").mkdir()
    git(room.root / "fresh", "init", "-q", "-b", "main")
    (room.root / "fresh" / "a").write_text("x")
    made = await done(room, "git.commit", repo="fresh", paths=["."], message="First")
    assert git(room.root / "fresh", "log", "--format=%H") == made["commit"]


async def test_branches_and_tags_are_created_and_never_moved(room: Room) -> None:
    head = git(shop(room), "rev-parse", "HEAD")
    await done(room, "git.log", repo="shop")
    await preview(room, "git.branch", repo="shop", name="fix/one", start="HEAD~1")
    assert not room.noted
    await done(room, "git.branch", repo="shop", name="fix/one", start="HEAD~1")
    assert [process["argv0"] for process in room.noted] == ["git"], "only what changes something is noted"
    assert git(shop(room), "rev-parse", "fix/one") == git(shop(room), "rev-parse", "HEAD~1")
    assert "already" in await refusal(room, "git.branch", repo="shop", name="fix/one")
    await done(room, "git.tag", repo="shop", name="v1")
    await done(room, "git.tag", repo="shop", name="v2", message="Two\n\n# kept")
    assert git(shop(room), "cat-file", "-t", "v2") == "tag"
    assert "# kept" in git(shop(room), "cat-file", "tag", "v2")
    assert "already" in await refusal(room, "git.tag", repo="shop", name="v1", start="HEAD~1")
    for name in ("-d", "a..b", "a b", "x.lock", "HEAD", "a\x1b[1m", "@{1}"):
        assert "cannot be the name" in await refusal(room, "git.tag", repo="shop", name=name), name
    tag = find("git.tag")
    room.bound = {"commit": head}
    assert isinstance(await tool_reconcile(tag, room, name="v2"), Done)
    assert isinstance(await tool_reconcile(tag, room, name="v9"), Failed)
    room.bound = {"commit": "0" * 40}
    assert await tool_reconcile(tag, room, name="v1") is None


async def tool_reconcile(tool: Any, room: Room, **arguments: Any) -> Any:
    return await tool.reconcile({"repo": "shop", **arguments}, room)


async def test_a_tag_is_deleted_from_where_it_was(room: Room) -> None:
    await done(room, "git.tag", repo="shop", name="v1")
    room.bound = (await preview(room, "git.delete_tag", repo="shop", name="v1")).bound
    git(shop(room), "tag", "-f", "v1", "HEAD~1")
    outcome = await find("git.delete_tag").call({"repo": "shop", "name": "v1"}, room)  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    await done(room, "git.delete_tag", repo="shop", name="v1")
    assert git(shop(room), "tag") == ""
    assert "there is no tag" in await refusal(room, "git.delete_tag", repo="shop", name="v1")
    assert isinstance(await tool_reconcile(find("git.delete_tag"), room, name="v1"), Done)


async def test_pushing(room: Room, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(bare))
    git(shop(room), "remote", "add", "origin", str(bare))
    head = git(shop(room), "rev-parse", "HEAD")
    shown = await preview(room, "git.push", repo="shop", branch="main")
    assert (shown.show["url"], shown.show["commit"]) == (str(bare), head)
    assert isinstance(await tool_reconcile(find("git.push"), room, branch="main"), Failed)
    await done(room, "git.push", repo="shop", branch="main")
    assert git(bare, "rev-parse", "main") == head
    assert isinstance(await tool_reconcile(find("git.push"), room, branch="main"), Done)
    git(shop(room), "commit", "-q", "--amend", "-m", "Other")
    refused = await call(room, "git.push", repo="shop", branch="main")
    assert isinstance(refused, Failed)
    assert "the remote refuses it" in refused.error.message
    assert git(bare, "rev-parse", "main") == head
    assert "no single remote" in await refusal(room, "git.push", repo="shop", branch="main", remote="other")
    assert "`remote`" in problem("git.push", {"remote": "ext::sh -c x", "branch": "main"})
    assert "either `branch` or `tag`" in await refusal(room, "git.push", repo="shop")
    git(shop(room), "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    assert isinstance(await call(room, "git.push", repo="shop", branch="main"), Unknown)
    assert await tool_reconcile(find("git.push"), room, branch="main") is None


async def test_remotes_that_run_programs_are_refused(room: Room) -> None:
    git(shop(room), "remote", "add", "origin", "ext::sh -c touch% /tmp/x")
    assert "no single remote" in await refusal(room, "git.push", repo="shop", branch="main")
    git(shop(room), "remote", "set-url", "origin", "ext::x")
    assert isinstance(await call(room, "git.push", repo="shop", branch="main"), Unknown | Failed)
    git(shop(room), "remote", "set-url", "origin", "git@example.com:a/b")
    assert "is reached by SSH" in await refusal(room, "git.push", repo="shop", branch="main")
    git(shop(room), "remote", "set-url", "origin", f"https://user:{CANARY}@127.0.0.1:1/a")
    shown = await preview(room, "git.push", repo="shop", branch="main")
    assert CANARY not in f"{shown}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("core.sshCommand", "touch {}"),
        ("filter.x.clean", "touch {}"),
        ("diff.x.textconv", "touch {}"),
        ("diff.x.command", "touch {}"),
        ("credential.helper", "!touch {}"),
        ("remote.origin.receivepack", "touch {}"),
        ("include.path", "{}"),
        ("url.ext::x.insteadOf", "https://"),
        ("core.worktree", "/"),
    ],
)
async def test_a_repository_that_names_programs_is_refused(room: Room, tmp_path: Path, key: str, value: str) -> None:
    mark = tmp_path / "mark"
    git(shop(room), "config", key, value.format(mark))
    (shop(room) / ".gitattributes").write_text("* diff=x filter=x\n")
    for name, arguments in (("git.status", {}), ("git.diff", {}), ("git.commit", {"paths": ["."], "message": "x"})):
        said = await refusal(room, name, repo="shop", **arguments)
        assert "which can start programs" in said or "outside of the workspace" in said
    assert not mark.exists()


async def test_hooks_pagers_and_monitors_do_not_run(room: Room, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {mark}\nexit 0\n")
    script.chmod(0o755)
    for hook in ("pre-commit", "post-commit", "commit-msg", "reference-transaction", "post-index-change", "pre-push"):
        (shop(room) / ".git" / "hooks" / hook).symlink_to(script)
    for key in ("core.pager", "core.editor", "diff.external", "core.askPass", "alias.status"):
        git(shop(room), "config", key, str(script) if key != "alias.status" else f"!{script}")
    mark.unlink(missing_ok=True)
    (shop(room) / "a.txt").write_text("x\n")
    await done(room, "git.status", repo="shop")
    await done(room, "git.diff", repo="shop")
    await done(room, "git.log", repo="shop")
    await done(room, "git.commit", repo="shop", paths=["a.txt"], message="x")
    await done(room, "git.tag", repo="shop", name="v1", message="x")
    git_dir = tmp_path / "bare.git"
    git(tmp_path, "init", "-q", "--bare", str(git_dir))
    git(shop(room), "remote", "add", "origin", str(git_dir))
    mark.unlink(missing_ok=True)
    await done(room, "git.push", repo="shop", branch="main")
    assert not mark.exists()


async def test_a_repository_outside_of_the_workspace_is_not_seen(room: Room, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (room.root / "plain").mkdir()
    assert "is not in a Git repository" in await refusal(room, "git.status", repo="plain")
    (room.root / "plain" / ".git").write_text(f"gitdir: {tmp_path}/.git\n")
    assert "outside of the workspace" in await refusal(room, "git.status", repo="plain")
    trusting = Room(room.root, {"trusted": ["plain"]})
    assert (await done(trusting, "git.status", repo="plain"))["branch"] == "main"
    (room.root / "away").symlink_to(tmp_path)
    assert "symbolic link" in await refusal(room, "git.status", repo="away")
    assert "leaves the workspace" in await refusal(room, "git.status", repo="..")


async def test_hostile_names_are_inert(room: Room) -> None:
    (shop(room) / "x\x1b[2J\u202e.txt").write_text("x")
    status = await done(room, "git.status", repo="shop")
    assert status["files"] == [{"status": "??", "path": "x\\x1b[2J\\u202e.txt"}]
