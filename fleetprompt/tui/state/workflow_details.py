"""What is said about one workflow: what is wrong with its file, how it failed last, what it takes and does. PURE.

Lines of parts; whoever shows them wraps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fleetprompt.client.definitions import Problem, render
from fleetprompt.client.forms import input_fields
from fleetprompt.client.values import cut, preview
from fleetprompt.client.wording import ago, count, faults, glyph, short, sign
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.core.plan import Block, Node, Plan
from fleetprompt.engine.core.query_scan import quote
from fleetprompt.engine.ports import RunHead
from fleetprompt.tui.state.lines import Exact, Line, Part
from fleetprompt.tui.state.workflows import Entry

FAILURES = 5
"""Failed runs that are told of."""
LONGEST = 600
"""Characters of a description or a message."""
STEPS = 200
PROBLEMS = 40
DIGEST = 12
"""Characters of a digest that tell it apart."""

_STATUS = {
    "draft": "a draft: only its file is here. S starts it, E registers it",
    "paused": "paused: nothing starts it until it is activated (P)",
    "archived": "archived: nothing starts it",
}


def runs_of(name: str, more: str = "") -> str:
    """A filter that finds the runs of a workflow, whatever its name is made of."""
    return f"wf:{quote(name)} {more}".strip()


def details(entry: Entry, failures: Iterable[RunHead], now: float) -> list[Line]:
    """Everything about a workflow."""
    broken = entry.state is not None and entry.state.errors > 0
    parts = (
        _about(entry, now),
        _problems(entry) if broken else (),
        _failures(failures, now),
        _inputs(entry.plan),
        _triggers(entry.plan),
        _outline(entry.plan),
        () if broken else _problems(entry),
    )
    lines: list[Line] = []
    for part in map(list, parts):
        if part and lines:
            lines.append(())
        lines += part
    return lines


def _about(entry: Entry, now: float) -> Iterator[Line]:
    workflow = entry.workflow
    head: list[Part] = [(f"{glyph(entry.status)} {entry.status}", entry.status)]
    if workflow is not None:
        since = f"registered {ago(now - workflow.updated_at)}, " if workflow.updated_at else ""
        head.append((f"  {since}plan {inert(workflow.plan[:DIGEST])}", "dim"))
        if workflow.max_runs is not None:
            head.append((f", at most {count(workflow.max_runs, 'run')} at once", "dim"))
    yield head
    description = entry.plan.description if entry.plan is not None else ""
    for line in description[:LONGEST].strip().splitlines():
        yield ((inert(line), ""),)
    if entry.rival:
        yield (("another file has this name: ", "warning"), (inert(entry.rival) or "of the store", "link"))
    elif entry.status in _STATUS:
        yield ((_STATUS[entry.status], "warning" if entry.status == "paused" else "dim"),)
    if entry.differs:
        said = "its file was changed since: triggers start what was registered; S starts the file, E registers it"
        yield ((said, "accent"),)
    if entry.state is not None and entry.state.missing:
        yield (("its file is gone: ", "warning"), (inert(entry.state.named), "link"))


def _problems(entry: Entry) -> Iterator[Line]:
    state = entry.state
    if state is None or not state.problems:
        return
    errors = state.errors
    counted = faults(errors, len(state.problems) - errors)
    yield (
        (f"{sign('✗') if errors else '!'} {counted} ", "error" if errors else "warning"),
        ("in ", "dim"),
        (inert(state.named), "link"),
        ("  until they are mended, what was registered is used" if errors and entry.workflow else "", "dim"),
    )
    first = sorted(state.problems, key=lambda problem: problem.severity != "error")[:PROBLEMS]
    for problem in first:
        yield from problem_lines(problem)
    if len(state.problems) > len(first):
        yield ((f"and {len(state.problems) - len(first)} more: fleet validate shows them all", "dim"),)


def problem_lines(problem: Problem) -> Iterator[Line]:
    """A problem with its place, the line it is in, a mark under the fault, and what to do."""
    place, *rest = render(problem).split("\n")
    where, _, said = place.partition(": ")
    yield ((f"{where}: ", "link"), (said, "error" if problem.severity == "error" else "warning"))
    for line in rest:
        mark = not line.strip(" |^") and "^" in line
        hint = line.startswith("    = ")
        yield Exact(((line, "error" if mark else "dim" if hint else ""),))


def _failures(failures: Iterable[RunHead], now: float) -> Iterator[Line]:
    heads = list(failures)
    if heads:
        yield (("Last failures", "title"),)
    for head in heads:
        at = head.finished_at if head.finished_at is not None else head.updated_at
        message = " ".join(head.error_message[:LONGEST].split()) or head.error_code
        yield (
            (f"  {glyph(head.status)} ", head.status),
            (f"{ago(now - at):>8}  ", "dim"),
            (f"{short(head.id)}  ", "id"),
            (f"{inert(head.error_step)}: " if head.error_step else "", "dim"),
            (inert(message), "failed"),
        )


def _inputs(plan: Plan | None) -> Iterator[Line]:
    if plan is None or not plan.inputs:
        return
    yield (("Inputs", "title"),)
    width = max(map(len, plan.inputs))
    for field in input_fields(plan.inputs):
        yield (
            (f"  {inert(field.name):<{width}}  ", "key"),
            (inert(field.words), "accent" if field.needed else "dim"),
            (f"  {inert(cut(field.description, LONGEST))}" if field.description else "", ""),
        )


def _triggers(plan: Plan | None) -> Iterator[Line]:
    if plan is None or not plan.triggers:
        return
    yield (("Triggers", "title"),)
    for trigger in plan.triggers:
        told = "  ".join(f"{name} {preview(value, 80)}" for name, value in trigger.config.items())
        yield ((f"  {inert(trigger.type):<10}  ", "key"), (inert(told), "dim"))


def _outline(plan: Plan | None) -> Iterator[Line]:
    if plan is None:
        return
    yield (("Steps", "title"),)
    lines = list(_steps(plan.root, 1))
    yield from lines[:STEPS]
    if len(lines) > STEPS:
        yield ((f"  and {len(lines) - STEPS:,} more lines: v shows the file", "dim"),)


def _steps(block: Block, depth: int) -> Iterator[Line]:
    indent = "  " * depth
    for node in block.nodes:
        yield ((f"{indent}{inert(node.id)}", "key"), (f"  {inert(node.type)}", ""), (_conditions(node), "dim"))
        for inner in node.blocks:
            if len(node.blocks) > 1:
                yield ((f"{indent}  {inert(inner.name)}:", "dim"),)
            yield from _steps(inner, depth + (2 if len(node.blocks) > 1 else 1))


def _conditions(node: Node) -> str:
    said: list[str] = []
    if node.needs is not None:
        needs = [f"{need.step}.{need.port}" if need.port else need.step for need in node.needs]
        said.append(f"after {', '.join(needs)}" if needs else "at once")
    if node.when is not None:
        said.append(f"if {preview(node.when, 60)}")
    if node.approval is not None:
        said.append("asks first")
    if node.repeat == "never":
        said.append("never repeated")
    return f"  {inert('; '.join(said))}" if said else ""
