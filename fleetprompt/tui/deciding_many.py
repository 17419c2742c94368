"""Decisions about many approvals at once: read in portions, asked about once, and each voted on by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from fleetprompt.client.deciding import Brief, brief
from fleetprompt.client.forms import form_fields
from fleetprompt.client.protocol import Console
from fleetprompt.client.wording import GLYPHS, count, short, sign
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Page, RunHead
from fleetprompt.engine.ports import Vote as Cast
from fleetprompt.tui import deciding
from fleetprompt.tui.deciding import held, why_not
from fleetprompt.tui.screens.dialog import Ask, Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.screens.gathering import Told, gathered
from fleetprompt.tui.sending import of_many
from fleetprompt.tui.state.approval_preview import briefly
from fleetprompt.tui.state.approval_value import Line
from fleetprompt.tui.state.form import Filled
from fleetprompt.tui.state.look import Look
from fleetprompt.tui.voting import ON_ITS_WAY, VERBS, Decision, Vote, named, send

if TYPE_CHECKING:
    from fleetprompt.tui.app import FleetConsole

PORTION = 100
"""Approvals that are read at once."""
RUNS = 50
"""Runs of which it is asked at once what they ask: as many as a filter holds."""
LISTED = 50
"""Approvals that a question names one by one."""
NAMED = 8
"""Those left out that it names one by one."""
FORM_NEEDED = "its form has to be filled in (e)"
NO_FORM = "it has no form; a approves it as it is"


class Found(Struct, frozen=True):
    """An approval that can be decided about, and what a question says of it."""

    approval: Brief
    about: str = ""
    """The beginning of what is decided about; only of the first ones."""


class Group(Struct):
    """Approvals whose forms are the same."""

    form: dict[str, Any]
    values: dict[str, Any]
    """What others have entered, where that is the same for all."""
    found: list[Found] = field(default_factory=list[Found])
    differ: bool = False
    """Others have entered this and that."""


class Survey(Struct):
    """What many approvals are now."""

    found: list[Found] = field(default_factory=list[Found])
    left: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Those that cannot be decided about, and why."""
    gone: int = 0
    """Those that wait no more."""
    groups: dict[bytes, Group] = field(default_factory=dict[bytes, Group])
    """Those that were found, by their form."""


Shown = Mapping[str, bytes]
"""Fingerprints of what has been shown of approvals, by id."""


async def decide(app: FleetConsole, ids: Sequence[str], decision: Decision, shown: Shown) -> None:
    """Approve or reject all of these, after a question that names them."""
    ask = _ask_reason if decision == "rejected" else _ask_yes
    await _surveyed(app, ids, decision, shown, partial(ask, app), lambda approval: _form_needed(approval, decision))


async def comment(app: FleetConsole, ids: Sequence[str], shown: Shown) -> None:
    """Approve all of these with the same comment."""
    await _surveyed(
        app, ids, "approved", shown, partial(_ask_comment, app), lambda each: _form_needed(each, "approved")
    )


async def edit(app: FleetConsole, ids: Sequence[str], shown: Shown) -> None:
    """Fill in the form of these once, and approve each with what it holds then; different forms one after another."""
    await _surveyed(app, ids, "approved", shown, partial(_ask_forms, app), _form_given)


async def decide_runs(app: FleetConsole, heads: Sequence[RunHead], decision: Decision) -> None:
    """Decide about everything that these runs ask: a single approval is shown as a whole."""
    console = app.client
    verb = VERBS[decision]
    if not app.may_change(verb) or console is None:
        return
    runs = [head.id for head in heads if head.finished_at is None]

    def then(ids: list[str]) -> None:
        if not ids:
            app.say("warning", f"there is nothing to {verb}")
        else:
            app.run_worker(partial(_decide_found, app, ids, decision), group="deciding")

    if len(runs) <= RUNS:
        # While this goes on keys wait for the question that comes of it.
        ids = await pending_of(console, runs)
        if ids:
            await _decide_found(app, ids, decision)
        else:
            then(ids)
        return
    await gathered(app, "reading what the runs ask", len(runs), partial(pending_of, console, runs), then)


async def _decide_found(app: FleetConsole, ids: Sequence[str], decision: Decision) -> None:
    console = app.client
    assert console is not None
    if len(ids) > 1:
        await decide(app, ids, decision, {})
        return
    for approval, _ in await console.approvals_of(ids):
        await (deciding.approve if decision == "approved" else deciding.reject)(app, approval)


