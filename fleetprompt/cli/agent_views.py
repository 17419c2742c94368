"""Agents for people and for machines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from rich.text import Text

from fleetprompt.cli.render import marked, plain
from fleetprompt.cli.table import Column, layout
from fleetprompt.client.agents import row
from fleetprompt.client.wording import (
    NANO,
    STYLES,
    ago,
    count,
    duration,
    exact_money,
    mode_label,
    rfc3339,
    short,
    span,
    spent,
)

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.agent_means import AgentMeans
    from fleetprompt.client.agents import AgentDefinition
    from fleetprompt.engine.core.agent import Agent
    from fleetprompt.engine.ports import AgentSession, AgentStatistics

CHAT = "chat"
"""What steps of the type `chat` are called among agents."""
VERDICTS = {"allow": "green", "ask": "yellow", "deny": "red"}


class Known(Struct, frozen=True):
    """An agent that is written somewhere, or that has done something."""

    name: str
    workflow: str
    """That whose own it is, where others have the same name."""
    definition: AgentDefinition | None
    figures: AgentStatistics | None

    @property
    def problem(self) -> str:
        """Why nobody can work with it; empty where one can."""
        definition = self.definition
        if definition is None:
            return "" if self.name == CHAT else "it is written nowhere any more"
        return f"{definition.faults}: fleet agents validate" if definition.errors else ""

    @property
    def row(self) -> Mapping[str, Any]:
        """What a filter compares."""
        last = self.figures.last.status if self.figures is not None else ""
        return row(self.name, self.definition, last, broken=bool(self.problem))


# ---------------------------------------------------------------- the list


def agents_table(front: Front, known: Sequence[Known]) -> None:
    """Print them as a table."""
    uncertain = any(each.figures is not None and each.figures.uncertain_nano for each in known)
    columns = [
        Column("AGENT"),
        Column("MODEL", flexible=True, drop=6),
        Column("RUNS", right=True, drop=3),
        Column("OK", right=True, drop=4),
        Column("AVG", right=True, drop=7),
        Column("P95", right=True, drop=8),
        Column("TOKENS", right=True, drop=5),
        Column("COST", right=True),
        *([Column("UNCERTAIN", right=True)] if uncertain else []),
        Column("LAST", right=True, drop=2),
        Column("", flexible=True, drop=1),
    ]
    now = time.time()
    front.terminal.table(columns, [_row(each, now, uncertain=uncertain) for each in known])


def _row(known: Known, now: float, *, uncertain: bool) -> list[str | Text]:
    figures, definition = known.figures, known.definition
    agent = definition.agent if definition is not None else None
    name = marked("failed" if known.problem else figures.last.status if figures is not None else "draft")
    name.append(" ").append_text(plain(known.name))
    model = (agent.model or "default") if agent is not None else "-"
    more = [exact_money(figures.uncertain_nano) if figures is not None and figures.uncertain_nano else "-"]
    return [
        name,
        model,
        *_figures(figures),
        *(more if uncertain else []),
        ago(now - figures.last.started_at) if figures is not None else "-",
        _about(known, agent),
    ]


def _about(known: Known, agent: Agent | None) -> Text:
    """What there is to say in a few words: what is wrong comes first."""
    if known.problem:
        return plain(known.problem, "red")
    text = Text()
    if known.figures is not None and known.figures.unreal:
        some = known.figures.unreal < known.figures.executions
        text.append("SIMULATED" if not some else f"{known.figures.unreal} SIMULATED", style="bold yellow").append("  ")
    elif known.figures is not None and known.figures.last.mode == "local":
        text.append(mode_label("local"), style="bold yellow").append("  ")
    if agent is None:
        return text.append("steps of the type `chat`" if known.name == CHAT else "")
    definition = known.definition
    where = f"in {definition.workflow}  " if definition is not None and definition.workflow else ""
    return text.append(where, style="dim").append_text(plain(agent.description))


def _figures(figures: AgentStatistics | None) -> list[str]:
    if figures is None:
        return ["-"] * 6
    all_unreal = figures.unreal == figures.executions
    return [
        f"{figures.executions:,}",
        # Not rounded up: a hundred per cent means that nothing failed.
        f"{int(figures.success * 100)}%" if figures.success is not None else "-",
        duration(figures.mean),
        duration(figures.p95),
        f"{figures.tokens:,}",
        spent(figures.cost_nano, "simulated" if all_unreal else "", exact_money),
    ]


# ---------------------------------------------------------------- one of them


def agent_lines(
    front: Front, known: Known, means: AgentMeans | None, sessions: Sequence[AgentSession], since: str
) -> list[Text]:
    """Everything about an agent."""
    lines = [Text().append_text(plain(known.name, "bold"))]
    definition = known.definition
    agent = definition.agent if definition is not None else None
    if agent is not None and agent.description:
        lines[0].append("  ").append_text(plain(agent.description))
    if known.problem:
        lines.append(plain(f"  {known.problem}", "red"))
    if definition is not None:
        lines += [_said("file", definition.file)] if definition.file else []
        lines += [_said("workflow", definition.workflow)] if definition.workflow else []
        lines += [
            plain(f"  {problem.severity}: {problem.message}", "red" if problem.severity == "error" else "yellow")
            for problem in definition.problems
        ]
    if agent is not None and means is not None:
        lines += [*_configuration(agent, means), Text(), *_tool_lines(front, agent, means)]
    if known.figures is not None:
        lines += [Text(), *_figure_lines(known.figures, since)]
    if sessions:
        lines += [Text(), Text("executions", style="dim"), *_session_lines(front, sessions)]
    return lines


def _said(name: str, value: str | Text) -> Text:
    line = Text(f"  {name:<10}  ", style="dim")
    return line.append_text(value if isinstance(value, Text) else plain(value))


def _configuration(agent: Agent, means: AgentMeans) -> list[Text]:
    lines = [_said("model", _model(agent, means))]
    limits = msgspec.to_builtins(agent.limits)
    told = {
        "answers": f"at most {agent.max_tokens:,} tokens"
        + (f", temperature {agent.temperature:g}" if agent.temperature is not None else ""),
        "limits": ", ".join(
            f"{_LIMITS.get(name, name)} {_limit(name, value)}" for name, value in limits.items() if value is not None
        ),
        "delegates": ", ".join(agent.delegates),
        "hands over": ", ".join(agent.handoffs),
        "functions": ", ".join(f"{each.name} (workflow {each.workflow})" for each in agent.functions),
        "memory": _memory(agent),
        "approval": _approval(agent),
        "labels": ", ".join(f"{key}={value}" for key, value in agent.labels.items()),
    }
    return lines + [_said(name, value) for name, value in told.items() if value]


def _approval(agent: Agent) -> str:
    who, excludes = ", ".join(agent.approval.approvers), " or ".join(agent.approval.excludes)
    return f"{who or 'everybody'}, but not {excludes}" if excludes else who


def _memory(agent: Agent) -> str:
    memory = agent.memory
    if memory is None:
        return ""
    scope = {"agent": f"agent/{agent.name}", "workflow": "that of the workflow"}.get(memory.scope, memory.scope)
    parts = [f"{memory.recall} of it in the prompt" if memory.recall else ""]
    parts += ["conversations are kept" if memory.remember == "conversation" else ""]
    parts += [f"for {span(memory.keep)}" if memory.keep is not None else ""]
    return ", ".join(part for part in (scope, *parts) if part)


_LIMITS = {"tool_calls": "calls", "cost_nano": "cost", "on_limit": "then"}


def _limit(name: str, value: Any) -> str:
    return exact_money(value) if name == "cost_nano" else f"{value:,}" if isinstance(value, int) else str(value)


def _model(agent: Agent, means: AgentMeans) -> Text:
    named = agent.model or "default"
    if means.target is None:
        return plain(f"{named}  ").append_text(plain(means.model_problem, "red"))
    text = plain(named if named == means.target.model else f"{named} = {means.target.model}")
    if label := mode_label(means.target.mode):
        text.append(f"  {label}", style="bold yellow")
    return text


def _tool_lines(front: Front, agent: Agent, means: AgentMeans) -> list[Text]:
    if not agent.tools:
        return [Text("no tools", style="dim")]
    columns = [Column("TOOL"), Column("CALLS"), Column("BY", flexible=True, drop=1), Column("", flexible=True, drop=2)]
    rows = [
        [
            plain(tool.name),
            Text(tool.verdict, style=VERDICTS[tool.verdict]).append(", reads" if tool.reach == "read" else ""),
            tool.rule,
            tool.description.splitlines()[0] if tool.description else "",
        ]
        for tool in means.tools
    ]
    lines = layout(columns, rows, front.terminal.width) if rows else []
    lines += [plain(f"{said}{f' ({hint})' if hint else ''}", "red") for _, said, hint in means.unknown]
    lines += [plain(f"tools of the MCP server {server}, which is asked when it works") for server in means.servers]
    return lines + ([plain(means.policy_problem, "red")] if means.policy_problem else [])


def _figure_lines(figures: AgentStatistics, since: str) -> list[Text]:
    _, success, mean, p95, tokens, cost = _figures(figures)
    statuses = ", ".join(f"{number:,} {status}" for status, number in figures.statuses.items())
    line = Text(f"since {since}  ", style="dim").append(
        f"{count(figures.executions, 'execution')} ({statuses})  {success} ok"
    )
    line.append(f"  {count(figures.retries, 'retry', 'retries')}" if figures.retries else "")
    line.append(f"  avg {mean}  p95 {p95}" if figures.mean is not None else "")
    spending = f"  {count(figures.requests, 'request')}, {count(figures.tool_calls, 'call')}, {tokens} tokens, {cost}"
    lines = [line, Text(spending)]
    if figures.uncertain_nano:
        lines.append(Text(f"  and perhaps {exact_money(figures.uncertain_nano)}: nobody knows whether it is billed"))
    if figures.unreal:
        lines.append(Text(f"  {figures.unreal:,} of them SIMULATED or replayed", style="bold yellow"))
    return lines


def _session_lines(front: Front, sessions: Sequence[AgentSession]) -> list[Text]:
    now, uncertain = time.time(), any(each.uncertain_nano for each in sessions)
    retried = any(each.retries for each in sessions)
    columns = [
        Column("RUN"),
        Column("STATUS"),
        *([Column("RETRIES", right=True, drop=5)] if retried else []),
        Column("BEGAN", right=True, drop=1),
        Column("TIME", right=True),
        Column("TOKENS", right=True, drop=3),
        Column("COST", right=True),
        *([Column("UNCERTAIN", right=True)] if uncertain else []),
        Column("WORKFLOW", flexible=True, drop=4),
        Column("GOAL", flexible=True, drop=2),
    ]
    rows = [
        [
            marked(each.status).append(f" {short(each.run)}", style="cyan"),
            Text(each.error_code or each.status, style=STYLES.get(each.status, "")),
            *([f"{each.retries:,}" if each.retries else "-"] if retried else []),
            ago(now - each.started_at),
            duration(each.active + (max(0.0, now - each.since) if each.since is not None else 0.0)),
            f"{each.tokens:,}",
            spent(each.cost_nano, each.mode, exact_money),
            *([exact_money(each.uncertain_nano) if each.uncertain_nano else "-"] if uncertain else []),
            each.workflow,
            Text(f"{mode_label(each.mode)}  " if mode_label(each.mode) else "", style="bold yellow").append_text(
                plain(each.goal)
            ),
        ]
        for each in sessions
    ]
    return layout(columns, rows, front.terminal.width)


# ---------------------------------------------------------------- for machines


def agent_object(known: Known, since: str) -> dict[str, Any]:
    """An agent in a list: always the same keys."""
    definition = known.definition
    agent = definition.agent if definition is not None else None
    return {
        "name": known.name,
        "description": agent.description if agent is not None else "",
        "model": (agent.model or "default") if agent is not None else None,
        "file": definition.file or None if definition is not None else None,
        "workflow": definition.workflow or None if definition is not None else None,
        "errors": definition.errors if definition is not None else 0,
        "problem": known.problem or None,
        "statistics": _statistics_object(known.figures, since),
    }


def _statistics_object(figures: AgentStatistics | None, since: str) -> dict[str, Any]:
    """Durations in seconds; money is null where all was simulated or replayed."""
    if figures is None:
        empty = dict.fromkeys(("success", "mean", "p95", "cost_usd", "cost_nano", "mean_cost_nano", "last"))
        sums = dict.fromkeys(("requests", "tool_calls", "tokens", "uncertain_nano", "retries", "unreal"), 0)
        return {"since": since, "executions": 0, "statuses": {}, **sums, **empty}
    real = figures.unreal < figures.executions or figures.cost_nano
    return {
        "since": since,
        "executions": figures.executions,
        "statuses": dict(figures.statuses),
        "requests": figures.requests,
        "tool_calls": figures.tool_calls,
        "tokens": figures.tokens,
        "uncertain_nano": figures.uncertain_nano,
        "retries": figures.retries,
        "unreal": figures.unreal,
        "success": figures.success,
        "mean": figures.mean,
        "p95": figures.p95,
        "cost_usd": figures.cost_nano / NANO if real else None,
        "cost_nano": figures.cost_nano if real else None,
        "mean_cost_nano": figures.mean_cost_nano,
        "last": session_object(figures.last),
    }


def session_object(session: AgentSession) -> dict[str, Any]:
    """An execution."""
    priced = not session.unreal
    return msgspec.to_builtins(session) | {
        "started_at": rfc3339(session.started_at),
        "ended_at": rfc3339(session.ended_at),
        "since": rfc3339(session.since),
        "cost_nano": session.cost_nano if priced else None,
        "cost_usd": session.cost_nano / NANO if priced else None,
    }


def means_object(known: Known, means: AgentMeans | None) -> dict[str, Any]:
    """What it is, and what it would work with."""
    from fleetprompt.client.definitions import as_json

    definition = known.definition
    agent = definition.agent if definition is not None else None
    told: dict[str, Any] = {
        "definition": msgspec.to_builtins(agent) if agent is not None else None,
        "problems": [as_json(problem) for problem in definition.problems] if definition is not None else [],
        "resolved": None,
        "tools": [],
    }
    if means is not None:
        target = means.target
        told["resolved"] = {
            "model": target.model if target is not None else None,
            "mode": target.mode if target is not None else None,
            "problem": means.model_problem or None,
        }
        told["tools"] = [msgspec.to_builtins(tool) for tool in means.tools]
        told["unknown_tools"] = [said for _, said, _ in means.unknown]
        told["mcp_servers"] = list(means.servers)
    return told
