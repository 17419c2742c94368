"""What is decided about, line by line: exactly what the digest covers and what will be executed, no more, no less."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import UNSET

from fleetprompt.client.deciding import DIGEST
from fleetprompt.client.edited_call import covers_with
from fleetprompt.client.forms import Field, form_fields
from fleetprompt.client.values import one_line_json
from fleetprompt.client.values import preview as on_one_line
from fleetprompt.client.wording import Times, ago, glyph, rough, short, sign
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.gate import is_barred, whom
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Vote
from fleetprompt.tui.state.approval_call import asked_briefly, call_matter
from fleetprompt.tui.state.approval_value import Line, long_line, scalar, value_lines
from fleetprompt.tui.state.approvals import DECIDING
from fleetprompt.tui.state.lines import CONTINUED, Part
from fleetprompt.tui.state.look import Look, Standing

LINES = 200
CHARACTERS = 20_000
"""Lines and characters of which a question shows no more."""
BRIEF = 68
"""Characters of the beginning of what is decided about."""
ENDS = {
    "reject": "it counts as rejected",
    "approve": "it counts as approved",
    "fail": "the step fails",
    "escalate": "the next ones are asked",
}


class Block:
    """Lines that are made when somebody reads on, the same ones whenever they are read."""

    def __init__(self, make: Callable[[], Iterator[Line]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Line]:
        return self._make()


def preview(look: Look, state: Standing, times: Times, now: float, *, still: bool = False) -> list[Iterable[Line]]:
    """Everything a person needs in order to decide, in blocks. `still`: nothing that is different a second later."""
    return [question(look), terms(look, state, times, now, still=still), matter(look), closing(look, times, now)]


def bounded(blocks: Sequence[Iterable[Line]]) -> list[Line]:
    """The beginning of it where there is no room for more than that; how much is missing is said."""
    lines: list[Line] = []
    length = 0
    for line in chain.from_iterable(blocks):
        if len(lines) >= LINES or length > CHARACTERS:
            lines.append((("… there is more: tab in the list of approvals reads all of it", "warning"),))
            break
        length += sum(len(text) for text, _ in line)
        if lines and line[:1] == (CONTINUED,):
            lines[-1] = (*lines[-1], *line[1:])
        else:
            lines.append(line)
    return lines


def question(look: Look) -> Block:
    """What is asked."""
    return Block(
        lambda: (line for text in look.approval.message.splitlines() for line in long_line((), text, "strong"))
    )


def terms(
    look: Look, state: Standing, times: Times, now: float, *, deciding: bool = False, still: bool = False
) -> list[Line]:
    """By what it is asked, of whom and until when. `still`: without how long ago that was, and how long it still is."""
    approval = look.approval
    return [(), *_terms(approval, times, now, still=still), *_say(approval, state, deciding=deciding), ()]


def closing(look: Look, times: Times, now: float, edit: str = "") -> list[Line]:
    """The form with what it holds, and what has been said. `edit` is the key that edits the form here, if any does."""
    approval = look.approval
    lines: list[Line] = []
    if approval.about == "tool" and not look.values:
        # They stand there already, as what the call is given.
        lines += [(), ((f"{edit} edits the arguments", "dim"),)] if edit and approval.form else []
    elif approval.form:
        lines += [(), (("FORM", "title"), (f"  {edit} edits it" if edit else "", "dim"))]
        lines += [_field(field, look.values) for field in form_fields(approval.form)]
    if look.votes:
        lines += [(), (("VOTES", "title"),)]
        lines += [_vote(vote, approval, times, now) for vote in look.votes]
    return lines


def _terms(approval: Approval, times: Times, now: float, *, still: bool) -> Iterator[Line]:
    arrow = sign(" → ")
    yield (
        (inert(approval.workflow), "link"),
        (arrow, "dim"),
        (inert(approval.path), "link"),
        ("   run ", "dim"),
        (short(approval.run), "id"),
        ("   digest ", "dim"),
        (approval.digest[:DIGEST], "accent"),
        *((("   level ", "dim"), (str(approval.level), "warning")) if approval.level else ()),
    )
    asked = times.moment(approval.requested_at, now)
    yield (("asked ", "dim"), (asked if still else f"{asked}, {ago(now - approval.requested_at)}", ""))
    if approval.status != "pending":
        when = f" {times.moment(approval.decided_at, now)}" if approval.decided_at is not None else ""
        why = f", {inert(approval.reason)}" if approval.reason else ""
        yield (
            (f"{glyph(approval.status)} ", approval.status),
            (f"{approval.status}{when}", approval.status),
            (why, "dim"),
        )
    elif approval.until is not None:
        left = approval.until - now
        told = "" if still else f", {rough(left)} left" if left > 0 else ", due"
        ends = ENDS.get(approval.on_timeout, approval.on_timeout)
        yield (
            ("expires ", "dim"),
            (f"{times.moment(approval.until, now)}{told}", "warning" if left < 60 else ""),
            (f"; then {ends}", "dim"),
        )
    else:
        yield (("expires ", "dim"), ("never", ""))


def _say(approval: Approval, state: Standing, *, deciding: bool) -> Iterator[Line]:
    who = whom(approval.approvers, approval.barred) or "every operator"
    words = f"   {state.words}" if state.words else ""
    yield (("for ", "dim"), (inert(who), ""), (words, "accent"))
    if approval.status != "pending":
        return
    if deciding:
        yield ((DECIDING, "warning"), ("  your decision is on its way", "dim"))
    elif state.voted:
        when = "until enough people agree you can say otherwise" if state.corrects else "an engine has to carry it out"
        yield ((f"you have {state.voted} it already; {when}", "warning"),)
    elif not state.may:
        own = is_barred(approval.barred, state.who)
        why = "you started the run: somebody else has to decide" if own else "you are not among those who may decide"
        yield ((why, "warning"),)


# ---------------------------------------------------------------- what is decided about


def briefly(approval: Approval) -> str:
    """The beginning of what is decided about, on one line; empty where there is nothing but the question."""
    if approval.about:
        return on_one_line(asked_briefly(approval), BRIEF)
    about = approval.show if approval.show is not None else approval.input
    if about is None:
        return ""
    argv = about.get("argv") if isinstance(about, dict) else None
    if isinstance(argv, list) and argv and all(isinstance(part, str) for part in argv):
        return on_one_line(f"$ {shlex.join(argv)}", BRIEF)
    return on_one_line(about, BRIEF)


def matter(look: Look) -> Block:
    """What is shown and what will be executed: it does not change while one looks at it."""
    return Block(lambda: _matter(look))


def same_matter(one: Look, other: Look) -> bool:
    """Whether two looks are at the same question about the same thing."""
    return _decided_about(one) == _decided_about(other)


def _decided_about(look: Look) -> tuple[Any, ...]:
    approval = look.approval
    blob = approval.blob.digest if approval.blob is not None else ""
    return (
        approval.id,
        approval.digest,
        approval.level,
        approval.message,
        approval.show,
        approval.input,
        blob,
        look.missing,
    )


def _matter(look: Look) -> Iterator[Line]:
    approval = look.approval
    executed = filled(look.input, approval.secrets)
    shown = approval.show
    if approval.about == "tool" and not look.missing:
        yield from call_matter(shown, executed)
        return
    released = approval.input is not None or approval.blob is not None
    if look.missing:
        yield (("what would be executed is no longer in the store", "error"),)
    if released and _is_the_input(shown, look.input):
        yield (("WILL BE EXECUTED", "title"), (f"  {inert(str(shown['type']))}", "accent"))
        yield from value_lines(executed, "")
        return
    if shown is not None:
        yield (("SHOWN", "title"),)
        yield from value_lines(shown, "")
    if released and not look.missing:
        if shown is not None:
            yield ()
        yield (("WILL BE EXECUTED", "title"),)
        yield from value_lines(executed, "")


def _is_the_input(shown: Any, executed: Any) -> bool:
    """Whether what is shown is the step's own input, which is so unless the file says otherwise."""
    given = mapping(shown)
    return "type" in given and given == {"type": given["type"], **mapping(executed)} and isinstance(executed, dict)


