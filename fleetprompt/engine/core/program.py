"""A plan made ready to run: expressions compiled once, dependents indexed. Derived from the plan, never stored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from fleetprompt.engine.core.condition import Condition, compile_condition
from fleetprompt.engine.core.plan import Block, Node, Plan, Test, plan_digest
from fleetprompt.engine.core.template import Value, compile_value

COMMON_PORTS = ("completed", "failed", "timeout", "skipped")
"""Ports that every step has, besides those of its type."""


class Compiled:
    """A value or condition with what it needs to be evaluated."""

    __slots__ = ("condition", "roots", "steps", "value")

    def __init__(self, *, value: Value | None = None, condition: Condition | None = None) -> None:
        self.value = value
        self.condition = condition
        source = value or condition
        assert source is not None
        self.roots: frozenset[str] = source.names
        self.steps = frozenset(
            str(reference.path[1])
            for reference in source.references
            if reference.path[0] == "steps" and len(reference.path) > 1
        )
        """Ids of the steps it refers to."""


class NodeProgram:
    """One node: what waits for it, which of its ports somebody handles, and its compiled fields (made on first use)."""

    __slots__ = (
        "_cache",
        "barrier",
        "blocks",
        "compensation",
        "config",
        "dependents",
        "handled",
        "index",
        "is_plain",
        "node",
        "pool",
    )

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index
        self.barrier = node.needs is None
        self.pool = node.pool or node.type
        self.is_plain = (
            node.kind == "effect" and node.when is None and node.approval is None and node.concurrency is None
        )
        """All it needs to start, once its needs are met, is room in its pool."""
        self.dependents: list[tuple[int, int]] = []
        """(index of the node that needs this one, position in its needs)"""
        self.handled: frozenset[str] = frozenset()
        self.blocks = {block.name: BlockProgram(block) for block in node.blocks}
        self.config = Compiled(value=compile_value(node.config))
        self.compensation = NodeProgram(node.compensate, 0) if node.compensate is not None else None
        self._cache: dict[str, Compiled] = {}

    def condition(self, test: Test) -> Compiled:
        """A condition of this node, compiled once."""
        key = repr(test)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = Compiled(condition=compile_condition(test))
        return found

    def value(self, value: Any) -> Compiled:
        """A value of this node that may hold templates, compiled once."""
        key = "=" + repr(value)
        found = self._cache.get(key)
        if found is None:
            found = self._cache[key] = Compiled(value=compile_value(value))
        return found

    def expression(self, source: str) -> Compiled:
        """A bare expression of this node, as a value that keeps its type."""
        return self.value("${{ " + source + " }}")


class BlockProgram:
    """A block: its nodes in order and by id."""

    __slots__ = ("ids", "name", "nodes")

    def __init__(self, block: Block) -> None:
        self.name = block.name
        self.nodes = [NodeProgram(node, i) for i, node in enumerate(block.nodes)]
        self.ids = {node.id: i for i, node in enumerate(block.nodes)}
        for target in self.nodes:
            for position, need in enumerate(target.node.needs or ()):
                source = self.nodes[self.ids[need.step]]
                source.dependents.append((target.index, position))
                if need.port:
                    source.handled |= {need.port}


class Program:
    """A whole plan, ready."""

    __slots__ = ("concurrency", "digest", "output", "plan", "root")

    def __init__(self, plan: Plan, digest: str = "") -> None:
        self.plan = plan
        self.digest = digest or plan_digest(plan)
        self.root = BlockProgram(plan.root)
        self.output = Compiled(value=compile_value(plan.output)) if plan.has_output else None
        self.concurrency = Compiled(value=compile_value(plan.concurrency.group)) if plan.concurrency else None


def bind(compiled: Compiled, names: Mapping[str, Any]) -> Any:
    """The rendered value of a compiled value that holds no secrets."""
    assert compiled.value is not None
    return compiled.value.render(names).value


@lru_cache(maxsize=4096)
def path_parts(path: str) -> tuple[str, ...]:
    """The ids along a path, without attempts and indexes: `audit#2[3].deps` gives `("audit", "deps")`."""
    return tuple(part.split("[", 1)[0].split("#", 1)[0].split("@", 1)[0] for part in path.split("."))