async def pending_of(console: Console, runs: Sequence[str], told: Told = lambda far: None) -> list[str]:
    """What these runs ask, the oldest first. Raises `FleetError`."""
    found: list[tuple[float, str]] = []
    for at in range(0, len(runs), RUNS):
        filter_ = f"run:{','.join(runs[at : at + RUNS])} status:pending"
        cursor = ""
        while True:
            rows, cursor = await console.approvals(filter_, Page(limit=PORTION, cursor=cursor, oldest_first=True))
            found += [(approval.requested_at, approval.id) for approval in rows]
            if not cursor:
                break
        told(at + RUNS)
    return [id_ for _, id_ in sorted(found)]


# ---------------------------------------------------------------- what they are now


async def _surveyed(
    app: FleetConsole,
    ids: Sequence[str],
    decision: Decision,
    shown: Shown,
    ask: Callable[[Survey], None],
    unfit: Callable[[Approval], str],
) -> None:
    console = app.client
    if not app.may_change(VERBS[decision]) or console is None:
        return

    def then(survey: Survey) -> None:
        if survey.found:
            ask(survey)
        elif survey.left:
            app.say("warning", f"none of {count(len(survey.left), 'approval')} can be {decision}: {survey.left[0][1]}")
        else:
            app.say("warning", f"there is nothing to {VERBS[decision]}: nothing that was marked waits any more")

    read = partial(_survey, app, console, ids, shown, unfit)
    await gathered(app, "reading what is marked", len(ids), read, then)


async def _survey(
    app: FleetConsole, console: Console, ids: Sequence[str], shown: Shown, unfit: Callable[[Approval], str], told: Told
) -> Survey:
    survey = Survey()
    for at in range(0, len(ids), PORTION):
        portion = ids[at : at + PORTION]
        read = await console.approvals_of(portion)
        waiting = [(approval, votes) for approval, votes in read if approval.status == "pending"]
        survey.gone += len(portion) - len(waiting)
        for approval, votes in waiting:
            short_one = brief(approval)
            why = unfit(approval) or await _why_not(app, console, approval, votes, shown)
            if why:
                survey.left.append((named(short_one), why))
            else:
                about = briefly(approval) if len(survey.found) < LISTED else ""
                _keep(survey, Found(short_one, about), Look(approval, tuple(votes)))
        told(at + len(portion))
    return survey


async def _why_not(app: FleetConsole, console: Console, approval: Approval, votes: Sequence[Cast], shown: Shown) -> str:
    if (approval.id, approval.level) in app.voting:
        return ON_ITS_WAY
    missing = approval.blob is not None and await console.value(approval) is None
    return why_not(app, Look(approval, tuple(votes), missing=missing), shown.get(approval.id, b""))


def _form_given(approval: Approval) -> str:
    if approval.about == "tool":
        return "a call is changed by itself, for what it would do then has to be seen"
    return "" if approval.form else NO_FORM


def _form_needed(approval: Approval, decision: Decision) -> str:
    return FORM_NEEDED if decision == "approved" and form_problem(approval.form, {}) else ""


def _keep(survey: Survey, found: Found, look: Look) -> None:
    survey.found.append(found)
    form = look.approval.form
    key = msgspec.json.encode(form)
    group = survey.groups.get(key)
    if group is None:
        group = survey.groups[key] = Group(form, look.values)
    elif group.values != look.values:
        group.differ, group.values = True, {}
    group.found.append(found)


# ---------------------------------------------------------------- the questions


def _votes(found: Sequence[Found], decision: Decision, comment: str = "", values: Any = None) -> list[Vote]:
    return [Vote(each.approval, decision, comment, values or {}) for each in found]


def _ask_yes(app: FleetConsole, survey: Survey) -> None:
    def answered(yes: bool | None) -> None:
        if yes:
            send(app, _votes(survey.found, "approved"))

    title = f"approve {count(len(survey.found), 'approval')}?"
    app.push_screen(Confirm(title, _lines(survey, "approved"), _all(survey.found, "approve"), danger=False), answered)


def _ask_reason(app: FleetConsole, survey: Survey) -> None:
    def given(text: str | None) -> None:
        if text is not None:
            send(app, _votes(survey.found, "rejected", text))

    title = f"reject {count(len(survey.found), 'approval')}?"
    lines, does = _lines(survey, "rejected"), _all(survey.found, "reject")
    app.push_screen(Ask(title, lines, does, placeholder="reason", needed=True, danger=True), given)


