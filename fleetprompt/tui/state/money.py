"""How words came about and what they cost, as they are shown: nothing that was simulated has a price, and what may have
been spent is never added to what was. PURE."""

from __future__ import annotations

from collections.abc import Callable

from fleetprompt.client.wording import MODES, NANO, money, sign
from fleetprompt.engine.core.mode import is_unreal
from fleetprompt.tui.state.lines import Cell, Part

NONE = "n/a"


def badge(mode: str) -> tuple[Part, ...]:
    """What is said of words that no paid model has said; nothing of those of one."""
    text = MODES.get(mode, "")
    return ((text, "badge"),) if text else ()


def amount(nano: int) -> str:
    """US dollars in at most eight cells: `$0.0042`, `$1.84`, `$12,345`; `-` for nothing."""
    if not nano:
        return "-"
    dollars = nano / NANO
    if dollars < 0.01:
        return f"${dollars:.4f}" if dollars >= 0.0001 else "<$0.0001"
    return f"${dollars:,.2f}" if dollars < 1000 else f"${dollars:,.0f}"


def cost_cell(nano: int, uncertain_nano: int = 0, mode: str = "", *, nothing: str = "-") -> Cell:
    """An amount in a column: `≥$0.42` where more may have been spent, `n/a` where no model was asked."""
    if uncertain_nano:
        return (f"{sign('≥')}{amount(nano) if nano else '$0'}", "warning")
    if nano:
        return (amount(nano), "")
    return (NONE, "dim") if is_unreal(mode) else (nothing, "faint")


def cost_words(
    nano: int, uncertain_nano: int = 0, mode: str = "", told: Callable[[int], str] = amount
) -> tuple[Part, ...]:
    """An amount in a sentence, with what may have been spent besides: `$0.42 + up to $0.10 uncertain`."""
    if not nano and not uncertain_nano:
        return ((NONE, "dim"),) if is_unreal(mode) else ()
    parts: tuple[Part, ...] = ((told(nano) if nano else "$0.00", ""),)
    if uncertain_nano:
        parts += ((f" + up to {money(uncertain_nano)} uncertain", "warning"),)
    return parts
