"""Which store is meant: a path, or a database URL as in `FLEET_DATABASE_URL`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from fleetprompt.engine.core.errors import InvalidInput, StoreUnavailable
from fleetprompt.engine.store.backend import Backend

_FORMS = "give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"


def backend(target: str | Path, patience: float) -> Backend:
    """The database behind a path, `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE[?schema=NAME]`.

    Raises `InvalidInput` for another URL, and `StoreUnavailable` when the driver is not installed.
    """
    if isinstance(target, str) and "://" in target:
        return _of_url(target, patience)
    if not str(target):
        raise InvalidInput("the store has no path", hint=_FORMS)
    return _sqlite(Path(target), patience)


def _of_url(text: str, patience: float) -> Backend:
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidInput("this is not a database URL", hint=_FORMS) from error
    match url.drivername.partition("+")[0]:
        case "sqlite" if url.database and url.database != ":memory:":
            return _sqlite(Path(url.database), patience)
        case "postgresql" | "postgres":
            return _postgres(url, patience)
        case _:
            raise InvalidInput(f"{url.render_as_string()} cannot be a store", hint=_FORMS)


def _sqlite(path: Path, patience: float) -> Backend:
    from fleetprompt.engine.store.backend_sqlite import SqliteBackend

    return SqliteBackend(path.expanduser(), patience)


def _postgres(url: sa.URL, patience: float) -> Backend:
    try:
        from fleetprompt.engine.store.backend_postgres import PostgresBackend
    except ImportError as error:
        where = url.render_as_string()
        hint = "install it: pip install 'fleetprompt[postgres]'"
        raise StoreUnavailable("the driver for Postgres is missing", where=where, hint=hint) from error
    return PostgresBackend(url, patience)
