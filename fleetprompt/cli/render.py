"""Rows of the tree, errors and values as lines for a terminal. Whatever came from outside is made inert here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from fleetprompt.cli.tree import Row, Tree
from fleetprompt.client.reasons import run_reason
from fleetprompt.client.values import block, preview
from fleetprompt.client.wording import STYLES, duration, glyph, mode_label, money, perhaps, short, sign
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import LogLine

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
WIDEST_NAME = 44
ERROR_LINES = 12


def spinner(frame: int) -> str:
    """The sign of something that is going on."""
    return sign("●") if sign("●") != "●" else SPINNER[frame % len(SPINNER)]


def plain(text: str, style: str = "") -> Text:
    """Text from outside: inert, on one line."""
    return Text(inert(text.replace("\n", " ")), style=style)


def marked(status: str, active: str = "") -> Text:
    """The sign of a status in its colour."""
    return Text(active or glyph(status), style=STYLES.get(status, ""))


def head_line(tree: Tree, now: float, active: str = "", halted: str = "") -> Text:
    """The run itself. `halted`: why nothing new starts in it."""
    run = tree.run
    created = tree.created
    line = marked(tree.status, active if tree.status == "running" else "")
    line.append(" ").append_text(plain(created.workflow if created else "…", "bold"))
    line.append(f"  {short(tree.id)}", style="cyan")
    seconds = tree.seconds(now)
    if seconds is not None:
        line.append(f"  {duration(seconds)}")
    if run.cost_nano or run.uncertain_nano:
        line.append(f"  {money(run.cost_nano)}").append(perhaps(run.uncertain_nano), style="yellow")
    if label := mode_label(tree.mode):
        line.append(f"  {label}", style="bold yellow")
    reason = run_reason(run, halted)
    if reason:
        line.append_text(plain(f"  {reason}", STYLES.get(tree.status, "")))
    return line


def tree_lines(rows: Sequence[Row], width: int | None, active: str = "", indent: int = 1) -> list[Text]:
    """The steps, in three columns: name, duration, and what else there is to say."""
    names = [_name(row, active, indent) for row in rows]
    widest = max((name.cell_len for name, row in zip(names, rows, strict=True) if not row.log), default=0)
    widest = min(widest, WIDEST_NAME if width is None else max(16, min(WIDEST_NAME, width // 2)))
    return [_line(name, row, widest, width) for name, row in zip(names, rows, strict=True)]


def _name(row: Row, active: str, indent: int) -> Text:
    text = Text("  " * (row.depth + indent))
    if row.log:
        return text.append(sign("│ "), style="dim").append_text(plain(row.name, "dim"))
    text.append_text(marked(row.status, active if row.active else ""))
    style = "dim" if row.heading or row.status in ("pending", "skipped") else "bold" if row.active else ""
    return text.append(" ").append_text(plain(row.name, style))


def _line(name: Text, row: Row, widest: int, width: int | None) -> Text:
    line = name.copy()
    if not row.log:
        if line.cell_len > widest:
            line.truncate(widest, overflow="ellipsis")
        if row.seconds is not None or row.detail:
            line.append(" " * (widest - line.cell_len))
            line.append(f"  {duration(row.seconds) if row.seconds is not None else '':>6}")
        if row.detail:
            style = STYLES.get(row.status, "") if row.status not in ("completed", "running") else "dim"
            line.append("  ").append_text(plain(row.detail, style))
    line.rstrip()
    if width is not None and line.cell_len > width:
        line.truncate(width, overflow="ellipsis")
    return line


def log_row(line: LogLine, depth: int) -> Row:
    """A log line below its step."""
    return Row(depth=depth, status="", name=line.text.rstrip("\n"), log=True)


def failure_lines(error: Failure, path: str = "") -> list[Text]:
    """What went wrong, where, what the process said, and what can be done."""
    head = Text()
    head.append(f"{error.code}", style="bold red")
    where = path or error.path
    if where:
        head.append(" in ").append_text(plain(where, "bold"))
    lines = [head]
    lines += [Text(f"  {line}") for line in block(error.message, ERROR_LINES)]
    data = error.data if isinstance(error.data, dict) else {}
    for key in ("stderr", "stdout", "traceback", "body"):
        value = data.get(key)
        if isinstance(value, str) and value.strip() and value.strip() not in error.message:
            said = value.strip().splitlines()
            lines.append(Text(f"  {key}:", style="dim"))
            lines += [Text("    ").append_text(plain(line, "dim")) for line in said[-ERROR_LINES:]]
            break
    if error.hint:
        lines.append(Text("  hint: ", style="cyan").append_text(plain(error.hint)))
    return lines


def named_value(name: str, value: Any, *, full: bool = False, indent: int = 0, style: str = "") -> list[Text]:
    """`name  value`, on one line, or on several when everything is wanted."""
    space = " " * indent
    if not full:
        return [Text(f"{space}{inert(name)}  ", style="dim").append(preview(value), style=style)]
    lines = block(value, 10_000)
    if len(lines) == 1:
        return [Text(f"{space}{inert(name)}  ", style="dim").append(lines[0], style=style)]
    head = Text(f"{space}{inert(name)}", style="dim")
    return [head, *(Text(f"{space}  {line}", style=style) for line in lines)]
