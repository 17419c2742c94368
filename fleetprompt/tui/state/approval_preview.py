"""What is decided about, line by line: exactly what the digest covers and what will be executed, no more, no less."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import UNSET

from fleetprompt.client.deciding import DIGEST
from fleetprompt.client.forms import Field, form_fields
from fleetprompt.client.values import one_line_json
from fleetprompt.client.values import preview as on_one_line
from fleetprompt.client.wording import Times, ago, glyph, rough, short, sign
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Vote
from fleetprompt.tui.state.approvals import DECIDING, Look, Standing
from fleetprompt.tui.state.json_text import JsonText, TextLine
from fleetprompt.tui.state.lines import CONTINUED, Exact, Part

Line = tuple[Part, ...]
PIECE = 400
"""Characters of a text that are made inert at a time."""
LINES = 200
CHARACTERS = 20_000
"""Lines and characters of which a question shows no more."""
DEEPEST = 40
"""Spaces before what is nested from which on it is shown as plain JSON."""
FLAT = 60
"""Characters of a small value that stands beside its name."""
BRIEF = 68
"""Characters of the beginning of what is decided about."""
COMMANDS = ("argv", "command", "run", "script", "code", "sql", "query", "patch", "diff")
"""Fields whose text is looked at as it is."""
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


def preview(look: Look, state: Standing, times: Times, now: float) -> list[Iterable[Line]]:
    """Everything a person needs in order to decide, in blocks."""
    return [question(look), terms(look, state, times, now), matter(look), closing(look, times, now)]


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
    return Block(lambda: (line for text in look.approval.message.splitlines() for line in _long((), text, "strong")))


def terms(look: Look, state: Standing, times: Times, now: float, *, deciding: bool = False) -> list[Line]:
    """By what it is asked, of whom and until when."""
    approval = look.approval
    return [(), *_terms(approval, times, now), *_say(approval, state, deciding=deciding), ()]


def closing(look: Look, times: Times, now: float) -> list[Line]:
    """The form with what it holds, and what has been said."""
    approval = look.approval
    lines: list[Line] = []
    if approval.form:
        lines += [(), (("FORM", "title"), ("  e edits it", "dim"))]
        lines += [_field(field, look.values) for field in form_fields(approval.form)]
    if look.votes:
        lines += [(), (("VOTES", "title"),)]
        lines += [_vote(vote, approval, times, now) for vote in look.votes]
    return lines


def _terms(approval: Approval, times: Times, now: float) -> Iterator[Line]:
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
    yield (("asked ", "dim"), (f"{asked}, {ago(now - approval.requested_at)}", ""))
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
        told = f", {rough(left)} left" if left > 0 else ", due"
        ends = ENDS.get(approval.on_timeout, approval.on_timeout)
        yield (
            ("expires ", "dim"),
            (f"{times.moment(approval.until, now)}{told}", "warning" if left < 60 else ""),
            (f"; then {ends}", "dim"),
        )
    else:
        yield (("expires ", "dim"), ("never", ""))


def _say(approval: Approval, state: Standing, *, deciding: bool) -> Iterator[Line]:
    who = ", ".join(approval.approvers) if approval.approvers else "every operator"
    words = f"   {state.words}" if state.words else ""
    yield (("for ", "dim"), (inert(who), ""), (words, "accent"))
    if approval.status != "pending":
        return
    if deciding:
        yield ((DECIDING, "warning"), ("  your decision is on its way", "dim"))
    elif state.voted:
        enough = len(state.agreed) >= state.quorum or state.voted == "rejected"
        when = "; an engine has to carry it out" if enough else ""
        yield ((f"you have {state.voted} it already{when}", "warning"),)
    elif not state.may:
        yield (("you are not among those who may decide", "warning"),)


# ---------------------------------------------------------------- what is decided about


def briefly(approval: Approval) -> str:
    """The beginning of what is decided about, on one line; empty where there is nothing but the question."""
    about = approval.show if approval.show is not None else approval.input
    if about is None:
        return ""
    argv = about.get("argv") if isinstance(about, dict) else None
    if isinstance(argv, list) and argv and all(isinstance(part, str) for part in argv):
        return on_one_line(f"$ {shlex.join(argv)}", BRIEF)
    return on_one_line(about, BRIEF)


def matter(look: Look) -> Block:
    """What is shown and what will be executed: it does not change while one looks at it."""
    return Block(lambda: map(Exact, _matter(look)))


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
    released = approval.input is not None or approval.blob is not None
    if look.missing:
        yield (("what would be executed is no longer in the store", "error"),)
    if released and _is_the_input(shown, look.input):
        yield (("WILL BE EXECUTED", "title"), (f"  {inert(str(shown['type']))}", "accent"))
        yield from _value(executed, "")
        return
    if shown is not None:
        yield (("SHOWN", "title"),)
        yield from _value(shown, "")
    if released and not look.missing:
        if shown is not None:
            yield ()
        yield (("WILL BE EXECUTED", "title"),)
        yield from _value(executed, "")


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


def _value(value: Any, space: str) -> Iterator[Line]:
    if isinstance(value, str):
        yield from _text(value, space)
    elif len(space) > DEEPEST:
        yield from _json(value, space)
    elif isinstance(value, dict) and value:
        # As the author wrote it: what matters most stands first.
        for key, item in value.items():
            yield from _member(str(key), item, space)
    elif isinstance(value, list) and value and any(map(_many_lines, value)):
        for item in value:
            first, *rest = list(_value(item, f"{space}  "))
            yield ((f"{space}- ", "punctuation"), *_cut(first, len(space) + 2))
            yield from rest
    else:
        yield from _json(value, space)


def _member(key: str, item: Any, space: str) -> Iterator[Line]:
    name: Line = ((space, ""), (inert(key), "key"), (": ", "punctuation"))
    if key == "argv" and isinstance(item, list) and item and all(isinstance(part, str) for part in item):
        first, *rest = shlex.join(item).split("\n")
        yield from _long((*name, ("$ ", "punctuation")), first, "code")
        for line in rest:
            yield from _long(((f"{space}  ", ""),), line, "code")
    elif isinstance(item, str) and "\n" not in item:
        plain = _plain(item)
        style = "code" if key in COMMANDS and plain else "string"
        yield from _long(name, item if plain else one_line_json(item), style)
    elif not isinstance(item, (str, dict, list)) or not item:
        yield (*name, _scalar(item))
    elif not _many_lines(item) and len(one_line_json(item)) <= FLAT:
        yield (*name, *_on_one_line(JsonText(item)))
    else:
        yield name
        yield from _value(item, f"{space}  ")


def _many_lines(value: Any) -> bool:
    """Whether there is text in it that is more than a line: as JSON nobody could read it."""
    if isinstance(value, str):
        return "\n" in value
    if isinstance(value, dict):
        return any(map(_many_lines, value.values()))
    return isinstance(value, list) and any(map(_many_lines, value))


def _plain(text: str) -> bool:
    """Whether a text cannot be taken for anything else than a text."""
    return Field(name="").text(text) == text and text == text.strip() != ""


def _scalar(value: Any) -> Part:
    if isinstance(value, str):
        return (inert(value if _plain(value) else one_line_json(value)), "string")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (inert(one_line_json(value)), "number" if is_number else "literal")


def _text(text: str, space: str) -> Iterator[Line]:
    """Text as it is: a command, code, a diff."""
    lines = text.split("\n")
    style = _diff_style if is_diff(lines) else _code_style
    for line in lines:
        yield from _long(((space, ""),), line, style(line))


def _long(before: Line, text: str, style: str) -> Iterator[Line]:
    """A line that ends with a text of any length: what is long is made inert piece by piece, as it is read."""
    yield (*before, (inert(text[:PIECE]), style))
    for at in range(PIECE, len(text), PIECE):
        yield (CONTINUED, (inert(text[at : at + PIECE]), style))


def is_diff(lines: Sequence[str]) -> bool:
    """Whether lines are a unified diff."""
    return any(line.startswith("@@ ") for line in lines) and any(line.startswith(("--- ", "diff ")) for line in lines)


def _diff_style(line: str) -> str:
    for start, style in (("+++", "strong"), ("---", "strong"), ("diff ", "strong"), ("@@", "hunk")):
        if line.startswith(start):
            return style
    return "added" if line.startswith("+") else "removed" if line.startswith("-") else ""


def _code_style(line: str) -> str:
    return "code"


def _json(value: Any, space: str) -> Iterator[Line]:
    text = JsonText(value)
    for number in range(len(text)):
        line = text.line(number)
        yield (CONTINUED if line.continued else (space, ""), *_parts(line))


def _on_one_line(text: JsonText) -> Line:
    """A small value on one line, coloured."""
    parts: list[Part] = []
    for number in range(len(text)):
        line = text.line(number)
        stripped = len(line.text) - len(line.text.lstrip())
        parts += _cut(_parts(line), stripped)
        if line.text.rstrip().endswith(","):
            parts.append((" ", ""))
    return tuple(parts)


def _parts(line: TextLine) -> Line:
    parts: list[Part] = []
    at = 0
    for start, stop, kind in line.spans:
        if start > at:
            parts.append((line.text[at:start], ""))
        parts.append((line.text[start:stop], kind))
        at = stop
    if at < len(line.text):
        parts.append((line.text[at:], ""))
    return tuple(parts)


def _cut(line: Line, most: int) -> Line:
    """A line without its first characters."""
    parts: list[Part] = []
    for text, style in line:
        if most >= len(text):
            most -= len(text)
            continue
        parts.append((text[most:], style))
        most = 0
    return tuple(parts)


# ---------------------------------------------------------------- the form and the votes


def _field(field: Field, values: Mapping[str, Any]) -> Line:
    value = values.get(field.name, field.default)
    held: Part = ("needs a value", "warning") if field.needed else ("no value", "dim")
    if value is not UNSET:
        held = _scalar(value)
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
    if vote.values:
        line.append((f"  {inert(one_line_json(vote.values))}", "dim"))
    return tuple(line)
