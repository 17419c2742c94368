"""Whatever is asked in whatever order, a store on disk answers like the one in memory."""

from __future__ import annotations

import asyncio
import os
import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from msgspec.structs import replace
from store_kit import NOW, SQL_KINDS, ask, entry, fact, signal, take, throw_away, vote

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.facts import (
    ApprovalDecided,
    ApprovalVoted,
    Blob,
    RunCreated,
    RunForked,
    StepNoted,
    StepSucceeded,
)
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS, RUN_FIELDS
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import (
    Allowance,
    Amounts,
    Append,
    Caps,
    Page,
    Publication,
    Raise,
    Reserve,
    Settle,
    Store,
    Wait,
)
from fleetprompt.engine.store.memory import MemoryStore

RUNS = ("r1", "r2", "r3", "r4")
SCOPES = ("pool", "group", "money")
BUDGETS = ("fleet/2027-01-14", "fleet/2027-01-16", "run/r1", "run/r2", "step/r1/a", "branch/r2/a", "run/r4")
PATHS = ("", "a", "b")
TENANTS = ("default", "b")
STATUSES = ("pending", "running", "waiting", "completed", "failed")


class Model(RuleBasedStateMachine):
    """Drives two stores alike and compares every answer and everything that can be read."""

    kind = ""
    folder: Path
    """Where the databases of this machine go."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.memory = MemoryStore()
        self.other = SQL_KINDS[self.kind](Path(tempfile.mkdtemp(dir=self.folder)), UTC)
        self.lengths = dict.fromkeys(RUNS, 0)
        self.ids = 0
        self.steps = 0
        self._both("open")

    def teardown(self) -> None:
        self.same()
        self.runner.run(throw_away(self.other))
        self.runner.close()

    def _both(self, name: str, *args: Any, part: str = "", **options: Any) -> Any:
        answers: list[Any] = []
        for store in (self.memory, self.other):
            asked = getattr(getattr(store, part) if part else store, name)
            answers.append(self.runner.run(_answer(asked(*args, **options))))
        assert answers[0] == answers[1], (name, args)
        return answers[0]

    def _new(self, prefix: str) -> str:
        self.ids += 1
        return f"{prefix}{self.ids}"

    @rule(data=st.data(), together=st.integers(1, 6))
    def append(self, data: st.DataObject, together: int) -> None:
        entries = [self._entry(data) for _ in range(together)]
        answers = [self.runner.run(_appended(store, entries)) for store in (self.memory, self.other)]
        assert answers[0] == answers[1]
        for each, answer in zip(entries, answers[0], strict=True):
            if isinstance(answer, int):
                self.lengths[each.run] = each.head.n

    def _entry(self, data: st.DataObject) -> Append:
        draw = data.draw
        run = draw(st.sampled_from(RUNS))
        tenant = draw(st.sampled_from((*TENANTS[:1] * 9, "b"))) if run != "r4" else "b"
        after = self.lengths[run] + draw(st.sampled_from((0, 0, 0, 0, 0, 1, -1)))
        after = max(after, 0)
        facts = draw(st.lists(self._facts(run, tenant), min_size=0 if after else 1, max_size=3))
        some = draw(st.sets(st.sampled_from(("takes", "releases", "waits", "signals", "results", "head", "money"))))
        fields: dict[str, Any] = {}
        if "takes" in some:
            claims = st.tuples(st.sampled_from(SCOPES), st.sampled_from(PATHS), st.integers(1, 2))
            fields["takes"] = tuple(take(scope, 3, path, n) for scope, path, n in draw(st.lists(claims, max_size=2)))
        if "money" in some:
            amounts = st.builds(Amounts, cost_nano=st.integers(0, 4))
            chains = st.lists(st.sampled_from(BUDGETS), max_size=3, unique=True)
            allowances = chains.map(lambda chain: tuple(Allowance(scope, Caps(cost_nano=9)) for scope in chain))
            ids = st.sampled_from("abcdefghij")
            fields["reserves"] = tuple(draw(st.lists(st.builds(Reserve, ids, allowances, amounts), max_size=2)))
            fields["settles"] = tuple(draw(st.lists(st.builds(Settle, ids, amounts, amounts), max_size=1)))
            if draw(st.booleans()):
                fields["raises"] = (Raise(draw(st.sampled_from(BUDGETS)), "cost_nano", 1),)
        if "releases" in some:
            fields["releases"] = draw(st.sampled_from((("",), ("a",), ("a", "b"), ("*",))))
        if "waits" in some:
            wait = st.builds(
                Wait, st.sampled_from(PATHS), st.sampled_from(("signal", "slot", "child")), st.sampled_from(RUNS)
            )
            fields["waits"] = tuple(draw(st.lists(wait, max_size=2)))
            fields["unwaits"] = tuple(draw(st.lists(st.sampled_from(PATHS), max_size=2)))
        if "signals" in some:
            fields["signals"] = tuple(draw(st.lists(self._signals(tenant), max_size=2)))
            fields["received"] = draw(st.none() | self._signals(tenant))
        if "results" in some:
            known = [each.id for each in self.runner.run(self.memory.signals.unrouted()) if each.tenant == tenant]
            if known:
                answered = draw(st.sampled_from(known))
                status = draw(st.sampled_from(("accepted", "refused")))
                fields["results"] = (Result(signal=answered, status=status, run=run),)
                fields["routed"] = (answered,) if draw(st.booleans()) else ()
        head = {"tenant": tenant}
        if "head" in some:
            status = draw(st.sampled_from(STATUSES))
            head |= {"status": status, "wake_at": draw(st.sampled_from((None, NOW, NOW + 9)))}
            head["finished_at"] = NOW + draw(st.integers(0, 9)) if status in ("completed", "failed") else None
        return entry(run, after, *facts, tenant=tenant, head_=head, **fields)

    def _facts(self, run: str, tenant: str) -> st.SearchStrategy[Any]:
        name = "apr-b" if tenant == "b" else "apr"
        ids = st.sampled_from((f"{name}-1", f"{name}-2"))
        people = st.sampled_from(("ana", "ben"))
        return st.one_of(
            st.integers(0, 9).map(fact),
            st.just(RunCreated(run=run, plan="p", workflow="w")),
            st.just(RunForked(run="r1", upto=1)),
            st.builds(lambda n: StepSucceeded(path="a", usage={"cost_nano": n, "tokens": 1}), st.integers(0, 2)),
            st.just(StepNoted(path="a", kind="k", blob=Blob("d1", 9))),
            st.builds(ask, ids, st.integers(0, 1)),
            st.builds(lambda id_, by: ApprovalVoted(path="a", id=id_, by=by, decision="approved"), ids, people),
            st.builds(lambda id_: ApprovalDecided(path="a", id=id_, decision="rejected", at=NOW), ids),
        )

    def _signals(self, tenant: str) -> st.SearchStrategy[Any]:
        return st.sampled_from(("", "k1", "k2")).map(lambda key: signal(id=self._new("s"), key=key, tenant=tenant))

    @rule(key=st.sampled_from(("", "", "k1", "k2")), tenant=st.sampled_from(TENANTS), at=st.integers(0, 9))
    def publish(self, key: str, tenant: str, at: int) -> None:
        self._both("publish", signal(id=self._new("s"), key=key, tenant=tenant, at=NOW + at), part="signals")

    @rule(by=st.sampled_from(("ana", "ben")), approval=st.sampled_from(("apr-1", "apr-2", "apr-b-1", "none")))
    def vote(self, by: str, approval: str) -> None:
        tenant = "b" if "b" in approval else "default"
        self._both("publish", vote(by, approval=approval, id=self._new("s"), tenant=tenant), part="signals")

    @rule(data=st.data(), status=st.sampled_from((None, "accepted", "refused")))
    def close(self, data: st.DataObject, status: Any) -> None:
        known = [each.id for each in self.runner.run(self.memory.signals.unrouted())]
        id_ = data.draw(st.sampled_from([*known, "unknown"]))
        self._both("close", id_, [Result(signal=id_, status=status)] if status else [], part="signals")

    @rule(before=st.sampled_from((*range(11), 15_000)))
    def prune(self, before: int) -> None:
        pruned = [self.runner.run(store.prune(before=NOW + before)) for store in (self.memory, self.other)]
        assert pruned[0].get("runs", 0) == pruned[1].get("runs", 0)
        for table in ("journal", "budgets", "reservations"):
            assert pruned[0].get(table, 0) == pruned[1].get(table, 0)
        for run in RUNS:
            if self.runner.run(self.memory.runs.get(run)) is None:
                self.lengths[run] = 0

    @invariant()
    def sometimes_same(self) -> None:
        """Reading everything takes most of the time, and a difference does not heal."""
        self.steps += 1
        if self.steps % 5 == 0:
            self.same()

    def same(self) -> None:
        """Everything that can be read is equal. It is asked at one go: to run a loop costs more than to ask."""
        asked: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = []

        def ask(part: str, name: str, *args: Any, **options: Any) -> None:
            asked.append((part, name, args, options))

        for run in RUNS:
            ask("runs", "get", run)
            ask("journal", "facts", run)
        ask("journal", "since", 0)
        ask("journal", "position")
        for tenant in TENANTS:
            ask("journal", "pruned", tenant)
        ask("journal", "histories", RUNS)
        ask("runs", "unfinished", now=NOW + 5)
        ask("runs", "due", NOW + 5)
        for tenant in TENANTS:
            for scope in SCOPES:
                ask("claims", "holders", scope, tenant)
            for scope in BUDGETS:
                ask("budgets", "get", scope, tenant)
            for run in RUNS:
                ask("budgets", "of_run", run, tenant)
                ask("budgets", "held", run, tenant)
            for on in ("signal", "slot", "child"):
                for ref in RUNS:
                    ask("runs", "waiting", on, ref, tenant=tenant)
            ask("figures", "costs", "run", now=NOW, tenant=tenant)
            ask("runs", "list", parse("", RUN_FIELDS), Page(), now=NOW, tenant=tenant)
            ask("approvals", "list", parse("", APPROVAL_FIELDS), Page(), now=NOW, tenant=tenant)
        for each in self._both("unrouted", part="signals"):
            ask("signals", "results", each.id)
        for approval in ("apr-1", "apr-2", "apr-b-1", "apr-b-2"):
            ask("approvals", "get", approval)
            ask("approvals", "votes", approval)

        async def answers(store: Any) -> list[Any]:
            return [
                await _answer(getattr(getattr(store, part), name)(*args, **options))
                for part, name, args, options in asked
            ]

        told = [self.runner.run(answers(store)) for store in (self.memory, self.other)]
        for question, *found in zip(asked, *told, strict=True):
            assert found[0] == found[1], question


async def _answer(asked: Any) -> Any:
    try:
        return _without_sequence(await asked)
    except FleetError as error:
        return type(error)


def _without_sequence(answer: Any) -> Any:
    """Numbers of signals rise, but databases leave gaps; their order is compared where they come as a list."""
    match answer:
        case Signal():
            return replace(answer, sequence=0)
        case Publication():
            return replace(answer, signal=replace(answer.signal, sequence=0))
        case list():
            return [_without_sequence(each) for each in answer]
        case _:
            return answer


async def _appended(store: Store, entries: list[Append]) -> list[Any]:
    futures = [store.journal.append(each) for each in entries]
    done = await asyncio.gather(*futures, return_exceptions=True)
    return [
        (type(each), [(h.run, h.path) for h in getattr(each, "holders", ())])
        if isinstance(each, Exception)
        else each.seq
        for each in done
    ]


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(SQL_KINDS))
def test_it_answers_like_memory(kind: str, tmp_path: Path) -> None:
    machine = type("Model", (Model,), {"kind": kind, "folder": tmp_path})
    examples = int(os.environ.get("FLEET_TEST_EXAMPLES", "15"))
    # Shrinking such a machine takes minutes; the steps that hypothesis prints are readable enough.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    quiet = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(machine, settings=quiet)
