"""What consoles and daemons say to each other besides the arguments and results of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from fleetprompt.client.identity import Role
from fleetprompt.client.protocol import Progress, Published
from fleetprompt.engine.ports import Change, Piece, Stored

PROTOCOL: Final = 1
"""Raised when a method, or a record that it takes or gives, changes so that the other side would misunderstand it.
Methods and fields that are added change nothing: who does not know a method says so."""
PATH: Final = "/api/console"
FACE: Final = "x-fleet-face"
"""Header: what the person has in front of them, `cli` or `console`. Recorded beside what they do."""
BEAT_SECONDS: Final = 5.0
"""A stream says at least an empty line so often, and is ended then for whom it is not meant any more."""
MEDIA_TYPE: Final = "application/x-ndjson"


class Hello(Struct, frozen=True, kw_only=True):
    """Who answers, and as whom it lets one act."""

    protocol: int
    version: str
    """Of FleetPrompt."""
    project: str
    pid: int
    position: int
    """Of the newest fact."""
    name: str
    role: Role
    tenant: str
    groups: Sequence[str] = ()
    """Groups of operators that the name belongs to there."""


class Trouble(Struct, frozen=True):
    """Why a stream ends, where that is not its end: as a problem document says it."""

    status: int
    detail: str
    hint: str = ""


class Told(Struct, frozen=True, omit_defaults=True):
    """A line of a stream: one of these."""

    fact: Stored | None = None
    progress: Progress | None = None
    change: Change | None = None
    pieces: Sequence[Piece] | None = None
    published: Published | None = None
    over: bool = False
    """There is nothing more to be told: nobody has cut the line."""
    trouble: Trouble | None = None


class SentFile(Struct, frozen=True):
    """A workflow's text: it is compiled where the daemon is, whatever it was compiled to here."""

    text: str
    named: str


class SentStart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`StartRun`, as it is sent: who starts it is told by who sends it."""

    workflow: str = ""
    files: tuple[SentFile, ...] = ()
    inputs: dict[str, Any] = {}
    texts: dict[str, str] = {}
    labels: dict[str, str] = {}
    priority: int = 0
    project: str = ""
    session: str = ""
    key: str = ""
    trigger: dict[str, Any] = {}
