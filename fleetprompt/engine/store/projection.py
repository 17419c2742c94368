"""What the store derives from an append beside the journal: rows that filters see, approvals, references to blobs.

Pure, and shared by every store, so that a list shows the same whatever is underneath.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fleetprompt.engine.core import codec
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import InvalidInput, Refused
from fleetprompt.engine.core.evolve_work import GRANTED
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    ApprovalVoted,
    RunCreated,
    RunForked,
    StepNoted,
)
from fleetprompt.engine.core.gate import looked_away
from fleetprompt.engine.core.keys import step_of
from fleetprompt.engine.core.signal import Result, Signal
from fleetprompt.engine.core.spending import spending
from fleetprompt.engine.ports import MOST_BUCKETS, Append, Approval, CostRow, Holder, RunHead, Vote
from fleetprompt.engine.ports.grant import WorkflowGrant
from fleetprompt.engine.store import budget_book

FINAL = ("completed", "failed", "cancelled", "timeout")
"""Statuses after which a run never changes."""
GOING_ON = ("pending", "running", "waiting")
FAILED = ("failed", "timeout")
"""Statuses of runs that came to a bad end by themselves."""
RECENT = 20
"""Runs that the statistics of a workflow name."""

_APPROVAL_FACTS = (ApprovalRequested, ApprovalVoted, ApprovalDecided)
ApprovalFact = ApprovalRequested | ApprovalVoted | ApprovalDecided


def check(entry: Append) -> None:
    """Raise `ValueError` for an append that contradicts itself: a mistake of the program, not of its data."""
    head = entry.head
    if (head.id, head.tenant) != (entry.run, entry.tenant):
        raise ValueError(f"the head of run {head.id} ({head.tenant}) is not that of {entry.run} ({entry.tenant})")
    if head.n != entry.after + len(entry.facts):
        raise ValueError(f"run {head.id} would hold {entry.after + len(entry.facts)} facts, its head says {head.n}")
    if not head.n:
        raise ValueError(f"run {head.id} would begin without a fact")
    if entry.encoded and len(entry.encoded) != len(entry.facts):
        raise ValueError(f"run {head.id}: {len(entry.facts)} facts, {len(entry.encoded)} stored forms")
    if budget_book.concerns(entry):
        budget_book.check(entry)


def encoded(entry: Append) -> tuple[bytes, ...]:
    """The facts as they are stored. Raises `InvalidInput` for one that is not JSON."""
    try:
        return entry.encoded or tuple(map(codec.encode, entry.facts))
    except (TypeError, ValueError, OverflowError) as error:
        raise unstorable(entry, error) from error


def unstorable(entry: Append, error: Exception) -> InvalidInput:
    """The refusal of an entry that holds what no store can keep."""
    return InvalidInput(f"this cannot be stored: {error}", where=entry.run)


def run_row(head: RunHead) -> Mapping[str, Any]:
    """A run as the filter language sees it (`RUN_FIELDS`)."""
    error = (head.error_code, head.error_message, head.error_step)
    return msgspec.structs.asdict(head) | {
        "error": " ".join(error) if any(error) else "",
        "tool": head.tools,
        "model": head.models,
        "agent": head.agents,
    }


def approval_row(approval: Approval) -> Mapping[str, Any]:
    """An approval as the filter language sees it (`APPROVAL_FIELDS`)."""
    return {
        "id": approval.id,
        "status": approval.status,
        "run": approval.run,
        "workflow": approval.workflow,
        "step": approval.path,
        "message": approval.message,
        "approvers": approval.approvers,
        "created_at": approval.requested_at,
        "expires_at": approval.until,
    }


def signal_row(
    signal: Signal, results: Iterable[Result], dead: Sequence[str] = (), *, routed: bool
) -> Mapping[str, Any]:
    """A signal as the filter language sees it (`SIGNAL_FIELDS`): accepted if anything accepted it, or if it was routed
    and nothing refused it."""
    results = list(results)
    statuses = {result.status for result in results}
    if routed and not statuses:
        statuses = {"accepted"}
    status = next((status for status in ("accepted", "refused") if status in statuses), "pending")
    return {
        "id": signal.id,
        "type": signal.type,
        "source": signal.source,
        "run": tuple(result.run for result in results),
        "key": signal.key,
        "status": status,
        "correlation": signal.correlation,
        "dead": tuple(dead),
        "created_at": signal.at,
    }


def approval_facts(facts: Iterable[AnyFact]) -> list[ApprovalFact]:
    """The facts of an append that change approvals, in order."""
    return [fact for fact in facts if isinstance(fact, _APPROVAL_FACTS)]


def requested(fact: ApprovalRequested, entry: Append) -> Approval:
    """The approval that a request opens, or that an escalation renews."""
    return Approval(
        id=fact.id,
        tenant=entry.tenant,
        run=entry.run,
        path=fact.path,
        workflow=entry.head.workflow,
        status="pending",
        digest=fact.digest,
        message=fact.message,
        requested_at=fact.at,
        show=fact.show,
        approvers=fact.approvers,
        barred=fact.barred,
        quorum=fact.quorum,
        form=fact.form,
        until=fact.until,
        on_timeout=fact.on_timeout,
        level=fact.level,
        input=fact.input,
        secrets=fact.secrets,
        blob=fact.blob,
        about=fact.about,
        call=fact.call,
        escalate=fact.escalate,
    )


def voted(fact: ApprovalVoted, level: int) -> Vote:
    """The vote in a fact, for an approval that is at this level."""
    return Vote(
        approval=fact.id,
        by=fact.by,
        decision=fact.decision,
        at=fact.at,
        level=level,
        comment=fact.comment,
        values=fact.values,
        via=fact.via,
        grant=fact.grant,
        ends=fact.ends,
    )


def replaced(kept: Vote, fact: ApprovalVoted, level: int) -> Vote:
    """The vote that is kept of a person, once a fact tells one: theirs as they sent it, or a later one that says
    something else and takes its place."""
    told = voted(fact, level)
    return kept if says_the_same(told, kept) else told


def says_the_same(one: Vote, other: Vote) -> bool:
    """Whether two votes of a person differ in nothing but when, and by which face, they were sent."""
    return msgspec.structs.replace(one, at=other.at, via=other.via, level=other.level) == other


def decides(votes: Iterable[Vote], quorum: int) -> bool:
    """Whether votes of one level settle the question, also where no engine has carried them out yet."""
    every = [*votes]
    return len(every) >= quorum or any(vote.decision == "rejected" for vote in every)


def corrects(vote: Vote, there: Iterable[Vote], quorum: int) -> bool:
    """Whether it is of somebody who has voted before, and takes the place of that vote. `there` are those of its level.
    Raises `Refused` where they decide, as nobody takes theirs back then, and where it says the same once more."""
    every = [*there]
    earlier = next((each for each in every if each.by == vote.by), None)
    if earlier is None:
        return False
    if decides(every, quorum) or says_the_same(vote, earlier):
        raise Refused(f"{vote.by} has decided already: {earlier.decision}")
    return True


class Cost(Struct, frozen=True):
    """What one fact says was spent. The fields are the columns of `costs` in their order."""

    run: str
    n: int
    tenant: str
    workflow: str
    path: str
    step: str
    model: str
    at: float
    cost_nano: int
    tokens: int
    uncertain_nano: int
    mode: str


def costs(entry: Append) -> Iterator[Cost]:
    """What the facts of an append say was spent, except those that a retry has copied: their run has spent it."""
    copied = next((n for n, fact in enumerate(entry.facts) if isinstance(fact, RunForked)), 0)
    for n, fact in enumerate(entry.facts[copied:], entry.after + copied + 1):
        spent = spending(fact)
        if spent is not None:
            path = getattr(fact, "path", "")
            yield Cost(
                run=entry.run,
                n=n,
                tenant=entry.tenant,
                workflow=entry.head.workflow,
                path=path,
                step=step_of(path),
                model=spent.model,
                at=fact.at,
                cost_nano=spent.cost_nano,
                tokens=spent.tokens,
                uncertain_nano=spent.uncertain_nano,
                mode=spent.mode,
            )


def most_expensive(row: CostRow) -> tuple[Any, ...]:
    """What rows are sorted by so that the most expensive comes first."""
    return -row.cost_nano, -row.tokens, row.key, row.workflow


def check_parts(since: float, until: float, parts: int) -> None:
    """Raise `ValueError` for a period that cannot be cut into so many parts: a mistake of the program."""
    if not since < until or not 1 <= parts <= MOST_BUCKETS:
        raise ValueError(f"a period from {since} to {until} cannot be cut into {parts} parts")


def rank(per: int, number: int) -> int:
    """Which of so many values in order is a percentile, from 1: the first that so many per cent do not exceed."""
    return -(-per * number // 100)


def granted(entry: Append) -> Iterator[WorkflowGrant]:
    """What the facts of an append allow in every run of the workflow; a retry's copies allow nothing anew."""
    copied = next((n for n, fact in enumerate(entry.facts) if isinstance(fact, RunForked)), 0)
    for fact in entry.facts[copied:]:
        value = mapping(fact.value) if isinstance(fact, StepNoted) and fact.kind == GRANTED else {}
        if value.get("scope") == "workflow" and isinstance(value.get("subject"), dict):
            yield WorkflowGrant(
                id=str(value.get("approval", "")),
                tenant=entry.tenant,
                workflow=entry.head.workflow,
                tool=str(value.get("tool", "")),
                subject=mapping(value["subject"]),
                agent=str(value.get("agent", "")),
                run=entry.run,
                by=", ".join(map(str, items(value.get("by")))),
                at=fact.at,
            )


