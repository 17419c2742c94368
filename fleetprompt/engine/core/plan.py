"""The plan: a compiled workflow, normalised and content-addressed. This is what the core executes.

A plan is plain data. Expressions and templates stay text here, so that a plan can be stored, compared and read;
`program.py` makes them ready to run. Durations are seconds, money is nano-USD, sizes are bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.agent import Agent

Kind = Literal[
    "effect", "transform", "choose", "parallel", "loop", "approval", "delay", "wait", "emit", "workflow", "stop"
]
"""What a node means to the core. Every step type that does outside work is an `effect`."""

Repeat = Literal["safe", "never"]
Test = str | dict[str, Any] | bool
"""A condition: a bare expression, or the structured form `{field, operator, value}`, `all`, `any`, `not`."""


class Need(Struct, frozen=True, omit_defaults=True, array_like=True):
    """One entry of `needs`: a step, or one of its ports."""

    step: str
    port: str = ""


class Retry(Struct, frozen=True, omit_defaults=True):
    """Retries after a definite failure. Delay before attempt n+1: backoff * factor**(n-1), capped, with jitter."""

    max_attempts: int = 1
    backoff: float = 1.0
    factor: float = 2.0
    max_backoff: float = 300.0
    jitter: float = 0.1
    """Share of the delay that is spread by a hash of run, path and attempt: 0.1 means ±10 %."""
    on: tuple[str, ...] = ()
    """Error codes that are retried; empty means every retryable one."""


class Concurrency(Struct, frozen=True, omit_defaults=True):
    """A critical section across runs: at most `limit` holders of `group` (a template) at a time."""

    group: str
    limit: int = 1
    on_conflict: Literal["queue", "skip", "cancel_running"] = "queue"


class Poll(Struct, frozen=True, omit_defaults=True):
    """Perform the step again every `every` seconds until the condition over `result` holds."""

    until: Test
    every: float
    timeout: float | None = None


class Case(Struct, frozen=True, omit_defaults=True):
    """One way out of a `condition` or `switch`; its block is the node's block of the same name."""

    port: str
    test: Test | None = None
    equals: tuple[Any, ...] = ()


class Loop(Struct, frozen=True, omit_defaults=True):
    """Iterations over items, or while a condition holds."""

    over: Any = None
    test: Test | None = None
    name: str = "item"
    concurrency: int = 1
    max_iterations: int = 10_000
    on_item_error: Literal["fail", "continue"] = "fail"


class Reconcile(Struct, frozen=True, omit_defaults=True):
    """How to find out, after a crash, whether an effect happened: a step to perform and what its result means."""

    type: str
    config: dict[str, Any]
    happened: Test
    """Over `result` (the step's output) and `error`: true happened, false did not."""
    output: Any = None
    """Value (may hold templates over `result`) that becomes the step's output if it happened."""
    timeout: float | None = 30.0


OnLimit = Literal["fail", "ask", "wrap_up"]


class Guardrails(Struct, frozen=True, omit_defaults=True):
    """Limits of a run. `timeout` is active time, waiting excluded."""

    requests: int | None = None
    tokens: int | None = None
    tool_calls: int | None = None
    cost_nano: int | None = None
    timeout: float | None = None
    on_limit: OnLimit = "fail"
    each: Guardrails | None = None
    """Of each branch or iteration of a composite."""
    per_day: Guardrails | None = None
    """Of all runs of the workflow in a day (UTC)."""

    @property
    def limits(self) -> bool:
        """Something besides time is limited."""
        return any(cap is not None for cap in (self.requests, self.tokens, self.tool_calls, self.cost_nano))


