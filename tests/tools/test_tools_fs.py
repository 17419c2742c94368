"""Looking at files, and changing them: what comes out, and what a decision is bound to."""

from __future__ import annotations

import os
import resource
import signal
from hashlib import sha256
from pathlib import Path

import pytest

from fleetprompt.engine.ports.world import Done, Failed
from tests.tools.toolkit import Room, call, done, find, preview, refusal


@pytest.fixture
def room(tmp_path: Path) -> Room:
    root = tmp_path / "work"
    root.mkdir()
    (root / "src").mkdir()
    (root / "src" / "app.py").write_text("def main():\n    return 1\n")
    (root / "notes.txt").write_text("one\ntwo\nthree\n")
    return Room(root)


async def test_a_file_is_read_in_pieces(room: Room) -> None:
    (room.root / "long.txt").write_text("\n".join(f"line {i}" for i in range(1, 5001)))
    first = await done(room, "fs.read", path="long.txt")
    assert (first["first"], first["last"], first["next"], first["lines"]) == (1, 2000, 2001, 5000)
    last = await done(room, "fs.read", path="long.txt", first=4999)
    assert last["text"] == "line 4999\nline 5000"
    assert last["next"] is None
    assert "has 5000 lines" in await refusal(room, "fs.read", path="long.txt", first=5001)


async def test_no_more_than_256_kib_are_given_at_once(room: Room) -> None:
    (room.root / "wide.txt").write_text(("ä" * 50_000 + "\n") * 10)
    read = await done(room, "fs.read", path="wide.txt")
    assert len(read["text"].encode()) <= 256 * 1024
    assert read["next"] == 3
    (room.root / "one.txt").write_text("ä" * 200_000)
    cut = await done(room, "fs.read", path="one.txt")
    assert cut["cut"]
    assert len(cut["text"]) == 128 * 1024


async def test_an_empty_file_is_read(room: Room) -> None:
    (room.root / "empty").touch()
    assert (await done(room, "fs.read", path="empty"))["text"] == ""


async def test_what_is_no_text_is_refused(room: Room) -> None:
    (room.root / "image").write_bytes(b"\x89PNG\0\0\0")
    (room.root / "latin").write_bytes("Grüße".encode("latin-1"))
    assert "is binary" in await refusal(room, "fs.read", path="image")
    assert "not UTF-8 text, from byte 2 on" in await refusal(room, "fs.read", path="latin")
    assert "is a folder" in await refusal(room, "fs.read", path="src")
    assert "there is no" in await refusal(room, "fs.read", path="src/none.py")


async def test_a_folder_is_listed(room: Room) -> None:
    (room.root / ".env").write_text("KEY=1")
    (room.root / "link").symlink_to("/etc")
    listed = await done(room, "fs.list")
    assert [(entry["name"], entry["kind"]) for entry in listed["entries"]] == [
        (".env", "file"),
        ("link", "link"),
        ("notes.txt", "file"),
        ("src", "folder"),
    ]
    assert listed["entries"][0]["private"]
    deep = await done(room, "fs.list", depth=5, match="*.py")
    assert [entry["name"] for entry in deep["entries"]] == ["src/app.py"]


async def test_names_made_to_deceive_are_shown_inert(room: Room) -> None:
    (room.root / "a\x1b[2Jb\u202egpj.txt").touch()
    os.close(os.open(os.fsencode(room.root) + b"/broken-\xff", os.O_CREAT | os.O_WRONLY))
    names = {entry["name"]: entry for entry in (await done(room, "fs.list"))["entries"]}
    assert "a\\x1b[2Jb\\u202egpj.txt" in names
    assert names["broken-\\udcff"]["escaped"]
    shown = await preview(room, "fs.write", path="a\x1b[2J.txt", content="x")
    assert "\x1b" not in f"{shown.summary}{shown.show}"


async def test_a_list_has_an_end(room: Room) -> None:
    many = room.root / "many"
    many.mkdir()
    for i in range(501):
        (many / f"{i:04}").touch()
    listed = await done(room, "fs.list", path="many")
    assert len(listed["entries"]) == 500
    assert listed["more"]


