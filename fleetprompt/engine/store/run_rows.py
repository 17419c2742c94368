"""A row of `runs`: what filters see of it, and the head that is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import RunHead
from fleetprompt.engine.store.dialect import Dialect
from fleetprompt.engine.store.filters import View, json_list
from fleetprompt.engine.store.tables import runs

_labels = msgspec.json.Decoder(dict[str, str]).decode
_names = msgspec.json.Decoder(tuple[str, ...]).decode
_NAMES = [column.name for column in runs.c]


def run_view(dialect: Dialect) -> View:
    """Where the columns of `RUN_FIELDS` are found."""
    columns: dict[str, Any] = {column.name: column for column in runs.c}
    error = (runs.c.error_code, runs.c.error_message, runs.c.error_step)
    columns["error"] = sa.case(
        (sa.and_(*(column == "" for column in error)), ""),
        else_=error[0] + " " + error[1] + " " + error[2],
    )
    return View(
        columns=columns,
        lists={
            "tool": json_list(dialect, runs.c.tools),
            "model": json_list(dialect, runs.c.models),
            "agent": json_list(dialect, runs.c.agents),
        },
        search=RUN_FIELDS.search,
    )


def read_head(row: Sequence[Any]) -> RunHead:
    """The head in a row that begins with every column of `runs`."""
    fields: dict[str, Any] = dict(zip(_NAMES, row, strict=False))
    fields["labels"] = _labels(fields["labels"])
    fields["tools"] = _names(fields["tools"])
    fields["models"] = _names(fields["models"])
    fields["agents"] = _names(fields["agents"])
    return RunHead(**fields)
