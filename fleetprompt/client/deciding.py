"""What every face needs to know of an approval before somebody decides about it. PURE."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import blake2b

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.gate import entitled
from fleetprompt.engine.core.query import Compare, OneOf, parse
from fleetprompt.engine.core.query_fields import APPROVAL_FIELDS
from fleetprompt.engine.ports import Approval, Vote

PENDING = "status:pending"
DIGEST = 12
"""Characters of a digest that are shown."""
LONGEST = 200
"""Characters of a message that are kept in brief."""


class Brief(Struct, frozen=True):
    """An approval in brief: what a decision about it names, and by what it is known to be the one that was shown."""

    id: str
    level: int
    digest: str
    run: str
    path: str
    workflow: str
    quorum: int
    message: str
    """Its first line."""
    print: bytes
    """Differs for whatever is not byte for byte the same."""

    @property
    def key(self) -> tuple[str, int]:
        """What is decided about once."""
        return self.id, self.level


def fingerprint(approval: Approval) -> bytes:
    """Tells an approval from what it becomes when anything of it changes."""
    return blake2b(msgspec.json.encode(approval), digest_size=16).digest()


def brief(approval: Approval) -> Brief:
    """An approval in brief."""
    lines = approval.message.strip().splitlines()
    return Brief(
        id=approval.id,
        level=approval.level,
        digest=approval.digest,
        run=approval.run,
        path=approval.path,
        workflow=approval.workflow,
        quorum=approval.quorum,
        message=lines[0][:LONGEST] if lines else "",
        print=fingerprint(approval),
    )


def asks_for_status(text: str) -> bool:
    """Whether a filter says itself which statuses it wants; one that cannot be understood is complained about as is."""
    query = parse(text, APPROVAL_FIELDS)
    fields = (term.field.name for term in query.terms if isinstance(term, (Compare, OneOf)))
    return bool(query.problems) or "status" in fields


def waiting(text: str) -> str:
    """A filter that finds what waits for a decision, unless it says which statuses it wants."""
    return text if asks_for_status(text) else f"{text} {PENDING}".strip()


def counted(approval: Approval, votes: Iterable[Vote]) -> list[Vote]:
    """The votes that count: those of the level at which the approval is now."""
    return [vote for vote in votes if vote.level == approval.level]


def may_decide(approval: Approval, votes: Iterable[Vote], person: str, groups: Iterable[str]) -> bool:
    """Whether it makes sense to ask this person."""
    if any(vote.by == person for vote in counted(approval, votes)):
        return False
    return entitled(approval.approvers, person, groups)


def unsure(approval: Approval, groups: Collection[str]) -> bool:
    """A group may decide, and nothing is known of this person's groups: only the engine can tell."""
    return not groups and any(approver.startswith("group:") for approver in approval.approvers)
