"""Databases that tools may use: found by name or as a file of the workspace, and opened for one call."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote, urlsplit

from msgspec import Struct
from pydantic import Field, field_validator

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.errors import FleetError, InvalidInput, NotFound, TimedOut
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.outside.wording import size
from fleetprompt.engine.ports.tool import ToolRoom
from fleetprompt.engine.tools._settings import Section, Unfit, read_section
from fleetprompt.engine.tools._workspace import Parts, Workspace, named

MOST_ROWS = 500
MOST_BYTES = 256 * 1024
CELL_CHARS = 2000
BUSY = 5.0
"""Seconds to wait for somebody else's lock."""
CONNECT = 10.0
"""Seconds to wait for a connection."""
_STEPS = 1000
_READS = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"})
_NO_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zipfile"})
_NEVER = frozenset((sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA))

Scalar: TypeAlias = str | int | float | bool | None
Parameters: TypeAlias = list[Scalar] | dict[str, Scalar]


class SqlDatabase(Section):
    """`[tools.sql.NAME]`."""

    url: str
    """`sqlite:///path` (relative to the project) or `postgresql://user@host/database`."""
    password: str | None = None
    """Name of the secret with the password of a Postgres database."""
    write: bool = False
    """Whether sql.execute may be asked to change it."""
    timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds that one statement may take."""

    @field_validator("url")
    @classmethod
    def _can_be_opened(cls, url: str) -> str:
        how = "write sqlite:///path or postgresql://user@host/database"
        scheme = _scheme(url)
        if scheme == "sqlite" and not file_of(url):
            raise Unfit("this names no file", how)
        if scheme == "postgres":
            try:
                _ = urlsplit(url).port
            except ValueError:
                raise Unfit("the host or port of this address is malformed", how) from None
        elif scheme != "sqlite":
            said = f"databases of kind `{inert(scheme)[:40]}` cannot be opened" if scheme else "this is no address"
            raise Unfit(said, did_you_mean(scheme, ("sqlite", "postgresql")) or how)
        return url

    @property
    def file(self) -> str:
        """Path of a SQLite database, relative to the project; empty for Postgres."""
        return file_of(self.url) if _scheme(self.url) == "sqlite" else ""


def _scheme(url: str) -> str:
    scheme = url.partition("://")[0].partition("+")[0] if "://" in url else ""
    return "postgres" if scheme == "postgresql" else scheme


def file_of(url: str) -> str:
    """Path of the file that an address of SQLite names; empty: none."""
    return url.partition(":///")[2]


class Database(Struct, frozen=True):
    """A database that was found."""

    name: str
    dialect: str
    """`sqlite` or `postgres`, as sqlglot calls them."""
    timeout: float
    path: Path | None = None
    parts: Parts | None = None
    """Of a file of the workspace, which is opened without following links."""
    url: str = ""
    secret: str | None = None


def database(room: ToolRoom, name: str, *, writing: bool) -> Database:
    """The database of that name, or the SQLite file of the workspace with that path. Raises `InvalidInput`."""
    tables: Mapping[str, Any] = room.settings
    if name in tables:
        known = read_section(("tools", "sql", name), SqlDatabase, tables[name])
        if writing and not known.write:
            raise InvalidInput(
                f"the database `{name}` is read-only for tools",
                hint=f"the operator sets [tools.sql.{name}] write = true",
            )
        if known.file:
            return Database(name, "sqlite", known.timeout, path=Path(room.root) / known.file)
        url = "postgresql" + known.url[known.url.index(":") :]
        return Database(name, "postgres", known.timeout, url=url, secret=known.password)
    if "/" not in name and "." not in name:
        known_names = ", ".join(sorted(tables)) or "none"
        raise NotFound(
            f"there is no database {named(name)}", hint=f"databases: {known_names}; or a path of a SQLite file"
        )
    place = Workspace(room.root)
    parts = place.parts(name, writing=writing)
    return Database("/".join(parts), "sqlite", 30.0, path=place.root.joinpath(*parts), parts=parts)


@contextmanager
def open_sqlite(found: Database, place: Workspace, *, writing: bool) -> Generator[sqlite3.Connection]:
    """A connection to a file that has to exist; the time of everything done with it is bounded. Raises `InvalidInput`,
    `TimedOut`."""
    assert found.path is not None
    before = _identity(found, place)
    mode = "rw" if writing else "ro"
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(found.path))}?mode={mode}", uri=True, timeout=BUSY, isolation_level=None
        )
    except sqlite3.Error as error:
        raise InvalidInput(f"{named(found.name)} cannot be opened: {error}") from None
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        # SQLite opens by path: whoever swapped the file meanwhile would have to swap it twice.
        if _identity(found, place) != before:
            raise InvalidInput(f"{named(found.name)} is another file than a moment ago")
        until = time.monotonic() + found.timeout
        connection.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
        connection.set_authorizer(_may_write if writing else _may_read)
        yield connection
    except sqlite3.DatabaseError as error:
        raise _complaint(error, found) from None
    finally:
        connection.close()


def _identity(found: Database, place: Workspace) -> tuple[int, int]:
    if found.parts is None:
        try:
            known = found.path.stat() if found.path is not None else None
        except OSError:
            known = None
        if known is None:
            raise NotFound(f"the file of the database `{found.name}` does not exist: {found.path}")
        return known.st_dev, known.st_ino
    with place.file(found.parts) as (_, known):
        return known.st_dev, known.st_ino


def _complaint(error: sqlite3.DatabaseError, found: Database) -> FleetError:
    text = str(error)
    if text == "interrupted":
        return too_slow(found)
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return held(found)
    if "not authorized" in text or "prohibited" in text:
        return InvalidInput(f"the database refuses: {text}")
    return InvalidInput(f"{named(found.name)}: {text[:500]}")


def too_slow(found: Database) -> TimedOut:
    """A statement was stopped, and nothing of it took effect."""
    longer = "give the file a name and a longer `timeout` under [tools.sql.NAME]"
    if found.parts is None:
        longer = f"let the operator raise `timeout` under [tools.sql.{found.name}]"
    return TimedOut(
        f"{named(found.name)}: it took longer than {found.timeout:g} s and was stopped without effect",
        hint=f"ask for less at once (fewer rows, an index, no cross join), or {longer}",
    )


def held(found: Database) -> TimedOut:
    """Somebody else's transaction held what was needed, and nothing took effect."""
    return TimedOut(
        f"{named(found.name)} is locked by somebody else; after {BUSY:g} s the wait was given up, without effect",
        hint="try again later, or end the transaction that holds the lock",
    )


