"""What data-quality does without a model: put what was fetched into a table of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from project_path import in_project

from fleetprompt.engine.steps.python import Permanent, StepContext

COLUMNS = ("order_id", "customer_id", "sku", "quantity", "amount_cents", "updated_at")


def stage(database: str, rows: list[dict[str, Any]], batch: str, context: StepContext | None = None) -> dict[str, Any]:
    """Write rows into `stg_orders`, each once however often it is called. Raises `Permanent` where they do not fit."""
    path = in_project(database, context)
    if not path.is_file():
        raise Permanent(f"there is no database {database}; `fleet demo up` makes it")
    try:
        values = [(*(row[column] for column in COLUMNS), batch) for row in rows]
    except (KeyError, TypeError) as error:
        raise Permanent(f"an order of the feed is not as it should be: {error}") from None
    try:
        with closing(sqlite3.connect(path, timeout=10)) as db, db:
            db.executemany(
                "INSERT INTO stg_orders VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE SET"
                " customer_id = excluded.customer_id, sku = excluded.sku, quantity = excluded.quantity,"
                " amount_cents = excluded.amount_cents, updated_at = excluded.updated_at, batch = excluded.batch",
                values,
            )
    except sqlite3.Error as error:
        raise Permanent(f"{database} does not take the orders: {error}") from None
    return {"staged": len(values), "batch": batch}
