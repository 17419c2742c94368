"""What the shape of a file cannot say: rules about its meaning, one per function. Every rule sees the whole file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.plan import TRIGGER_MAKES
from fleetprompt.engine.core.program import COMMON_PORTS
from fleetprompt.engine.core.signal import MAX_CHAIN
from fleetprompt.engine.definition.document import Document
from fleetprompt.engine.definition.order import Unreachable, graph
from fleetprompt.engine.definition.outline import Outline, Site, mapping, sequence
from fleetprompt.engine.definition.problems import Problem, ProblemCode
from fleetprompt.engine.definition.references import References
from fleetprompt.engine.definition.step import MAX_STEPS, StepModel, own_fields

MAX_NESTING = 20
"""How deep steps may stand inside other steps."""

MAX_PER_RULE = 100
"""Errors that a rule reports: looking for what was meant among 2,000 names takes 10 ms each time."""


class Subject:
    """The file that is judged."""

    def __init__(self, document: Document, outline: Outline) -> None:
        self.document = document
        self.outline = outline
        self.references = References(document, outline)


def lint(subject: Subject) -> list[Problem]:
    """What all rules find."""
    if len(subject.outline.sites) > MAX_STEPS:
        return list(too_many_steps(subject))
    found: list[Problem] = []
    for rule in RULES:
        errors = 0
        for problem in rule(subject):
            found.append(problem)
            errors += problem.severity == "error"
            if errors > MAX_PER_RULE:
                break
    return found


def too_many_steps(subject: Subject) -> Iterator[Problem]:
    """A file has at most 2,000 steps."""
    count = len(subject.outline.sites)
    message = f"the file has {count:,} steps; at most {MAX_STEPS:,} are allowed"
    hint = "use a `loop`, or split it with `workflow` steps"
    yield subject.document.problem(("steps",), ProblemCode.TOO_LARGE, message, hint, on="key")


def nesting(subject: Subject) -> Iterator[Problem]:
    """Steps stand at most 20 deep in other steps."""
    for site in subject.outline.sites:
        if site.depth == MAX_NESTING + 1:
            message = f"steps are nested more than {MAX_NESTING} deep"
            yield subject.document.problem(site.pointer, ProblemCode.TOO_DEEP, message, "use a `workflow` step")


def unique_ids(subject: Subject) -> Iterator[Problem]:
    """An id names one step of the file."""
    for site in subject.outline.sites:
        first = subject.outline.ids.get(site.id)
        if site.id and first is not None and first is not site:
            line = subject.document.value((*first.pointer, "id")).line
            message = f"the id `{site.id}` is already used on line {line}"
            yield subject.document.problem((*site.pointer, "id"), ProblemCode.DUPLICATE_ID, message, "rename one")


def needs_exist(subject: Subject) -> Iterator[Problem]:
    """A need names a step of the own block, once, and a port that the step has."""
    for site in subject.outline.sites:
        seen: set[object] = set()
        for pointer, need in site.needs or ():
            if need in seen:
                message = f"`{need.step}` is needed twice"
                yield subject.document.problem(pointer, ProblemCode.BAD_VALUE, message, "remove one")
            seen.add(need)
            target = site.block.ids.get(need.step)
            if target is None:
                yield _unknown_need(subject, site, pointer, need.step)
            elif need.port and target.ports is not None:
                known = [*target.ports, *COMMON_PORTS]
                if need.port not in known:
                    message = f"`{need.step}` has no port `{need.port}`"
                    hint = did_you_mean(need.port, known) or f"its ports: {', '.join(known)}"
                    offset = len(need.step) + 1
                    yield subject.document.problem(
                        pointer, ProblemCode.BAD_PORT, message, hint, offset=offset, length=len(need.port)
                    )


def _unknown_need(subject: Subject, site: Site, pointer: tuple[str | int, ...], step: str) -> Problem:
    elsewhere = subject.outline.ids.get(step)
    message = f"there is no step `{step}`"
    hint = did_you_mean(step, [known for known in site.block.ids if known and known != site.id])
    if elsewhere is not None:
        message = f"`{step}` is in another block"
        owner = next((around for around in elsewhere.enclosing() if around.block is site.block), None)
        hint = f"steps need steps of their own block: `{owner.id}`" if owner else "steps need steps of their own block"
    return subject.document.problem(pointer, ProblemCode.UNKNOWN_NEED, message, hint, offset=0, length=len(step))


def joins(subject: Subject) -> Iterator[Problem]:
    """`join` counts needs."""
    for site in subject.outline.sites:
        join = site.raw.get("join")
        pointer = (*site.pointer, "join")
        if join is None:
            continue
        if not site.needs:
            hint = "without `needs` a step waits for everything listed before it"
            message = "`join` has no meaning without `needs`"
            yield subject.document.problem(pointer, ProblemCode.CONFLICTING_KEYS, message, hint)
        elif isinstance(join, int) and join > len(site.needs):
            message = f"`join: {join}` can never be met by {len(site.needs)} needs"
            yield subject.document.problem(pointer, ProblemCode.BAD_VALUE, message, "use `all`")


def cycles(subject: Subject) -> Iterator[Problem]:
    """Steps do not wait for each other."""
    for section in subject.outline.sections:
        order = graph(section)
        for cycle in order.cycles:
            path = order.path_around(cycle)
            shown = " → ".join(site.id or "?" for site in [*path, path[0]])
            waits = [f"`{a.id}`" for a, b in pairwise([*path, path[0]]) if a.needs is None and b.index < a.index]
            hint = "remove one of the needs"
            if waits:
                hint = f"{waits[0]} has no `needs`, so it waits for everything listed before it"
            culprit = next((site for site in path if site.needs), path[0])
            yield subject.document.problem(
                (*culprit.pointer, "needs"), ProblemCode.CYCLE, f"steps wait for each other: {shown}", hint
            )


def unreachable(subject: Subject) -> Iterator[Problem]:
    """Every step can run in some run."""
    for section in subject.outline.sections:
        for index, reason in Unreachable(section).reasons.items():
            site = section.sites[index]
            pointer = (*site.pointer, "needs") if site.needs else (*site.pointer, "id")
            yield subject.document.problem(pointer, ProblemCode.UNREACHABLE, f"`{site.id}` can never run: {reason}")


def set_declared(subject: Subject) -> Iterator[Problem]:
    """`set` changes variables that the file declares."""
    known = subject.outline.names("vars")
    for site in subject.outline.sites:
        for name in mapping(site.raw.get("set")):
            if name not in known:
                hint = did_you_mean(name, known) or "declare it under `vars:` with its first value"
                message = f"there is no variable `{name}`"
                pointer = (*site.pointer, "set", name)
                yield subject.document.problem(pointer, ProblemCode.UNKNOWN_REFERENCE, message, hint, on="key")


def trigger_inputs(subject: Subject) -> Iterator[Problem]:
    """A trigger gives inputs that the file declares."""
    known = subject.outline.names("inputs")
    for index, trigger in enumerate(sequence(subject.outline.data.get("triggers"))):
        for name in mapping(mapping(trigger).get("inputs")):
            if name not in known:
                hint = did_you_mean(name, known) or "declare it under `inputs:`"
                message = f"there is no input `{name}`"
                pointer = ("triggers", index, "inputs", name)
                yield subject.document.problem(pointer, ProblemCode.UNKNOWN_REFERENCE, message, hint, on="key")


def trigger_ids(subject: Subject) -> Iterator[Problem]:
    """An id names one trigger of the file."""
    seen: set[str] = set()
    for index, trigger in enumerate(sequence(subject.outline.data.get("triggers"))):
        id_ = mapping(trigger).get("id")
        if isinstance(id_, str) and id_ in seen:
            message = f"the id `{id_}` is already used by another trigger"
            yield subject.document.problem(("triggers", index, "id"), ProblemCode.DUPLICATE_ID, message, "rename one")
        seen.add(str(id_))


_TIMELESS = frozenset({"delay", "transform", "emit", "stop"})
"""Kinds of steps that have no time to be limited."""


def meaningless(subject: Subject) -> Iterator[Problem]:
    """Fields that only make sense where outside work is done, or where something takes time."""
    for site in subject.outline.sites:
        if site.type is None:
            continue
        kind = site.type.kind
        wrong = [] if kind == "effect" else [key for key in ("poll", "reconcile", "repeat", "pool") if key in site.raw]
        if kind in _TIMELESS and "timeout" in site.raw:
            wrong.append("timeout")
        for key in wrong:
            if key not in own_fields(site.type):
                message = f"`{key}` has no meaning for a step of type `{site.raw['type']}`"
                hint = "it is for steps that do outside work" + (", and for blocks" if key == "timeout" else "")
                yield subject.document.problem((*site.pointer, key), ProblemCode.UNKNOWN_KEY, message, hint, on="key")
        if "approval" in site.raw and kind == "approval":
            message = "an approval is not itself approved"
            hint = "list a second approval before it"
            yield subject.document.problem(
                (*site.pointer, "approval"), ProblemCode.UNKNOWN_KEY, message, hint, on="key"
            )


def references(subject: Subject) -> Iterator[Problem]:
    """Expressions can be read, and what they name is there."""
    yield from subject.references.problems()


# ---------------------------------------------------------------- warnings


def after_a_rejection(subject: Subject) -> Iterator[Problem]:
    """A barrier behind an approval whose rejection is handled runs in both cases."""
    for section in subject.outline.sections:
        waiting: dict[tuple[str, str], list[Site]] = {}
        for site in section.sites:
            for _, need in site.needs or ():
                waiting.setdefault((need.step, need.port), []).append(site)
        for gate in section.sites:
            rejected = waiting.get((gate.id, "rejected"), [])
            if not _is(gate, "approval") or not rejected or (gate.id, "approved") in waiting:
                continue
            if any(_is(site, "stop") for site in rejected):
                continue
            after = next((site for site in section.sites[gate.index + 1 :] if site.needs is None), None)
            if after is not None:
                message = f"`{after.id}` also runs when `{gate.id}` is rejected, since the rejection is handled"
                hint = f"if it must not: `needs: [{gate.id}.approved]`"
                yield _warning(subject, (*after.pointer, "id"), message, hint)


def _is(site: Site, kind: str) -> bool:
    return site.type is not None and site.type.kind == kind


def unused(subject: Subject) -> Iterator[Problem]:
    """Inputs and variables that nothing reads."""
    if subject.references.unread:
        return
    for key, what in (("inputs", "input"), ("vars", "variable")):
        used = subject.references.used[key]
        for name in subject.outline.names(key) if "*" not in used else ():
            if name not in used:
                yield _warning(subject, (key, name), f"the {what} `{name}` is never used", "remove it", on_key=True)


def compensation(subject: Subject) -> Iterator[Problem]:
    """`compensate` and `on_failure: compensate` belong together."""
    wanted = subject.outline.data.get("on_failure") == "compensate"
    steps = [site for site in subject.outline.sites if "compensate" in site.raw]
    if wanted and not steps:
        message = "no step has a `compensate`"
        yield _warning(subject, ("on_failure",), message, "nothing is undone when the run fails")
    for site in steps if not wanted else ():
        message = "this is performed only when an operator aborts the run"
        hint = "add `on_failure: compensate` to the workflow to undo steps when a run fails"
        yield _warning(subject, (*site.pointer, "compensate"), message, hint, on_key=True)


def safe_reconcile(subject: Subject) -> Iterator[Problem]:
    """A step that may simply be repeated is never in doubt."""
    for site in subject.outline.sites:
        if "reconcile" in site.raw and site.model is not None and site.model.repeats() == "safe":
            message = f"`{site.id}` is repeated after a crash, so this is never performed"
            yield _warning(subject, (*site.pointer, "reconcile"), message, "write `repeat: never`", on_key=True)


def idle_guardrails(subject: Subject) -> Iterator[Problem]:
    """Limits that nothing enforces are worse than none."""
    for site in subject.outline.sites:
        if "guardrails" in site.raw and site.type is not None and not _spends(site.type):
            message = f"`guardrails` have no effect on a step of type `{site.raw['type']}`: it calls no model"
            hint = "put them on the workflow; for time, use `timeout`"
            yield _warning(subject, (*site.pointer, "guardrails"), message, hint, on_key=True)


def _spends(type_: type[StepModel]) -> bool:
    """Whether steps of a type ask models, or hold others that may."""
    return type_.resumes or type_.kind in ("choose", "parallel", "loop")


def alike_triggers(subject: Subject) -> Iterator[Problem]:
    """Two schedules that differ by what they are not known by: a change of one makes both of them others."""
    known: dict[str, int] = {}
    for index, raw in enumerate(sequence(subject.outline.data.get("triggers"))):
        trigger = mapping(raw)
        if trigger.get("type") != "schedule" or trigger.get("id"):
            continue
        made = str({name: trigger.get(name) for name in TRIGGER_MAKES["schedule"]})
        if made in known:
            message = f"this schedule comes at the same times as that of trigger {known[made]}"
            hint = "give each of them an `id`, so that both stay known when one of them is changed"
            yield _warning(subject, ("triggers", index, "type"), message, hint)
        known.setdefault(made, index + 1)


def same_path(subject: Subject) -> Iterator[Problem]:
    """One path is one webhook: of two, no request would reach the second."""
    known: dict[str, tuple[int, str]] = {}
    for index, raw in enumerate(sequence(subject.outline.data.get("triggers"))):
        trigger = mapping(raw)
        path = trigger.get("path")
        if trigger.get("type") != "webhook" or not isinstance(path, str):
            continue
        first, said = known.setdefault(path, (index, str(trigger)))
        if first != index and said != str(trigger):
            message = f"trigger {first + 1} has this path"
            hint = "give each of them a path of its own, or make one trigger of both"
            yield subject.document.problem(
                ("triggers", index, "path"), ProblemCode.BAD_VALUE, message, hint, on="value"
            )


def starts_itself(subject: Subject) -> Iterator[Problem]:
    """A workflow whose every end begins it anew."""
    data = subject.outline.data
    for index, raw in enumerate(sequence(data.get("triggers"))):
        trigger = mapping(raw)
        if trigger.get("type") == "completion" and trigger.get("workflow") == data.get("name") is not None:
            message = f"the end of each run starts the next, until {MAX_CHAIN} have started one another in a row"
            hint = "for what is to happen again and again, use a trigger of type `schedule`"
            yield _warning(subject, ("triggers", index, "workflow"), message, hint)


def hindered_catchup(subject: Subject) -> Iterator[Problem]:
    """Times that are made up for all at once, and of which all but the first are skipped."""
    for index, raw in enumerate(sequence(subject.outline.data.get("triggers"))):
        trigger = mapping(raw)
        overlap = trigger.get("overlap", "skip")
        if trigger.get("type") == "schedule" and trigger.get("catchup") == "all" and overlap == "skip":
            message = "of the times that are made up for only the first starts a run: the others overlap it"
            hint = "add `overlap: queue` to have one run after the other, or `overlap: allow`"
            yield _warning(subject, ("triggers", index, "catchup"), message, hint)


def _warning(
    subject: Subject, pointer: tuple[str | int, ...], message: str, hint: str, *, on_key: bool = False
) -> Problem:
    return subject.document.problem(
        pointer, ProblemCode.SUSPICIOUS, message, hint, on="key" if on_key else "value", severity="warning"
    )


RULES: tuple[Callable[[Subject], Iterator[Problem]], ...] = (
    nesting,
    unique_ids,
    needs_exist,
    joins,
    cycles,
    unreachable,
    set_declared,
    trigger_inputs,
    trigger_ids,
    meaningless,
    references,
    after_a_rejection,
    unused,
    compensation,
    safe_reconcile,
    idle_guardrails,
    alike_triggers,
    same_path,
    starts_itself,
    hindered_catchup,
)
"""In an order in which later rules can rely on what earlier ones found: `unused` follows `references`."""
