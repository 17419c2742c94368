"""Budgets on disk: decided in order for a whole batch from what was read once, written as it stands in the end.

Nobody else can write while a batch is decided, see `claims.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import astuple

from fleetprompt.engine.ports import Amounts, Append, Budget
from fleetprompt.engine.store.budget_book import Book, Key, Reservation, run_of
from fleetprompt.engine.store.reading import Question, Reader
from fleetprompt.engine.store.statements import Session, Statements
from fleetprompt.engine.store.tables import OWNED, budgets, reservations, runs

NOTHING_RESERVED = sa.and_(*(column == 0 for column in budgets.c if column.name.startswith("reserved_")))
_json = msgspec.json.Encoder().encode
_scopes = msgspec.json.Decoder(tuple[str, ...]).decode


def read_book(statements: Statements, session: Session, entries: Sequence[Append]) -> Book:
    """What some appends need to know of budgets."""
    ids: set[Key] = set()
    scopes: set[Key] = set()
    for entry in entries:
        ids.update((entry.tenant, each.id) for each in (*entry.settles, *entry.reserves))
        scopes.update((entry.tenant, each.scope) for each in entry.raises)
        scopes.update((entry.tenant, each.scope) for reserve in entry.reserves for each in reserve.allowances)
    found: dict[Key, Reservation] = {}
    for row in statements.reservations_read.fetch(session, [*ids]):
        reservation = read_reservation(row)
        found[(reservation.tenant, reservation.id)] = reservation
        if reservation.held:
            scopes.update((reservation.tenant, scope) for scope in reservation.scopes)
    return Book(read_budgets(statements, session, [*scopes]), found)


def read_budgets(statements: Statements, session: Session, scopes: Sequence[Key]) -> dict[Key, Budget]:
    """The budgets of some scopes, of those that have one."""
    rows = statements.budgets_read.fetch(session, scopes)
    return {(row[1], row[0]): read_budget(row) for row in rows}


def write_book(statements: Statements, session: Session, book: Book) -> None:
    """Make the tables say what was kept."""
    write_budgets(statements, session, book.budgets)
    rows: list[tuple[Any, ...]] = []
    for each in book.reservations.values():
        state, scopes = "held" if each.held else "settled", _json(each.scopes).decode()
        rows.append((each.id, each.tenant, each.run, state, scopes, *astuple(each.amounts)))
    statements.reservations_upsert.execute(session, rows)


def write_budgets(statements: Statements, session: Session, changed: dict[Key, Budget]) -> None:
    """Make the table say how scopes stand."""
    rows: list[tuple[Any, ...]] = []
    for (tenant, scope), budget in changed.items():
        used = (*astuple(budget.spent), *astuple(budget.reserved), *astuple(budget.uncertain))
        rows.append((scope, tenant, run_of(scope), *used, *astuple(budget.raised)))
    statements.budgets_upsert.execute(session, rows)


def read_budget(row: Sequence[Any]) -> Budget:
    """A row of `budgets`."""
    spent, reserved, uncertain, raised = (Amounts(*row[at : at + 4]) for at in range(3, 19, 4))
    return Budget(scope=row[0], spent=spent, reserved=reserved, uncertain=uncertain, raised=raised)


def read_reservation(row: Sequence[Any]) -> Reservation:
    """A row of `reservations`."""
    id_, tenant, run, state, scopes, *amounts = row
    return Reservation(id_, tenant, run, state == "held", _scopes(scopes), Amounts(*amounts))


class SqlBudgets:
    """How scopes stand."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        whose, wanted = (sa.bindparam(name, type_=budgets.c.tenant.type) for name in ("whose", "wanted"))
        of_tenant = sa.select(budgets).where(budgets.c.tenant == whose)
        self._one = Question(reader.dialect, of_tenant.where(budgets.c.scope == wanted))
        of_run = of_tenant.where(budgets.c.run == wanted, OWNED)
        self._of_run = Question(reader.dialect, of_run.order_by(budgets.c.scope))
        held = sa.select(reservations.c.id).where(reservations.c.tenant == whose, reservations.c.run == wanted)
        is_held = reservations.c.state == sa.literal_column("'held'")
        self._held = Question(reader.dialect, held.where(is_held).order_by(reservations.c.id))
        same = sa.and_(runs.c.id == reservations.c.run, runs.c.tenant == reservations.c.tenant)
        holding = sa.select(reservations.c.run, reservations.c.id, reservations.c.scopes).join(runs, same)
        running = sa.and_(runs.c.tenant == whose, runs.c.status == sa.literal_column("'running'"))
        self._holding = Question(
            reader.dialect, holding.where(running, is_held).order_by(reservations.c.run, reservations.c.id)
        )

    async def get(self, scope: str, tenant: str = "default") -> Budget:
        """How a scope stands; nothing of anything where nobody has touched it."""
        rows = await self._reader.ask(self._one, tenant, scope)
        return read_budget(rows[0]) if rows else Budget(scope=scope)

    async def of_run(self, run: str, tenant: str = "default") -> list[Budget]:
        """The scopes of a run, its steps and branches, by name."""
        return [read_budget(row) for row in await self._reader.ask(self._of_run, tenant, run)]

    async def held(self, run: str, tenant: str = "default") -> list[str]:
        """Ids of the reservations that a run holds, in their order."""
        return [row[0] for row in await self._reader.ask(self._held, tenant, run)]

    async def holding(self, scope: str, tenant: str = "default") -> list[tuple[str, str]]:
        """Run and id of each reservation that a running run holds at a scope, in their order."""
        rows = await self._reader.ask(self._holding, tenant)
        return [(run, id_) for run, id_, scopes in rows if scope in _scopes(scopes)]
