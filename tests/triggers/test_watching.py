"""Which changes of files count, as files are looked at again and again; and which files patterns mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.watching import BEHIND, Files, Stamp, Watch, firing_of, late, meanwhile, signal_of
from fleetprompt.engine.triggers.watch import places, scan

WATCH = Watch(workflow="w", trigger="t", paths=("*",), settle=2.0)
ALL = Watch(workflow="w", trigger="t", paths=("*",), events=("created", "modified", "deleted"), settle=2.0)
ONE, TWO = Stamp(1, 10, 1.0), Stamp(2, 10, 2.0)


def told(files: Files, now: float) -> list[tuple[str, str]]:
    return [(change.path, change.event) for change in files.settled(now)]


# ---------------------------------------------------------------- what has changed


def test_a_file_counts_when_it_has_been_left_alone() -> None:
    files = Files(WATCH, {}, 9.0)
    files.look({"a": ONE}, 10.0)
    assert (told(files, 11.9), files.next) == ([], 12.0)
    files.look({"a": TWO}, 11.9)
    assert told(files, 13.0) == []
    files.look({"a": TWO}, 13.9)
    assert told(files, 13.9) == [("a", "created")]
    assert (told(files, 99.0), files.next) == ([], None)
    files.look({"a": ONE}, 100.0)
    assert told(files, 102.0) == [("a", "modified")]


def test_what_came_and_went_was_not_there_and_what_was_replaced_was_modified() -> None:
    files = Files(ALL, {"a": ONE}, 0.0)
    files.look({"a": ONE, "b": ONE}, 1.0)
    files.look({"a": ONE}, 2.0)
    assert told(files, 5.0) == []
    files.look({}, 6.0)
    files.look({"a": TWO}, 7.0)
    assert told(files, 9.0) == [("a", "modified")]
    files.look({}, 10.0)
    assert told(files, 12.0) == [("a", "deleted")]
    files.look({"a": TWO}, 13.0)
    assert told(files, 15.0) == [("a", "created")]


def test_until_when_all_is_decided_about_is_before_what_is_restless() -> None:
    files = Files(WATCH, {}, 9.0)
    files.look({"a": ONE}, 10.0)
    files.look({"a": TWO, "b": ONE}, 11.0)
    assert files.upto == 9.0 - BEHIND, "when `a` had not changed yet"
    files.look({"a": TWO, "b": ONE}, 13.0)
    assert told(files, 13.0) == [("a", "created"), ("b", "created")]
    assert files.upto == 13.0 - BEHIND


@given(
    looks=st.lists(st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)), min_size=1, max_size=12),
    quiet=st.floats(2.0, 10.0),
)
def test_in_the_end_all_that_differs_was_told_and_nothing_twice(looks: list[dict[str, int]], quiet: float) -> None:
    files, known = Files(ALL, {}, 0.0), dict[str, Stamp]()
    now, found = 0.0, dict[str, Stamp]()
    for look in looks:
        now += 1.0
        found = {name: Stamp(content, content) for name, content in look.items()}
        files.look(found, now)
        for change in files.settled(now):
            assert known.get(change.path) != (None if change.event == "deleted" else change.stamp)
            if change.event == "deleted":
                del known[change.path]
            else:
                assert (change.event == "created") == (change.path not in known)
                known[change.path] = change.stamp
    for change in files.settled(now + quiet):
        if change.event == "deleted":
            del known[change.path]
        else:
            known[change.path] = change.stamp
    assert known == found
    assert files.next is None


# ---------------------------------------------------------------- while nobody was there


@pytest.mark.parametrize(
    ("catchup", "fired", "missed"),
    [("all", ["a", "b", "c"], []), ("latest", ["c"], ["a", "b"]), ("none", [], ["a", "b", "c"])],
)
def test_what_nobody_was_there_for(catchup: str, fired: list[str], missed: list[str]) -> None:
    watch = Watch(workflow="w", trigger="t", paths=("*",), catchup=catchup)  # type: ignore[arg-type]
    found = {"old": Stamp(1, 1, 50.0), "c": Stamp(9, 1, 300.0), "a": Stamp(1, 1, 101.0), "b": Stamp(2, 1, 200.0)}
    changes = meanwhile(watch, found, 100.0)
    wanted, others = late(watch, changes, 1000.0)
    assert [change.path for change in wanted] == fired
    assert [firing.scheduled[0] for firing in others] == missed
    assert {firing.outcome for firing in others} <= {"missed"}
    assert all(firing.reason for firing in others)


def test_a_change_of_a_moment_ago_is_in_time() -> None:
    watch = Watch(workflow="w", trigger="t", paths=("*",), catchup="none")
    changes = meanwhile(watch, {"a": Stamp(1, 1, 950.0), "b": Stamp(1, 1, 100.0)}, 0.0)
    assert [change.path for change in late(watch, changes, 1000.0)[0]] == ["a"]


def test_of_very_many_only_the_latest_have_a_record_of_their_own() -> None:
    watch = Watch(workflow="w", trigger="t", paths=("*",), catchup="none")
    changes = meanwhile(watch, {f"f{n:04}": Stamp(n, 1, float(n)) for n in range(1, 1001)}, 0.0)
    _, missed = late(watch, changes, 5000.0)
    assert len(missed) == 101
    assert "900 files" in missed[0].reason
    assert missed[-1].scheduled == "f1000@1000-1"


def test_a_change_is_known_by_its_path_and_content() -> None:
    def key(path: str, stamp: Stamp) -> str:
        return meanwhile(WATCH, {path: stamp}, 0.0)[0].key

    assert key("a", Stamp(1, 2, 5.0)) == key("a", Stamp(1, 2, 9.0)) == "a@1-2"
    assert len({key("a", ONE), key("a", TWO), key("b", ONE), key("a", Stamp(1, 11, 1.0))}) == 4
    for hostile in ("x" * 4000, "a\nb", "\x1b[2J", "‮gnp.exe", "a\tb"):
        shown = key(hostile, ONE)
        assert shown.startswith("sha256-")
        assert shown.isprintable()
        change = meanwhile(WATCH, {hostile: ONE}, 0.0)[0]
        firing = firing_of(WATCH, change, 1.0, "fired")
        assert firing.reason.isprintable()
        assert signal_of(WATCH, change, firing).data["path"] == hostile


# ---------------------------------------------------------------- which files


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def meant(root: Path, *patterns: str, base: str = "workflows") -> list[str]:
    return sorted(scan(places(patterns, root / base, root), root)[0])


def test_patterns(tmp_path: Path) -> None:
    tree(tmp_path, "in/a.csv", "in/b.txt", "in/.c.csv", "in/x/d.csv", "in/x/y/e.csv", "in/.git/f.csv")
    tree(tmp_path, "workflows/g.csv")
    tree(tmp_path, "in/[x].csv", "in/node_modules/h.csv", "in/.hid/i.csv")
    assert meant(tmp_path, "g.csv") == ["workflows/g.csv"]
    assert meant(tmp_path, "../in/*.csv") == ["in/[x].csv", "in/a.csv"]
    assert meant(tmp_path, "../in/**/*.csv") == ["in/[x].csv", "in/a.csv", "in/x/d.csv", "in/x/y/e.csv"]
    assert meant(tmp_path, "../in/**") == ["in/[x].csv", "in/a.csv", "in/b.txt", "in/x/d.csv", "in/x/y/e.csv"]
    assert meant(tmp_path, "../in/?/*.csv", "../in/?.txt") == ["in/b.txt", "in/x/d.csv"]
    assert meant(tmp_path, "../in/.c*") == ["in/.c.csv"]
    assert meant(tmp_path, "../in/[ab].csv", "in/**/none") == ["in/a.csv"]
    assert meant(tmp_path, "in/**/**/**/e.csv", base=".") == ["in/x/y/e.csv"]
    assert meant(tmp_path, "nowhere/*", "in", "in/a.csv/*", base=".") == []


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../../*", "../..", "a/../../../x", "*/../../x", "..", "a/**/.."])
def test_patterns_that_lead_out_of_the_project(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InvalidInput):
        places([pattern], tmp_path / "project/workflows", tmp_path / "project")


def test_links_lead_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "project"
    tree(tmp_path, "secret/s.txt", "project/in/a.txt", "project/data/b.txt")
    (root / "in/out").symlink_to(tmp_path / "secret")
    (root / "in/out.txt").symlink_to(tmp_path / "secret/s.txt")
    (root / "in/loop").symlink_to(root / "in")
    (root / "in/b.txt").symlink_to(root / "data/b.txt")
    (root / "in/gone.txt").symlink_to(root / "data/gone.txt")
    assert meant(root, "in/**/*.txt", base=".") == ["in/a.txt", "in/b.txt"]
    (root / "way").symlink_to(tmp_path / "secret")
    with pytest.raises(InvalidInput):
        places(["way/*"], root, root)
    found = places(["data/*"], root, root)
    (root / "data").rename(root / "data2")
    (root / "data").symlink_to(tmp_path / "secret")
    assert scan(found, root) == ({}, [])


def test_what_is_no_file_and_what_has_no_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).write_text("x")
    tree(tmp_path, "new\nline", "${{ secrets.X }}", "`rm -rf`", "--help", "é")
    files, nameless = scan(places(["*"], tmp_path, tmp_path), tmp_path)
    assert sorted(files) == ["${{ secrets.X }}", "--help", "`rm -rf`", "new\nline", "é"]
    assert nameless == ["\\xff.txt"]


def test_folders_within_folders_come_to_an_end(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(120):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x").write_text("")
    tree(tmp_path, "d/x")
    assert meant(tmp_path, "**/x", base=".") == ["d/x"]
