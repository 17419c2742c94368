"""Agents that were asked to finish at a limit with what they had: which limit it was, and whose. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.evolve_work import REQUESTED
from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.ports.budget import scope_words, unit_of

if TYPE_CHECKING:
    from fleetprompt.cli.tree import Tree

TURNS = "max_iterations"


class WrappedUp(Struct, frozen=True, kw_only=True):
    """An agent that a limit has told to come to an end."""

    run: str
    path: str
    """Of the step."""
    attempt: int
    agent: str
    limit: str
    """`requests`, `tokens`, `tool_calls`, `cost_nano`, or `max_iterations`."""
    scope: str
    """Whose limit it is; empty for the agent's own turns."""
    reason: str
    """How far it was used up, in words."""

    @property
    def words(self) -> str:
        """Such as `wrapped up at the limit of this run on requests`."""
        if self.limit == TURNS:
            return f"wrapped up at its limit: {self.reason}"
        return f"wrapped up at the limit of {scope_words(self.scope, self.run)} on {unit_of(self.limit)}"  # pyright: ignore[reportArgumentType]


def wrapped_up(fact: AnyFact, run: str) -> WrappedUp | None:
    """What a fact of a run says about this: mostly nothing."""
    if not isinstance(fact, StepNoted):
        return None
    value = mapping(fact.value)
    if fact.kind == "state" and value.get("to") == "wrapping_up":
        data, path = mapping(value.get("state_data")), fact.key
        limit, scope, reason = str(data.get("limit", "")), str(data.get("scope", "")), str(value.get("reason", ""))
    elif fact.kind == REQUESTED and mapping(value.get("decision")).get("chosen") == "wrap_up":
        rules = items(mapping(value.get("decision")).get("rules_applied"))
        path = fact.key.rpartition("/llm/")[0]
        limit, scope, reason = TURNS, "", ", ".join(map(str, rules))
    else:
        return None
    agent = path.rpartition("/")[2].partition("#")[0]
    return WrappedUp(
        run=run, path=fact.path, attempt=fact.attempt, agent=agent, limit=limit, scope=scope, reason=reason
    )


def all_wrapped_up(trees: Iterable[Tree]) -> Iterator[WrappedUp]:
    """Those of some runs, and of the child runs that are followed with them."""
    for tree in trees:
        yield from tree.wrapped_up
        yield from all_wrapped_up(tree.children.values())


def wrapped_up_object(found: WrappedUp) -> dict[str, Any]:
    """One for machines: always the same keys."""
    return {
        "step": found.path,
        "attempt": found.attempt,
        "agent": found.agent,
        "limit": found.limit,
        "scope": found.scope or None,
        "reason": found.reason,
    }
