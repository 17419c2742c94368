"""An approval as it was read: how far it is, and whether whoever looks may decide about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.client.deciding import counted, decides, may_decide, unsure
from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.gate import is_barred
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Vote


class Standing(Struct, frozen=True):
    """How far a decision is, and whether the operator has a say in it."""

    agreed: tuple[str, ...] = ()
    """Who has approved so far."""
    quorum: int = 1
    voted: str = ""
    """What the operator has said already."""
    who: str = ""
    """The operator."""
    may: bool = True
    """The operator may decide, as far as can be told here."""
    corrects: bool = False
    """The operator has said something already, and may say something else: it is not decided yet."""

    @property
    def words(self) -> str:
        """`1 of 2: ada approved`; empty where one decides alone and nobody has."""
        if self.quorum <= 1 and not self.agreed:
            return ""
        who = f": {inert(', '.join(self.agreed))} approved" if self.agreed else ""
        return f"{len(self.agreed)} of {self.quorum}{who}"


def standing(approval: Approval, votes: Iterable[Vote], who: str, groups: Collection[str] | None) -> Standing:
    """How far it is, and whether this person may decide. `groups`: those that they are in; None: not known."""
    present = counted(approval, votes)
    voted = next((vote.decision for vote in present if vote.by == who), "")
    open_ = unsure(approval, groups) and not is_barred(approval.barred, who)
    may = not voted and (may_decide(approval, present, who, groups or ()) or open_)
    return Standing(
        agreed=tuple(vote.by for vote in present if vote.decision == "approved"),
        quorum=approval.quorum,
        voted=voted,
        who=who,
        may=may,
        corrects=bool(voted) and approval.status == "pending" and not decides(approval, present),
    )


class Look(Struct, frozen=True):
    """An approval as it was read, with all that belongs to it."""

    approval: Approval
    votes: tuple[Vote, ...] = ()
    input: Any = None
    """What an approval releases, whole."""
    missing: bool = False
    """What it releases is no longer in the store."""

    @property
    def identity(self) -> bytes:
        """Everything that is shown and can change: equal when nothing has."""
        return msgspec.json.encode([self.approval, self.votes])

    @property
    def values(self) -> dict[str, Any]:
        """The values of the form as they are now: what others have entered so far. Defaults are not among them."""
        entered: dict[str, Any] = {}
        for vote in counted(self.approval, self.votes):
            entered |= vote.values
        return entered


async def look_at(console: Console, approval: str, before: Look | None = None) -> Look:
    """Read an approval; what is large about it is taken from a look `before`, where it was the same. Raises `NotFound`
    when there is none of that id, and `FleetError`."""
    found, votes = await console.approval(approval)
    executed = found.input
    if before is not None and found.blob is not None and before.approval.blob == found.blob and not before.missing:
        executed = before.input
    elif found.blob is not None:
        executed = await console.value(found)
    return Look(found, tuple(votes), executed, found.blob is not None and executed is None)
