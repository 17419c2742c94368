"""What can be replaced: the store and its parts, the clock, and a step type's door to the world."""

from __future__ import annotations

from fleetprompt.engine.ports.journal import (
    Append,
    Appended,
    ClaimRefused,
    Conflict,
    Corrupt,
    Holder,
    Journal,
    RunHead,
    Stored,
    Take,
    Wait,
)
from fleetprompt.engine.ports.lists import Approval, Approvals, Page, Publication, Runs, Signals, Vote
from fleetprompt.engine.ports.store import Blobs, Catalog, Claims, Health, LogLine, Logs, Store, Workflow
from fleetprompt.engine.ports.world import Clock, Context, Done, Effect, Failed, Outcome, Unknown

__all__ = [
    "Append",
    "Appended",
    "Approval",
    "Approvals",
    "Blobs",
    "Catalog",
    "ClaimRefused",
    "Claims",
    "Clock",
    "Conflict",
    "Context",
    "Corrupt",
    "Done",
    "Effect",
    "Failed",
    "Health",
    "Holder",
    "Journal",
    "LogLine",
    "Logs",
    "Outcome",
    "Page",
    "Publication",
    "RunHead",
    "Runs",
    "Signals",
    "Store",
    "Stored",
    "Take",
    "Unknown",
    "Vote",
    "Wait",
    "Workflow",
]
