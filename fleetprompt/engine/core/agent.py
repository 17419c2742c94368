"""Agents as a plan holds them: who they are, what they may do, and within which limits. Plain data."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

CHAT = "chat:"
"""How the workflow is called of which each message to an agent is a run, before the agent's name."""


class Limits(Struct, frozen=True, omit_defaults=True):
    """The most of each, for one run of an agent; None: no limit. Money is nano-USD."""

    requests: int | None = None
    tokens: int | None = None
    tool_calls: int | None = None
    cost_nano: int | None = None
    on_limit: Literal["fail", "ask", "wrap_up"] = "fail"


class Function(Struct, frozen=True, omit_defaults=True):
    """A function of an agent that is a workflow: a call starts a child run, whose output is the result."""

    name: str
    workflow: str
    description: str = ""
    timeout: float | None = None


class Stuck(Struct, frozen=True, omit_defaults=True):
    """When an agent counts as stuck, and what happens then."""

    repeats: int = 3
    """Equal calls in a row, or equal errors of one tool."""
    cycles: int = 3
    """Repetitions of a cycle of two to four calls."""
    stale: int = 4
    """Results in a row that hold nothing new."""
    on_stuck: Literal["ask", "fail", "handoff"] = "ask"
    handoff: str = ""


class ApprovalSettings(Struct, frozen=True, omit_defaults=True):
    """How people are asked about a call."""

    approvers: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    """Who may not decide, see `ApprovalRequested.excludes`."""
    quorum: int = 1
    timeout: float | None = None
    escalate: dict[str, Any] = {}
    batch: Literal["hold_all", "run_reads"] = "hold_all"


class MemorySettings(Struct, frozen=True, omit_defaults=True):
    """What an agent remembers from one run to the next."""

    scope: Literal["agent", "workflow", "shared"] = "agent"
    """Whose memory it has: its own, that of the workflow it works in, or the one of all."""
    recall: int = 0
    """How many memories that fit the goal are put into the prompt."""
    remember: Literal["nothing", "conversation"] = "nothing"
    """What is kept of each piece of its work without being asked for."""
    keep: float | None = None
    """Seconds after which what it has written is forgotten; None: never."""


class Agent(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One agent."""

    name: str
    description: str = ""
    system: str = ""
    """System prompt, as it is."""
    model: str = ""
    """Alias or model; empty: `default`."""
    temperature: float | None = None
    max_tokens: int = 4_096
    """Of each answer."""
    tools: tuple[str, ...] = ()
    """Names or patterns, such as `fs.read`, `git.*`, `github.*`."""
    functions: tuple[Function, ...] = ()
    handoffs: tuple[str, ...] = ()
    """Agents to whom it may hand the whole task."""
    delegates: tuple[str, ...] = ()
    """Agents whom it may give a part of it, and ask."""
    limits: Limits = Limits()
    stuck: Stuck = Stuck()
    approval: ApprovalSettings = ApprovalSettings()
    memory: MemorySettings | None = None
    """None: it has none."""
    policy: dict[str, Any] = {}
    """Rules of its own, as in `policy.toml`: they narrow what the project's policy allows."""
    file: str = ""
    """Where it stands; empty for one that is written in the workflow."""
    labels: dict[str, str] = {}
