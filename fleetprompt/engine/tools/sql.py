"""Databases: `sql.query` reads with exactly one SELECT, `sql.execute` changes data in one transaction of its own.

Values are parameters and never become a part of the text.
"""

from __future__ import annotations

import sqlite3
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

from pydantic import Field

from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports.tool import ActionType, Preview, Reach, ToolRoom, Verdict
from fleetprompt.engine.ports.world import Done, Outcome, Unknown
from fleetprompt.engine.tools._sql import (
    MOST_ROWS,
    Database,
    Parameters,
    database,
    held,
    open_postgres,
    open_sqlite,
    postgres_driver,
    rows_of,
    too_slow,
)
from fleetprompt.engine.tools._sql_check import checked_changes, checked_query
from fleetprompt.engine.tools._workspace import Workspace
from fleetprompt.engine.tools.declare import ToolModel, tool

SqlText: TypeAlias = Annotated[str, Field(min_length=1, max_length=100_000)]
DatabaseName: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]
DEFAULT_CHANGED = 1000


@tool("sql.query")
class SqlQuery(ToolModel):
    """Read from a database with one SELECT, or the EXPLAIN of one. At most 500 rows are given; long values are cut.
    Values go into `parameters`: `?` or `:name` in SQLite, `$1` in Postgres."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("database",)

    database: DatabaseName
    """Name that the operator gave it, or the path of a SQLite file of the workspace."""
    sql: SqlText
    parameters: Parameters = Field([])
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = MOST_ROWS
    """Rows to give."""

    reach: ClassVar[Reach] = "read"
    repeat: ClassVar[Literal["safe", "never"]] = "safe"
    verdict: ClassVar[Verdict] = "allow"
    untrusted: ClassVar[bool] = True
    parallel: ClassVar[bool] = True
    action: ClassVar[ActionType] = "database_query"

    async def preview(self, room: ToolRoom) -> Preview:
        """The statement, once it is known to read only."""
        found = await self._checked(room)
        return Preview(
            summary=f"{found.name}: {_one_line(self.sql)}",
            kind="sql",
            show=_shown(self.sql, self.parameters),
            subject={"database": found.name},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Read, in a database that is opened for reading."""
        found = await self._checked(room)
        if found.dialect == "sqlite":
            return Done(await room.in_thread(self._sqlite, found, Workspace(room.root)))
        connection = await open_postgres(found, room, writing=False)
        asyncpg = postgres_driver()
        try:
            async with connection.transaction(readonly=True):
                statement = await connection.prepare(self.sql, timeout=found.timeout + 5)
                columns = [attribute.name for attribute in statement.get_attributes()]
                cursor = await statement.cursor(*_positional(self.parameters), timeout=found.timeout + 5)
                rows = await cursor.fetch(self.limit + 1, timeout=found.timeout + 5)
            return Done(rows_of(columns, [tuple(row) for row in rows], self.limit))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            raise _postgres_said(error, found) from None
        finally:
            connection.terminate()

    async def _checked(self, room: ToolRoom) -> Database:
        found = database(room, self.database, writing=False)
        await room.in_thread(checked_query, self.sql, found.dialect)
        return found

    def _sqlite(self, found: Database, place: Workspace) -> dict[str, Any]:
        with open_sqlite(found, place, writing=False) as connection:
            cursor = _run(connection, self.sql, self.parameters)
            columns = [each[0] for each in cursor.description or ()]
            return rows_of(columns, cursor.fetchmany(self.limit + 1), self.limit)


