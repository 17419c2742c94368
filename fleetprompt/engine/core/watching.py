"""Which changes of files start runs: those after which a file has been left alone for a while. PURE.

What is compared is how files are with how they were when they were decided about last, so a file that is written in
several steps, or replaced, has changed once, and one that came and went has not been there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.core.codec import items
from fleetprompt.engine.core.duration import format_duration
from fleetprompt.engine.core.firing import GRACE, Firing, Outcome, Standing, run_of
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.plan import Plan, Trigger, trigger_ids
from fleetprompt.engine.core.signal import TRIGGER_WATCH, Signal

MOST_TOLD = 100
"""Changes that were missed, of which each has a record; the others share one."""
LONGEST_NAME = 200
"""Characters of a path that a firing is known by; of a longer one, and of one that cannot be shown, the digest is."""
Event = Literal["created", "modified", "deleted"]


class Watch(Struct, frozen=True, kw_only=True):
    """A trigger of type `watch` of an active workflow."""

    workflow: str
    trigger: str
    tenant: str = "default"
    paths: tuple[str, ...] = ()
    events: tuple[str, ...] = ("created", "modified")
    settle: float = 1.0
    """Seconds that a file has to be left alone."""
    catchup: Literal["none", "latest", "all"] = "all"

    @property
    def name(self) -> str:
        """How people and signals call it."""
        return f"{self.workflow}/{self.trigger}"

    @property
    def rhythm(self) -> str:
        """What makes its changes: when this changes, they are others."""
        return f"watch {'|'.join(self.paths)} {' '.join(self.events)}"


def watches_of(plan: Plan, tenant: str = "default") -> list[Watch]:
    """The file watches of a workflow, in the order of its file."""
    found: dict[str, Watch] = {}
    for id_, trigger in zip(trigger_ids(plan.triggers), plan.triggers, strict=True):
        if trigger.type == "watch":
            found.setdefault(id_, _watch(plan.name, id_, trigger, tenant))
    return list(found.values())


def _watch(workflow: str, id_: str, trigger: Trigger, tenant: str) -> Watch:
    config = trigger.config
    given: dict[str, Any] = {name: config[name] for name in ("settle", "catchup") if config.get(name) is not None}
    given |= {name: tuple(map(str, items(config[name]))) for name in ("paths", "events") if config.get(name)}
    return Watch(workflow=workflow, trigger=id_, tenant=tenant, **given)


class Stamp(Struct, frozen=True):
    """How a file is."""

    mtime_ns: int
    """When its content was written."""
    size: int
    since: float = 0.0
    """Epoch seconds since when it is so in its place: also moving it there changes that, which leaves its mtime."""

    @property
    def content(self) -> tuple[int, int]:
        """What makes it another one."""
        return self.mtime_ns, self.size


BEHIND = 0.1
"""Seconds by which the clock that files are stamped with may be behind ours: kernels move it on from time to time."""
_UNKNOWN = Stamp(-1, -1)
Found = Mapping[str, Stamp]
"""The files that fit, by their paths from the project's folder."""


class Change(Struct, frozen=True):
    """A file that is not as it was."""

    path: str
    event: Event
    stamp: Stamp
    """How it is; of one that is gone, how it was."""
    at: float
    """When it was found to be so."""

    @property
    def key(self) -> str:
        """What makes this change the one it is, also for who looks after a crash."""
        plain = len(self.path) <= LONGEST_NAME and self.path.isprintable()
        path = self.path if plain else f"sha256-{sha256(self.path.encode()).hexdigest()}"
        gone = "-deleted" if self.event == "deleted" else ""
        return f"{path}@{self.stamp.mtime_ns}-{self.stamp.size}{gone}"


class Files:
    """The files of one watch: as they were when they were decided about, and as they are.

    A moment is when looking began: what changes while files are looked at is seen then, or the next time.
    """

    def __init__(self, watch: Watch, known: Found, at: float) -> None:
        self._watch = watch
        self._decided = dict(known)
        self._now = dict(known)
        self._looked = at
        self._restless: dict[str, tuple[float, float]] = {}
        """Files that have changed: when they had not yet, and when they were found to have last."""

    def look(self, found: Found, at: float) -> None:
        """Take up how files are."""
        for path in found.keys() | self._now.keys():
            if _content(found.get(path)) != _content(self._now.get(path)):
                first, _ = self._restless.get(path, (self._looked, at))
                self._restless[path] = (first, at)
        self._now, self._looked = dict(found), at

    def settled(self, now: float) -> list[Change]:
        """The changes of files that have been left alone long enough, the oldest first; they are decided about now."""
        quiet = [path for path, (_, last) in self._restless.items() if now - last >= self._watch.settle]
        found = [change for path in quiet if (change := self._change(path)) is not None]
        for path in quiet:
            del self._restless[path]
            if path in self._now:
                self._decided[path] = self._now[path]
            else:
                self._decided.pop(path, None)
        return sorted(found, key=lambda change: (change.at, change.path))

    def _change(self, path: str) -> Change | None:
        before, after = self._decided.get(path), self._now.get(path)
        if _content(before) == _content(after):
            return None
        event: Event = "deleted" if after is None else "created" if before is None else "modified"
        stamp = after or before
        assert stamp is not None
        return Change(path, event, stamp, self._restless[path][1]) if event in self._watch.events else None

    @property
    def next(self) -> float | None:
        """When the next file will have been left alone long enough; None: none has changed."""
        return min((last + self._watch.settle for _, last in self._restless.values()), default=None)

    @property
    def upto(self) -> float:
        """Until when all changes are decided about, by the times that files say: what nobody has looked at is not."""
        return min((first for first, _ in self._restless.values()), default=self._looked) - BEHIND


