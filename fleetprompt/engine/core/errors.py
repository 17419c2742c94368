"""Errors of the product: every one has a code, says what happened, where, and what to do next.

Inside the core nothing raises for bad data: a failure is a `Failure` value in a fact. `FleetError` is for the edges:
what a person or another program asked for and cannot have.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Code = Literal[
    "VALIDATION_ERROR",
    "AGENT_ERROR",
    "TOOL_ERROR",
    "TIMEOUT",
    "APPROVAL_REJECTED",
    "RATE_LIMIT",
    "BUDGET_EXCEEDED",
    "IN_DOUBT",
    "CANCELLED",
    "INTERNAL",
]
"""The closed list of error codes that a run, a step or an answer can carry."""


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a step or a run failed, as data."""

    code: Code
    message: str
    hint: str = ""
    """What the operator can do next; empty when there is nothing sensible to say."""
    path: str = ""
    """Path of the step in which the failure began; empty for the run itself."""
    retryable: bool = True
    """False where another attempt cannot help (a validation error, a rejected approval)."""
    data: Any = None
    """Details for machines: exit code, HTTP status, the tail of the output."""


class FleetError(Exception):
    """Base of everything the product raises on purpose; shown to users as `message`, `where` and `hint`.

    The docstring of a subclass is its default message.
    """

    code: Code = "INTERNAL"

    def __init__(self, message: str = "", *, where: str = "", hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.where = where
        self.hint = hint
        super().__init__(self.message)


class InvalidInput(FleetError):
    """What was given cannot be used."""

    code: Code = "VALIDATION_ERROR"


class NotFound(FleetError):
    """Nothing has that name or id."""

    code: Code = "VALIDATION_ERROR"


class Refused(FleetError):
    """The request is understood but cannot be carried out now."""

    code: Code = "VALIDATION_ERROR"


class TimedOut(FleetError):
    """It took longer than it may and was stopped; nothing came of it, and another attempt may do better."""

    code: Code = "TIMEOUT"


class RateLimited(FleetError):
    """There were too many of these; what was given is not kept."""

    code: Code = "RATE_LIMIT"

    def __init__(self, message: str = "", *, retry_after: float, where: str = "", hint: str = "") -> None:
        self.retry_after = retry_after
        """Seconds until there is room for one more."""
        super().__init__(message, where=where, hint=hint)


class StoreUnavailable(FleetError):
    """The store cannot be read or written."""

    code: Code = "INTERNAL"


class StoreLost(StoreUnavailable):
    """The store is damaged, or what is open is not what its path leads to any more."""