def _ask_comment(app: FleetConsole, survey: Survey) -> None:
    def given(text: str | None) -> None:
        if text is not None:
            send(app, _votes(survey.found, "approved", text))

    title = f"approve {count(len(survey.found), 'approval')} with a comment"
    lines, does = _lines(survey, "approved"), _all(survey.found, "approve")
    app.push_screen(Ask(title, lines, does, placeholder="comment", needed=True), given)


def _ask_forms(app: FleetConsole, survey: Survey) -> None:
    groups = list(survey.groups.values())
    if len(groups) == 1:
        _fill(app, groups[0], _lines(survey, "approved"), "", lambda: None)
        return

    def answered(yes: bool | None) -> None:
        if yes:
            _fill_next(app, groups, 0)

    lines: list[Line] = [((f"{count(len(survey.found), 'approval')} have {len(groups)} different forms:", ""),)]
    for group in groups[:LISTED]:
        fields = inert(", ".join(group.form))
        lines.append(((f"  {count(len(group.found), 'approval')}  ", ""), (fields, "key")))
    if len(groups) > LISTED:
        lines.append(((f"  … and {len(groups) - LISTED:,} more", "dim"),))
    lines += _left_out(survey, "approved")
    does = "fill them in one after another"
    app.push_screen(Confirm("different forms", lines, does, danger=False), answered)


def _fill_next(app: FleetConsole, groups: Sequence[Group], at: int) -> None:
    if at < len(groups):
        which = f" (form {at + 1} of {len(groups)})"
        _fill(app, groups[at], _named_many(groups[at].found), which, lambda: _fill_next(app, groups, at + 1))


def _fill(app: FleetConsole, group: Group, lines: list[Line], which: str, then: Callable[[], None]) -> None:
    """Have a form filled in that is the same for several, and ask once more with what it holds then."""
    number = count(len(group.found), "approval")
    if group.differ:
        lines = [*lines, (("what others have entered so far differs, and is not filled in here", "warning"),)]

    def filled(answer: Filled | None) -> None:
        if answer is None:
            app.say("info", f"left as {'it is' if len(group.found) == 1 else 'they are'}: {number}")
        else:
            send(app, _votes(group.found, "approved", answer.comment, answer.values))
        then()

    def sure(answer: Filled) -> Confirm:
        about = [*held(answer), (), *_named_many(group.found)]
        return Confirm(f"approve {number} with these values?", about, _all(group.found, "approve"), danger=False)

    fields = form_fields(group.form)
    title = f"values for {number}{which}"
    dialog = FormDialog(title, lines, fields, "go on", values=group.values, comment="", question=sure, at_once=False)
    app.push_screen(dialog, filled)


def _all(found: Sequence[Found], verb: str) -> str:
    return f"{verb} all of them" if len(found) > 1 else f"{verb} it"


def _lines(survey: Survey, decision: Decision) -> list[Line]:
    return [*_named_many(survey.found), *_left_out(survey, decision)]


def _named_many(found: Sequence[Found]) -> list[Line]:
    lines = [line for each in found[:LISTED] for line in _named(each)]
    if len(found) > LISTED:
        lines.append(((f"… and {count(len(found) - LISTED, 'more approval')}", "warning"),))
    return lines


def _left_out(survey: Survey, decision: Decision) -> list[Line]:
    """What was marked and is not decided about, and why."""
    lines: list[Line] = []
    number = len(survey.left)
    if number:
        stay = "stays as it is" if number == 1 else "stay as they are"
        lines += [(), ((f"{number:,} more cannot be {decision} and {stay}:", "dim"),)]
    if number <= NAMED:
        lines += [((f"  {name}: {why}", "dim"),) for name, why in survey.left]
    else:
        reasons = Counter(why for _, why in survey.left).most_common()
        lines += [((f"  {of_many(why, each)}", "dim"),) for why, each in reasons[:NAMED]]
        others = sum(each for _, each in reasons[NAMED:])
        lines += [((f"  {others:,}: other reasons", "dim"),)] if others else []
    if survey.gone:
        others = count(survey.gone, "marked one has", "marked ones have")
        lines += [(), ((f"{others} been decided meanwhile", "dim"),)]
    return lines


def _named(found: Found) -> list[Line]:
    """An approval among others: which it is, what it asks, and the beginning of what it is about."""
    approval = found.approval
    lines: list[Line] = [
        (
            (f"{sign(GLYPHS['waiting'])} ", "waiting"),
            (f"{short(approval.run)}  ", "id"),
            (f"{inert(approval.workflow)} ", "strong"),
            (f"{inert(approval.path)}  ", "link"),
            (inert(approval.message), ""),
        )
    ]
    if found.about:
        lines.append(((f"    {found.about}", "dim"),))
    return lines