async def test_lines_are_found(room: Room) -> None:
    (room.root / "bin").write_bytes(b"return\0")
    found = await done(room, "fs.grep", pattern=r"return \d", context=1)
    assert found["matches"] == [
        {"path": "src/app.py", "line": 2, "text": "    return 1", "before": ["def main():"], "after": [""]}
    ]
    assert (found["files_searched"], found["files_skipped"]) == (2, 1)
    assert (await done(room, "fs.grep", pattern="TWO", ignore_case=True))["matches"][0]["line"] == 2
    assert (await done(room, "fs.grep", pattern="main()", literal=True, files="*.py"))["matches"][0]["line"] == 1
    assert (await done(room, "fs.grep", pattern="o", path="notes.txt"))["matches"][0]["path"] == "notes.txt"


async def test_a_search_has_an_end(room: Room) -> None:
    (room.root / "log").write_text("error\n" * 1000)
    found = await done(room, "fs.grep", pattern="error")
    assert len(found["matches"]) == 200
    assert found["more"]
    assert "more than 200 lines" in found["stopped"]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?=a)", r"(a)\1", "a*b*c*d*", "("])
async def test_patterns_that_could_hang_are_refused(room: Room, pattern: str) -> None:
    assert "simplify" in await refusal(room, "fs.grep", pattern=pattern)


async def test_what_is_there_is_told(room: Room) -> None:
    told = await done(room, "fs.stat", path="notes.txt")
    assert told["sha256"] == sha256(b"one\ntwo\nthree\n").hexdigest()
    assert (told["kind"], told["size"], told["exists"]) == ("file", 14, True)
    assert (await done(room, "fs.stat", path="none/at/all"))["exists"] is False
    (room.root / "link").symlink_to("/etc/passwd")
    assert (await done(room, "fs.stat", path="link"))["kind"] == "link"


async def test_a_file_is_written_and_can_be_brought_back(room: Room) -> None:
    (room.root / "notes.txt").chmod(0o640)
    shown = await preview(room, "fs.write", path="notes.txt", content="one\nTWO\nthree\n")
    assert shown.kind == "diff"
    assert "-two\n+TWO" in shown.show
    assert shown.verdict is None
    written = await done(room, "fs.write", path="notes.txt", content="one\nTWO\nthree\n")
    assert (room.root / "notes.txt").read_text() == "one\nTWO\nthree\n"
    assert (room.root / "notes.txt").stat().st_mode & 0o777 == 0o640
    before = written["before"]
    assert room.store[before["sha256"]] == b"one\ntwo\nthree\n"
    assert before["size"] == 14
    await done(room, "fs.restore", path="notes.txt", sha256=before["sha256"])
    assert (room.root / "notes.txt").read_text() == "one\ntwo\nthree\n"
    assert [entry.name for entry in room.root.iterdir() if entry.name.endswith(".tmp")] == []


async def test_a_new_file_is_taken_away_again(room: Room) -> None:
    written = await done(room, "fs.write", path="out/deep/new.md", content="x")
    assert written["before"] is None
    await done(room, "fs.restore", path="out/deep/new.md", sha256=None)
    assert not (room.root / "out/deep/new.md").exists()


async def test_only_the_free_folder_may_be_written_without_asking(room: Room) -> None:
    assert (await preview(room, "fs.write", path="out/a.md", content="x")).verdict == "allow"
    assert (await preview(room, "fs.write", path="out/../a.md", content="x")).verdict is None
    assert (await preview(room, "fs.write", path="outside/a.md", content="x")).verdict is None
    assert (await preview(room, "fs.write", path="out", content="x")).verdict is None
    (room.root / "out").mkdir()
    (room.root / "out" / "a.md").write_text("x")
    assert (await preview(room, "fs.delete", path="out/a.md")).verdict is None
    mine = Room(room.root, {"free": ["build/reports"]})
    assert (await preview(mine, "fs.write", path="build/reports/a.md", content="x")).verdict == "allow"
    assert (await preview(mine, "fs.write", path="out/b.md", content="x")).verdict is None


async def test_an_edit_needs_the_one_place(room: Room) -> None:
    (room.root / "twice").write_text("a = 1\nb = 2\na = 1\n")
    assert "occurs 2 times in `twice`, from lines 1, 3" in await refusal(
        room, "fs.edit", path="twice", old="a = 1", new=""
    )
    assert "does not occur" in await refusal(room, "fs.edit", path="twice", old="c = 3", new="")
    assert "other white space it does, from line 2" in await refusal(
        room, "fs.edit", path="twice", old="  b = 2\n\n", new=""
    )
    await done(room, "fs.edit", path="twice", old="b = 2\n", new="")
    assert (room.root / "twice").read_text() == "a = 1\na = 1\n"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("fs.write", {"content": "mine"}), ("fs.edit", {"old": "two", "new": "2"}), ("fs.delete", {})],
)
async def test_what_has_changed_since_it_was_decided_is_left_alone(
    room: Room, name: str, arguments: dict[str, str]
) -> None:
    room.bound = (await preview(room, name, path="notes.txt", **arguments)).bound
    (room.root / "notes.txt").write_text("one\ntwo\nFOUR\n")
    outcome = await find(name).call({"path": "notes.txt", **arguments}, room)  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    assert "has changed since" in outcome.error.message
    assert (room.root / "notes.txt").read_text() == "one\ntwo\nFOUR\n"