def _may_read(action: int, first: str | None, second: str | None, *rest: str | None) -> int:
    del rest
    if action in _READS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION:
        return sqlite3.SQLITE_DENY if (second or "").casefold() in _NO_FUNCTIONS else sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").casefold() in _PRAGMAS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _may_write(action: int, first: str | None, second: str | None, *rest: str | None) -> int:
    if action in _NEVER:
        return _may_read(action, first, second, *rest)
    if action == sqlite3.SQLITE_FUNCTION:
        return _may_read(action, first, second, *rest)
    return sqlite3.SQLITE_OK


def postgres_driver() -> Any:
    """The module `asyncpg`. Raises `InvalidInput` where it is not installed."""
    try:
        return import_module("asyncpg")
    except ImportError:
        raise InvalidInput(
            "the driver of Postgres is not installed", hint="pip install 'fleetprompt[postgres]' where the engine runs"
        ) from None


async def open_postgres(found: Database, room: ToolRoom, *, writing: bool) -> Any:
    """A connection to Postgres, in which every statement is bounded. Raises `InvalidInput`, `TimedOut`."""
    asyncpg = postgres_driver()
    password = room.secret(found.secret) if found.secret is not None else None
    settings = {
        "statement_timeout": str(int(found.timeout * 1000)),
        "lock_timeout": str(int(BUSY * 1000)),
        "idle_in_transaction_session_timeout": str(int(found.timeout * 1000) + 10_000),
        "default_transaction_read_only": "off" if writing else "on",
        "application_name": "fleetprompt-tool",
    }
    given: dict[str, Any] = {"password": password} if password is not None else {}
    try:
        return await asyncpg.connect(found.url, timeout=CONNECT, server_settings=settings, **given)
    except TimeoutError:
        raise TimedOut(
            f"the database `{found.name}` did not answer within {CONNECT:g} s",
            hint="see whether it runs and can be reached from here",
        ) from None
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        text = type(error).__name__ if isinstance(error, ValueError) else str(error) or type(error).__name__
        for secret in filter(None, (password, urlsplit(found.url).password)):
            text = text.replace(secret, "•••")
        raise InvalidInput(f"the database `{found.name}` cannot be reached: {text[:300]}") from None


def rows_of(columns: Sequence[str], rows: Sequence[Sequence[Any]], limit: int) -> dict[str, Any]:
    """Rows as a result: no more than the limit, and no more bytes than a model should be given."""
    names = _unique(columns)
    told: list[dict[str, Any]] = []
    spent = 0
    for row in rows[:limit]:
        cells = {name: cell(value) for name, value in zip(names, row, strict=True)}
        spent += sum(len(str(value)) + len(name) + 6 for name, value in cells.items())
        if spent > MOST_BYTES:
            break
        told.append(cells)
    return {"columns": names, "rows": told, "more": len(told) < len(rows)}


def cell(value: Any) -> Any:
    """A value of a table as JSON."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return f"[{size(len(value))} of binary data]"
    text = value.isoformat() if isinstance(value, datetime | date) else str(value)
    return text if len(text) <= CELL_CHARS else f"{text[:CELL_CHARS]} [… {len(text) - CELL_CHARS} more characters]"


def _unique(columns: Sequence[str]) -> list[str]:
    names: list[str] = []
    for column in columns:
        name, number = column, 2
        while name in names:
            name, number = f"{column}_{number}", number + 1
        names.append(name)
    return names
