"""What a text of SQL does, told by its syntax tree: never by how it begins.

It is the first of two fences, and the one that can say what is wrong. The second is the database itself, opened so that
it could not do what is refused here.
"""

from __future__ import annotations

import logging
import re
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any

from fleetprompt.engine.core.errors import InvalidInput

MOST_CHARS = 100_000
_EXPLAIN = re.compile(r"^\s*explain\s+(query\s+plan\s+)?", re.IGNORECASE)
FUNCTIONS = (
    "load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zipfile", "fsdir", "sqlar_*", "shell_*",
    "pg_read_*", "pg_write_*", "pg_ls_*", "pg_stat_file", "pg_file_*", "pg_logdir_*", "pg_current_logfile", "lo_*",
    "loread", "lowrite", "dblink*", "pg_sleep*", "pg_terminate_backend", "pg_cancel_backend", "pg_reload_conf",
    "pg_rotate_logfile*", "pg_switch_*", "pg_create_*", "pg_drop_*", "pg_backup_*", "pg_start_backup", "pg_stop_backup",
    "pg_promote", "pg_wal_*", "pg_replication_*", "pg_logical_*", "pg_advisory_*", "pg_try_advisory_*", "pg_notify",
    "pg_import_*", "pg_export_*", "pg_stat_reset*", "pg_log_*", "set_config", "setval", "nextval", "currval", "lastval",
    "query_to_*", "cursor_to_*", "table_to_xml*", "schema_to_xml*", "database_to_xml*", "xmlparse_*", "plpy_*",
    "system", "sys_exec", "sys_eval", "xp_*", "txid_current", "pg_current_xact_id", "pg_extension_config_dump",
)  # fmt: skip
"""Functions that do something, or read what is no table: files, other servers, other sessions."""
CREATED = frozenset({"TABLE", "INDEX", "VIEW", "SEQUENCE", "SCHEMA"})


def checked_query(text: str, dialect: str) -> None:
    """Raise `InvalidInput` unless the text is exactly one statement that only reads."""
    rest = _EXPLAIN.sub("", text, count=1)
    explained = rest != text
    statements = _parsed(rest, dialect)
    if len(statements) != 1:
        raise InvalidInput(f"this is {len(statements)} statements; sql.query takes exactly one SELECT")
    exp = _trees()

    root = statements[0][1]
    while isinstance(root, exp.Subquery):
        root = root.this
    if not isinstance(root, exp.Select | exp.SetOperation | exp.Values):
        name = "EXPLAIN of something else" if explained else _name(root)
        raise InvalidInput(
            f"this is {name}, and sql.query takes a SELECT or the EXPLAIN of one",
            hint="sql.execute changes data, and asks for it first",
        )
    for kind, reason in (
        (exp.DML, "changes data"),
        (exp.Into, "writes into a table"),
        (exp.Lock, "locks rows"),
        (exp.DDL, "changes the schema"),
        (exp.Command, "is not understood"),
    ):
        for node in root.find_all(kind):
            if not isinstance(node, exp.Query):
                raise InvalidInput(f"a part of it {reason} ({_name(node)}), and sql.query only reads")
    _refuse_functions(root)


def checked_changes(text: str, dialect: str) -> list[str]:
    """The statements of a text that changes data or tables. Raises `InvalidInput` for any other."""
    exp = _trees()

    statements = _parsed(text, dialect)
    if not statements:
        raise InvalidInput("there is no statement in it")
    allowed = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)
    for _, root in statements:
        if not isinstance(root, allowed):
            raise InvalidInput(
                f"{_name(root)} is not run by sql.execute",
                hint="it runs INSERT, UPDATE, DELETE, MERGE, TRUNCATE, and CREATE, ALTER and DROP of tables, indexes, "
                "views; the transaction is its own",
            )
        kind = str(root.args.get("kind") or "TABLE").upper()
        if isinstance(root, exp.Create | exp.Drop | exp.Alter) and kind not in CREATED:
            raise InvalidInput(f"{_name(root)} {kind} is not run by sql.execute", hint="a person has to do that")
        if any(True for _ in root.find_all(exp.Command)):
            raise InvalidInput(f"a part of this {_name(root)} is not understood")
        _refuse_functions(root)
    return [piece for piece, _ in statements]


def _trees() -> Any:
    """The classes of syntax trees. Imported late: it takes longer than a hundred queries."""
    return import_module("sqlglot.expressions")


def _parsed(text: str, dialect: str) -> list[tuple[str, Any]]:
    """The statements, each as it is written and as a tree. Raises `InvalidInput`."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    # It warns of syntax that it does not know; here that is refused, which says enough.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    if len(text) > MOST_CHARS or "\0" in text:
        raise InvalidInput(f"SQL has at most {MOST_CHARS} characters, and no NUL")
    try:
        tokens = sqlglot.tokenize(text, dialect=dialect)
        ends = [token.start for token in tokens if token.token_type.name == "SEMICOLON"]
        pieces = [
            text[start:end].strip() for start, end in zip([0, *[end + 1 for end in ends]], [*ends, None], strict=True)
        ]
        found: list[tuple[str, Any]] = []
        for piece in pieces:
            trees = [tree for tree in sqlglot.parse(piece, dialect=dialect) if tree is not None]
            if len(trees) > 1:
                raise InvalidInput("the end of a statement in it is not clear", hint="give one statement")
            if trees:
                found.append((piece, trees[0]))
    except SqlglotError as error:
        first = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()[0]
        raise InvalidInput(f"this SQL cannot be read: {first[:300]}") from None
    except RecursionError:
        raise InvalidInput("this SQL is nested too deeply") from None
    return found


def _refuse_functions(root: Any) -> None:
    exp = _trees()

    for function in root.find_all(exp.Func):
        names = {function.name.casefold()}
        if not isinstance(function, exp.Anonymous):
            names |= {name.casefold() for name in function.sql_names()}
        for name in names:
            if any(fnmatchcase(name, pattern) for pattern in FUNCTIONS):
                raise InvalidInput(f"the function `{name}` does more than compute a value, and is not called")


def _name(node: Any) -> str:
    exp = _trees()

    if isinstance(node, exp.Command):
        return str(node.this).upper()[:40]
    return str(node.key).upper()
