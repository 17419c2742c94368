"""What is said about one agent: what it is, what it may do, how it did, what it has worked on last. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from fleetprompt.client.files import shown
from fleetprompt.client.values import cut, one_line_json
from fleetprompt.client.wording import ago, count, duration, exact_money, glyph, short, span
from fleetprompt.engine.core.agent import Agent
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import AgentSession, AgentStatistics
from fleetprompt.tui.state.agents import DAYS, AgentEntry
from fleetprompt.tui.state.lines import Line, Part
from fleetprompt.tui.state.money import badge, cost_words
from fleetprompt.tui.state.workflow_details import problem_lines

RECENT = 10
"""Executions that are told of."""
LONGEST = 600
GOAL = 80
"""Characters of a goal that are told."""
SECONDS = ("keep", "timeout")
"""Settings that are times."""


def details(entry: AgentEntry, sessions: Iterable[AgentSession], now: float) -> list[Line]:
    """Everything about an agent."""
    agent = entry.agent
    parts = (
        _about(entry),
        _configuration(agent) if agent is not None else (),
        _figures(entry.figures) if entry.figures is not None else (),
        _recent(sessions, now),
        _system(agent) if agent is not None else (),
    )
    lines: list[Line] = []
    for part in map(list, parts):
        if part and lines:
            lines.append(())
        lines += part
    return lines


def _about(entry: AgentEntry) -> Iterator[Line]:
    definition, agent = entry.definition, entry.agent
    if agent is not None and agent.description:
        yield ((inert(cut(" ".join(agent.description.split()), LONGEST)), ""),)
    if entry.problem:
        yield ((entry.problem, "error"),)
    if definition is not None:
        where = f"workflow {definition.workflow}  " if definition.workflow else ""
        yield (
            ("written in ", "dim"),
            (inert(where), ""),
            (inert(shown(Path(definition.file))) if definition.file else "", "link"),
        )
        for problem in definition.problems:
            yield from problem_lines(problem)


def _configuration(agent: Agent) -> Iterator[Line]:
    yield (("Configuration", "title"),)
    answers = f"at most {agent.max_tokens:,} tokens"
    answers += f", temperature {agent.temperature:g}" if agent.temperature is not None else ""
    approval, memory = agent.approval, agent.memory
    told: dict[str, str] = {
        "model": agent.model or "default",
        "answers": answers,
        "tools": ", ".join(agent.tools) or "none",
        "functions": ", ".join(f"{each.name} (workflow {each.workflow})" for each in agent.functions),
        "delegates to": ", ".join(agent.delegates),
        "hands over to": ", ".join(agent.handoffs),
        "limits": _limits(msgspec.to_builtins(agent.limits)),
        "stuck": _members(msgspec.to_builtins(agent.stuck)),
        "asks": _members(msgspec.to_builtins(approval)),
        "remembers": _members(msgspec.to_builtins(memory)) if memory is not None else "",
        "policy": one_line_json(agent.policy) if agent.policy else "",
        "labels": ", ".join(f"{key}={value}" for key, value in agent.labels.items()),
    }
    for name, value in told.items():
        if value:
            yield ((f"  {name:<13}  ", "key"), (inert(cut(value, LONGEST)), ""))


def _limits(limits: dict[str, Any]) -> str:
    names = {"cost_nano": "cost", "tool_calls": "calls", "on_limit": "then"}
    return ", ".join(
        f"{names.get(name, name)} {exact_money(value) if name == 'cost_nano' else value}"
        for name, value in limits.items()
        if value is not None
    )


def _members(told: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {_member(name, value)}" for name, value in told.items() if value not in (None, "", [], {})
    )


def _member(name: str, value: Any) -> str:
    if name in SECONDS:
        return span(float(value))
    return str(value) if isinstance(value, (str, int, float)) else one_line_json(value)


def _figures(figures: AgentStatistics) -> Iterator[Line]:
    yield (("Of late", "title"), (f"  the last {DAYS} days", "dim"))
    parts: list[Part] = [("  ", "")]
    for status, number in figures.statuses.items():
        parts += [(f"{glyph(status)} {number:,} {status}", status), ("  ", "")]
    if figures.success is not None:
        parts.append((f"{int(figures.success * 100)}% ok  ", "strong"))
    if figures.mean is not None:
        parts.append((f"avg {duration(figures.mean)}  p95 {duration(figures.p95)}  ", ""))
    if figures.retries:
        parts.append((_retries(figures.retries), "dim"))
    yield parts
    used = f"  {count(figures.requests, 'request')}, {count(figures.tool_calls, 'call')}, {figures.tokens:,} tokens  "
    all_unreal = figures.unreal >= figures.executions
    cost = cost_words(figures.cost_nano, figures.uncertain_nano, "simulated" if all_unreal else "", exact_money)
    simulated: tuple[Part, ...] = ()
    if figures.unreal:
        simulated = ((f"  {count(figures.unreal, 'execution')} simulated or replayed", "badge"),)
    yield ((used, ""), *cost, *simulated)


def _retries(number: int) -> str:
    return count(number, "retry", "retries")


def _recent(sessions: Iterable[AgentSession], now: float) -> Iterator[Line]:
    listed = list(sessions)
    if listed:
        yield (("Last executions", "title"),)
    for each in listed:
        active = each.active + (max(0.0, now - each.since) if each.since is not None else 0.0)
        marks = badge(each.mode)
        yield (
            (f"  {glyph(each.status)} ", each.status),
            (f"{ago(now - each.started_at):>8}  ", "dim"),
            (f"{short(each.run)}  ", "id"),
            (f"{duration(active):>6}  ", ""),
            (f"{inert(each.workflow)}  ", "dim"),
            (f"{_retries(each.retries)}  ", "dim") if each.retries else ("", ""),
            *((*marks, ("  ", "")) if marks else ()),
            (f"{each.error_code}  ", "failed") if each.error_code else ("", ""),
            (inert(cut(each.goal, GOAL)), ""),
        )


def _system(agent: Agent) -> Iterator[Line]:
    if agent.system:
        yield (("Instructions", "title"),)
        for line in agent.system.strip().splitlines():
            yield ((f"  {inert(line)}", ""),)