@tool("sql.execute")
class SqlExecute(ToolModel):
    """Change data or tables of a database. All statements are one transaction: they take effect together or not at all.
    Where more rows would change than `max_rows` says, nothing does. Values go into `parameters`: `:name` in SQLite,
    which all statements can use; `?` there, or `$1` in Postgres, for one statement."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("database", "rows")

    database: DatabaseName
    """Name that the operator gave it, or the path of a SQLite file of the workspace."""
    sql: SqlText
    parameters: Parameters = Field([])
    max_rows: Annotated[int, Field(ge=0, le=1_000_000)] = DEFAULT_CHANGED
    """The most rows that may be inserted, changed and deleted in all."""

    action: ClassVar[ActionType] = "database_query"

    async def preview(self, room: ToolRoom) -> Preview:
        """The statements, and how many rows they change: they are run, and rolled back."""
        found, statements = await self._checked(room)
        rows = await self._run(room, found, statements, commit=False)
        return Preview(
            summary=f"{found.name}: {_one_line(self.sql)} ({rows} rows)",
            kind="sql",
            show=_shown(self.sql, self.parameters),
            risk=f"changes {rows} rows of {found.name}, as of now",
            subject={"database": found.name, "rows": rows},
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Run them in one transaction."""
        found, statements = await self._checked(room)
        try:
            rows = await self._run(room, found, statements, commit=True)
        except _InDoubt as error:
            return Unknown(str(error))
        return Done({"database": found.name, "rows": rows, "statements": len(statements)})

    async def _checked(self, room: ToolRoom) -> tuple[Database, list[str]]:
        found = database(room, self.database, writing=True)
        statements: list[str] = await room.in_thread(checked_changes, self.sql, found.dialect)
        named_ones = isinstance(self.parameters, dict) and found.dialect == "sqlite"
        if self.parameters and len(statements) > 1 and not named_ones:
            hint = "name them (`:name`)" if found.dialect == "sqlite" else "make a call for each"
            raise InvalidInput(f"parameters by position go with one statement; these are {len(statements)}", hint=hint)
        return found, statements

    async def _run(self, room: ToolRoom, found: Database, statements: list[str], *, commit: bool) -> int:
        if found.dialect == "sqlite":
            return cast("int", await room.in_thread(self._sqlite, found, Workspace(room.root), statements, commit))
        return await self._postgres(room, found, statements, commit)

    def _sqlite(self, found: Database, place: Workspace, statements: list[str], commit: bool) -> int:
        with open_sqlite(found, place, writing=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                rows = 0
                for statement in statements:
                    rows += max(0, _run(connection, statement, self.parameters).rowcount)
                    self._bounded(rows)
            except BaseException:
                connection.rollback()
                raise
            if not commit:
                connection.rollback()
                return rows
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise _InDoubt(f"the transaction on `{found.name}` could not be ended: {error}") from None
            return rows

    async def _postgres(self, room: ToolRoom, found: Database, statements: list[str], commit: bool) -> int:
        connection = await open_postgres(found, room, writing=True)
        asyncpg = postgres_driver()
        broken = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
        try:
            transaction = connection.transaction()
            await transaction.start()
            rows = 0
            for statement in statements:
                status: str = await connection.execute(
                    statement, *_positional(self.parameters), timeout=found.timeout + 5
                )
                last = status.rpartition(" ")[2]
                rows += int(last) if last.isdecimal() else 0
                self._bounded(rows)
            if not commit:
                await transaction.rollback()
                return rows
        except broken as error:
            # The transaction ends with the connection, undone.
            connection.terminate()
            raise _postgres_said(error, found) from None
        except BaseException:
            connection.terminate()
            raise
        try:
            await transaction.commit()
        except asyncpg.IntegrityConstraintViolationError as error:
            # A constraint that is looked at last: the database says that nothing was done.
            raise _postgres_said(error, found) from None
        except broken as error:
            raise _InDoubt(f"the transaction on `{found.name}` could not be ended: {type(error).__name__}") from None
        finally:
            connection.terminate()
        return rows

    def _bounded(self, rows: int) -> None:
        if rows > self.max_rows:
            raise InvalidInput(
                f"{rows} rows or more would change, and `max_rows` is {self.max_rows}: nothing was done",
                hint="narrow the statement, or raise `max_rows`",
            )


class _InDoubt(Exception):
    """Nobody knows whether the transaction took effect."""


def _run(connection: sqlite3.Connection, sql: str, parameters: Parameters) -> sqlite3.Cursor:
    try:
        return connection.execute(sql, parameters)
    except (sqlite3.ProgrammingError, sqlite3.Warning, OverflowError) as error:
        raise InvalidInput(f"the statement and its parameters do not fit: {error}") from None


def _positional(parameters: Parameters) -> list[Any]:
    if isinstance(parameters, dict):
        raise InvalidInput("parameters of Postgres are a list: the first one is $1")
    return list(parameters)


def _postgres_said(error: BaseException, found: Database) -> FleetError:
    asyncpg = postgres_driver()
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return too_slow(found)
    if isinstance(error, asyncpg.LockNotAvailableError):
        return held(found)
    return InvalidInput(f"`{found.name}`: {inert(str(error))[:500] or type(error).__name__}")


def _one_line(sql: str) -> str:
    text = inert(" ".join(sql.split()))
    return text if len(text) <= 200 else f"{text[:200]} …"


def _shown(sql: str, parameters: Parameters) -> str:
    import msgspec

    text = "\n".join(inert(line) for line in sql.splitlines())
    if not parameters:
        return text
    return f"{text}\n-- parameters: {inert(msgspec.json.encode(parameters).decode())}"
