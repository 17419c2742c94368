"""Attempts to reach files that are not the workspace's, or nobody's business."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from fleetprompt.engine.core.errors import InvalidInput, NotFound
from fleetprompt.engine.ports.world import Failed
from fleetprompt.engine.tools._workspace import Workspace
from tests.tools.toolkit import Room, done, find, preview, problem, refusal

SECRET = "CANARY-5b1f"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    root = tmp_path / "work"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file.txt").write_text("inside\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file.txt").write_text(SECRET)
    return Room(root)


CALLS = [
    ("fs.read", {}),
    ("fs.stat", {}),
    ("fs.write", {"content": "x"}),
    ("fs.edit", {"old": "CANARY", "new": "x"}),
    ("fs.delete", {}),
    ("fs.restore", {"sha256": None}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
@pytest.mark.parametrize(
    "path",
    [
        "../outside/file.txt",
        "sub/../../outside/file.txt",
        "/etc/passwd",
        "~/x",
        "sub/../..",
        "a\0b",
        "/proc/self/environ",
    ],
)
async def test_paths_do_not_leave_the_workspace(room: Room, name: str, arguments: dict[str, str], path: str) -> None:
    said = await refusal(room, name, path=path, **arguments)
    assert "workspace" in said or "not a path" in said
    assert (room.root.parent / "outside" / "file.txt").read_text() == SECRET


@pytest.mark.parametrize(("name", "arguments"), [each for each in CALLS if each[0] != "fs.stat"])
async def test_links_are_not_followed(room: Room, name: str, arguments: dict[str, str]) -> None:
    (room.root / "away").symlink_to(room.root.parent / "outside")
    (room.root / "file").symlink_to(room.root.parent / "outside" / "file.txt")
    (room.root / "inner").symlink_to("sub")
    for path in ("away/file.txt", "file", "inner/file.txt"):
        assert "symbolic link" in await refusal(room, name, path=path, **arguments), path
    assert (room.root.parent / "outside" / "file.txt").read_text() == SECRET
    assert (room.root / "sub" / "file.txt").read_text() == "inside\n"


async def test_searches_and_lists_do_not_follow_links(room: Room) -> None:
    (room.root / "away").symlink_to(room.root.parent / "outside")
    (room.root / "file").symlink_to(room.root.parent / "outside" / "file.txt")
    assert (await done(room, "fs.grep", pattern="CANARY"))["matches"] == []
    assert "file.txt" not in str((await done(room, "fs.list", path=".", depth=5, match="*a*"))["entries"])
    assert "symbolic link" in await refusal(room, "fs.list", path="away")
    assert "symbolic link" in await refusal(room, "fs.grep", path="away", pattern="C")


@pytest.mark.parametrize(
    "path",
    [
        ".env", ".env.local", "deploy/.ENV", "server.pem", "keys/tls.key", ".ssh/known_hosts", "id_rsa", "id_dsa.pub",
        ".git/config", ".git/hooks/pre-commit", "vendor/x/.git/config.worktree", ".git/modules/a/config",
        ".fleet/fleet.db", ".fleet/secrets.toml", "．ｅｎｖ", "x/../.env", "sub/.git-credentials", ".GIT/CONFIG",
    ],
)  # fmt: skip
@pytest.mark.parametrize(("name", "arguments"), CALLS)
async def test_private_files_are_never_touched(room: Room, name: str, arguments: dict[str, str], path: str) -> None:
    file = room.root / path.replace("x/../", "")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SECRET)
    said = await refusal(room, name, path=path, **arguments)
    assert "is private" in said
    assert SECRET not in said
    assert file.read_text() == SECRET


async def test_searches_do_not_look_into_private_files(room: Room) -> None:
    for name in (".env", ".fleet/log", ".git/config", "sub/id_rsa", "customers/a.csv"):
        (room.root / name).parent.mkdir(exist_ok=True)
        (room.root / name).write_text(SECRET)
    mine = Room(room.root, {"private": ["customers"]})
    assert (await done(mine, "fs.grep", pattern="CANARY"))["matches"] == []
    assert SECRET not in str(await done(mine, "fs.list", depth=9))
    assert "`customers` is private" in await refusal(mine, "fs.read", path="customers/a.csv")


@pytest.mark.parametrize("path", ["fleet.toml", "policy.toml", ".git/info/attributes", ".gitmodules", "sub/.git"])
async def test_an_agent_does_not_change_its_own_rules(room: Room, path: str) -> None:
    assert "is never written" in await refusal(room, "fs.write", path=path, content="x")


async def test_a_folder_swapped_for_a_link_after_the_decision_is_not_followed(room: Room) -> None:
    outside = room.root.parent / "outside" / "file.txt"
    for name, arguments in (
        ("fs.write", {"content": "x"}),
        ("fs.edit", {"old": "inside", "new": "x"}),
        ("fs.delete", {}),
    ):
        room.bound = (await preview(room, name, path="sub/file.txt", **arguments)).bound
        (room.root / "sub").rename(room.root / "was")
        (room.root / "sub").symlink_to(room.root.parent / "outside")
        outcome = await find(name).call({"path": "sub/file.txt", **arguments}, room)  # type: ignore[arg-type]
        assert isinstance(outcome, Failed)
        assert "symbolic link" in outcome.error.message
        assert outside.read_text() == SECRET
        (room.root / "sub").unlink()
        (room.root / "was").rename(room.root / "sub")


async def test_swapping_all_the_time_never_leads_outside(room: Room) -> None:
    """Whatever the moment: a folder that is a link in one instant and a folder in the next."""
    stop = threading.Event()
    work, outside = room.root, room.root.parent / "outside"
    (work / "link").symlink_to(outside)
    swaps = 0

    def put(name: str, at: str) -> None:
        while (work / name).exists():
            try:
                (work / name).rename(work / at)
            except OSError:
                # A call found nothing there in this very moment and made the folder.
                shutil.rmtree(work / at, ignore_errors=True)

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            (work / "sub").rename(work / "aside")
            put("link", "sub")
            (work / "sub").rename(work / "link")
            put("aside", "sub")
            swaps += 1

    thread = threading.Thread(target=swap)
    thread.start()
    refused = wrote = 0
    try:
        while (refused < 20 or wrote < 20 or swaps < 200) and refused + wrote < 3_000:
            room.bound = None
            outcome = await find("fs.write").call({"path": "sub/new.txt", "content": "x"}, room)  # type: ignore[arg-type]
            refused += isinstance(outcome, Failed)
            wrote += not isinstance(outcome, Failed)
            read = await find("fs.read").call({"path": "sub/file.txt"}, room)  # type: ignore[arg-type]
            assert SECRET not in repr(read)
    finally:
        stop.set()
        thread.join()
    assert [file.name for file in outside.iterdir()] == ["file.txt"]
    assert wrote
    assert refused


def test_a_file_is_replaced_only_by_who_knows_what_it_is(room: Room) -> None:
    place = Workspace(room.root)
    for expected in (None, "0" * 64):
        with pytest.raises(InvalidInput, match="since the call was looked at"):
            place.replace(("sub", "file.txt"), b"x", expected)
        with pytest.raises(InvalidInput, match="since the call was looked at"):
            place.remove(("sub", "file.txt"), "0" * 64)
    assert [file.name for file in (room.root / "sub").iterdir()] == ["file.txt"]
    assert (room.root / "sub" / "file.txt").read_text() == "inside\n"


async def test_pipes_and_devices_do_not_hang_a_reader(room: Room) -> None:
    os.mkfifo(room.root / "pipe")
    assert "is a pipe" in await refusal(room, "fs.read", path="pipe")
    assert "is a pipe" in await refusal(room, "fs.write", path="pipe", content="x")
    assert (await done(room, "fs.grep", pattern="x"))["files_searched"] == 1


async def test_a_workspace_that_is_gone_is_told(tmp_path: Path) -> None:
    assert "cannot be opened" in await refusal(Room(tmp_path / "none"), "fs.list")


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("fs.read", {}, "`path` is missing"),
        ("fs.read", {"path": 5}, "`path` should be a valid string"),
        ("fs.read", {"path": "a", "line": 3}, "there is no argument `line`, did you mean `lines`?"),
        ("fs.read", {"path": "a", "first": 0}, "`first` should be greater than or equal to 1"),
        ("fs.read", {"path": "a", "first": "1"}, "`first` should be a valid integer"),
        ("fs.list", {"kind": "pipe"}, "`kind` should be 'any', 'file' or 'folder'"),
        ("fs.write", {"path": "a", "content": "\ud800"}, "not JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_told(name: str, arguments: dict[str, object], said: str) -> None:
    assert said in problem(name, arguments)


def test_what_is_allowed_is_told() -> None:
    assert "arguments: path (string, required), first (integer), lines (integer)" in problem("fs.read", {"path": 1})


async def test_reading_what_cannot_be_looked_at_raises(room: Room) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        await preview(room, "fs.read", path="../x")