def _content(stamp: Stamp | None) -> tuple[int, int] | None:
    return stamp.content if stamp is not None else None


def meanwhile(watch: Watch, found: Found, upto: float) -> list[Change]:
    """What has changed since all changes up to then were decided about, while nobody was looking: the oldest first.
    Whether a file is new or another one is not known any more, nor which are gone."""
    event: Event = "modified" if "modified" in watch.events else "created"
    if event not in watch.events:
        return []
    changes = [Change(path, event, stamp, stamp.since) for path, stamp in found.items() if stamp.since > upto]
    return sorted(changes, key=lambda change: (change.at, change.path))


def before(found: Found, restless: Sequence[Change]) -> Found:
    """Files as they were before these changes, as far as that can be known: what is being written just now has to be
    left alone first."""
    was = {change.path: _UNKNOWN for change in restless if change.event == "modified"}
    untouched = found.keys() - {change.path for change in restless}
    return {path: found[path] for path in untouched} | was


def late(watch: Watch, changes: Sequence[Change], now: float) -> tuple[list[Change], list[Firing]]:
    """Of the changes that nobody was there for those that start runs, and what is recorded of the others."""
    wanted = changes if watch.catchup == "all" else [each for each in changes if now - each.at <= GRACE]
    if watch.catchup == "latest" and not wanted:
        wanted = changes[-1:]
    missed = [change for change in changes if change not in wanted]
    firings = [firing_of(watch, each, now, "missed", _why_missed(watch, now - each.at)) for each in missed[-MOST_TOLD:]]
    if others := missed[:-MOST_TOLD]:
        reason = f"{len(others)} files changed while no engine was there; only the latest {MOST_TOLD} have a record"
        firings.insert(0, firing_of(watch, others[0], now, "missed", reason))
    return list(wanted), firings


def _why_missed(watch: Watch, seconds: float) -> str:
    if watch.catchup == "latest":
        return "of the changes that were missed the latest is made up for (catchup: latest)"
    ago = format_duration(max(1, round(seconds)))
    return f"no engine was there: it changed {ago} before one looked (catchup: none)"


def begun(watch: Watch, standing: Standing | None, found: Found, now: float) -> Standing:
    """A watch of these files from a moment on: what was there then has not changed."""
    there = [stamp.since for stamp in found.values() if stamp.since <= now]
    fresh = Standing(workflow=watch.workflow, trigger=watch.trigger, tenant=watch.tenant)
    before = standing or fresh
    return replace(before, n=before.n + 1, rhythm=watch.rhythm, since=now, upto=max([now - BEHIND, *there]))


def firing_of(watch: Watch, change: Change, now: float, outcome: Outcome, reason: str = "") -> Firing:
    """What is recorded of a change."""
    id_ = signal_id(TRIGGER_WATCH, watch.tenant, watch.name, change.key) if outcome == "fired" else ""
    return Firing(
        workflow=watch.workflow,
        trigger=watch.trigger,
        tenant=watch.tenant,
        kind="watch",
        scheduled=change.key,
        due=change.at,
        at=now,
        outcome=outcome,
        reason=reason or f"{change.event} {inert(change.path[-LONGEST_NAME:])}",
        signal=id_,
        run=run_of(id_, watch.workflow, watch.trigger) if id_ else "",
    )


def signal_of(watch: Watch, change: Change, firing: Firing) -> Signal:
    """The signal that a change sends, stored with its firing."""
    data = {
        "path": change.path,
        "name": change.path.rpartition("/")[2],
        "event": change.event,
        "size": change.stamp.size,
        "modified": datetime.fromtimestamp(change.stamp.mtime_ns / 1e9, UTC).isoformat().replace("+00:00", "Z"),
    }
    return Signal(
        id=firing.signal,
        type=TRIGGER_WATCH,
        source=f"trigger/{watch.name}",
        at=firing.at,
        data=data,
        subject=watch.name,
        tenant=watch.tenant,
        key=f"watch/{watch.name}/{change.key}",
        correlation=firing.signal,
    )
