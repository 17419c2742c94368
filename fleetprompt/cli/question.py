"""An approval as it is shown before it is decided, and the values of its form."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET
from rich.text import Text

from fleetprompt.cli.render import plain
from fleetprompt.client.deciding import DIGEST, agreed, covered, shortened
from fleetprompt.client.edited_call import Change, changes, covered_as_changed
from fleetprompt.client.forms import Field, form_field, form_fields
from fleetprompt.client.values import diff_style, is_diff, preview
from fleetprompt.client.wording import GLYPHS, Times, mode_label, rough, short, sign
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.gate import form_problem, whom, with_comment
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Approval, Vote
from fleetprompt.engine.ports.tool import EditedCall

if TYPE_CHECKING:
    from fleetprompt.cli.terminal import Terminal

MOST_LINES = 200
"""Lines of what is to be approved; more are counted."""
IN_JOURNAL = "as it will be shown in the journal, once the changed call has been looked at"


def question_lines(
    approval: Approval,
    votes: Sequence[Vote],
    times: Times,
    now: float,
    values: Mapping[str, Any] | None = None,
    call: EditedCall | None = None,
    *,
    most: int | None = MOST_LINES,
    mode: str = "",
) -> list[Text]:
    """Everything a person needs in order to decide, which the digest covers: what is done first, hashes last. Above it
    what the `values` with which it is approved make another: `call`, as it was looked at. Of what is done so many lines
    are shown; None: all. `mode`: of its run."""
    title = Text(sign(GLYPHS["waiting"]) + " ", style="yellow")
    title.append("approval ", style="bold yellow").append(approval.id, style="cyan")
    title.append("  ").append_text(plain(approval.path, "bold"))
    title.append(" of ").append_text(plain(approval.workflow)).append(f" {short(approval.run)}", style="cyan")
    if label := mode_label(mode):
        title.append(f"  {label}", style="bold yellow")
    changed = changes(approval, values or {})
    lines = [title, Text(), *change_lines(changed, call)]
    if changed:
        lines += [Text("  What follows shows the call AS IT WAS ASKED, without your changes.", "yellow"), Text()]
    lines += [Text("  ").append_text(plain(line, "bold")) for line in approval.message.splitlines()]
    shown, after = _matter(approval)
    if shown:
        lines += [Text(), *_cut(shown, most, f": fleet approvals show {approval.id}")]
    lines += [Text("  ").append_text(line) for line in after]
    lines.append(Text())
    if approval.form:
        lines += [Text("  ").append_text(line) for line in form_lines(approval.form)]
    digest = f"digest {'of what was asked ' if changed else ''}{approval.digest[:DIGEST]}"
    lines.append(Text(f"  {sign(' · '.join([*_terms(approval, votes, times, now), digest]))}", style="dim"))
    lines += [Text("  ").append_text(vote_line(vote, times, now)) for vote in votes]
    return lines


def _cut(shown: Sequence[Text], most: int | None = MOST_LINES, where: str = "") -> list[Text]:
    lines = [Text("    ").append_text(line) for line in shown[:most]]
    if most is not None and len(shown) > most:
        lines.append(Text(f"    … {len(shown) - most} more lines{where}", style="bold yellow"))
    return lines


def change_lines(changed: Mapping[str, Change], call: EditedCall | None) -> list[Text]:
    """What is done otherwise than it was asked, and what that does."""
    if not changed:
        return []
    lines = [Text("  YOU CHANGE THIS CALL; as you change it, it is checked again and then done:", style="bold yellow")]
    for name, change in changed.items():
        line = Text("    ").append_text(plain(f"{name}: ", "cyan"))
        line.append_text(_before(change.before)).append(sign(" → "))
        after = outline(change.after)
        if _flat(change.after):
            lines.append(line.append_text(after[0]))
            continue
        lines += [line, *(Text("      ").append_text(each) for each in after[:MOST_LINES])]
        if len(after) > MOST_LINES:
            lines.append(Text(f"      … {len(after) - MOST_LINES} more lines", style="bold yellow"))
    return [*lines, Text(), *_as_changed(call)]


def _as_changed(call: EditedCall | None) -> list[Text]:
    """What will be done, as far as anybody could look."""
    if call is None:
        return []
    if call.unseen:
        lines = [Text(f"  WHAT IT DOES SO IS NOT KNOWN YET: {call.unseen}. It is given:", style="bold yellow")]
        return [*lines, *_cut(outline(dict(call.arguments))), Text()]
    shown, after = _call_matter(mapping(call.show))
    lines = [Text("  SO CHANGED, THIS WILL BE DONE:", style="bold yellow"), *_cut(shown)]
    lines += [Text("  ").append_text(line) for line in after]
    return [*lines, Text(f"  digest of what will be done {call.previewed[:DIGEST]}", style="dim"), Text()]


def _before(value: Any) -> Text:
    return Text("not given", style="dim") if value is UNSET else Text(preview(value))


def _matter(approval: Approval) -> tuple[list[Text], list[Text]]:
    """What is decided about, and what stands below it: why it is asked, and what the decision is bound to."""
    if approval.about != "tool":
        return (outline(approval.show) if approval.show is not None else []), []
    return _call_matter(mapping(approval.show))


def _call_matter(told: Mapping[str, Any]) -> tuple[list[Text], list[Text]]:
    """The same of a call of a tool."""
    shown = [Text.assemble(plain(str(told.get("tool", "")), "cyan"), plain(f"  by {told.get('agent', '')}", "dim"))]
    shown += _does(str(told.get("kind", "json")), told.get("does"))
    why = {"risk": "yellow", "rule": ""}
    after = [
        Text(f"{name}: ", style="dim").append_text(plain(str(told[name]), why[name])) for name in why if told.get(name)
    ]
    if told.get("bound") is not None:
        after.append(plain(f"bound to: {shortened(told['bound'])}", "dim"))
    return shown, [Text(), *after] if after else []


def _does(kind: str, does: Any) -> list[Text]:
    """What a call does, as it will be done."""
    if kind == "argv" and isinstance(does, list):
        return [Text("$ ", style="dim").append_text(plain(shlex.join(map(str, items(does)))))]
    if kind == "http" and isinstance(does, dict):
        rest = {name: each for name, each in mapping(does).items() if name not in ("method", "url") and each}
        head = plain(f"{does.get('method', '')} ", "bold").append_text(plain(str(does.get("url", ""))))
        return [head, *(outline(rest) if rest else [])]
    return outline(does)


def grant_lines(
    approval: Approval, scope: str, values: Mapping[str, Any] | None = None, call: EditedCall | None = None
) -> list[Text]:
    """What goes through from now on without a question, for the rest of a run or in every run of a workflow, where the
    call that is asked is approved with these `values`; `call` is that, as it was looked at."""
    if approval.about != "tool":
        return []
    where = "for the rest of this run" if scope == "run" else f"in every run of {inert(approval.workflow)}"
    lines = [Text(f"  without asking again, {where}, each call that is exactly:", style="yellow")]
    changed = changes(approval, values or {})
    for name, value in _covered(approval, changed, call).items():
        if value is UNSET:
            lines.append(Text("    ").append_text(plain(f"{name}: ", "cyan")).append(IN_JOURNAL, style="yellow"))
        else:
            lines += [Text("    ").append_text(line) for line in outline({name: value})]
    return [*lines, Text()]


def _covered(approval: Approval, changed: Mapping[str, Change], call: EditedCall | None) -> dict[str, Any]:
    if not changed:
        return covered(approval)
    covers = call.show.get("covers") if call is not None else None
    return (
        {"tool": call.show.get("tool"), **mapping(covers)} if call and covers else covered_as_changed(approval, changed)
    )


def _terms(approval: Approval, votes: Sequence[Vote], times: Times, now: float) -> list[str]:
    parts = [f"asked {times.moment(approval.requested_at, now)}"]
    if approval.until is not None and approval.status == "pending":
        left = rough(approval.until - now)
        parts.append(f"{left} left, then {approval.on_timeout}")
    if who := whom(approval.approvers, approval.barred):
        parts.append(f"by {inert(who)}")
    if approval.quorum > 1:
        parts.append(f"{approval.quorum} people must agree: {agreed(approval, votes)}")
    if approval.level:
        parts.append(f"escalated to level {approval.level}")
    return parts


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


_DIFF = {"strong": "bold", "hunk": "cyan", "added": "green", "removed": "red"}


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
        texts = value.splitlines() if "\n" in value else [value]
        diff, space = is_diff(texts), space if "\n" in value else ""
        return [
            Text(space).append(inert(text), style=_DIFF.get(diff_style(text), "") if diff else "") for text in texts
        ]
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


def ask_fields(
    terminal: Terminal, approval: Approval, given: Sequence[tuple[str, str]], comment: str, question: Sequence[Text]
) -> list[tuple[str, str]] | None:
    """Ask for what a form needs and nobody has given, below what it is about; None where that is not told."""
    names = {name for name, _ in given}
    _, values = with_comment(approval.form, approval.about, comment, {})
    missing = [
        field for field in form_fields(approval.form) if field.needed and field.name not in names | values.keys()
    ]
    if missing:
        terminal.say(*question)
    found: list[tuple[str, str]] = []
    for field in missing:
        text = terminal.ask(f"{field_words(field)}\n{inert(field.name)}: ").strip()
        if not text:
            return None
        found.append((field.name, text))
    return found


def read_values(approval: Approval, pairs: Iterable[tuple[str, str]], comment: str) -> dict[str, Any]:
    """The values of `--set`, and of `--comment` where the form asks for one. Raises `InvalidInput`."""
    form = approval.form
    given = {name: form_field(name, form.get(name)).read(text) for name, text in pairs}
    _, values = with_comment(form, approval.about, comment, given)
    problem = form_problem(form, values)
    if problem:
        fields = "; ".join(map(field_words, form_fields(form)))
        raise InvalidInput(problem, hint=f"--set FIELD=VALUE; {fields}" if fields else "leave out --set")
    return values
