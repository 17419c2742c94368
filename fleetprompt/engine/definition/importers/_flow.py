"""The steps of a foreign file as a graph: what lies inside of what, and in which order things happen.

Arrows of the file become the order of the list, and `needs` only where the list does not say it. Where ways that
exclude each other meet, a step takes `join: any`; where ways meet of which nobody can tell how many arrive, steps carry
the decisions they depend on in their `if`, for a skipped step is waited for and a dead one is not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from fleetprompt.engine.definition.importers._given import Given, Report
from fleetprompt.engine.definition.importers._ways import ALWAYS, NEVER, Way, Ways
from fleetprompt.engine.definition.problems import Pointer, ProblemCode

Kind = Literal[
    "agent", "tool", "http", "transform", "condition", "approval", "delay", "loop", "parallel", "trigger", "unknown",
    "never",
]  # fmt: skip
MAX_NESTING = 19


class Node:
    """A step of the file, on its way to be one of ours."""

    def __init__(self, key: str, id_: str, kind: Kind, given: Given, order: int) -> None:
        self.key = key
        """Its id in the file."""
        self.id = id_
        self.kind: Kind = kind
        self.given = given
        self.order = order
        """Its position in the file."""
        self.owner: Node | None = None
        self.branch = ""
        """Of the owner, in which it lies."""
        self.blocks: dict[str, Block] = {}
        """Of a composite, by name."""
        self.block: Block | None = None
        self.index = 0
        """Its position in its block."""
        self.before = 0
        """The positions of all steps that it comes after, as bits."""
        self.incoming: list[tuple[Node, str]] = []
        self.way: Way = ALWAYS
        self.needs: list[str] | None = None
        self.join_any = False
        self.reached = ""
        """Condition under which it is reached, where it has to carry that itself."""
        self.guarded = False
        """It has a condition of its own, and is skipped without being dead."""
        self.goes_on = False
        """Of an approval: a rejection ends nothing."""

    @property
    def pointer(self) -> Pointer:
        return self.given.pointer

    def around(self) -> Iterator[Node]:
        """This step and the composites it lies in, from the inside out."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.owner


class Edge(NamedTuple):
    """One step after another, or after one of its ports."""

    source: Node
    port: str
    target: Node
    pointer: Pointer
    """Where the file says so."""


