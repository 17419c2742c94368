"""Budgets: amounts that are reserved before they are spent, at every level that limits them.

Scopes form a chain, from the fleet down to a branch. A reservation holds at each of them; it is settled with what was
really spent, and what may have been spent is kept apart as uncertain: it counts against the limits as well.
"""

from __future__ import annotations

from typing import Literal, Protocol

from msgspec import Struct

from fleetprompt.engine.core.errors import Code, FleetError

Limit = Literal["requests", "tokens", "tool_calls", "cost_nano"]
LIMITS: tuple[Limit, ...] = ("requests", "tokens", "tool_calls", "cost_nano")


class Amounts(Struct, frozen=True, omit_defaults=True):
    """How much of each; money in nano-USD."""

    requests: int = 0
    tokens: int = 0
    tool_calls: int = 0
    cost_nano: int = 0


class Caps(Struct, frozen=True, omit_defaults=True):
    """The most of each; None: no limit."""

    requests: int | None = None
    tokens: int | None = None
    tool_calls: int | None = None
    cost_nano: int | None = None


class Allowance(Struct, frozen=True):
    """A scope and what it allows: `fleet/2026-11-26`, `workflow/<name>/2026-11-26`, `run/<id>`,
    `step/<run>/<path>`, `branch/<run>/<path>`."""

    scope: str
    caps: Caps = Caps()


class Reserve(Struct, frozen=True):
    """Hold amounts at every level, or at none."""

    id: str
    """Unique in the tenant; reserving again under a known id changes nothing."""
    allowances: tuple[Allowance, ...]
    """The widest first."""
    amounts: Amounts


class Settle(Struct, frozen=True):
    """End a reservation with what was spent, and what may have been. Both are nothing when it is released."""

    id: str
    spent: Amounts = Amounts()
    uncertain: Amounts = Amounts()


class Raise(Struct, frozen=True):
    """Allow more at a scope."""

    scope: str
    limit: Limit
    amount: int


class Budget(Struct, frozen=True, kw_only=True):
    """How a scope stands."""

    scope: str
    spent: Amounts = Amounts()
    reserved: Amounts = Amounts()
    uncertain: Amounts = Amounts()
    raised: Amounts = Amounts()
    """By how much its limits were raised."""


def figure(limit: Limit, value: int) -> str:
    """An amount as a number for people: money in US dollars, rounded up to a millionth, with two digits at least."""
    if limit != "cost_nano":
        return f"{value:,}"
    whole, millionths = divmod(-(-value // 1000), 1_000_000)
    return f"{whole:,}.{f'{millionths:06}'.rstrip('0').ljust(2, '0')}"


def unit_of(limit: Limit) -> str:
    """What a limit counts, for people."""
    return "US dollars" if limit == "cost_nano" else limit.replace("_", " ")


def _amount(limit: Limit, value: int) -> str:
    return f"${figure(limit, value)}" if limit == "cost_nano" else figure(limit, value)


def scope_words(scope: str, run: str) -> str:
    """A scope as it is called in a run: `this run`, `step fan`, `the fleet today`."""
    kind, _, rest = scope.partition("/")
    match kind:
        case "fleet":
            return "the fleet today"
        case "workflow":
            return f"workflow {rest.rpartition('/')[0]} today"
        case "run":
            return "this run" if rest == run else f"run {rest}"
        case "step" | "branch":
            mine = rest.startswith(f"{run}/")
            of, _, path = (run, "/", rest.removeprefix(f"{run}/")) if mine else rest.partition("/")
            return _place_words(kind, path) + ("" if mine else f" of run {of}")
        case _:
            return scope


def _place_words(kind: str, path: str) -> str:
    path, _, agent = path.partition("/")
    if kind == "step":
        return f"agent {agent} in step {path}" if agent else f"step {path}"
    owner, bracket, number = path.rpartition("[")
    return f"branch [{number} of step {owner}" if bracket and number.endswith("]") else f"a branch of step {path}"


class BudgetRefused(FleetError):
    """A reservation does not fit."""

    code: Code = "BUDGET_EXCEEDED"

    def __init__(
        self, *, id: str, run: str, scope: str, limit: Limit, cap: int, used: int, reserved: int, wanted: int
    ) -> None:
        """`run` is whose reservation it is, `used` is spent and uncertain, `reserved` what others hold; `cap` with what
        it was raised by."""
        self.id = id
        self.scope = scope
        self.limit: Limit = limit
        self.cap = cap
        self.used = used
        self.reserved = reserved
        self.wanted = wanted
        spent, held, most, more = (_amount(limit, value) for value in (used, reserved, cap, wanted))
        of = most if limit == "cost_nano" else f"{most} {unit_of(limit)}"
        next_ = "call" if limit == "tool_calls" else "request"
        super().__init__(
            f"the limit of {scope_words(scope, run)} is reached: {spent} used and {held} reserved of {of}; "
            f"the next {next_} may take {more}"
        )

    @property
    def may_free(self) -> bool:
        """Others hold so much that it would fit if they gave it back: to wait can help."""
        return bool(self.reserved) and self.used + self.wanted <= self.cap

    @property
    def lacking(self) -> int:
        """By how much the limit has to be raised for it to fit."""
        return self.used + self.reserved + self.wanted - self.cap

    @property
    def left(self) -> int:
        """How much is left besides what others hold."""
        return max(0, self.cap - self.used - self.reserved)


class Budgets(Protocol):
    """How scopes stand. Changed by `Append` only."""

    async def get(self, scope: str, tenant: str = "default") -> Budget: ...

    async def of_run(self, run: str, tenant: str = "default") -> list[Budget]:
        """The scopes of a run, its steps and branches."""
        ...

    async def held(self, run: str, tenant: str = "default") -> list[str]:
        """Ids of the reservations that a run holds."""
        ...

    async def holding(self, scope: str, tenant: str = "default") -> list[tuple[str, str]]:
        """Run and id of each reservation that a running run holds at a scope."""
        ...
