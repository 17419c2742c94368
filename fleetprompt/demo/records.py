"""What a service of the demo has done, kept on disk by kind and idempotency key."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any


class Records:
    """What was done, and the answer that was given."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS actions (kind TEXT NOT NULL, key TEXT NOT NULL, answer TEXT NOT NULL,"
            " PRIMARY KEY (kind, key))"
        )

    def write(self, kind: str, key: str, answer: dict[str, Any]) -> None:
        self._db.execute("INSERT OR REPLACE INTO actions VALUES (?, ?, ?)", (kind, key, json.dumps(answer)))

    def read(self, kind: str, key: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT answer FROM actions WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return json.loads(row[0]) if row else None

    def all(self, kind: str) -> list[dict[str, Any]]:
        rows = self._db.execute("SELECT answer FROM actions WHERE kind = ? ORDER BY rowid", (kind,))
        return [json.loads(answer) for (answer,) in rows]
