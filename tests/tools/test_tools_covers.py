"""What is allowed for later calls, too, is what was shown: another body, content or commit is asked about again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.tools.test_tools_git import git
from tests.tools.toolkit import Room, preview

SETTINGS: dict[str, dict[str, Any]] = {
    "http": {"hosts": ["api.example.com", "api.example.com:8443"]},
    "sql": {"till": {"url": "sqlite:///shop.db", "write": True}},
    "notify": {"desk": {"file": "out/desk.jsonl"}},
}
URL = "https://api.example.com/v1/restart?dry=1"
POST = {"method": "POST", "url": URL, "json": {"all": False}}
WRITE = {"path": "a.txt", "content": "x" * 300}
SQL = {"database": "till", "sql": "DELETE FROM orders WHERE id = ?", "parameters": [1]}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    root: Path = tmp_path_factory.mktemp("work")
    with sqlite3.connect(root / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    connection.close()
    (root / "a.txt").write_text("one\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "First")
    return Room(root)


@pytest.mark.parametrize(
    ("tool", "arguments", "others"),
    [
        (
            "http.request",
            POST,
            [
                {"json": {"all": True}},
                {"json": None, "body": '{"all":false}'},
                {"json": None},
                {"method": "PUT"},
                {"url": "https://api.example.com/v1/restart?dry=0"},
                {"url": "https://api.example.com/v1/restart"},
                {"url": "https://api.example.com:8443/v1/restart?dry=1"},
                {"query": {"force": "1"}},
                {"headers": {"X-HTTP-Method-Override": "DELETE"}},
            ],
        ),
        ("http.request", {"url": URL}, [{"url": URL + "&all=1"}, {"method": "HEAD"}]),
        ("shell.run", {"argv": ["ls", "-l"]}, [{"argv": ["ls", "-l", "."]}, {"argv": ["ls", "-l"], "cwd": "out"}]),
        ("fs.write", WRITE, [{"path": "b.txt"}, {"content": "x" * 299 + "y"}]),
        ("fs.edit", {"path": "a.txt", "old": "one", "new": "two"}, [{"new": "three"}]),
        ("sql.execute", SQL, [{"parameters": [2]}, {"sql": "DELETE FROM orders WHERE id > ?"}, {"max_rows": 9000}]),
        ("notify", {"channel": "desk", "text": "a"}, [{"text": "b"}, {"level": "error"}]),
        ("git.branch", {"name": "a"}, [{"name": "b"}]),
    ],
)
async def test_another_call_is_not_covered(
    room: Room, tool: str, arguments: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    (room.root / "out").mkdir(exist_ok=True)
    room.settings = SETTINGS.get(tool.partition(".")[0], {})
    known = (await preview(room, tool, **arguments)).covers
    assert known
    assert (await preview(room, tool, **arguments)).covers == known
    for other in others:
        changed = {name: value for name, value in (arguments | other).items() if value is not None}
        assert (await preview(room, tool, **changed)).covers != known, other


async def test_another_commit_behind_the_same_name_is_not_covered(room: Room) -> None:
    room.settings = {}
    before = (await preview(room, "git.tag", name="v1", message="One")).covers
    git(room.root, "commit", "-q", "--allow-empty", "-m", "Second")
    assert (await preview(room, "git.tag", name="v1", message="One")).covers != before
