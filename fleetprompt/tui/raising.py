"""Letting runs spend more than their guardrails say: which limit, by how much and why is asked for, and asked about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.client.forms import Field
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import count, short
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.acting import FINAL, Sorted, command_each, left_out, named, nothing_to, read
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.gathering import Told, gathered
from fleetprompt.tui.sending import Answer, tell
from fleetprompt.tui.state.form import Filled
from fleetprompt.tui.state.run_verbs import limits_of

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

UNITS = {"cost_nano": "usd", "tokens": "tokens", "requests": "requests", "tool_calls": "tool_calls"}
"""How a limit is called where it is raised, as `fleet raise` calls it."""
NANO = 1_000_000_000
WHOLE_RUN = "the whole run"


class Limited(Struct):
    """Runs that have limits, and which."""

    runs: Sorted
    limits: dict[str, None]


async def raise_limits(app: FleetConsole, heads: Sequence[RunHead], path: str = "") -> None:
    """Ask by how much the limits of runs are raised; `path` is a step of a single run whose own may be meant."""
    console = app.client
    if console is None or not app.may_change("raise"):
        return
    look = partial(_limited, console, heads, path)
    await gathered(app, "looking for their limits", len(heads), look, partial(_ask, app, path))


async def _limited(console: Console, heads: Sequence[RunHead], path: str, told: Told) -> Limited:
    found = Limited(Sorted(), {})
    for at, head in enumerate(heads):
        why_not = f"it is {head.status} already" if head.status in FINAL else ""
        run = why_not or await read(console, head)
        if isinstance(run, Run):
            limits = [*limits_of(run), *(limits_of(run, path) if path else ())]
            found.limits |= dict.fromkeys(limits)
            why_not = "" if limits else "it has no limits; they are in `guardrails` of its file"
        else:
            why_not = run
        found.runs.take(head, why_not)
        told(at + 1)
    return found


def _ask(app: FleetConsole, path: str, found: Limited) -> None:
    heads = found.runs.fitting
    if not heads:
        app.say("warning", nothing_to("raise", found.runs.left))
        return
    units = tuple(unit for limit, unit in UNITS.items() if limit in found.limits)
    fields = [
        Field(name="limit", type="string", required=True, enum=units, description="Which limit is raised."),
        Field(name="amount", type="number", required=True, minimum=0, description="How much more may be used."),
    ]
    if path:
        whose = "Whose limit it is."
        fields.insert(0, Field(name="of", type="string", enum=(WHOLE_RUN, path), default=WHOLE_RUN, description=whose))
    lines = [*named(heads, app.now()), *left_out(found.runs.left, "raised")]
    title = f"let {count(len(heads), 'run')} spend more"

    def sure(answer: Filled) -> Confirm:
        more = f"{answer.values['amount']:g} {answer.values['limit']} more"
        said = [*lines, ((more, "strong"), (f" for {_whose(answer, heads)}", ""))]
        return Confirm(f"{title}?", said, "raise", danger=False)

    def filled(answer: Filled | None) -> None:
        if answer is not None and app.may_change("raise"):
            app.run_worker(partial(_send_all, app, heads, answer), group="commands")

    values = {"limit": units[0]}
    dialog = FormDialog(title, lines, fields, "raise", values=values, comment="", question=sure, at_once=False)
    app.push_screen(dialog, filled)


def _whose(answer: Filled, heads: Sequence[RunHead]) -> str:
    step = _step(answer)
    return f"step {inert(step)}" if step else "the run" if len(heads) == 1 else "each of them"


def _step(answer: Filled) -> str:
    of = str(answer.values.get("of", WHOLE_RUN))
    return "" if of == WHOLE_RUN else of


def _amounts(answer: Filled) -> dict[str, int | float]:
    """What is sent: money in nano-USD. What is no whole number of anything else is refused by whoever is asked."""
    limit = next(limit for limit, unit in UNITS.items() if unit == answer.values["limit"])
    amount = answer.values["amount"]
    if limit == "cost_nano":
        return {limit: round(amount * NANO)}
    return {limit: int(amount) if amount == int(amount) else amount}


async def _send_all(app: FleetConsole, heads: Sequence[RunHead], answer: Filled) -> None:
    data: dict[str, Any] = {"step": _step(answer), "reason": answer.comment, "amounts": _amounts(answer)}
    more = f"{answer.values['amount']:g} {answer.values['limit']} more"
    sent = await command_each(
        app, types.RAISE, heads, data, "raising", lambda head, _: Answer(f"run {short(head.id)}: {more}")
    )
    tell(app, "raised", "run", sent)
