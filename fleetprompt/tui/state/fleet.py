"""What is true of the whole fleet: how many runs there are of each status, what waits for people, what was spent."""

from __future__ import annotations

from collections import deque
from typing import Literal

from msgspec import Struct

from fleetprompt.client.halted import halted_by
from fleetprompt.engine.ports.operations import Position

Level = Literal["info", "warning", "error"]
Engine = Literal["opening", "starting", "embedded", "attached", "silent", "none", "failed"]
"""Where the engine is; `failed`: the store could not be opened."""
MESSAGES = 500
"""Messages that are kept."""


class Message(Struct, frozen=True):
    """Something this console has said."""

    at: float
    level: Level
    text: str


class Asked(Struct, frozen=True):
    """What a run asks people."""

    question: str = ""
    """The first line of its oldest pending approval, of those that the operator may decide about if there are any."""
    mine: bool = True
    """The operator may decide about one of them, as far as is known here."""


class Fleet:
    """The counts at the top of every screen, and the messages."""

    def __init__(self, elsewhere: str = "") -> None:
        self.elsewhere = elsewhere
        """The machine on which the daemon is; empty where the project is of this one."""
        self.away = ""
        """Why the daemon cannot be reached; empty while it can. What is shown meanwhile is as it was."""
        self.counted = False
        """The numbers below have been read once; before that they say nothing."""
        self.counts: dict[str, int] = {}
        self.asking: dict[str, Asked] = {}
        """What runs ask, by their ids."""
        self.approvals = 0
        """How many approvals wait for the operator: not those that are for others, or that they have voted on."""
        self.approvals_more = False
        """And more than that."""
        self.spent = 0
        """Nano-USD since the day began."""
        self.uncertain = 0
        """What may have been spent besides."""
        self.tokens = 0
        self.activity: tuple[int, ...] = ()
        """Runs that began in each of the last minutes, the latest last."""
        self.engine: Engine = "opening"
        self.holder = ""
        self.switch: Position = "on"
        """How much may happen, as operators have set it."""
        self.trouble = ""
        """Why the store that is open cannot be read; empty while it can."""
        self.lost = False
        """It has to be opened anew."""
        self.messages: deque[Message] = deque(maxlen=MESSAGES)
        self.unread = 0
        """Messages that came since the messages were looked at."""

    @property
    def live(self) -> bool:
        """An engine carries out what is asked for."""
        return self.engine in ("embedded", "attached") and not self.away

    def halts(self, *, began: bool, child: bool) -> str:
        """Why nothing new starts in a run that is not over, where that is not up to the run; empty where it may."""
        return halted_by(self.switch, began=began, child=child, engine=self.engine != "none")

    def say(self, at: float, level: Level, text: str) -> Message:
        """Keep a message."""
        message = Message(at, level, text)
        self.messages.append(message)
        self.unread += 1
        return message


BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: tuple[int, ...], width: int) -> str:
    """The last values as a line of blocks; nothing is a space, and anything at all can be seen."""
    shown = values[-width:] if width > 0 else ()
    most = max(shown, default=0)
    if not most:
        return " " * len(shown)
    return "".join(BLOCKS[max(0, (value * len(BLOCKS) - 1) // most)] if value else " " for value in shown)