class Ballot(Struct, frozen=True):
    """A vote, and what the person who cast it had been shown."""

    vote: Vote
    """At level 0: the approval knows better."""
    digest: str
    level: int | None

    def problem(self, status: str, digest: str, level: int) -> str:
        """Why it does not count for an approval as it is now; empty when it does."""
        if status != "pending":
            return f"approval {self.vote.approval} is {status}"
        return looked_away(self.vote.approval, digest, level, self.digest, self.level)


class _Cast(Struct):
    """What the data of a vote signal must hold."""

    approval: str
    decision: Literal["approved", "rejected"]
    comment: str = ""
    values: dict[str, Any] = {}
    via: str = ""
    digest: str = ""
    level: int | None = None
    grant: str = ""
    ends: bool = False
    edited: str = ""
    previewed: str = ""


def ballot(signal: Signal) -> Ballot:
    """The vote in a signal. Raises `InvalidInput` when its data is not one."""
    try:
        cast = msgspec.convert(signal.data, _Cast)
    except msgspec.ValidationError as error:
        hint = "its data needs `approval` and `decision` (approved or rejected)"
        raise InvalidInput(f"this is not a vote: {error}", hint=hint) from error
    vote = Vote(
        approval=cast.approval,
        by=signal.by,
        decision=cast.decision,
        at=signal.at,
        comment=cast.comment,
        values=cast.values,
        via=cast.via,
        grant=cast.grant,
        ends=cast.ends,
    )
    return Ballot(vote, cast.digest, cast.level)


def blob_digests(entry: Append) -> Iterator[str]:
    """Digests of the blobs that an append brings or refers to; a fork refers to blobs it does not bring."""
    for digest, _ in entry.blobs:
        yield digest
    for fact in entry.facts:
        blob = getattr(fact, "blob", None)
        if blob is not None:
            yield blob.digest
        if isinstance(fact, RunCreated) and fact.source.digest:
            yield fact.source.digest


def prefix_or_suffix(text: str, ids: Iterable[str], most: int = 10) -> list[str]:
    """Ids that equal, begin or end with a text: the equal one first, then newest (largest) first."""
    if not text:
        return []
    found = [id_ for id_ in ids if id_.startswith(text) or id_.endswith(text)]
    return sorted(sorted(found, reverse=True), key=lambda id_: id_ != text)[:most]


def sort_holders(holders: Iterable[Holder]) -> list[Holder]:
    """By time, run and path."""
    return sorted(holders, key=lambda holder: (holder.at, holder.run, holder.path))
