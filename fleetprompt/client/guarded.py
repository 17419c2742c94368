"""A console as somebody may use it: what it lets them do is decided here, whichever face they came through.

Every method of the `Console` protocol has one row in `RULES`. What has none cannot be called: a new method is out of
reach until somebody has said whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from inspect import Signature, isawaitable, signature
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, cast

import msgspec

from fleetprompt.client.auditing import ACTIONS, Auditing
from fleetprompt.client.identity import DEFAULT_TENANT, Face, Forbidden, Identity, Permission, require
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, InvalidInput, StoreUnavailable
from fleetprompt.engine.core.keys import signal_id

if TYPE_CHECKING:
    from fleetprompt.client.auditing import Repeats
    from fleetprompt.client.protocol import Console, StartRun, TakenUp, Where
    from fleetprompt.engine.core.audit import AuditNote
    from fleetprompt.engine.core.signal import Result, Signal

T = TypeVar("T")


SHOWN: Final = re.compile(r"fleet_([a-z2-7]{10})_\w*")
"""A token where only its id is asked for, whole or not: the secret is not to be told."""


class Rule(NamedTuple):
    """Who may call a method."""

    needs: Permission
    what: str
    """What calling it is, for people: `ana may not …`."""
    by: bool = False
    """Its parameter `by` says who does it."""
    kind: str = ""
    """What it is about, as the audit log calls it."""
    about: str = ""
    """Which of its parameters names that. Of the others the log is told nothing: they can hold secrets."""


_LOOK = Rule("read", "look at this")

RULES: Final[dict[str, Rule]] = {
    # reads
    **dict.fromkeys(("find", "run", "runs", "count", "index", "heads", "matching", "tally", "values"), _LOOK),
    **dict.fromkeys(("facts", "last_facts", "state", "plan", "source", "value", "position", "pruned"), _LOOK),
    **dict.fromkeys(("watch", "changes", "pieces"), _LOOK),
    **dict.fromkeys(("logs", "log_chunks", "log_lines", "log_levels", "log_find"), _LOOK),
    **dict.fromkeys(("approvals", "approval", "approval_ids", "approvals_of", "grants"), _LOOK),
    **dict.fromkeys(("memories", "memory"), _LOOK),
    **dict.fromkeys(("signals", "signal_ids", "signals_of", "signal", "outcome", "answers", "lineage"), _LOOK),
    **dict.fromkeys(("workflows", "workflow", "first_seen", "origin"), _LOOK),
    **dict.fromkeys(("agents", "agent", "agent_statistics", "agent_sessions", "conversation"), _LOOK),
    **dict.fromkeys(
        ("foresee_replay", "dead_letters", "dead_letter_ids", "dead_letter", "letters_of", "deliveries"), _LOOK
    ),
    **dict.fromkeys(("schedules", "firings", "switch"), _LOOK),
    **dict.fromkeys(("costs", "spend", "statistics", "activity", "holds", "health"), _LOOK),
    # what changes something
    "start": Rule("operate", "start runs", kind="workflow"),
    "command": Rule("operate", "control runs", by=True),
    "chat": Rule("operate", "talk to agents", by=True, kind="agent", about="agent"),
    "say": Rule("operate", "talk to workflows", by=True, kind="workflow", about="workflow"),
    "listens": _LOOK,
    "publish": Rule("operate", "publish signals", kind="signal"),
    "replay": Rule("operate", "publish signals", by=True, kind="signal", about="id_"),
    "replay_range": Rule("operate", "publish signals", by=True),
    "replay_letter": Rule("operate", "publish signals", by=True, kind="dead letter", about="id_"),
    "dismiss_letters": Rule("operate", "dismiss dead letters", by=True, kind="dead letter", about="ids"),
    "read_workflow": Rule("operate", "register workflows"),
    "register": Rule("operate", "register workflows", kind="workflow", about="file"),
    "register_all": Rule("operate", "register workflows", kind="workflow", about="files"),
    "translated": Rule("operate", "register workflows"),
    "keep_workflow": Rule("operate", "register workflows", kind="workflow", about="file"),
    "keep_agent": Rule("operate", "change agents", kind="agent", about="known"),
    "set_workflow": Rule("operate", "change workflows", by=True, kind="workflow", about="name"),
    "fire": Rule("operate", "fire schedules", by=True, kind="schedule", about="schedule"),
    "set_schedule": Rule("operate", "pause schedules", by=True, kind="schedule", about="schedule"),
    "set_switch": Rule("operate", "pause or stop the fleet", by=True, kind="fleet", about="position"),
    "remember": Rule("operate", "add to what agents remember", by=True, kind="memory", about="scope"),
    "forget": Rule("operate", "delete what agents remember", by=True, kind="memory", about="ids"),
    "vote": Rule("approve", "decide about approvals", by=True, kind="approval"),
    "edited": Rule("approve", "change calls that are to be approved", kind="approval", about="approval"),
    "escalate": Rule("approve", "hand approvals on", by=True, kind="approval", about="approval"),
    "revoke": Rule("administer", "take grants back", by=True, kind="grant", about="grant"),
    "audit": Rule("administer", "look at the audit log"),
    "verify_audit": Rule("administer", "look at the audit log"),
    "tokens": Rule("administer", "look at tokens"),
    "create_token": Rule("administer", "make tokens", by=True, kind="token", about="name"),
    "revoke_token": Rule("administer", "revoke tokens", by=True, kind="token", about="text"),
}
"""Every method of a console, and who may call it."""

COMMANDS: Final[dict[str, Rule]] = {
    types.CANCEL: Rule("operate", "cancel runs"),
    types.PAUSE: Rule("operate", "pause runs"),
    types.RESUME: Rule("operate", "resume runs"),
    types.RETRY: Rule("operate", "retry runs"),
    types.RESOLVE: Rule("operate", "settle what is in doubt"),
    types.RAISE: Rule("administer", "raise the limits of runs"),
}
"""What `command` can send, and who may send it."""
FORBIDDEN: Final = "FORBIDDEN"
REFUSED: Final = "REFUSED"
"""How the audit log calls what a role does not include, and what the engine has refused."""
STANDING_GRANT: Final = Rule("administer", "grant calls for every run of a workflow")
OWN_SOURCES: Final = (
    *("cli/", "console/", "http/", "ssh/"),
    *("run/", "trigger/", "webhook/", "schedule/", "watch/", "replay/"),
)
"""How the sources of our own signals begin, of faces and of the engine: nobody from outside can call theirs so."""


class Guarded:
    """A console in somebody's hands. What it hands on is said to be done by them."""

    def __init__(self, behind: Console, identity: Identity) -> None:
        self.behind = behind
        """The console itself, bound to their tenant: for who owns the process, never for who uses it."""
        self.identity = identity

    # ------------------------------------------------------------ what everybody may know

    @property
    def face(self) -> Face:
        return self.behind.face

    @face.setter
    def face(self, face: Face) -> None:
        self.behind.face = face

    @property
    def where(self) -> Where:
        return self.behind.where

    @property
    def holder(self) -> str:
        return self.behind.holder

    @property
    def taken_up(self) -> TakenUp:
        return self.behind.taken_up

    async def close(self) -> None:
        await self.behind.close()

    # ------------------------------------------------------------ what depends on what is given

    async def start(self, request: StartRun) -> str:
        return await self._told("start", "workflow", request.workflow, self._start(request))

    async def _start(self, request: StartRun) -> str:
        self._require(RULES["start"])
        return await self.behind.start(msgspec.structs.replace(request, by=self._who(request.by)))

    async def command(self, type_: str, run: str, *, by: str, data: dict[str, Any] | None = None) -> Result:
        action, kind = ACTIONS.get(type_, ("command", "run"))
        return await self._told(action, kind, run, self._command(type_, run, by, data))

    async def _command(self, type_: str, run: str, by: str, data: dict[str, Any] | None) -> Result:
        rule = COMMANDS.get(type_)
        if rule is None:
            raise InvalidInput(f"`{type_}` is no command to a run", hint=f"there are: {', '.join(COMMANDS)}")
        self._require(rule)
        return await self.behind.command(type_, run, by=self._who(by), data=data)

    async def publish(self, signal: Signal) -> tuple[Signal, bool]:
        return await self._told("publish", "signal", signal.type, self._publish(signal))

    async def _publish(self, signal: Signal) -> tuple[Signal, bool]:
        self._require(RULES["publish"])
        if signal.tenant not in (DEFAULT_TENANT, self.identity.tenant):
            raise Forbidden(f"{self.identity.name} is not of the tenant `{signal.tenant}`")
        by = self._who(signal.by)
        source = signal.source
        if not source or source.startswith(OWN_SOURCES):
            source = f"{self.face}/{by}"
        # Ids are unique among all tenants: what another has called so must not be seen by its being taken.
        of, own = self.identity, self.identity.acts_for_others
        id_ = signal.id if own else signal_id("sent", of.tenant, signal.id)
        own = {"id": id_, "by": by, "starters": (), "audit": None, "source": source, "tenant": of.tenant}
        named = msgspec.structs.replace(signal, **own)
        return await self.behind.publish(named)

    async def vote(
        self,
        approval: str,
        decision: Literal["approved", "rejected"],
        *,
        by: str,
        via: str = "",
        grant: Literal["", "run", "workflow"] = "",
        **said: Any,
    ) -> Result:
        return await self._told("vote", "approval", approval, self._vote(approval, decision, by, via, grant, said))

    async def _vote(
        self,
        approval: str,
        decision: Literal["approved", "rejected"],
        by: str,
        via: str,
        grant: Literal["", "run", "workflow"],
        said: dict[str, Any],
    ) -> Result:
        self._require(RULES["vote"])
        if grant == "workflow":
            self._require(STANDING_GRANT)
        # Who cannot act for others cannot say either where they were when they decided.
        via = (via if self.identity.acts_for_others else "") or self.identity.via
        return await self.behind.vote(approval, decision, by=self._who(by), via=via, grant=grant, **said)

    # ------------------------------------------------------------ all the rest, by the table

    def __getattr__(self, name: str) -> Any:
        rule = RULES.get(name)
        if rule is None:
            raise AttributeError(f"a console in somebody's hands has no `{name}`")
        method: Callable[..., Any] = getattr(self.behind, name)
        takes = signature(method) if rule.about else None

        def call(*args: Any, **kwargs: Any) -> Any:
            about = _about(rule, takes, args, kwargs) if takes is not None else ""
            try:
                self._require(rule)
                if rule.by:
                    kwargs["by"] = self._who(kwargs.get("by", ""))
            except Forbidden:
                self._tell_later(name, rule.kind, about)
                raise
            found = method(*args, **kwargs)
            return self._told(name, rule.kind, about, found) if rule.needs != "read" and isawaitable(found) else found

        # The console behind is the same for good: the next call finds this at once.
        self.__dict__[name] = call
        return call

    async def _told(self, name: str, kind: str, about: str, asked: Awaitable[T]) -> T:
        """What comes of a call; the audit log is told where that is a refusal."""
        try:
            found = await asked
        except StoreUnavailable:
            raise
        except FleetError as error:
            await self._tell(name, kind, about, FORBIDDEN if isinstance(error, Forbidden) else error.code)
            raise
        if getattr(found, "status", "") == "refused":
            await self._tell(name, kind, about, REFUSED)
        return found

    async def _tell(self, name: str, kind: str, about: str, code: str) -> None:
        told = self._refused(name, kind, about, code)
        if told is not None:
            await told[0].add(told[1])

    def _tell_later(self, name: str, kind: str, about: str) -> None:
        told = self._refused(name, kind, about, FORBIDDEN)
        if told is not None:
            told[0].later(told[1])

    def _refused(self, name: str, kind: str, about: str, code: str) -> tuple[Repeats, AuditNote] | None:
        """Whom to tell what; None where a console elsewhere tells it itself."""
        if not isinstance(self.behind, Auditing):
            return None
        note = self.behind.refused(name, kind, about, code)
        return (self.behind.refusals, note) if note is not None else None

    def _require(self, rule: Rule) -> None:
        require(self.identity, rule.needs, rule.what)

    def _who(self, by: str) -> str:
        """Who did it. Raises `Forbidden` for anybody else's name, unless that is theirs to use."""
        if by and by != self.identity.name and not self.identity.acts_for_others:
            raise Forbidden(f"{self.identity.name} cannot act as {by}")
        return by or self.identity.name


def _about(rule: Rule, takes: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What a call is about, however it was given. A call that the method does not take is told of without."""
    try:
        given = takes.bind_partial(*args, **kwargs).arguments.get(rule.about)
    except TypeError:
        return ""
    return _named(given)


def _named(given: Any) -> str:
    if isinstance(given, str):
        return SHOWN.sub(r"\1", given)
    if isinstance(given, Sequence):
        return ", ".join(map(_named, cast("Sequence[Any]", given)))
    # A workflow's file has its plan, which is called as it is.
    return str(getattr(getattr(given, "plan", given), "name", ""))


def guarded(console: Console, identity: Identity, *, own: bool = False) -> Console:
    """A console as this identity may use it, in their tenant: its methods raise `Forbidden` for what their role does
    not include.

    The console that is given stays as it was, and whose it was: many can look through it at once, and closing what is
    returned ends nothing but what was asked through it. `own`: it is given away, to be closed by whom it is given to.
    """
    bind = getattr(console, "become" if own else "bound", None)
    return cast("Console", Guarded(bind(identity) if bind is not None else console, identity))


def behind(console: Console) -> Console:
    """The console itself, for who owns the process: to close it, to take it over."""
    return console.behind if isinstance(console, Guarded) else console
