"""What appends do to budgets: decided in order, entry by entry, the same in every store.

Only what a reservation wants is held against a limit: a scope that is over its cap still allows what costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.ports import (
    LIMITS,
    Allowance,
    Amounts,
    Append,
    Budget,
    BudgetRefused,
    Caps,
    Raise,
    Reserve,
    Settle,
)

Key = tuple[str, str]
"""Tenant, and a scope or the id of a reservation."""
_DAY = re.compile(r"(?:fleet|workflow/.+)/(\d{4}-\d\d-\d\d)", re.DOTALL)


class Reservation(Struct, frozen=True):
    """Amounts that are held, or were."""

    id: str
    tenant: str
    run: str
    """Whose append has made it."""
    held: bool
    scopes: tuple[str, ...]
    """Every level at which it holds."""
    amounts: Amounts


class Book:
    """Budgets and reservations as they were read, and how a batch of appends changes them."""

    def __init__(self, budgets: Mapping[Key, Budget], reservations: Mapping[Key, Reservation]) -> None:
        self._read = budgets
        self._read_reservations = reservations
        self.budgets: dict[Key, Budget] = {}
        """Those that have changed."""
        self.reservations: dict[Key, Reservation] = {}
        """Those that have changed."""
        self._draft: dict[Key, Budget] = {}
        self._draft_reservations: dict[Key, Reservation] = {}

    def settle(self, entry: Append) -> BudgetRefused | None:
        """Do what an entry asks for, as a draft that counts once it is kept. A refusal leaves nothing to keep."""
        self._draft.clear()
        self._draft_reservations.clear()
        try:
            for settle in entry.settles:
                self._settle(settle, entry.tenant)
            for each in entry.raises:
                self._raise(each, entry.tenant)
            for reserve in entry.reserves:
                self._reserve(reserve, entry)
        except BudgetRefused as refused:
            self._draft.clear()
            self._draft_reservations.clear()
            return refused
        return None

    def keep(self) -> None:
        """The entry that was settled last comes true."""
        self.budgets.update(self._draft)
        self.reservations.update(self._draft_reservations)

    def _settle(self, settle: Settle, tenant: str) -> None:
        reservation = self._reservation((tenant, settle.id))
        if reservation is None or not reservation.held:
            return
        self._draft_reservations[(tenant, settle.id)] = replace(reservation, held=False)
        for scope in reservation.scopes:
            budget = self._budget((tenant, scope))
            self._change(
                tenant,
                budget,
                spent=plus(budget.spent, settle.spent),
                reserved=minus(budget.reserved, reservation.amounts),
                uncertain=plus(budget.uncertain, settle.uncertain),
            )

    def _raise(self, more: Raise, tenant: str) -> None:
        budget = self._budget((tenant, more.scope))
        raised = replace(budget.raised, **{more.limit: getattr(budget.raised, more.limit) + more.amount})
        self._change(tenant, budget, raised=raised)

    def _reserve(self, reserve: Reserve, entry: Append) -> None:
        tenant = entry.tenant
        if self._reservation((tenant, reserve.id)) is not None:
            return
        for allowance in reserve.allowances:
            self._require_room(self._budget((tenant, allowance.scope)), allowance, reserve, entry.run)
        scopes = tuple(allowance.scope for allowance in reserve.allowances)
        made = Reservation(reserve.id, tenant, entry.run, True, scopes, reserve.amounts)
        self._draft_reservations[(tenant, reserve.id)] = made
        for scope in scopes:
            budget = self._budget((tenant, scope))
            self._change(tenant, budget, reserved=plus(budget.reserved, reserve.amounts))

    def _require_room(self, budget: Budget, allowance: Allowance, reserve: Reserve, run: str) -> None:
        """Raise `BudgetRefused` for the first limit that does not allow it."""
        if allowance.caps == _NO_CAPS:
            return
        for limit in LIMITS:
            cap, wanted = getattr(allowance.caps, limit), getattr(reserve.amounts, limit)
            if cap is None or not wanted:
                continue
            cap += getattr(budget.raised, limit)
            used = getattr(budget.spent, limit) + getattr(budget.uncertain, limit)
            reserved = getattr(budget.reserved, limit)
            if used + reserved + wanted > cap:
                raise BudgetRefused(
                    id=reserve.id,
                    run=run,
                    scope=allowance.scope,
                    limit=limit,
                    cap=cap,
                    used=used,
                    reserved=reserved,
                    wanted=wanted,
                )

    def _change(self, tenant: str, budget: Budget, **parts: Amounts) -> None:
        changed = replace(budget, **parts)
        if changed != budget:
            self._draft[(tenant, budget.scope)] = changed

    def _budget(self, key: Key) -> Budget:
        found = self._draft.get(key) or self.budgets.get(key) or self._read.get(key)
        return found or Budget(scope=key[1])

    def _reservation(self, key: Key) -> Reservation | None:
        found = self._draft_reservations.get(key) or self.reservations.get(key)
        return found or self._read_reservations.get(key)


_NO_CAPS = Caps()
NOTHING = Amounts()


def plus(one: Amounts, other: Amounts) -> Amounts:
    """Both together."""
    return Amounts(*(getattr(one, limit) + getattr(other, limit) for limit in LIMITS))


def minus(one: Amounts, other: Amounts) -> Amounts:
    """One without the other."""
    return Amounts(*(getattr(one, limit) - getattr(other, limit) for limit in LIMITS))


def forfeited(budget: Budget, amounts: Amounts) -> Budget:
    """A budget after nobody is left who could settle what was reserved: all of it may have been spent."""
    return replace(budget, reserved=minus(budget.reserved, amounts), uncertain=plus(budget.uncertain, amounts))


def problems(budgets: Mapping[Key, Budget], held: Mapping[Reservation, str]) -> Iterator[str]:
    """What is wrong with budgets and the reservations that are held, each with the status of its run if it is over."""
    sums: dict[Key, Amounts] = {}
    for reservation, status in held.items():
        if status:
            yield f"reservation {reservation.id}: it is held, but its run {reservation.run} is {status}"
        for scope in reservation.scopes:
            key = (reservation.tenant, scope)
            sums[key] = plus(sums.get(key, NOTHING), reservation.amounts)
    for key in sorted(budgets.keys() | sums.keys()):
        says, hold = budgets.get(key, Budget(scope=key[1])).reserved, sums.get(key, NOTHING)
        for limit in LIMITS:
            one, other = getattr(says, limit), getattr(hold, limit)
            if one != other:
                yield f"budget {key[1]}: {one:,} {limit} are reserved, its reservations hold {other:,}"


def concerns(entry: Append) -> bool:
    """Whether an append changes any budget."""
    return bool(entry.reserves or entry.settles or entry.raises)


def check(entry: Append) -> None:
    """Raise `ValueError` for amounts below nothing, and for a chain that names a scope twice."""
    amounts = [reserve.amounts for reserve in entry.reserves]
    for settle in entry.settles:
        amounts += (settle.spent, settle.uncertain)
    least = min((getattr(each, limit) for each in amounts for limit in LIMITS), default=0)
    if least < 0 or any(each.amount < 0 for each in entry.raises):
        raise ValueError(f"run {entry.run}: an amount is below nothing")
    for reserve in entry.reserves:
        scopes = [allowance.scope for allowance in reserve.allowances]
        if len({*scopes}) != len(scopes):
            raise ValueError(f"run {entry.run}: reservation {reserve.id} names a scope twice: {', '.join(scopes)}")


def run_of(scope: str) -> str:
    """The run that a scope belongs to, with its steps and branches; empty for what many runs share."""
    kind, _, rest = scope.partition("/")
    return rest.partition("/")[0] if kind in ("run", "step", "branch") else ""


def is_past(scope: str, before: float) -> bool:
    """Whether a scope is that of a day that was over by then, wherever on Earth."""
    named = _DAY.fullmatch(scope)
    if named is None:
        return False
    try:
        day = date.fromisoformat(named[1])
        over = datetime.combine(day, time(), UTC) + timedelta(days=1, hours=12)
    except (ValueError, OverflowError):
        return False
    return over.timestamp() <= before
