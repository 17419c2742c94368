"""What facts say was spent: outcomes of steps, and the calls of models inside them.

A call tells of itself in a note, so a step whose notes do must not report the same as its usage once more.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import AnyFact, StepFailed, StepNoted, StepSucceeded

COMPLETED = frozenset({"llm.completed", "image.completed", "embedding.completed"})
"""Kinds of notes about calls of models that were answered."""
CALLS = COMPLETED | {"llm.failed", "image.failed", "embedding.failed"}
"""Kinds of notes about calls of models."""


class Spending(Struct, frozen=True):
    """What one fact tells of; money in nano-USD."""

    cost_nano: int = 0
    tokens: int = 0
    uncertain_nano: int = 0
    """What may have been spent besides."""
    model: str = ""
    """Empty where it is not told which one was called."""
    mode: str = ""
    """How a model's words came about; empty where it is not told."""


def spending(fact: AnyFact) -> Spending | None:
    """What a fact says was spent; None for one that does not tell of it. An answered call counts, whatever it cost."""
    if isinstance(fact, StepNoted):
        return _of_call(fact) if fact.kind in CALLS else None
    if not isinstance(fact, (StepSucceeded, StepFailed)) or not fact.usage:
        return None
    told = Spending(fact.usage.get("cost_nano", 0), fact.usage.get("tokens", 0))
    return told if told.cost_nano or told.tokens else None


def _of_call(fact: StepNoted) -> Spending | None:
    told = mapping(fact.value)
    model = told.get("model")
    if not isinstance(model, str):
        return None
    mode = told.get("mode")
    mode = mode if isinstance(mode, str) else ""
    uncertain = _amount(told, "uncertain_nano")
    if fact.kind in COMPLETED:
        return Spending(_amount(told, "cost_nano"), _amount(told, "tokens"), uncertain, model, mode)
    return Spending(uncertain_nano=uncertain, model=model, mode=mode) if uncertain else None


def _amount(told: dict[str, Any], name: str) -> int:
    """An amount in a note; 0 for one that is missing, unknown or no amount."""
    value = told.get(name)
    return value if type(value) is int and value > 0 else 0
