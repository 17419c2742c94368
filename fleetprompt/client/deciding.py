"""What every face needs to know of an approval before somebody decides about it. PURE."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.client.values import one_line_json
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.gate import entitled
from fleetprompt.engine.core.inert import inert
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
    covers: str
    """What a grant would cover."""
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
        covers=covers(approval),
        print=fingerprint(approval),
    )


def covered(approval: Approval) -> dict[str, Any]:
    """What a call has to be, to the letter, in order not to be asked about where calls like this one are granted."""
    told = mapping(approval.show)
    # What was asked before grants covered all of a call tells only what rules match.
    return {"tool": str(told.get("tool", "")), **mapping(told.get("covers") or told.get("subject"))}


def covers(approval: Approval) -> str:
    """The same on a line, with digests shortened; empty for what nobody can grant."""
    if approval.about != "tool":
        return ""
    found = covered(approval)
    parts = [f"{name}={shortened(value)}" for name, value in found.items()]
    text = inert(" ".join(parts).removeprefix("tool="))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def shortened(value: Any) -> str:
    """A value on a line, with what is a digest cut to what tells it from others."""
    text = value if isinstance(value, str) and value.isprintable() else one_line_json(value)
    return _HEX.sub(lambda found: f"{found[0][:DIGEST]}…", text)


_HEX = re.compile(r"\b[0-9a-f]{40,}\b")


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


def agreed(approval: Approval, votes: Iterable[Vote]) -> str:
    """`1 of 2 agree`: how far the votes of several people have come; empty where one decides."""
    return f"{agreeing(approval, votes)} of {approval.quorum} agree" if approval.quorum > 1 else ""


def agreeing(approval: Approval, votes: Iterable[Vote]) -> int:
    """How many have approved, of the votes that count."""
    return sum(vote.decision == "approved" for vote in counted(approval, votes))


def decides(approval: Approval, votes: Iterable[Vote]) -> bool:
    """Whether the votes that count settle it, also where no engine has carried them out yet."""
    valid = counted(approval, votes)
    return len(valid) >= approval.quorum or any(vote.decision == "rejected" for vote in valid)


def why_decided(approval: Approval, votes: Iterable[Vote], person: str) -> str:
    """Why nothing more can be said by a person about an approval, also where no engine has carried out the votes yet;
    empty where something can."""
    if approval.status != "pending":
        return f"the approval {approval.id} is already {approval.status}"
    valid = counted(approval, votes)
    mine = next((vote for vote in valid if vote.by == person), None)
    if mine is not None:
        return f"{person} has decided already: {mine.decision}"
    if any(vote.decision == "rejected" for vote in valid):
        return f"the approval {approval.id} is already rejected"
    return f"the approval {approval.id} is already approved" if len(valid) >= approval.quorum else ""


def may_decide(approval: Approval, votes: Iterable[Vote], person: str, groups: Collection[str]) -> bool:
    """Whether it makes sense to ask this person."""
    if any(vote.by == person for vote in counted(approval, votes)):
        return False
    return entitled(approval.approvers, person, groups, approval.barred)


def unsure(approval: Approval, groups: Collection[str] | None) -> bool:
    """A group may decide, and this person's groups are not known (None): only the engine can tell."""
    return groups is None and any(approver.startswith("group:") for approver in approval.approvers)
