"""Budgets: what is reserved, spent and raised is decided in the transaction of the facts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from store_kit import NOW, entry, fact, finish, put, start, take

from fleetprompt.engine.ports import (
    LIMITS,
    Allowance,
    Amounts,
    Append,
    Budget,
    BudgetRefused,
    Caps,
    Conflict,
    Limit,
    Raise,
    Reserve,
    Settle,
    Store,
)

FLEET, RUN = "fleet/2027-01-15", "run/r1"


def money(amount: int) -> Amounts:
    return Amounts(cost_nano=amount)


def reserve(id_: str, amount: Amounts | int, *chain: tuple[str, int | None]) -> Reserve:
    """A reservation at scopes, each with the most money that it allows."""
    allowances = tuple(Allowance(scope, Caps(cost_nano=cap)) for scope, cap in chain)
    return Reserve(id_, allowances, money(amount) if isinstance(amount, int) else amount)


def more(run: str, after: int, *reserves: Reserve, **fields: Any) -> Append:
    """The next fact of a run, and what comes with it."""
    return entry(run, after, fact(after), reserves=reserves, **fields)


async def stands(store: Store, scope: str, tenant: str = "default") -> tuple[int, int, int, int]:
    """Money of a scope that is spent, reserved, uncertain, raised."""
    budget = await store.budgets.get(scope, tenant)
    assert budget.scope == scope
    return tuple(part.cost_nano for part in (budget.spent, budget.reserved, budget.uncertain, budget.raised))


async def refusal(store: Store, asked: Append) -> BudgetRefused:
    with pytest.raises(BudgetRefused) as refused:
        await store.journal.append(asked)
    return refused.value


async def test_what_is_reserved_is_spent_when_it_is_settled(store: Store) -> None:
    chain = ((FLEET, 1000), (RUN, 100))
    await put(store, start("r1", reserves=(reserve("a", 60, *chain),)))
    assert await stands(store, FLEET) == await stands(store, RUN) == (0, 60, 0, 0)
    assert await store.budgets.held("r1") == ["a"]
    await put(store, more("r1", 2, settles=(Settle("a", money(40), money(5)),)))
    assert await stands(store, FLEET) == await stands(store, RUN) == (40, 0, 5, 0)
    assert await store.budgets.held("r1") == []
    assert (await store.check()).ok


async def test_a_reservation_that_does_not_fit_leaves_nothing_of_its_entry(store: Store) -> None:
    await put(store, start("r1"), start("r2", reserves=(reserve("a", 60, (FLEET, 100)),)))
    refused = await refusal(
        store,
        more(
            "r1", 2,
            reserve("b", 1, (FLEET, 100)),
            reserve("c", 41, (FLEET, 100), (RUN, 10)),
            settles=(Settle("a", money(1)),),
            raises=(Raise(RUN, "cost_nano", 7),),
            takes=(take("pool", 1),),
        ),
    )  # fmt: skip
    # What comes before it in the entry was counted: the cap is raised.
    assert (refused.id, refused.scope, refused.limit) == ("c", RUN, "cost_nano")
    assert (refused.cap, refused.used, refused.reserved, refused.wanted, refused.lacking) == (17, 0, 0, 41, 24)
    assert refused.message.startswith("the limit of this run is reached: $0.00 used and $0.00 reserved of $0.")
    assert await stands(store, FLEET) == (0, 60, 0, 0)
    assert await store.budgets.of_run("r1") == []
    assert await store.budgets.held("r1") == []
    assert await store.claims.holders("pool") == []
    assert len(await store.journal.facts("r1")) == 2
    await put(store, more("r1", 2, reserve("b", 40, (FLEET, 100))))
    assert await stands(store, FLEET) == (0, 100, 0, 0)


async def test_the_widest_scope_that_is_full_is_named_and_its_first_limit(store: Store) -> None:
    wanted = Amounts(requests=1, tokens=50, tool_calls=2, cost_nano=9)
    roomy, tight = Caps(requests=1, tokens=50, tool_calls=2, cost_nano=9), Caps(requests=1, tokens=49, cost_nano=8)
    chain = (Allowance(FLEET), Allowance("workflow/audit/2027-01-15", roomy))
    asked = Reserve("a", (*chain, Allowance(RUN, tight), Allowance("step/r1/ask", Caps(requests=0))), wanted)
    refused = await refusal(store, start("r1", reserves=(asked,)))
    assert (refused.scope, refused.limit, refused.cap, refused.wanted) == (RUN, "tokens", 49, 50)
    await put(store, start("r1", reserves=(Reserve("a", chain, wanted),)))
    assert (await store.budgets.get("workflow/audit/2027-01-15")).reserved == wanted


@pytest.mark.parametrize("limit", LIMITS)
async def test_every_limit_holds_by_itself(store: Store, limit: Limit) -> None:
    allowed = (Allowance(RUN, Caps(**{limit: 3})),)
    others = Amounts(**{other: 1000 for other in LIMITS if other != limit})
    await put(store, start("r1", reserves=(Reserve("a", allowed, replace(others, **{limit: 2})),)))
    refused = await refusal(store, more("r1", 2, Reserve("b", allowed, replace(others, **{limit: 2}))))
    assert (refused.limit, refused.cap, refused.used, refused.reserved, refused.wanted) == (limit, 3, 0, 2, 2)
    assert (refused.left, refused.may_free) == (1, True)
    await put(
        store, more("r1", 2, Reserve("b", allowed, replace(others, **{limit: 1})), settles=(Settle("a", others),))
    )
    assert getattr((await store.budgets.get(RUN)).reserved, limit) == 1


async def test_what_is_known_is_not_reserved_or_settled_again(store: Store) -> None:
    once = reserve("a", 60, (FLEET, 100))
    await put(store, start("r1", reserves=(once, once)), start("r2", reserves=(reserve("a", 99, (RUN, 1)),)))
    await put(store, more("r1", 2, once, settles=(Settle("none", money(5)),)))
    assert await stands(store, FLEET) == (0, 60, 0, 0)
    assert (await store.budgets.held("r1"), await store.budgets.held("r2")) == (["a"], [])
    await put(store, more("r1", 3, once, settles=(Settle("a", money(10)), Settle("a", money(10)))))
    await put(store, more("r1", 4, once, settles=(Settle("a", money(0), money(3)),)))
    assert await stands(store, FLEET) == (10, 0, 0, 0)
    assert await store.budgets.held("r1") == []
    assert await stands(store, RUN) == (0, 0, 0, 0)


async def test_it_is_settled_where_it_was_reserved(store: Store) -> None:
    """The chain may be another one by then: a new day, a step that was left."""
    await put(store, start("r1", reserves=(reserve("a", 5, (FLEET, None), (RUN, 10)),)))
    await put(store, start("r2", reserves=(reserve("b", 5, ("fleet/2027-01-16", 9)),)))
    await put(store, more("r2", 2, settles=(Settle("b", money(4)), Settle("a", money(3)))))
    assert [await stands(store, scope) for scope in (FLEET, RUN)] == [(3, 0, 0, 0)] * 2
    assert await stands(store, "fleet/2027-01-16") == (4, 0, 0, 0)


async def test_what_was_spent_over_the_cap_is_told_and_ends_what_costs(store: Store) -> None:
    caps = (Allowance(RUN, Caps(cost_nano=10, tool_calls=1)),)
    await put(store, start("r1", reserves=(Reserve("a", caps, money(10)),)))
    await put(store, more("r1", 2, settles=(Settle("a", money(13)),)))
    assert await stands(store, RUN) == (13, 0, 0, 0)
    refused = await refusal(store, more("r1", 3, Reserve("b", caps, money(1))))
    assert (refused.used, refused.cap, refused.left, refused.may_free) == (13, 10, 0, False)
    await put(store, more("r1", 3, Reserve("free", caps, Amounts(tool_calls=1))))
    await put(store, more("r1", 4, Reserve("b", caps, money(1)), raises=(Raise(RUN, "cost_nano", 4),)))
    assert await stands(store, RUN) == (13, 1, 0, 4)


async def test_what_is_uncertain_counts_against_the_cap(store: Store) -> None:
    await put(store, start("r1", reserves=(reserve("a", 8, (RUN, 10)),)))
    await put(store, more("r1", 2, settles=(Settle("a", uncertain=money(8)),)))
    refused = await refusal(store, more("r1", 3, reserve("b", 3, (RUN, 10))))
    assert (refused.used, refused.may_free) == (8, False)
    assert await stands(store, RUN) == (0, 0, 8, 0)


async def test_in_one_batch_reservations_are_decided_in_order(store: Store) -> None:
    await put(store, start("r1"), start("r2"), start("r3", takes=(take("pool", 1),)), start("r4"))
    full = (FLEET, 10)
    done = await asyncio.gather(
        *map(
            store.journal.append,
            (
                more("r1", 2, reserve("a", 6, full)),
                more("r2", 2, reserve("b", 6, full)),
                more("r3", 2, settles=(Settle("a", money(2)),)),
                more("r2", 2, reserve("b", 6, full)),
                # A refused claim takes back what it would have reserved.
                more("r4", 2, reserve("c", 2, full), takes=(take("pool", 1),)),
                more("r1", 3, reserve("d", 2, full), releases=("*",)),
                more("r4", 2, reserve("e", 1, full), takes=(take("free", 1),)),
            ),
        ),
        return_exceptions=True,
    )
    assert [type(each).__name__ for each in done] == [
        "Appended", "BudgetRefused", "Appended", "Appended", "ClaimRefused", "Appended", "BudgetRefused"
    ]  # fmt: skip
    assert isinstance(done[1], BudgetRefused)
    assert (done[1].used, done[1].reserved, done[1].may_free) == (0, 6, True)
    assert await stands(store, FLEET) == (2, 8, 0, 0)
    assert await store.claims.holders("free") == []
    assert (await store.check()).ok


async def test_never_more_than_the_cap_however_many_try(store: Store) -> None:
    tries = [store.journal.append(start(f"r{i}", reserves=(reserve(f"{i}", 10, (FLEET, 75)),))) for i in range(60)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(each, BudgetRefused) for each in done) == 7
    assert await stands(store, FLEET) == (0, 70, 0, 0)


async def test_a_conflict_changes_no_budget(store: Store) -> None:
    full = (FLEET, 10)
    await put(store, start("r1", reserves=(reserve("a", 4, full),)), start("r2", tenant="b"))
    behind = more("r1", 1, reserve("b", 1, full), settles=(Settle("a"),), raises=(Raise(FLEET, "cost_nano", 9),))
    for each in (behind, more("r1", 1, reserve("b", 9, full)), start("r2", reserves=(reserve("b", 99, full),))):
        with pytest.raises(Conflict):
            await store.journal.append(each)
    assert await stands(store, FLEET) == (0, 4, 0, 0)
    assert await store.budgets.held("r1") == ["a"]


async def test_a_conflict_in_a_batch_leaves_the_reservations_of_the_others(store: Store) -> None:
    await put(store, start("r1"), start("r2"), start("r3"))
    asked = (("r1", 2), ("r2", 1), ("r3", 2))
    tries = [store.journal.append(more(run, after, reserve(run, 6, (FLEET, 12)))) for run, after in asked]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(each).__name__ for each in done] == ["Appended", "Conflict", "Appended"]
    assert await stands(store, FLEET) == (0, 12, 0, 0)
    assert [await store.budgets.held(run) for run, _ in asked] == [["r1"], [], ["r3"]]


async def test_budgets_of_tenants_are_apart(store: Store) -> None:
    one = (reserve("a", 1, (FLEET, 1)),)
    await put(store, start("r1", reserves=one), start("r2", tenant="b", reserves=one))
    await put(store, more("r1", 2, settles=(Settle("a", money(1)),)))
    assert await stands(store, FLEET) == (1, 0, 0, 0)
    assert await stands(store, FLEET, "b") == (0, 1, 0, 0)
    assert [await store.budgets.held("r2", tenant) for tenant in ("default", "b")] == [[], ["a"]]


async def test_what_running_runs_hold_at_a_scope_is_found(store: Store) -> None:
    at_both, elsewhere = (reserve("b", 1, (FLEET, 9), (RUN, 9)),), (reserve("c", 1, ("run/r2", 9)),)
    await put(store, start("r1", reserves=(reserve("a", 1, (FLEET, 9)), *at_both)), start("r2", reserves=elsewhere))
    await put(store, start("r3", tenant="b", reserves=(reserve("d", 1, (FLEET, 9)),)))
    await put(store, entry("r4", 0, fact(0), head_={"status": "waiting"}, reserves=(reserve("e", 1, (FLEET, 9)),)))
    assert await store.budgets.holding(FLEET) == [("r1", "a"), ("r1", "b")]
    assert await store.budgets.holding(RUN) == [("r1", "b")]
    await put(store, more("r1", 2, settles=(Settle("a"),)))
    assert await store.budgets.holding(FLEET) == [("r1", "b")]


async def test_a_run_finds_its_own_scopes(store: Store) -> None:
    chain = [(scope, None) for scope in (FLEET, "workflow/run/r1", RUN, "step/r1/b", "step/r1/a", "branch/r1/a/x")]
    near = [("run/r10", None), ("step/r10/a", None), ("branch/r2/r1", None)]
    await put(store, start("r1", reserves=(reserve("a", 5, *chain), reserve("b", 5, *near))))
    assert await store.budgets.of_run("r1") == [
        Budget(scope=scope, reserved=money(5)) for scope in ("branch/r1/a/x", RUN, "step/r1/a", "step/r1/b")
    ]
    assert await store.budgets.of_run("r1", "b") == await store.budgets.of_run("") == []


async def test_what_was_never_touched_costs_no_row(store: Store) -> None:
    await put(store, start("r1"), more("r1", 2, settles=(Settle("none", money(1)),)))
    await refusal(store, more("r1", 3, reserve("a", 2, (FLEET, 1), (RUN, 5))))
    assert await store.budgets.get(FLEET) == Budget(scope=FLEET)
    counts = (await store.check()).counts
    assert (counts["budgets"], counts["reservations"]) == (0, 0)


@pytest.mark.parametrize(
    "asked",
    [
        {"reserves": (reserve("a", -1, (RUN, 5)),)},
        {"reserves": (reserve("a", 1, (RUN, 5), (FLEET, 5), (RUN, 5)),)},
        {"settles": (Settle("a", Amounts(tokens=-1)),)},
        {"settles": (Settle("a", uncertain=Amounts(requests=-1)),)},
        {"raises": (Raise(RUN, "tokens", -1),)},
    ],
)
async def test_what_makes_no_sense_is_a_mistake_of_the_program(store: Store, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="r1"):
        store.journal.append(start("r1", **asked))


async def test_a_reservation_that_its_run_leaves_behind_is_found_and_goes_with_it(store: Store) -> None:
    await put(
        store,
        start("r1", reserves=(reserve("a", 5, (FLEET, None), (RUN, None), ("step/r1/s", None)),)),
        start("r2", reserves=(reserve("b", 2, (FLEET, None), ("run/r2", None)),)),
        finish("r1", 2),
    )
    health = await store.check()
    assert health.problems == ("reservation a: it is held, but its run r1 is completed",)
    counts = await store.prune(before=NOW + 20)
    assert (counts["budgets"], counts["reservations"]) == (2, 1)
    # Nobody will ever say whether it was spent.
    assert await stands(store, FLEET) == (0, 2, 5, 0)
    assert await store.budgets.of_run("r1") == []
    assert (await store.check()).problems == ()


async def test_a_scope_stays_while_the_run_of_another_holds_something_there(store: Store) -> None:
    of_both = (reserve("b", 2, (RUN, None), ("run/child", None)),)
    await put(store, start("r1", reserves=(reserve("a", 5, (RUN, None)),)), start("child", reserves=of_both))
    await put(store, finish("r1", 2, settles=(Settle("a", money(5)),)))
    await store.prune(before=NOW + 20)
    assert await stands(store, RUN) == (5, 2, 0, 0)
    assert (await store.check()).problems == ()
    await put(store, finish("child", 2, settles=(Settle("b", money(1)),)))
    await store.prune(before=NOW + 20)
    counts = (await store.check()).counts
    assert (counts["runs"], counts["budgets"], counts["reservations"]) == (0, 0, 0)


async def test_scopes_of_old_days_are_pruned(store: Store) -> None:
    """Wherever a day begins: 2027-01-14 is over everywhere on Earth at noon of the 15th in Greenwich."""
    scopes = ("fleet/2027-01-14", FLEET, "workflow/a/b/2027-01-14", "workflow/fleet/2027-01-14/x", "fleet/2027-13-99")
    chain = [(scope, None) for scope in scopes]
    await put(store, start("r1", reserves=(reserve("a", 1, *chain), reserve("b", 1, ("workflow/held/2027-01-14", 9)))))
    await put(store, start("other", tenant="b", reserves=(reserve("a", 1, *chain),)))
    await put(store, more("r1", 2, settles=(Settle("a", money(1)),)))
    noon = 1_800_014_400.0
    assert await store.prune(before=noon - 1) == {}
    assert await store.prune(before=noon) == {"budgets": 2}
    left = [scope for scope in (*scopes, "workflow/held/2027-01-14") if await stands(store, scope) != (0, 0, 0, 0)]
    assert left == [FLEET, "workflow/fleet/2027-01-14/x", "fleet/2027-13-99", "workflow/held/2027-01-14"]
    assert await stands(store, "fleet/2027-01-14", "b") == (0, 1, 0, 0)
