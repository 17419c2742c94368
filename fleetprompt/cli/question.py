"""An approval as it is shown before it is decided, and the values of its form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.text import Text

from fleetprompt.cli.render import plain
from fleetprompt.client.deciding import DIGEST
from fleetprompt.client.forms import Field, form_field, form_fields
from fleetprompt.client.values import preview
from fleetprompt.client.wording import GLYPHS, Times, rough, short, sign
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.gate import form_problem
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Vote

MOST_LINES = 200
"""Lines of what is to be approved; more are counted."""


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
        # As the author wrote it: what matters most stands first.
        for key, item in value.items():
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


def form_lines(form: dict[str, Any]) -> list[Text]:
    """The fields of a form."""
    return [Text("field ", style="dim").append_text(plain(field_words(field))) for field in form_fields(form)]


def field_words(field: Field) -> str:
    """A field, what it takes, and what it is without an answer."""
    described = f": {field.description}" if field.description else ""
    return f"{field.name} ({field.words}){described}"


def read_values(form: dict[str, Any], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The values of `--set`. Raises `InvalidInput`."""
    values = {name: form_field(name, form.get(name)).read(text) for name, text in pairs}
    problem = form_problem(form, values)
    if problem:
        fields = "; ".join(map(field_words, form_fields(form)))
        raise InvalidInput(problem, hint=f"--set FIELD=VALUE; {fields}" if fields else "leave out --set")
    return values
