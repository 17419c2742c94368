"""Who runs after whom in a block: needs, barriers, cycles, and which steps can ever run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from fleetprompt.engine.core.plan import Need
from fleetprompt.engine.core.program import COMMON_PORTS
from fleetprompt.engine.definition.outline import Section, Site

Outcome = frozenset[str]
"""The needs on a step that one way of ending meets: `""` is the plain one, the others are ports."""


class Graph:
    """The order of one block. A barrier waits for everything listed before it, so with n steps there would be n²
    edges: node n + i stands for "everything before step i" and keeps it at two per step."""

    def __init__(self, section: Section) -> None:
        self.sites = section.sites
        n = len(section.sites)
        self.edges: list[list[int]] = []
        for site in section.sites:
            if site.needs is None:
                self.edges.append([n + site.index] if site.index else [])
            else:
                known = [section.ids[need.step].index for _, need in site.needs if need.step in section.ids]
                self.edges.append(list(dict.fromkeys(known)))
        self.edges += [[i - 1, n + i - 1] if i > 1 else [0] if i else [] for i in range(n)]
        self.cycles = [cycle for cycle in self._components() if len(cycle) > 1 or cycle[0] in self.edges[cycle[0]]]
        """Groups of steps that wait for each other."""
        self.before = self._closure() if not self.cycles else []
        """For each step, the steps it runs after, as bits; empty when there are cycles."""

    def runs_after(self, site: Site, other: Site) -> bool:
        """Whether `site` waits, directly or not, for `other` of the same block."""
        return bool(self.before[site.index] >> other.index & 1)

    def path_around(self, cycle: list[int]) -> list[Site]:
        """The steps of a shortest way around, beginning with the first listed."""
        members = set(cycle)
        first = min(node for node in cycle if node < len(self.sites))
        came: dict[int, int] = {}
        queue = [first]
        for node in queue:
            for target in self.edges[node]:
                if target in members and target not in came:
                    came[target] = node
                    queue.append(target)
        path = [first]
        node = came[first]
        while node != first:
            path.append(node)
            node = came[node]
        return [self.sites[node] for node in [first, *reversed(path[1:])] if node < len(self.sites)]

    def _components(self) -> list[list[int]]:
        """Strongly connected components (Tarjan, without recursion), dependencies first."""
        index: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        on_stack: set[int] = set()
        found: list[list[int]] = []
        for root in range(len(self.edges)):
            if root in index:
                continue
            work: list[tuple[int, Iterator[int]]] = [(root, iter(self.edges[root]))]
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
            while work:
                node, targets = work[-1]
                for target in targets:
                    if target not in index:
                        index[target] = low[target] = len(index)
                        stack.append(target)
                        on_stack.add(target)
                        work.append((target, iter(self.edges[target])))
                        break
                    if target in on_stack:
                        low[node] = min(low[node], index[target])
                else:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[node])
                    if low[node] == index[node]:
                        component: list[int] = []
                        while not component or component[-1] != node:
                            component.append(stack.pop())
                            on_stack.discard(component[-1])
                        found.append(component)
        self.order = [node for component in found for node in component]
        return found

    def _closure(self) -> list[int]:
        before = [0] * len(self.edges)
        for node in self.order:
            for target in self.edges[node]:
                before[node] |= before[target] | (1 << target if target < len(self.sites) else 0)
        return before[: len(self.sites)]


def graph(section: Section) -> Graph:
    """The order of a block, made once."""
    if section.graph is None:
        section.graph = Graph(section)
    return section.graph


def outcomes(site: Site) -> list[Outcome]:
    """The ways in which a step can end, and the needs each of them meets."""
    raw, kind = site.raw, site.type.kind if site.type else "effect"
    ports = site.model.port_names() if site.model else ()
    found: list[set[str]] = []
    if kind == "approval":
        found += [{"", "completed", "approved"}, {"rejected"}]
        if raw.get("timeout") is not None:
            silence = {"approve": {"", "completed", "approved"}, "fail": {"failed"}}
            found.append({"timeout", *silence.get(_end_of_silence(raw), {"rejected"})})
    elif kind == "choose":
        found += [{"", "completed", port} for port in ports]
    elif kind != "stop":
        found += [{"", "completed"}, *({"", "completed", port} for port in ports)]
    found.append({"failed"})
    if _can_time_out(site, kind):
        found.append({"failed", "timeout"})
    if raw.get("approval"):
        found += [{"rejected"}, {"rejected", "timeout"}]
    if raw.get("on_error") == "continue":
        found = [ways | {""} if ways & {"failed", "rejected"} else ways for ways in found]
    # An operator can skip an effect that is in doubt.
    if kind == "effect" or _is_conditional(site):
        found.append({"", "skipped"})
    return [frozenset(ways) for ways in found]


def _end_of_silence(raw: dict[str, Any]) -> str:
    """What becomes of an approval that nobody answers."""
    end = str(raw.get("on_timeout", "reject"))
    next_level = raw.get("escalate")
    if end == "escalate" and isinstance(next_level, dict):
        return str(cast("dict[str, Any]", next_level).get("on_timeout", "reject"))
    return end


def _can_time_out(site: Site, kind: str) -> bool:
    if kind == "wait":
        return site.raw.get("timeout") is not None
    return kind not in ("approval", "transform", "emit", "delay", "stop")


def _is_conditional(site: Site) -> bool:
    """Whether a step can be skipped although its needs are met. The `if` of a condition is its question."""
    group = site.raw.get("concurrency")
    skips_on_conflict = isinstance(group, dict) and cast("dict[str, Any]", group).get("on_conflict") == "skip"
    return skips_on_conflict or (site.raw.get("if") is not None and site.raw.get("type") != "condition")


class Unreachable:
    """Finds the steps of a block that can never run, and why."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.graph = graph(section)
        self.reasons: dict[int, str] = {}
        """Step to the reason, for the steps where it begins."""
        self._dead: set[int] = set()
        self._open: dict[int, dict[int, frozenset[Outcome]]] = {}
        self._ways: dict[int, frozenset[Outcome]] = {}
        self._wanted: dict[int, set[str]] = {}
        """For each step, the ports of it that are needed."""
        for _, need in (entry for site in section.sites for entry in site.needs or ()):
            if need.step in section.ids:
                self._wanted.setdefault(section.ids[need.step].index, set()).add(need.port)
        ordered = [] if self.graph.cycles else [section.sites[i] for i in self.graph.order if i < len(section.sites)]
        self._stop = self._certain_stop(ordered)
        for site in ordered:
            self._judge(site)

    def _judge(self, site: Site) -> None:
        if site.needs is None:
            if self._stop is not None and self._stop.index < site.index:
                self._begin(site, f"`{self._stop.id}` ends the run before")
            elif site.index and all(other.index in self._dead for other in self.section.sites[: site.index]):
                self._dead.add(site.index)
            return
        needs = [(need, self.section.ids[need.step]) for _, need in site.needs if need.step in self.section.ids]
        if len(needs) < len(site.needs) or not all(_has_port(other, need.port) for need, other in needs):
            return
        join = site.raw.get("join", "all")
        wanted = {"all": len(needs), "any": min(1, len(needs))}.get(str(join), join if isinstance(join, int) else 0)
        possible = [(need, other) for need, other in needs if other.index not in self._dead and self._can(other, need)]
        if len(possible) < wanted:
            culprit = next((pair for pair in needs if pair[1].index not in self._dead and pair not in possible), None)
            if culprit is None:
                self._dead.add(site.index)
            else:
                self._begin(site, f"`{_shown(culprit[0])}` can never be met")
            return
        if wanted == len(needs):
            self._merge(site, needs)

    def _merge(self, site: Site, needs: list[tuple[Need, Site]]) -> None:
        """All needs have to be met in one and the same run."""
        merged: dict[int, frozenset[Outcome]] = {}
        for need, other in needs:
            demands = dict(self._open.get(other.index, {}))
            if len(self._wanted[other.index]) > 1 and other.model is not None:
                met = frozenset(ways for ways in self._ways_of(other) if need.port in ways)
                demands[other.index] = met & demands.get(other.index, met)
            for index, ways in demands.items():
                merged[index] = ways & merged.get(index, ways)
                if not merged[index]:
                    gate = self.section.sites[index]
                    self._begin(site, f"its needs ask `{gate.id}` to end in two ways at once")
                    return
        if merged:
            self._open[site.index] = merged

    def _begin(self, site: Site, reason: str) -> None:
        self.reasons[site.index] = reason
        self._dead.add(site.index)

    def _ways_of(self, site: Site) -> frozenset[Outcome]:
        if site.index not in self._ways:
            self._ways[site.index] = frozenset(outcomes(site))
        return self._ways[site.index]

    def _can(self, site: Site, need: Need) -> bool:
        if site.model is None:
            return True
        return any(need.port in ways for ways in self._ways_of(site))

    def _certain_stop(self, ordered: list[Site]) -> Site | None:
        """The first step of type `stop` that is performed in every run that gets so far."""
        alive: set[int] = set()
        for site in ordered:
            if site.needs is None:
                # Every earlier step has been judged: the graph lists what a step waits for before the step.
                is_alive = site.index == 0 or any(other in alive for other in range(site.index))
            else:
                met = [self._is_met_for_sure(need, alive) for _, need in site.needs]
                is_alive = all(met) if site.raw.get("join", "all") != "any" else any(met)
            if is_alive:
                alive.add(site.index)
                is_stop = site.type is not None and site.type.kind == "stop"
                if is_stop and not _is_conditional(site) and not site.raw.get("approval"):
                    return site
        return None

    def _is_met_for_sure(self, need: Need, alive: set[int]) -> bool:
        """Whether a need is met in every run that goes on: a failure that nobody handles ends the run."""
        other = self.section.ids.get(need.step)
        if other is None or need.port or other.index not in alive:
            return False
        handled = self._wanted[other.index] & {"failed", "timeout", "rejected"}
        return not handled or other.raw.get("on_error") == "continue"


def _has_port(site: Site, port: str) -> bool:
    return site.ports is None or port in ("", *COMMON_PORTS, *site.ports)


def _shown(need: Need) -> str:
    return f"{need.step}.{need.port}" if need.port else need.step