class Block:
    """Steps in their order."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.ways = Ways()
        for node in nodes:
            node.block = self

    @property
    def last(self) -> Node:
        return self.nodes[-1]


class Claim(NamedTuple):
    """Steps that a composite refers to as its own."""

    owner: Node
    branches: list[list[Node]]
    pointer: Pointer


def settle(nodes: list[Node], edges: list[Edge], claims: list[Claim], report: Report) -> Block:
    """Put every step into its block, and every block in order; the outermost block. Raises `NotImportable`."""
    _contain(nodes, edges, claims, report)
    report.stop_if_wrong()
    outer = _lifted(edges, report)
    blocks: dict[tuple[int, str], list[Node]] = {}
    for node in nodes:
        blocks.setdefault((id(node.owner) if node.owner else 0, node.branch), []).append(node)
    root = Block(blocks.get((0, ""), []))
    for members in blocks.values():
        owner = members[0].owner
        if owner is not None:
            owner.blocks[members[0].branch] = Block(members)
    for node in nodes:
        if sum(1 for _ in node.around()) > MAX_NESTING:
            message = f"steps lie more than {MAX_NESTING} deep in each other"
            report.wrong(node.pointer, ProblemCode.TOO_DEEP, message)
            break
    for block in (root, *(block for node in nodes for block in node.blocks.values())):
        _arrange(block, [edge for edge in outer if edge.target.block is block], report)
    report.stop_if_wrong()
    return root


# ---------------------------------------------------------------- what lies inside of what


def _contain(nodes: list[Node], edges: list[Edge], claims: list[Claim], report: Report) -> None:
    after = _neighbours(edges, forward=True)
    before = _neighbours(edges, forward=False)
    for claim in claims:
        for branch in claim.branches:
            for node in branch:
                _claim(node, claim.owner, branch[0].id, claim.pointer, report)
    for claim in claims:
        if claim.owner.kind == "loop":
            # What leads back to the loop is done again for each item, whether it is listed or not.
            inside = _reached(claim.owner, after) & _reached(claim.owner, before)
            for node in nodes:
                if node in inside and node is not claim.owner and node.owner is None:
                    _claim(node, claim.owner, "steps", claim.pointer, report)
    for claim in claims:
        if claim.owner.kind == "parallel":
            _grow_branches(claim, after, before)
    for claim in claims:
        if claim.owner.kind == "loop":
            for node in nodes:
                if node.owner is claim.owner:
                    node.branch = "steps"
        else:
            _join_branches(claim.owner, [node for node in nodes if node.owner is claim.owner], edges)


def _claim(node: Node, owner: Node, branch: str, pointer: Pointer, report: Report) -> None:
    if node.owner is not None and node.owner is not owner:
        message = f"`{node.key}` is claimed by `{node.owner.key}` and by `{owner.key}`"
        report.wrong(pointer, ProblemCode.CONFLICTING_KEYS, message, "a step lies in one loop or branch only")
        return
    if node in owner.around():
        message = (
            f"`{owner.key}` lies in itself" if node is owner else f"`{owner.key}` and `{node.key}` lie in each other"
        )
        report.wrong(pointer, ProblemCode.CYCLE, message, "name the steps that it goes through")
        return
    if node.owner is None:
        node.owner, node.branch = owner, branch


def _neighbours(edges: Iterable[Edge], *, forward: bool) -> dict[Node, list[Node]]:
    found: dict[Node, list[Node]] = {}
    for edge in edges:
        here, there = (edge.source, edge.target) if forward else (edge.target, edge.source)
        found.setdefault(here, []).append(there)
    return found


def _reached(start: Node, neighbours: dict[Node, list[Node]]) -> set[Node]:
    found: set[Node] = set()
    stack = [start]
    while stack:
        for node in neighbours.get(stack.pop(), ()):
            if node not in found:
                found.add(node)
                stack.append(node)
    return found


def _grow_branches(claim: Claim, after: dict[Node, list[Node]], before: dict[Node, list[Node]]) -> None:
    """What follows the steps of one branch, and nothing else, belongs to the branch."""
    follows = set(after.get(claim.owner, ()))
    for branch in claim.branches:
        members = {node for node in branch if node.owner is claim.owner}
        stack = list(members)
        while stack:
            for node in after.get(stack.pop(), ()):
                free = node.owner is None and node not in follows and node not in claim.owner.around()
                if free and node not in members and all(other in members for other in before[node]):
                    node.owner, node.branch = claim.owner, branch[0].id
                    members.add(node)
                    stack.append(node)


def _join_branches(owner: Node, members: list[Node], edges: Iterable[Edge]) -> None:
    """Branches in which one step waits for one of another are one branch: branches do not see into each other."""
    name = {node.branch: node.branch for node in members}

    def root(branch: str) -> str:
        while name[branch] != branch:
            name[branch] = name[name[branch]]
            branch = name[branch]
        return branch

    inside = {node: node for node in members}
    for edge in edges:
        one = next((inside[node] for node in edge.source.around() if node in inside), None)
        other = next((inside[node] for node in edge.target.around() if node in inside), None)
        if one is not None and other is not None:
            first, second = root(one.branch), root(other.branch)
            if first != second:
                name[second] = first
    for node in members:
        node.branch = root(node.branch)


def _lifted(edges: Iterable[Edge], report: Report) -> list[Edge]:
    """The arrows between steps of one block: one that enters or leaves a composite becomes one of the composite."""
    found: list[Edge] = []
    for edge in edges:
        target_in = {(id(node.owner), node.branch): node for node in edge.target.around()}
        pair = next(
            (
                (node, target_in[id(node.owner), node.branch])
                for node in edge.source.around()
                if (id(node.owner), node.branch) in target_in
            ),
            None,
        )
        if pair is None or pair[0] is pair[1]:
            continue
        source, target = pair
        port = edge.port
        if source is not edge.source and port:
            message = (
                f"a decision inside of `{source.key}` cannot lead out of it: `{target.key}` comes after it in any case"
            )
            report.differs(edge.pointer, message)
            port = ""
        if target is not edge.target:
            if port or edge.source.kind == "condition":
                message = f"`{edge.target.key}` lies in `{target.key}`, and cannot be reached from `{source.key}` alone"
                report.wrong(edge.pointer, ProblemCode.UNKNOWN_NEED, message, "let the arrow lead to the composite")
                continue
            message = f"`{edge.target.key}` lies in `{target.key}`: the whole of it comes after `{source.key}`"
            report.differs(edge.pointer, message)
        found.append(Edge(source, port, target, edge.pointer))
    return found


# ---------------------------------------------------------------- the order of a block


def _arrange(block: Block, edges: list[Edge], report: Report) -> None:
    _meet(edges)
    order = _topological(block.nodes)
    if len(order) < len(block.nodes):
        _tell_cycle(block.nodes, order, edges, report)
        return
    block.nodes = order
    ways = block.ways
    for index, node in enumerate(order):
        node.index = index
        node.before = 0
        node.way = NEVER if node.incoming else ALWAYS
        for source, port in node.incoming:
            node.before |= source.before | 1 << source.index
            node.way = ways.either(node.way, edge_way(ways, source, port))
    for node in order:
        _need(block, node)
    _carry(block)


def edge_way(ways: Ways, source: Node, port: str) -> Way:
    """When an arrow is gone along."""
    if not port:
        return source.way
    decision = ways.decision(source.index)
    return ways.both(source.way, decision if port in ("then", "approved") else ways.no(decision))


def _meet(edges: Iterable[Edge]) -> None:
    """Collect the arrows into each step, one for each port of a step that counts."""
    ports: dict[tuple[Node, Node], set[str]] = {}
    for edge in edges:
        ports.setdefault((edge.source, edge.target), set()).add(edge.port)
    for (source, target), found in ports.items():
        if len(found) > 1:
            # An arrow that is drawn twice, once with its port.
            found.discard("")
        if source.kind == "condition" and len(found) > 1:
            found.clear()
            found.add("")
        target.incoming += [(source, port) for port in sorted(found)]
    for target in {target: None for _, target in ports}:
        target.incoming.sort(key=lambda each: (each[0].order, each[1]))


def _topological(nodes: list[Node]) -> list[Node]:
    """The steps, each after all that lead to it, otherwise as the file has them."""
    waiting = {node: len({source for source, _ in node.incoming}) for node in nodes}
    targets: dict[Node, list[Node]] = {}
    for node in nodes:
        for source in {source for source, _ in node.incoming}:
            targets.setdefault(source, []).append(node)
    ready = [(node.order, node) for node in nodes if not waiting[node]]
    heapq.heapify(ready)
    found: list[Node] = []
    while ready:
        _, node = heapq.heappop(ready)
        found.append(node)
        for target in targets.get(node, ()):
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, (target.order, target))
    return found


def _tell_cycle(nodes: list[Node], order: list[Node], edges: Iterable[Edge], report: Report) -> None:
    done = set(order)
    path: list[Node] = [next(node for node in nodes if node not in done)]
    while True:
        # Each step that is left waits for another one that is left.
        before = next(source for source, _ in path[-1].incoming if source not in done)
        if before in path:
            circle = path[path.index(before) :]
            break
        path.append(before)
    circle.reverse()
    first = min(range(len(circle)), key=lambda at: circle[at].order)
    circle = [*circle[first:], *circle[:first]]
    shown = [node.key for node in (*circle, circle[0])]
    if len(shown) > 12:
        shown = [*shown[:6], "…", *shown[-5:]]
    back = next((edge.pointer for edge in edges if edge.source is circle[-1] and edge.target is circle[0]), ())
    hint = "to do steps again, let them be the body of a loop"
    report.wrong(back, ProblemCode.CYCLE, f"steps wait for each other: {' → '.join(shown)}", hint)


def _need(block: Block, node: Node) -> None:
    """What a step waits for, where the ways that lead to it can be told apart."""
    ways = block.ways
    everything = (1 << node.index) - 1
    asks_people = any(port in ("approved", "rejected") for _, port in node.incoming)
    if not node.index or (node.before == everything and node.way == ALWAYS and not asks_people):
        node.needs = None
        return
    roads = [edge_way(ways, source, port) for source, port in node.incoming]
    if all(road == node.way for road in roads):
        node.needs = [_need_text(source, port) for source, port in _nearest(node.incoming)]
        return
    met = NEVER
    node.join_any = True
    for road in roads:
        if ways.both(met, road) != NEVER:
            node.reached = "?"
        met = ways.either(met, road)
    node.needs = [_need_text(source, port) for source, port in node.incoming]


def _need_text(source: Node, port: str) -> str:
    return f"{source.id}.{port}" if port else source.id


def _nearest(incoming: list[tuple[Node, str]]) -> list[tuple[Node, str]]:
    """Without the steps that another one waits for anyway."""
    return [(node, port) for node, port in incoming if not any(each.before >> node.index & 1 for each, _ in incoming)]


def _carry(block: Block) -> None:
    """Where nobody can tell how many ways arrive, the steps on them are skipped by conditions of their own."""
    stack = [node for node in block.nodes if node.reached]
    if not stack:
        return
    targets: dict[Node, list[Node]] = {}
    for node in block.nodes:
        for source, _ in node.incoming:
            targets.setdefault(source, []).append(node)
    carrying: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in carrying:
            continue
        carrying.add(node)
        stack += [source for source, _ in node.incoming if source.way != ALWAYS]
        if node.way != ALWAYS:
            stack += [target for target in targets.get(node, ()) if target.needs is not None]
    for node in block.nodes:
        if node not in carrying:
            continue
        node.join_any = False
        node.reached = "" if node.way == ALWAYS else _formula(block.ways, node)
        everything = (1 << node.index) - 1
        sources = _nearest(list(dict.fromkeys((source, "") for source, _ in node.incoming)))
        node.needs = None if node.before == everything else [source.id for source, _ in sources]
        for source, port in node.incoming:
            # It is waited for in both cases.
            source.goes_on = source.goes_on or port in ("approved", "rejected")


def _formula(ways: Ways, node: Node) -> str:
    """When a step is reached, told by those before it: a port that was taken, a step that was not skipped."""
    roads = {edge: edge_way(ways, *edge) for edge in node.incoming}
    found: list[str] = []
    for edge, road in roads.items():
        wider = (other for other, way in roads.items() if other != edge and ways.implies(road, way))
        if not any(roads[other] != road or node.incoming.index(other) < node.incoming.index(edge) for other in wider):
            found.append(_taken(*edge))
    return found[0] if len(found) == 1 else " or ".join(f"({each})" if " or " in each else each for each in found)


def _taken(source: Node, port: str) -> str:
    if port in ("then", "else"):
        return f"steps.{source.id}.port == '{port}'"
    if port:
        return f"steps.{source.id}.status == '{'completed' if port == 'approved' else 'failed'}'"
    # A condition of its own skips a step on a way that is gone along all the same.
    return source.reached if source.guarded else f"steps.{source.id}.status != 'skipped'"
