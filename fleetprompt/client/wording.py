"""How things are said: glyphs, times, durations, money, ids. No output happens here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from fleetprompt.engine.core.mode import is_unreal

GLYPHS = {
    "pending": "○",
    "running": "●",
    "waiting": "◆",
    "completed": "✓",
    "failed": "✗",
    "timeout": "✗",
    "cancelled": "⊘",
    "skipped": "–",
    "in_doubt": "?",
    "approved": "✓",
    "rejected": "✗",
    "withdrawn": "–",
    "accepted": "✓",
    "refused": "✗",
    "active": "●",
    "paused": "◆",
    "archived": "–",
    "draft": "○",
    "off": "–",
    "fired": "✓",
    "missed": "⊘",
    "duplicate": "–",
}
ASCII = {
    "○": "o", "●": "*", "◆": "!", "✓": "+", "✗": "x", "⊘": "#", "–": "-", "·": "-", "…": "...", "×": "x", "→": ">",
    "≥": ">=", "━": "=", "┄": ".", "─": "-", "┊": ":", "▸": "+", "▾": "-", "▌": "|",
}  # fmt: skip
STYLES = {
    "pending": "dim",
    "running": "blue",
    "waiting": "yellow",
    "completed": "green",
    "failed": "red",
    "timeout": "red",
    "cancelled": "magenta",
    "skipped": "dim",
    "in_doubt": "bold yellow",
    "approved": "green",
    "rejected": "red",
    "withdrawn": "dim",
    "accepted": "green",
    "refused": "red",
    "active": "green",
    "paused": "yellow",
    "archived": "dim",
    "draft": "dim",
    "off": "dim",
    "fired": "green",
    "missed": "magenta",
    "duplicate": "dim",
}
SHORT = 8
"""Characters of a run id that tell it apart; the last ones, because the first are the time."""
NANO = 1_000_000_000


def short(id_: str) -> str:
    """A run id as lists show it."""
    return id_ if id_.startswith("ap-") else id_[-SHORT:]


def duration(seconds: float | None) -> str:
    """`0.42s`, `4.2s`, `38s`, `4m12s`, `1h03m`, `2d04h`; `-` when there is none."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 0.995:
        return f"{seconds:.2f}s"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def span(seconds: float) -> str:
    """A time that somebody has set: `30d`, `20m`, `1h30m`."""
    text = duration(seconds)
    for nothing in ("00h", "00m", "00s"):
        text = text.removesuffix(nothing)
    return text


def rough(seconds: float) -> str:
    """A length of time in one unit: `12s`, `3m`, `2h`, `5d`."""
    seconds = max(0.0, seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def ago(seconds: float) -> str:
    """`just now`, `3m ago`; `in 3m` for what is to come."""
    if seconds < -1:
        return f"in {rough(-seconds)}"
    return "just now" if seconds < 5 else f"{rough(seconds)} ago"


def money(nano: int) -> str:
    """US dollars: cents, or as many digits as a small amount needs."""
    dollars = nano / NANO
    if nano and abs(dollars) < 0.01:
        told = f"${dollars:.6f}".rstrip("0").rstrip(".")
        return told if told != "$0" else "<$0.000001"
    return f"${dollars:,.2f}"


def exact_money(nano: int) -> str:
    """US dollars to a hundredth of a cent, for what stands beside a limit: $0.018 is not $0.02."""
    if 0 < abs(nano) < NANO // 100:
        return money(nano)
    whole, _, rest = f"{nano / NANO:,.4f}".partition(".")
    return f"${whole}.{rest[:2]}{rest[2:].rstrip('0')}"


MODES = {"simulated": "SIMULATED", "replay": "REPLAYED", "mixed": "PARTLY SIMULATED", "local": "LOCAL"}


def mode_label(mode: str) -> str:
    """The label of what no paid model, or not only paid models, have said; empty where it needs none."""
    return MODES.get(mode, "")


def spent(nano: int, mode: str = "", told: Callable[[int], str] = money) -> str:
    """What something has cost: `n/a` where no model was asked, so that nobody takes it for a price; `-` for nothing."""
    return told(nano) if nano else "n/a" if is_unreal(mode) else "-"


def perhaps(nano: int) -> str:
    """What follows an amount beside which more may have been spent; empty where nothing is in doubt."""
    return f" + up to {money(nano)} uncertain" if nano else ""


def decided_by(by: Sequence[str], reason: str) -> str:
    """What follows what was decided: ` by ana, ben`, or why it was where nobody has said so: ` (timeout)`."""
    return f" by {', '.join(by)}" if by else f" ({reason})" if reason and reason != "vote" else ""


def count(number: int, thing: str, things: str = "") -> str:
    """`1 run`, `3 runs`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def faults(errors: int, warnings: int) -> str:
    """How much is wrong with files, such as `3 errors, 1 warning`; empty where nothing is."""
    parts = [count(errors, "error")] if errors else []
    parts += [count(warnings, "warning")] if warnings else []
    return ", ".join(parts)


def size(number: int) -> str:
    """Bytes in a unit that fits."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def rfc3339(at: float | None) -> str | None:
    """A time for machines, in UTC."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def glyph(status: str) -> str:
    """The sign of a status, in ASCII where the terminal cannot show it."""
    return sign(GLYPHS.get(status, "·"))


def sign(text: str) -> str:
    """Text of ours with its signs in ASCII where the output cannot take them."""
    # While a console is open, what stands for the standard output has no encoding.
    encoding = getattr(sys.stdout, "encoding", None) or getattr(sys.__stdout__, "encoding", None) or "ascii"
    if encoding.lower().replace("-", "").startswith("utf"):
        return text
    return "".join(ASCII.get(character, character) for character in text)


class Times:
    """Times of day as the reader's clock shows them."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self.zone = zone
        """None: the zone of this machine."""

    def at(self, at: float) -> datetime:
        """A time in the reader's zone."""
        return datetime.fromtimestamp(at, UTC).astimezone(self.zone)

    def clock(self, at: float) -> str:
        """`14:02:11`."""
        return self.at(at).strftime("%H:%M:%S")

    def moment(self, at: float, now: float | None = None) -> str:
        """`2026-11-20 14:02:11 CET`, or only the time for one within the last half day."""
        if now is not None and abs(now - at) < 43_200:
            return self.clock(at)
        then = self.at(at)
        return f"{then:%Y-%m-%d %H:%M:%S} {then.tzname() or ''}".rstrip()

    @property
    def tzinfo(self) -> Any:
        """A zone for whoever needs one."""
        return self.zone or datetime.now().astimezone().tzinfo
