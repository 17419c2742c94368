"""Databases: what is read, what is changed, and what is neither."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fleetprompt.engine.core.errors import Failure, InvalidInput
from fleetprompt.engine.ports.world import Failed
from fleetprompt.engine.tools._sql_check import checked_changes, checked_query
from tests.tools.toolkit import Room, call, done, preview, problem, refusal

POSTGRES = os.environ.get("FLEET_TEST_POSTGRES_URL", "")
needs_postgres = pytest.mark.skipif(not POSTGRES, reason="FLEET_TEST_POSTGRES_URL is not set")


@pytest.fixture
def room(tmp_path: Path) -> Room:
    root = tmp_path / "work"
    root.mkdir()
    with sqlite3.connect(root / "shop.db") as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, amount REAL, raw BLOB)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, ?)",
            [(i, "paid" if i % 2 else "open", i / 2, b"\0\1") for i in range(1, 701)],
        )
    connection.close()
    return Room(root, {"shop": {"url": "sqlite:///shop.db"}, "till": {"url": "sqlite:///shop.db", "write": True}})


def rows(room: Room, sql: str = "SELECT count(*) FROM orders") -> Any:
    connection = sqlite3.connect(room.root / "shop.db")
    found = connection.execute(sql).fetchone()
    connection.close()
    return found[0]


async def test_rows_are_read(room: Room) -> None:
    sql = "SELECT status, count(*) AS n FROM orders WHERE amount > ? GROUP BY 1 ORDER BY 1"
    for name in ("shop", "shop.db", "./shop.db"):
        read = await done(room, "sql.query", database=name, sql=sql, parameters=[10])
        assert read == {
            "columns": ["status", "n"],
            "rows": [{"status": "open", "n": 340}, {"status": "paid", "n": 340}],
            "more": False,
        }
    assert (await preview(room, "sql.query", database="shop", sql=sql, parameters=[10])).kind == "sql"
    named = await done(
        room, "sql.query", database="shop", sql="SELECT :a AS a", parameters={"a": "x'; DROP TABLE orders"}
    )
    assert named["rows"] == [{"a": "x'; DROP TABLE orders"}]
    plan = await done(room, "sql.query", database="shop", sql="EXPLAIN QUERY PLAN SELECT * FROM orders")
    assert "SCAN" in str(plan["rows"])
    assert (await done(room, "sql.query", database="shop", sql="WITH x AS (SELECT 1 AS n) SELECT n, n FROM x"))[
        "columns"
    ] == [
        "n",
        "n_2",
    ]


async def test_results_are_bounded(room: Room) -> None:
    read = await done(room, "sql.query", database="shop", sql="SELECT * FROM orders")
    assert len(read["rows"]) == 500
    assert read["more"]
    assert read["rows"][0]["raw"] == "[2 B of binary data]"
    wide = await done(room, "sql.query", database="shop", sql="SELECT printf('%.*c', 5000, 'x') AS x, 9e999 AS y")
    assert wide["rows"][0]["x"].endswith("[… 3000 more characters]")
    assert wide["rows"][0]["y"] == "inf"
    many = await done(room, "sql.query", database="shop", sql="SELECT id, printf('%.*c', 2000, 'x') AS x FROM orders")
    assert len(str(many["rows"])) < 300_000
    assert many["more"]


async def test_a_query_without_end_is_stopped(room: Room) -> None:
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
    slow = Room(room.root, {"shop": {"url": "sqlite:///shop.db", "timeout": 0.2}})
    stopped = await _stopped(slow, "sql.query", database="shop", sql=endless)
    assert "took longer than 0.2 s" in stopped.message
    assert "[tools.sql.shop]" in stopped.hint


async def test_a_change_without_end_is_stopped_and_undone(room: Room) -> None:
    slow = Room(room.root, {"till": {"url": "sqlite:///shop.db", "write": True, "timeout": 0.2}})
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"
    sql = f"DELETE FROM orders; INSERT INTO orders (id) {endless}"
    assert "took longer than 0.2 s" in (await _stopped(slow, "sql.execute", database="till", sql=sql)).message
    assert rows(room) == 700


async def test_a_lock_of_somebody_else_is_not_waited_for_without_end(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetprompt.engine.tools._sql.BUSY", 0.1)
    other = sqlite3.connect(room.root / "shop.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    stopped = await _stopped(room, "sql.execute", database="till", sql="DELETE FROM orders")
    other.close()
    assert "locked by somebody else" in stopped.message
    assert stopped.hint


async def _stopped(room: Room, tool: str, **arguments: Any) -> Failure:
    """The failure of a call that took too long, as another attempt may mend it."""
    outcome = await call(room, tool, **arguments)
    assert isinstance(outcome, Failed), outcome
    assert outcome.error.code == "TIMEOUT"
    assert outcome.error.retryable
    return outcome.error


NO_QUERIES = [
    ("SELECT 1; DROP TABLE orders", "2 statements"),
    ("DROP TABLE orders", "this is DROP"),
    ("INSERT INTO orders (id) VALUES (1000)", "this is INSERT"),
    ("UPDATE orders SET status = 'x'", "this is UPDATE"),
    ("DELETE FROM orders", "this is DELETE"),
    ("PRAGMA journal_mode = DELETE", "this is PRAGMA"),
    ("ATTACH 'x.db' AS x", "this is ATTACH"),
    ("VACUUM INTO '/tmp/x'", "this is VACUUM"),
    ("EXPLAIN DELETE FROM orders", "EXPLAIN of something else"),
    ("BEGIN", "this is TRANSACTION"),
    ("CREATE TABLE x AS SELECT 1", "this is CREATE"),
    ("SELECT load_extension('x.so')", "`load_extension`"),
    ("SELECT writefile('/tmp/x', 'y')", "`writefile`"),
    ("SELECT readfile('/etc/passwd')", "`readfile`"),
    ("REPLACE INTO orders (id) VALUES (1)", "this is REPLACE"),
    ("", ""),
    ("SELECT FROM WHERE", "cannot be read"),
    ("-- nothing", "0 statements"),
    ("SELECT 1 /* ; */; /* x */ DELETE FROM orders", "2 statements"),
    ("((((" * 500 + "SELECT 1", ""),
]
NO_POSTGRES_QUERIES = [
    ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "changes data"),
    ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x", "changes data"),
    ("SELECT * INTO t2 FROM t", "writes into a table"),
    ("SELECT * FROM t FOR UPDATE", "locks rows"),
    ("COPY t TO PROGRAM 'sh'", "this is COPY"),
    ("EXPLAIN ANALYZE DELETE FROM t", ""),
    ("EXPLAIN (ANALYZE) DELETE FROM t", ""),
    ("DO $$ BEGIN END $$", "this is DO"),
    ("CALL f()", "this is CALL"),
    ("SET ROLE postgres", "this is SET"),
    ("LISTEN x", ""),
    ("SELECT pg_read_file('/etc/passwd')", "`pg_read_file`"),
    ("SELECT pg_catalog.\"pg_read_file\"('/etc/passwd')", "`pg_read_file`"),
    ("SELECT * FROM dblink('x', 'y') AS t(a int)", "`dblink`"),
    ("SELECT lo_import('/etc/passwd')", "`lo_import`"),
    ("SELECT PG_SLEEP(100)", "`pg_sleep`"),
    ("SELECT pg_terminate_backend(1)", "`pg_terminate_backend`"),
    ("SELECT set_config('role', 'postgres', false)", "`set_config`"),
    ("SELECT query_to_xml('delete from t', true, true, '')", "`query_to_xml`"),
    ("SELECT nextval('s')", "`nextval`"),
    ("SELECT (SELECT pg_ls_dir('/'))", "`pg_ls_dir`"),
    ("SELECT 1 WHERE EXISTS (SELECT pg_notify('a', 'b'))", "`pg_notify`"),
]


@pytest.mark.parametrize(("sql", "said"), NO_QUERIES)
async def test_what_is_not_one_select_is_refused(room: Room, sql: str, said: str) -> None:
    if not sql:
        assert "at least 1 character" in problem("sql.query", {"database": "shop", "sql": sql})
        return
    assert said in await refusal(room, "sql.query", database="shop", sql=sql)
    assert rows(room) == 700


@pytest.mark.parametrize(("sql", "said"), NO_POSTGRES_QUERIES)
def test_the_same_for_postgres(sql: str, said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked_query(sql, "postgres")
    assert said in caught.value.message


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO orders (id) VALUES (9999)",
        "ATTACH DATABASE 'x.db' AS x",
        "PRAGMA user_version = 5",
        "DROP TABLE orders",
        "SELECT load_extension('x')",
        "CREATE TEMP TABLE x (a)",
    ],
)
async def test_the_database_itself_refuses_what_the_check_would_have_missed(room: Room, sql: str) -> None:
    """The second fence, without the first one."""
    from fleetprompt.engine.tools._sql import database, open_sqlite
    from fleetprompt.engine.tools._workspace import Workspace

    found = database(room, "shop.db", writing=False)  # type: ignore[arg-type]
    with (
        pytest.raises((InvalidInput, sqlite3.Error)),
        open_sqlite(found, Workspace(room.root), writing=False) as connection,
    ):
        connection.execute(sql).fetchall()
    assert rows(room) == 700

    def without_authorizer() -> None:
        with open_sqlite(found, Workspace(room.root), writing=False) as connection:
            connection.set_authorizer(None)
            connection.execute("DELETE FROM orders")

    with pytest.raises(InvalidInput, match="readonly database"):
        without_authorizer()


async def test_files_are_confined(room: Room, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes((room.root / "shop.db").read_bytes())
    (room.root / "link.db").symlink_to(tmp_path / "other.db")
    sql = "SELECT 1"
    assert "symbolic link" in await refusal(room, "sql.query", database="link.db", sql=sql)
    assert "leaves the workspace" in await refusal(room, "sql.query", database="../other.db", sql=sql)
    assert "not in the workspace" in await refusal(room, "sql.query", database="/etc/passwd", sql=sql)
    assert "is private" in await refusal(room, "sql.query", database=".fleet/fleet.db", sql=sql)
    assert "there is no" in await refusal(room, "sql.query", database="none.db", sql=sql)
    assert not (room.root / "none.db").exists()
    (room.root / "text.db").write_text("this is not a database at all" * 100)
    assert "file is not a database" in await refusal(room, "sql.query", database="text.db", sql=sql)
    assert "databases: shop, till" in await refusal(room, "sql.query", database="shp", sql=sql)
    assert "not a file" in await refusal(room, "sql.query", database="./", sql=sql)


async def test_changes_are_counted_before_they_are_made(room: Room) -> None:
    arguments = {"database": "till", "sql": "UPDATE orders SET status = ? WHERE id <= 10", "parameters": ["void"]}
    shown = await preview(room, "sql.execute", **arguments)
    assert shown.risk == "changes 10 rows of till, as of now"
    assert shown.show == 'UPDATE orders SET status = ? WHERE id <= 10\n-- parameters: ["void"]'
    assert rows(room, "SELECT count(*) FROM orders WHERE status = 'void'") == 0
    assert (await done(room, "sql.execute", **arguments))["rows"] == 10
    assert rows(room, "SELECT count(*) FROM orders WHERE status = 'void'") == 10


async def test_statements_take_effect_together_or_not_at_all(room: Room) -> None:
    both = "CREATE TABLE notes (a TEXT); INSERT INTO notes VALUES ('a;b');"
    assert (await done(room, "sql.execute", database="till", sql=both))["statements"] == 2
    assert rows(room, "SELECT a FROM notes") == "a;b"
    half = "DELETE FROM notes; INSERT INTO missing VALUES (1)"
    assert "no such table" in await refusal(room, "sql.execute", database="till", sql=half)
    assert rows(room, "SELECT count(*) FROM notes") == 1


async def test_more_rows_than_was_said_change_nothing(room: Room) -> None:
    said = await refusal(room, "sql.execute", database="till", sql="DELETE FROM orders", max_rows=100)
    assert "700 rows or more would change" in said
    assert rows(room) == 700


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1", "SELECT is not run"),
        ("BEGIN; DELETE FROM orders; COMMIT", "TRANSACTION is not run"),
        ("ATTACH 'x.db' AS x", "ATTACH is not run"),
        ("PRAGMA writable_schema = 1", "PRAGMA is not run"),
        ("VACUUM", "VACUUM is not run"),
        ("CREATE TRIGGER x AFTER INSERT ON orders BEGIN DELETE FROM orders; END", ""),
        ("INSERT INTO orders (status) VALUES (load_extension('x'))", "`load_extension`"),
        ("-- nothing", "there is no statement"),
    ],
)
async def test_what_execute_does_not_run(room: Room, sql: str, said: str) -> None:
    assert said in await refusal(room, "sql.execute", database="till", sql=sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE FUNCTION f() RETURNS int AS 'x' LANGUAGE sql",
        "CREATE EXTENSION dblink",
        "DROP DATABASE x",
        "DO $$ BEGIN END $$",
        "COPY t FROM PROGRAM 'sh'",
        "GRANT ALL ON t TO x",
        "SET ROLE x",
        "COMMIT",
        "ALTER SYSTEM SET a = 1",
        "INSERT INTO t SELECT pg_read_file('x')",
        "CREATE TABLE t AS SELECT lo_import('x')",
    ],
)
def test_nor_in_postgres(sql: str) -> None:
    with pytest.raises(InvalidInput):
        checked_changes(sql, "postgres")


async def test_a_database_is_changed_only_where_the_operator_says_so(room: Room) -> None:
    said = await refusal(room, "sql.execute", database="shop", sql="DELETE FROM orders")
    assert "read-only for tools" in said
    assert "[tools.sql.shop] write = true" in said
    outcome = await call(room, "sql.execute", database="shop.db", sql="DELETE FROM orders WHERE id = 1")
    assert not isinstance(outcome, Failed)
    (room.root / ".git").mkdir()
    (room.root / ".git" / "x.db").write_bytes((room.root / "shop.db").read_bytes())
    assert "is never written" in await refusal(room, "sql.execute", database=".git/x.db", sql="DELETE FROM orders")


async def test_parameters_that_do_not_fit(room: Room) -> None:
    assert "do not fit" in await refusal(room, "sql.query", database="shop", sql="SELECT ?", parameters=[])
    two = "DELETE FROM orders WHERE id = ?; DELETE FROM orders"
    assert "go with one statement" in await refusal(room, "sql.execute", database="till", sql=two, parameters=[1])


async def test_named_parameters_go_with_all_statements(room: Room) -> None:
    two = "DELETE FROM orders WHERE id = :id; INSERT INTO orders (id) VALUES (:id + :more)"
    outcome = await done(room, "sql.execute", database="shop.db", sql=two, parameters={"id": 1, "more": 9000})
    assert outcome["rows"] == 2


@pytest.fixture
async def pg(tmp_path: Path) -> AsyncIterator[tuple[Room, str]]:
    import asyncpg

    table = f"tools_{uuid4().hex[:8]}"
    connection = await asyncpg.connect(POSTGRES)
    await connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, status text)")
    await connection.execute(f"INSERT INTO {table} SELECT i, 'open' FROM generate_series(1, 600) i")
    settings = {"url": POSTGRES, "timeout": 2.0}
    yield Room(tmp_path, {"ro": settings, "rw": {**settings, "write": True}}), table
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


@needs_postgres
@pytest.mark.postgres
async def test_postgres_is_read(pg: tuple[Room, str]) -> None:
    room, table = pg
    sql = f"SELECT id, status FROM {table} WHERE id > $1 ORDER BY id"
    read = await done(room, "sql.query", database="ro", sql=sql, parameters=[550], limit=2)
    assert read["rows"] == [{"id": 551, "status": "open"}, {"id": 552, "status": "open"}]
    assert read["more"]
    assert "Seq Scan" in str(await done(room, "sql.query", database="ro", sql=f"EXPLAIN SELECT * FROM {table}"))
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n % 7 FROM t) SELECT count(*) FROM t"
    assert "took longer than 2 s" in (await _stopped(room, "sql.query", database="ro", sql=endless)).message
    assert "are a list" in await refusal(room, "sql.query", database="ro", sql=sql, parameters={"a": 1})
    assert "does not exist" in await refusal(room, "sql.query", database="ro", sql="SELECT * FROM nowhere_at_all")


@needs_postgres
@pytest.mark.postgres
async def test_postgres_itself_refuses_to_write_for_a_query(pg: tuple[Room, str]) -> None:
    from fleetprompt.engine.tools._sql import database, open_postgres

    room, table = pg
    connection = await open_postgres(database(room, "ro", writing=False), room, writing=False)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="read-only transaction"):
        await connection.execute(f"DELETE FROM {table}")
    await connection.close()


@needs_postgres
@pytest.mark.postgres
async def test_postgres_is_changed(pg: tuple[Room, str]) -> None:
    room, table = pg
    sql = f"UPDATE {table} SET status = $1 WHERE id <= 5"
    assert "changes 5 rows" in (await preview(room, "sql.execute", database="rw", sql=sql, parameters=["paid"])).risk
    count = f"SELECT count(*) AS n FROM {table} WHERE status = 'paid'"
    assert (await done(room, "sql.query", database="ro", sql=count))["rows"] == [{"n": 0}]
    assert (await done(room, "sql.execute", database="rw", sql=sql, parameters=["paid"]))["rows"] == 5
    assert (await done(room, "sql.query", database="ro", sql=count))["rows"] == [{"n": 5}]
    endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n % 7 FROM t) SELECT count(*), '' FROM t"
    assert (await _stopped(room, "sql.execute", database="rw", sql=f"INSERT INTO {table} {endless}")).hint
    half = f"DELETE FROM {table}; INSERT INTO nowhere_at_all VALUES (1)"
    assert "does not exist" in await refusal(room, "sql.execute", database="rw", sql=half)
    assert "600 rows or more" in await refusal(
        room, "sql.execute", database="rw", sql=f"DELETE FROM {table}", max_rows=9
    )
    assert (await done(room, "sql.query", database="ro", sql=f"SELECT count(*) AS n FROM {table}"))["rows"] == [
        {"n": 600}
    ]


async def test_a_database_that_cannot_be_reached_does_not_tell_its_password(tmp_path: Path) -> None:
    canary = "CANARY-pw-77"
    for settings, why in (
        ({"url": "postgresql://u@127.0.0.1:1/x", "password": "PG"}, "cannot be reached"),
        ({"url": f"postgresql://u:{canary}@127.0.0.1:1/x"}, "cannot be reached"),
        ({"url": f"postgresql://u:{canary}@127.0.0.1:bad/x"}, "malformed"),
    ):
        room = Room(tmp_path, {"pg": settings}, secrets={"PG": canary})
        said = await refusal(room, "sql.query", database="pg", sql="SELECT 1")
        assert why in said
        assert canary not in said
