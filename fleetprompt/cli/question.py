"""An approval as it is shown before it is decided, and the values of its form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.text import Text

from fleetprompt.cli.render import plain
from fleetprompt.client.values import preview
from fleetprompt.client.wording import GLYPHS, Times, rough, short, sign
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.gate import entitled, form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Vote

MOST_LINES = 200
"""Lines of what is to be approved; more are counted."""
DIGEST = 12


def question_lines(approval: Approval, votes: Sequence[Vote], times: Times, now: float) -> list[Text]:
    """Everything a person needs in order to decide; what is shown is what the digest covers."""
    title = Text(sign(GLYPHS["waiting"]) + " ", style="yellow")
    title.append("approval ", style="bold yellow").append(approval.id, style="cyan")
    title.append("  ").append_text(plain(approval.path, "bold"))
    title.append(" of ").append_text(plain(approval.workflow)).append(f" {short(approval.run)}", style="cyan")
    lines = [title, Text()]
    lines += [Text("  ").append_text(plain(line, "bold")) for line in approval.message.splitlines()]
    if approval.show is not None:
        shown = outline(approval.show)
        lines.append(Text())
        lines += [Text("    ").append_text(line) for line in shown[:MOST_LINES]]
        if len(shown) > MOST_LINES:
            more = f"    … {len(shown) - MOST_LINES} more lines: fleet show {short(approval.run)} --full"
            lines.append(Text(more, style="bold yellow"))
    lines.append(Text())
    if approval.form:
        lines += [Text("  ").append_text(line) for line in form_lines(approval.form)]
    lines.append(Text(f"  {_terms(approval, times, now)}", style="dim"))
    lines += [Text("  ").append_text(vote_line(vote, times, now)) for vote in votes]
    return lines


def _terms(approval: Approval, times: Times, now: float) -> str:
    parts = [f"digest {approval.digest[:DIGEST]}", f"asked {times.moment(approval.requested_at, now)}"]
    if approval.until is not None:
        left = rough(approval.until - now)
        parts.append(f"{left} left, then {approval.on_timeout}")
    if approval.approvers:
        parts.append(f"by {inert(', '.join(approval.approvers))}")
    if approval.quorum > 1:
        parts.append(f"{approval.quorum} people must agree")
    if approval.level:
        parts.append(f"escalated to level {approval.level}")
    return sign(" · ".join(parts))


def vote_line(vote: Vote, times: Times, now: float) -> Text:
    """What somebody has decided."""
    style = "green" if vote.decision == "approved" else "red"
    line = Text(sign(GLYPHS[vote.decision]) + " ", style=style)
    line.append_text(plain(vote.by, "bold")).append(f" {vote.decision} {times.moment(vote.at, now)}")
    if vote.comment:
        line.append(": ").append_text(plain(vote.comment))
    if vote.values:
        line.append("  ").append(preview(vote.values), style="dim")
    return line


def outline(value: Any, indent: int = 0) -> list[Text]:
    """A value as an outline that a person can read quickly."""
    space = "  " * indent
    if isinstance(value, dict) and value:
        lines: list[Text] = []
        # What fits on a line comes first, where it is seen.
        for key, item in sorted(value.items(), key=lambda entry: not _flat(entry[1])):
            name = Text(space).append_text(plain(f"{key}:", "cyan"))
            nested = outline(item, indent + 1)
            if _flat(item):
                lines.append(name.append(" ").append_text(nested[0]))
            else:
                lines += [name, *nested]
        return lines
    if isinstance(value, list) and value:
        lines = []
        for item in value:
            nested = outline(item, indent + 1)
            first = Text(f"{space}- ").append_text(
                nested[0][len("  " * (indent + 1)) :] if not _flat(item) else nested[0]
            )
            lines += [first, *nested[1:]]
        return lines
    if isinstance(value, str):
        if "\n" in value:
            return [Text(space).append_text(Text(inert(line))) for line in value.splitlines()]
        return [Text(inert(value))]
    return [Text(inert(msgspec.json.encode(value).decode()))]


def _flat(value: Any) -> bool:
    if isinstance(value, str):
        return "\n" not in value
    return not (isinstance(value, (dict, list)) and value)


# ---------------------------------------------------------------- the form


def specification(form: dict[str, Any], name: str) -> dict[str, Any]:
    """What a field of a form wants."""
    raw = form.get(name)
    return raw if isinstance(raw, dict) else {"type": raw} if raw is not None else {}


def form_lines(form: dict[str, Any]) -> list[Text]:
    """The fields of a form."""
    return [Text("field ", style="dim").append_text(plain(field_words(form, name))) for name in form]


def field_words(form: dict[str, Any], name: str) -> str:
    """A field, what it takes, and what it is without an answer."""
    spec = specification(form, name)
    parts = [str(spec.get("type") or "any")]
    if spec.get("enum"):
        parts.append("one of " + ", ".join(map(str, spec["enum"])))
    if spec.get("minimum") is not None:
        parts.append(f"at least {spec['minimum']:g}")
    if spec.get("maximum") is not None:
        parts.append(f"at most {spec['maximum']:g}")
    if "default" in spec:
        parts.append(f"default {preview(spec['default'], 40)}")
    else:
        parts.append("required" if spec.get("required") else "optional")
    described = f": {spec['description']}" if spec.get("description") else ""
    return f"{name} ({', '.join(parts)}){described}"


def read_field(form: dict[str, Any], name: str, text: str) -> Any:
    """A value as it was typed, read by the type of its field."""
    kind = specification(form, name).get("type")
    if kind == "string":
        return text
    if kind == "boolean" and text.strip().lower() in _BOOLEANS:
        return _BOOLEANS[text.strip().lower()]
    try:
        return msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return text


_BOOLEANS = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


def field_problem(form: dict[str, Any], name: str, value: Any) -> str:
    """What is wrong with one value; empty when nothing is."""
    return form_problem({name: form[name]} if name in form else form, {name: value})


def read_values(form: dict[str, Any], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The values of `--set`. Raises `InvalidInput`."""
    values = {name: read_field(form, name, text) for name, text in pairs}
    problem = form_problem(form, values)
    if problem:
        fields = "; ".join(field_words(form, name) for name in form)
        raise InvalidInput(problem, hint=f"--set FIELD=VALUE; {fields}" if fields else "leave out --set")
    return values


def may_decide(approval: Approval, votes: Iterable[Vote], person: str, groups: Iterable[str]) -> bool:
    """Whether it makes sense to ask this person."""
    if any(vote.by == person and vote.level == approval.level for vote in votes):
        return False
    return entitled(approval.approvers, person, groups)