async def test_a_write_that_was_interrupted_is_found_to_be_done(room: Room) -> None:
    arguments = {"path": "notes.txt", "content": "new"}
    room.bound = (await preview(room, "fs.write", **arguments)).bound
    first = await find("fs.write").call(arguments, room)  # type: ignore[arg-type]
    again = await find("fs.write").call(arguments, room)  # type: ignore[arg-type]
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert again.output["before"]["sha256"] == first.output["before"]["sha256"]


async def test_it_can_be_found_out_whether_a_change_took_effect(room: Room) -> None:
    edit = find("fs.edit")
    arguments = {"path": "notes.txt", "old": "two", "new": "2"}
    room.bound = (await preview(room, "fs.edit", **arguments)).bound
    assert isinstance(await edit.reconcile(arguments, room), Failed)  # type: ignore[arg-type]
    await edit.call(arguments, room)  # type: ignore[arg-type]
    assert isinstance(await edit.reconcile(arguments, room), Done)  # type: ignore[arg-type]
    (room.root / "notes.txt").write_text("something else")
    assert await edit.reconcile(arguments, room) is None  # type: ignore[arg-type]
    assert edit.info.reconciles
    assert not find("fs.read").info.reconciles


async def test_a_difference_is_bounded_and_says_so(room: Room) -> None:
    (room.root / "big").write_text("".join(f"{i}\n" for i in range(3000)))
    shown = await preview(room, "fs.write", path="big", content="".join(f"{i}!\n" for i in range(3000)))
    assert shown.show.count("\n") <= 610
    assert "more lines]" in shown.show
    huge = await preview(room, "fs.write", path="big", content="x\n" * 300_000)
    assert huge.show.count("\n") <= 610


async def test_the_expected_digest_is_a_precondition(room: Room) -> None:
    wrong = sha256(b"other").hexdigest()
    assert "not what was expected" in await refusal(room, "fs.write", path="notes.txt", content="x", expected=wrong)
    right = sha256(b"one\ntwo\nthree\n").hexdigest()
    await done(room, "fs.write", path="notes.txt", content="x", expected=right)


async def test_a_deleted_file_can_be_brought_back(room: Room) -> None:
    outcome = await call(room, "fs.delete", path="notes.txt")
    assert isinstance(outcome, Done)
    assert not (room.root / "notes.txt").exists()
    await done(room, "fs.restore", path="notes.txt", sha256=outcome.output["before"]["sha256"])
    assert (room.root / "notes.txt").read_text() == "one\ntwo\nthree\n"
    assert "is a folder" in await refusal(room, "fs.delete", path="src")


async def test_a_disk_that_refuses_is_a_failure_and_leaves_the_file(room: Room) -> None:
    with_bound = await preview(room, "fs.write", path="notes.txt", content="x" * 100_000)
    room.bound = with_bound.bound
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        outcome = await find("fs.write").call({"path": "notes.txt", "content": "x" * 100_000}, room)  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert isinstance(outcome, Failed)
    assert "file too large" in outcome.error.message
    assert sorted(entry.name for entry in room.root.iterdir()) == ["notes.txt", "src"]
    assert (room.root / "notes.txt").read_text() == "one\ntwo\nthree\n"