def filled(value: Any, secrets: Mapping[str, Sequence[Any]]) -> Any:
    """A value with the names of the secrets where they will be put."""
    for pointer, parts in secrets.items():
        text = "".join(part if isinstance(part, str) else f"${{{{ secrets.{part['secret']} }}}}" for part in parts)
        names = [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
        value = _put(value, names, text)
    return value


def _put(value: Any, names: Sequence[str], text: str) -> Any:
    if not names:
        return text
    if isinstance(value, dict):
        return {key: _put(item, names[1:], text) if key == names[0] else item for key, item in value.items()}
    if isinstance(value, list):
        return [_put(item, names[1:], text) if str(at) == names[0] else item for at, item in enumerate(value)]
    return value


# ---------------------------------------------------------------- the form and the votes


def _field(field: Field, values: Mapping[str, Any]) -> Line:
    value = values.get(field.name, field.default)
    held: Part = ("needs a value", "warning") if field.needed else ("no value", "dim")
    if value is not UNSET:
        held = scalar(value)
    described = f"  {inert(field.description)}" if field.description else ""
    return (
        (f"{inert(field.name)}", "key"),
        (": ", "punctuation"),
        held,
        (f"  {inert(field.words)}{described}", "dim"),
    )


def _vote(vote: Vote, approval: Approval, times: Times, now: float) -> Line:
    earlier = "" if vote.level == approval.level else f" at level {vote.level}, which does not count any more"
    line: list[Part] = [
        (f"{glyph(vote.decision)} ", vote.decision),
        (inert(vote.by), "strong"),
        (f" {vote.decision} {times.moment(vote.at, now)}{earlier}", ""),
    ]
    if vote.comment:
        line.append((f": {inert(vote.comment)}", ""))
    if vote.grant:
        such = covers_with(approval, vote.values)
        line.append((f"  and for this {vote.grant} each call that is exactly {such}", "warning"))
    if vote.ends:
        line.append(("  and ended the agent", "warning"))
    if vote.values:
        line.append((f"  {inert(one_line_json(vote.values))}", "dim"))
    return tuple(line)