class Node(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One step of a plan. Control lives here; the work lives in `type` and `config`."""

    id: str
    type: str
    kind: Kind = "effect"
    config: dict[str, Any] = {}
    """The step type's own fields. Strings may hold templates; the rendered whole is the step's input."""
    needs: tuple[Need, ...] | None = None
    """None: a barrier behind everything listed before it."""
    join: int = 0
    """How many needs must be met; 0 means all."""
    when: Test | None = None
    retry: Retry = Retry()
    timeout: float | None = None
    """Seconds of active time per attempt."""
    repeat: Repeat = "safe"
    on_error: Literal["fail", "continue"] = "fail"
    compensate: Node | None = None
    reconcile: Reconcile | None = None
    approval: dict[str, Any] | None = None
    """Ask before the step starts; bound to the digest of its rendered input."""
    concurrency: Concurrency | None = None
    set: dict[str, str] = {}
    asserts: tuple[Test, ...] = ()
    poll: Poll | None = None
    pool: str = ""
    gated: bool = False
    """Its work does not begin before its `process` note is durable: without the note, it never happened."""
    resumes: bool = False
    """Its work is recorded in notes, can be put aside and taken up again in the same attempt: an agent's."""
    blocks: tuple[Block, ...] = ()
    cases: tuple[Case, ...] = ()
    value: str | None = None
    """`switch`: the expression that `equals` is compared with."""
    until: int = 0
    """`parallel`: branches that must complete; 0 means all."""
    cancel_rest: bool = True
    loop: Loop | None = None
    test: Test | None = None
    """`wait`: condition over the signal (`data`, `signal`)."""
    guardrails: Guardrails | None = None


class Block(Struct, frozen=True, omit_defaults=True):
    """A list of nodes that run under one composite (or the run itself)."""

    name: str
    nodes: tuple[Node, ...]


class Input(Struct, frozen=True, omit_defaults=True):
    """A declared input of a workflow."""

    type: Literal["string", "integer", "number", "boolean", "array", "object", "any"] = "any"
    required: bool = False
    default: Any = None
    description: str = ""
    enum: tuple[Any, ...] = ()
    pattern: str = ""
    minimum: float | None = None
    maximum: float | None = None


class Trigger(Struct, frozen=True, omit_defaults=True):
    """A declared trigger; `config` holds the fields of its kind."""

    type: str
    config: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """By what it is known in its workflow, wherever it stands: its own `id`, or what makes it go off."""
        own = self.config.get("id")
        if own:
            return str(own)
        made = {name: self.config[name] for name in TRIGGER_MAKES.get(self.type, ()) if name in self.config}
        return f"{self.type}-{sha256(_canonical.encode(made)).hexdigest()[:8]}" if made else self.type


TRIGGER_MAKES = {
    "schedule": ("cron", "every", "timezone"),
    "webhook": ("path",),
    "signal": ("match",),
    "completion": ("workflow", "agent", "status"),
    "watch": ("paths", "events"),
}
"""Fields that make a trigger the one it is; a change of the others leaves it the same one."""


def trigger_ids(triggers: Sequence[Trigger]) -> list[str]:
    """The ids of a workflow's triggers, in their order. Those that would share one are told apart by all they say; two
    that say exactly the same are one trigger."""
    ids = [trigger.id for trigger in triggers]
    shared = {id_ for id_, count in Counter(ids).items() if count > 1}
    return [
        f"{id_}-{sha256(_canonical.encode(trigger.config)).hexdigest()[:4]}" if id_ in shared else id_
        for id_, trigger in zip(ids, triggers, strict=True)
    ]


class Plan(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole workflow, ready to be executed and stored under its digest."""

    name: str
    root: Block
    description: str = ""
    inputs: dict[str, Input] = {}
    vars: dict[str, Any] = {}
    output: Any = None
    has_output: bool = False
    guardrails: Guardrails = Guardrails()
    deadline: float | None = None
    """Seconds of wall-clock time from creation to the end."""
    on_failure: Literal["compensate", "none"] = "none"
    concurrency: Concurrency | None = None
    max_runs: int | None = None
    priority: int = 0
    grace: float = 10.0
    """Seconds that `never` work in flight may take to finish when the run is being ended."""
    triggers: tuple[Trigger, ...] = ()
    labels: dict[str, str] = {}
    retention: float | None = None
    uses_last_run: bool = False
    children: tuple[str, ...] = ()
    """Names of the workflows that steps of type `workflow` start."""
    agents: dict[str, Agent] = {}
    """Agents that its steps name, and those that they may hand over or delegate to."""
    files: dict[str, str] = {}
    """Files the workflow names (schemas, prompts), path to digest: part of what the digest covers."""


_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Plan)


def encode_plan(plan: Plan) -> bytes:
    """A plan as it is stored: mappings keep the order in which the author wrote them, for people to read."""
    return _encoder.encode(plan)


def decode_plan(data: bytes | str) -> Plan:
    """The plan in these bytes. Raises `msgspec.ValidationError` when they are not a plan."""
    return _decoder.decode(data)


def plan_digest(plan: Plan) -> str:
    """Content address of a plan: SHA-256 over its canonical bytes, as hex: equal plans have the same one, in whatever
    order their mappings were written."""
    return sha256(_canonical.encode(plan)).hexdigest()
