"""What appends and pruning do to the tables of the memory store, apart from the journal and the claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.errors import Refused, StoreUnavailable
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.ports import Append, Approval, Conflict
from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.store import agent_book, memory_audit, memory_memories, projection
from fleetprompt.engine.store.budget_book import NOTHING, Reservation, forfeited, is_past, run_of
from fleetprompt.engine.store.memory_state import State


def closed() -> StoreUnavailable:
    """The error of a store that is not open."""
    return StoreUnavailable("the store is closed", hint="open it first")


def refuse_known(state: State, signal: Signal) -> None:
    """Raise `Conflict` when a signal that an append brings is in the store already."""
    if signal.id in state.signals or (signal.key and (signal.tenant, signal.key) in state.keys):
        raise Conflict(f"signal {signal.key or signal.id} was received before")


def refuse_unstorable(entry: Append) -> None:
    """Raise `InvalidInput` for signals or results that are not JSON."""
    try:
        msgspec.json.encode((entry.received, entry.signals, entry.results))
    except (TypeError, ValueError, OverflowError) as error:
        raise projection.unstorable(entry, error) from error


def apply(state: State, entry: Append) -> None:
    """Everything of an entry but its facts, its head and its claims."""
    for path in entry.unwaits:
        state.waits.pop((entry.run, path), None)
    for wait in entry.waits:
        state.waits[(entry.run, wait.path)] = wait
    if entry.received is not None:
        insert_signal(state, entry.received)
    for signal in entry.signals:
        insert_signal(state, signal)
    for delivery in entry.deliveries:
        key = delivery.tenant, delivery.id
        if delivery.signal in state.signals and key not in state.deliveries:
            state.delivery_seq += 1
            state.deliveries[key] = msgspec.structs.replace(delivery, seq=state.delivery_seq)
    for result in entry.results:
        insert_result(state, result)
    for id_ in entry.routed:
        state.unrouted.pop(id_, None)
    for digest, data in entry.blobs:
        state.blobs.setdefault((entry.tenant, digest), data)
    for digest in projection.blob_digests(entry):
        state.blob_refs[(entry.tenant, digest, entry.run)] = None
    for cost in projection.costs(entry):
        state.costs[(cost.run, cost.n)] = cost
    if agent_book.concerns(entry):
        sessions = state.agent_sessions.setdefault(entry.run, {})
        book = agent_book.AgentBook(sessions.values())
        book.fold(entry)
        sessions |= {each.id: each for each in book.changed}
    for grant in projection.granted(entry):
        stored = msgspec.json.decode(msgspec.json.encode(grant), type=WorkflowGrant)
        state.grants.setdefault((grant.tenant, grant.id), stored)
    for fact in projection.approval_facts(entry.facts):
        _approval(state, fact, entry)


def firing_key(firing: Firing) -> tuple[str, str, str, str]:
    """What makes a firing the one it is."""
    return firing.workflow, firing.trigger, firing.scheduled, firing.tenant


def insert_firing(state: State, firing: Firing) -> Firing | None:
    """Add a firing; None for one that is known."""
    key = firing_key(firing)
    if key in state.firing_keys:
        return None
    state.firing_seq += 1
    state.firing_keys[key] = state.firing_seq
    stored = state.firings[state.firing_seq] = msgspec.structs.replace(firing, seq=state.firing_seq)
    return stored


def insert_signal(state: State, signal: Signal) -> Signal | None:
    """Store a new signal as unrouted; the stored one, or None when its id or key is known."""
    if signal.id in state.signals or (signal.key and (signal.tenant, signal.key) in state.keys):
        return None
    state.sequence += 1
    if signal.audit is not None:
        memory_audit.write(state, signal.audit)
    stored = msgspec.structs.replace(_as_stored(signal), sequence=state.sequence, audit=None)
    state.signals[signal.id] = stored
    state.unrouted[signal.id] = None
    if signal.key:
        state.keys[(signal.tenant, signal.key)] = signal.id
    return stored


def insert_result(state: State, result: Result) -> None:
    """Write an answer; a refusal takes the vote back that the signal had brought."""
    stored = msgspec.json.decode(msgspec.json.encode(result), type=Result)
    state.results.setdefault(result.signal, {})[result.run] = stored
    if result.status == "refused":
        state.votes = {key: kept for key, kept in state.votes.items() if kept[1] != result.signal}


def bury(state: State, letters: Iterable[DeadLetter]) -> None:
    """Write letters; of one that is known the new attempt."""
    for letter in letters:
        known = state.dead_letters.get((letter.tenant, letter.id))
        if known is None:
            state.letter_seq += 1
            stored = msgspec.structs.replace(letter, seq=state.letter_seq)
        else:
            stored = msgspec.structs.replace(letter, seq=known.seq, attempts=known.attempts + letter.attempts)
        state.dead_letters[(letter.tenant, letter.id)] = stored


def revive(state: State, letters: Sequence[str], tenant: str) -> None:
    """Say of letters that what they are about was done at last."""
    for id_ in letters:
        known = state.dead_letters.get((tenant, id_))
        if known is not None and known.status == "dead":
            state.dead_letters[(tenant, id_)] = msgspec.structs.replace(known, status="replayed")


def insert_vote(state: State, signal: Signal, ballot: projection.Ballot) -> None:
    """Count a vote that a signal brings, as SQL stores do. Raises `Refused`."""
    vote = ballot.vote
    approval = state.approvals.get(vote.approval)
    if approval is None or approval.tenant != signal.tenant:
        raise Refused(f"there is no approval {vote.approval}")
    problem = ballot.problem(approval.status, approval.digest, approval.level)
    if problem:
        raise Refused(problem)
    key = (vote.approval, approval.level, vote.by)
    there = [kept for (id_, level, _), (kept, _) in state.votes.items() if (id_, level) == key[:2]]
    if projection.corrects(vote, there, approval.quorum):
        return
    state.votes[key] = (msgspec.structs.replace(vote, level=approval.level), signal.id)


def _as_stored(signal: Signal) -> Signal:
    return msgspec.json.decode(msgspec.json.encode(signal), type=Signal)


def _approval(state: State, fact: projection.ApprovalFact, entry: Append) -> None:
    known = state.approvals.get(fact.id)
    if known is not None and (known.run != entry.run or known.tenant != entry.tenant):
        return  # a fork carries copies of its original's facts; the approval stays the original's
    if isinstance(fact, ApprovalRequested):
        approval = projection.requested(fact, entry)
        if known is not None:
            approval = msgspec.structs.replace(approval, requested_at=known.requested_at)
        state.approvals[fact.id] = msgspec.json.decode(msgspec.json.encode(approval), type=Approval)
    elif known is None:
        return
    elif isinstance(fact, ApprovalDecided):
        state.approvals[fact.id] = msgspec.structs.replace(
            known, status=fact.decision, decided_at=fact.at, reason=fact.reason
        )
    else:
        key = (fact.id, known.level, fact.by)
        kept, signal = state.votes.get(key, (None, ""))
        vote = projection.voted(fact, known.level) if kept is None else projection.replaced(kept, fact, known.level)
        state.votes[key] = (vote, signal if vote is kept else "")


def held(state: State) -> dict[Reservation, str]:
    """Reservations that are held, each with the status of its run if it is over."""
    found: dict[Reservation, str] = {}
    for each in state.reservations.values():
        if each.held:
            head = state.runs.get(each.run)
            found[each] = head.status if head is not None and head.status in projection.FINAL else ""
    return found


def prune(
    state: State, before: float, logs_before: float | None, tenant: str, workflows: Mapping[str, float]
) -> dict[str, int]:
    """Delete what is old, and count it by table."""
    counts = state.count()
    gone: set[str] = set()
    # Who waited for a run may go with the first, and the run then, too.
    while old := _old(state, before, tenant, workflows):
        _prune_runs(state, old, tenant)
        gone |= old
    memory_memories.prune(state, before, tenant)
    _prune_days(state, before, tenant)
    _prune_firings(state, before, tenant)
    state.dead_letters = {
        key: letter for key, letter in state.dead_letters.items() if key[0] != tenant or letter.at >= before
    }
    state.deliveries = {
        key: delivery for key, delivery in state.deliveries.items() if key[0] != tenant or delivery.created_at >= before
    }
    state.kept_answers = {
        key: answer for key, answer in state.kept_answers.items() if key[0] != tenant or answer.at >= before
    }
    _prune_signals(state, gone, before, tenant)
    if logs_before is not None:
        for run, kept in state.logs.items():
            head = state.runs.get(run)
            if head is not None and head.tenant == tenant and head.status in projection.FINAL:
                state.logs[run] = [entry for entry in kept if entry[1].at >= logs_before]
    left = state.count()
    return {table: counts[table] - left[table] for table in counts if counts[table] != left[table]}


def _old(state: State, before: float, tenant: str, workflows: Mapping[str, float]) -> set[str]:
    """Runs that ended before a time, and for which nobody waits."""
    awaited = {
        wait.ref for (run, _), wait in state.waits.items() if wait.on == "child" and state.runs[run].tenant == tenant
    }
    return {
        run.id
        for run in state.runs.values()
        if run.tenant == tenant
        and run.status in projection.FINAL
        and run.finished_at is not None
        and run.finished_at < workflows.get(run.workflow, before)
        and run.id not in awaited
    }


def _prune_runs(state: State, gone: set[str], tenant: str) -> None:
    for run in gone:
        del state.runs[run]
        for row in state.histories.pop(run, []):
            del state.journal[row.seq]
            state.pruned[tenant] = max(row.seq, state.pruned.get(tenant, 0))
        state.logs.pop(run, None)
        state.log_tenants.pop(run, None)
        state.agent_sessions.pop(run, None)
    state.log_tallies = {step: tally for step, tally in state.log_tallies.items() if step[0] not in gone}
    state.waits = {key: wait for key, wait in state.waits.items() if key[0] not in gone}
    state.claims = {
        scope: {who: holder for who, holder in holders.items() if who[0] not in gone}
        for scope, holders in state.claims.items()
    }
    state.costs = {key: cost for key, cost in state.costs.items() if key[0] not in gone}
    _prune_budgets(state, gone, tenant)
    state.approvals = {id_: approval for id_, approval in state.approvals.items() if approval.run not in gone}
    state.votes = {key: vote for key, vote in state.votes.items() if key[0] in state.approvals}
    freed = {ref for ref in state.blob_refs if ref[2] in gone}
    for ref in freed:
        del state.blob_refs[ref]
    held = {(tenant, digest) for tenant, digest, _ in state.blob_refs}
    for tenant, digest, _ in freed:
        if (tenant, digest) not in held:
            state.blobs.pop((tenant, digest), None)


def _prune_budgets(state: State, gone: set[str], tenant: str) -> None:
    """What the runs hold will never be settled: it may have been spent. Scopes stay while others hold something."""
    lost = {*gone}
    for key, each in [(key, each) for key, each in state.reservations.items() if each.run in gone]:
        del state.reservations[key]
        lost.update(map(run_of, each.scopes))
        for scope in each.scopes if each.held else ():
            # One that holds nothing at all keeps no scope.
            if (budget := state.budgets.get((each.tenant, scope))) is not None:
                state.budgets[(each.tenant, scope)] = forfeited(budget, each.amounts)
    lost -= {"", *(run.id for run in state.runs.values() if run.tenant == tenant)}
    for key, budget in [*state.budgets.items()]:
        if key[0] == tenant and budget.reserved == NOTHING and run_of(key[1]) in lost:
            del state.budgets[key]


def _prune_days(state: State, before: float, tenant: str) -> None:
    for key, budget in [*state.budgets.items()]:
        if key[0] == tenant and budget.reserved == NOTHING and is_past(key[1], before):
            del state.budgets[key]


def _prune_firings(state: State, before: float, tenant: str) -> None:
    for seq, firing in [*state.firings.items()]:
        head = state.runs.get(firing.run)
        goes_on = firing.signal in state.unrouted or (head is not None and head.finished_at is None)
        if firing.tenant == tenant and firing.at < before and not goes_on:
            del state.firings[seq]
            del state.firing_keys[firing.workflow, firing.trigger, firing.scheduled, firing.tenant]


def _prune_signals(state: State, gone: set[str], before: float, tenant: str) -> None:
    for results in state.results.values():
        for run in gone & results.keys():
            del results[run]
    underway = {each.signal for each in state.deliveries.values() if each.status == "pending"}
    old = [
        signal
        for signal in state.signals.values()
        if signal.tenant == tenant
        and signal.id not in underway
        and signal.at < before
        and signal.id not in state.unrouted
        and not any(run for run in state.results.get(signal.id, ()))
    ]
    for signal in old:
        del state.signals[signal.id]
        state.keys.pop((signal.tenant, signal.key), None)
        state.results.pop(signal.id, None)
