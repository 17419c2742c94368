"""What agents did in the steps of a run, as `fleet show` tells it: turns, calls and messages, delegates inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from fleetprompt.cli.render import marked, plain
from fleetprompt.client.wording import NANO, count, mode_label, perhaps, rfc3339, sign, spent
from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.facts import AnyFact, ApprovalDecided
from fleetprompt.engine.core.state import Step
from fleetprompt.tui.state.agent_rows import changed, told
from fleetprompt.tui.state.agent_work import SETTLED, AgentWork, Entry, Works, is_told, told_arguments

TURNS = 12
"""Turns of a step that are told where not everything is wanted: the last ones."""
ROWS = 100
"""Rows below a step where not everything is wanted."""


class Done:
    """What agents did in a run, by the path of the step."""

    def __init__(self) -> None:
        self._works: dict[str, Works] = {}

    def apply(self, fact: AnyFact) -> None:
        """Take up a fact about the run, if it says something about the work of agents."""
        path = str(getattr(fact, "path", ""))
        if is_told(fact) or (path in self._works and isinstance(fact, ApprovalDecided)):
            self._works.setdefault(path, Works()).add(fact)

    def lines(self, step: Step, indent: int, *, full: bool) -> list[Text]:
        """What stands below a step, for people: of its last piece of work, of all of them where everything is
        wanted."""
        works = self._found(step)
        lines: list[Text] = []
        for work in works if full else works[-1:]:
            over = step.settled or work is not works[-1]
            if len(works) > 1 and full:
                lines.append(Text(f"{' ' * indent}begun in attempt {work.attempt}", style="dim"))
            rows = list(_rows(work.root, 0))
            first = 0 if full else _first(rows)
            if first:
                turns = sum(entry.what == "turn" for _, entry in rows[:first])
                left = f"{sign('…')} {count(turns, 'turn')} before these; --full tells everything"
                lines.append(Text(" " * indent + left, style="dim"))
            for depth, entry in [*_above(rows, first), *rows[first:]]:
                lines += _entry_lines(entry, step, over, indent + 2 * depth)
        return lines

    def objects(self, step: Step) -> list[dict[str, Any]]:
        """The same for machines, all of it, in order; what delegates did is `inside` the call."""
        works = self._found(step)
        return [
            _object(entry, step, work, step.settled or work is not works[-1])
            for work in works
            for entry in work.root.inside
        ]

    def _found(self, step: Step) -> list[AgentWork]:
        works = self._works.get(step.path)
        return works.found() if works is not None else []


def _rows(entry: Entry, depth: int) -> Iterator[tuple[int, Entry]]:
    for each in entry.inside:
        yield depth, each
        yield from _rows(each, depth + 1)


def _first(rows: list[tuple[int, Entry]]) -> int:
    """The row to begin with, so that the last turns are told."""
    turns = [index for index, (_, entry) in enumerate(rows) if entry.what == "turn"]
    return max(turns[-TURNS] if len(turns) > TURNS else 0, len(rows) - ROWS)


def _above(rows: list[tuple[int, Entry]], first: int) -> list[tuple[int, Entry]]:
    """The rows inside which a row stands, the outermost first."""
    found: list[tuple[int, Entry]] = []
    depth = rows[first][0] if first < len(rows) else 0
    for row in reversed(rows[:first]):
        if row[0] < depth:
            depth = row[0]
            found.insert(0, row)
    return found


def _entry_lines(entry: Entry, step: Step, over: bool, indent: int) -> list[Text]:
    said, status = told(entry), entry.status(step, over=over)
    line = Text(" " * indent).append_text(marked(status) if status else Text(" ")).append(" ")
    line.append_text(plain(said.name, "" if entry.what == "turn" else "cyan"))
    if entry.what == "turn":
        line.append_text(plain(f"  {said.by}", "dim")).append(_figures(entry), style="dim")
        if label := mode_label(entry.mode):
            line.append(f"  {label}", style="bold yellow")
    if said.given:
        line.append_text(plain(f"  {said.given}", "" if entry.what == "turn" else "dim"))
    if entry.what != "turn" and said.by:
        line.append_text(plain(f"  {said.by}", "dim"))
    if edited := changed(entry):
        line.append_text(plain(f", changed to {told_arguments(edited)}", "yellow"))
    wrong = bool(_error(entry)) or (status in ("failed", "waiting") and entry.failures > 0)
    if said.detail and not wrong:
        line.append_text(plain(f"  {said.detail}", "dim"))
    lines = [line]
    if said.detail and wrong:
        lines.append(Text(" " * (indent + 4)).append_text(plain(said.detail, "red")))
    return lines


def _figures(entry: Entry) -> str:
    cost, tokens, uncertain = entry.spent
    if not entry.settled and not uncertain:
        return ""
    return f"  {count(tokens, 'token')}  {spent(cost, entry.mode)}{perhaps(uncertain)}"


def _error(entry: Entry) -> dict[str, Any]:
    if entry.what == "turn":
        failed = entry.value("llm.failed", "image.failed", "embedding.failed") if not entry.settled else {}
        return {"code": str(failed.get("code", "")), "message": failed.get("message", "")} if failed else {}
    found = mapping(entry.value(*SETTLED).get("error"))
    problem = entry.value("tool.proposed").get("problem")
    return found or ({"code": "VALIDATION_ERROR", "message": str(problem)} if problem else {})


def _object(entry: Entry, step: Step, work: AgentWork, over: bool) -> dict[str, Any]:
    """An entry for machines: always the same keys."""
    said = told(entry)
    cost, tokens, uncertain = entry.spent
    made = entry.value("tool.started") or entry.value("tool.proposed")
    error = _error(entry)
    return {
        "what": entry.what,
        "name": said.name,
        "key": entry.key,
        "attempt": work.attempt,
        "status": entry.status(step, over=over) or None,
        "started_at": rfc3339(entry.started),
        "finished_at": rfc3339(entry.ended),
        "model": entry.model or None,
        "mode": entry.mode or None,
        "tokens": tokens,
        "cost_usd": cost / NANO if spent(cost, entry.mode) != "n/a" else None,
        "uncertain_usd": uncertain / NANO,
        "arguments": made.get("arguments"),
        "changed": changed(entry) or None,
        "allowed": said.by if entry.what == "call" else None,
        "approval": entry.asked.id if entry.asked is not None else None,
        "said": said.given if entry.what == "turn" else said.detail,
        "error": {"code": error.get("code", ""), "message": error.get("message", "")} if error else None,
        "run": entry.child or None,
        "inside": [_object(each, step, work, over) for each in entry.inside],
    }
