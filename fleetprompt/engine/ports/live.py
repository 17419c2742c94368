"""What an engine tells those who look at it: what has changed, in few words, and how it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has changed since the change before; what it is now is read from the store."""

    runs: frozenset[str] = frozenset()
    """Ids of runs that have new facts, or that are held now. Empty when `lost`."""
    kinds: frozenset[str] = frozenset()
    """Tags of these facts, such as `ApprovalRequested`."""
    signals: bool = False
    """Signals were published or answered."""
    workflows: bool = False
    """Workflows were registered, paused, activated or archived."""
    troubles: bool = False
    """Something went wrong in the engine itself: see its health."""
    seq: int = 0
    """Position in the journal up to which everything is told."""
    lost: bool = False
    """More has changed than is listed: whatever was read before may be stale. Always so in the first change."""
    engine: bool = True
    """An engine drives the runs. It is a change of its own when one goes or comes."""
    silent: bool = False
    """Its process is there and does not answer. It is a change of its own when it falls silent or answers again."""


class Piece(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some of an answer that is being received."""

    path: str
    """Of the step."""
    key: str
    """Of the request: `<agent>/llm/<turn>`."""
    kind: str
    """`text`, `reasoning`, `tool_name`, `tool_args`: more of that; `status`: what is done before the model is asked;
    `reset`: what came before of the request is void (of
    every request of the run where `path` and `key` are empty); `end`: nothing more comes of it."""
    call: int = 0
    """Of a call that the model writes, its number in the answer."""
    text: str = ""


class Trouble(Struct, frozen=True):
    """Something that went wrong in an engine itself."""

    at: float
    where: str
    what: str


class PoolHealth(Struct, frozen=True):
    """A step pool: its places, how many are taken, and how many effects wait for one."""

    places: int
    in_use: int
    waiting: int


class GroupHealth(Struct, frozen=True):
    """A claim that runs compete for: how many units are held, and how many runs and steps wait for it."""

    scope: str
    held: int
    waiting: int


class StoreHealth(Struct, frozen=True):
    """A store in figures that cost nothing; `Store.check` reads all of it."""

    where: str
    bytes: int = 0
    log_bytes: int = 0
    """Of the log that is written ahead of the data."""
    position: int = 0
    """The highest `seq` of the journal."""
    unrouted: int = 0
    """Signals that nobody has routed yet; at most 1,000 are counted."""
    error: str = ""
    """Why it cannot be read; the figures are then those of nothing."""
    hint: str = ""
    """What can be done about that."""
    lost: bool = False
    """It is not what was opened any more, and has to be opened anew."""


class EngineHealth(Struct, frozen=True, kw_only=True):
    """How an engine is. Where none answers, all but `state`, `pid`, `what` and `store` is empty."""

    state: Literal["running", "silent", "elsewhere", "none"]
    """`silent`: a process holds the engine and does not answer. `elsewhere`: one on another machine holds it, and what
    it does is seen in the store alone. `none`: nobody holds it."""
    store: StoreHealth
    pid: int = 0
    what: str = ""
    """What the process is, such as `fleet run`."""
    host: str = ""
    at: float = 0.0
    """When this was so."""
    uptime: float = 0.0
    """Seconds since it was opened."""
    fires: bool = False
    """It lets schedules and file watches start runs."""
    closing: bool = False
    """It finishes what is in flight and starts nothing new."""
    live_runs: int = 0
    """Runs in memory; those that only wait are rows."""
    effects: int = 0
    """What is being performed."""
    timers: int = 0
    waiting_for_slots: int = 0
    pools: Mapping[str, PoolHealth] = {}
    groups: tuple[GroupHealth, ...] = ()
    """Claims that somebody waits for or holds; those with the most waiting first, at most 50."""
    commits: int = 0
    """Transactions since it was opened."""
    facts: int = 0
    """Facts that became durable since it was opened."""
    appending: int = 0
    """Runs whose next facts are on their way to the disk."""
    readers: int = 0
    """How many follow its facts or its changes."""
    lag: float = 0.0
    """Seconds: the longest by which its loop was late lately, as seen by one timer twice a second."""
    troubles: tuple[Trouble, ...] = ()
    """The latest, at most 100, oldest first."""
    holds: Mapping[str, str] = {}
    """Runs for which nothing is done any more though they are not over, and why."""
    unsent: Mapping[str, str] = {}
    """Channels of notifications whose messages nobody takes, and why."""
