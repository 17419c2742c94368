"""What became of the promises: the journal, what really happened, and what had been recorded at each kill, compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.facts import (
    StepCancelled,
    StepFailed,
    StepInDoubt,
    StepResolved,
    StepSkipped,
    StepSucceeded,
)
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Page, Stored
from tests.crash.project import NEVER_AGAIN, Effect, Project, fails, output, wanted

Place = tuple[str, str]
"""A run and the path of a step in it."""


@dataclass(frozen=True)
class Kill:
    """What was known when an engine had been killed."""

    recorded: frozenset[Place]
    effects: int
    """Lines of the effects file."""


@dataclass(frozen=True)
class Verdict:
    """The counts, and every broken promise in words."""

    seed: int
    kills: int
    missed: int
    """Engines that were done before they were to be killed."""
    runs: int
    recorded: int
    """Steps whose end is in the journal."""
    recorded_repeated: int
    lost: int
    """Steps that were recorded and are not any more, or should have happened and did not."""
    never: int
    """Effects of steps with `repeat: never` that happened."""
    never_repeated: int
    safe: int
    safe_repeated: int
    in_doubt: int
    by_reconcile: int
    by_operator: int
    left_in_doubt: int
    statuses: dict[str, int]
    broken: list[str]


async def look(console: Console, project: Project) -> Kill:
    """What the journal holds and what has happened, at the moment of a kill."""
    heads, _ = await console.runs("", Page(limit=10_000))
    recorded = {(head.id, path) for head in heads for path in settled(await console.facts(head.id))}
    return Kill(frozenset(recorded), project.lines)


async def judge(
    console: Console,
    project: Project,
    started: Mapping[int, str],
    killed: Sequence[Kill],
    seed: int = 0,
    missed: int = 0,
) -> Verdict:
    """Compare everything with everything, once all runs (by order number) are over."""
    effects = project.effects()
    journal = {run: await console.facts(run) for run in started.values()}
    facts = [stored.fact for stored in chain.from_iterable(journal.values())]
    recorded = {(run, path) for run, history in journal.items() for path in settled(history)}
    ends = {number: await console.state(run) for number, run in started.items()}

    happened = Counter((effect.run, effect.path) for effect in effects if effect.what == "happened")
    never = {place: n for place, n in happened.items() if place[1] in NEVER_AGAIN}
    safe = {place: n for place, n in happened.items() if place[1] not in NEVER_AGAIN}
    again = _again(killed, effects)
    lost = _lost(killed, recorded, started, happened)
    doubts = sum(isinstance(fact, StepInDoubt) for fact in facts)
    answers = [fact for fact in facts if isinstance(fact, StepResolved)]
    reconciled = sum(fact.by == "reconcile" for fact in answers)

    broken = [f"recorded, and performed again: {_say(place)}" for place in sorted(again)]
    broken += [f"lost: {_say(place)}" for place in sorted(lost)]
    broken += [f"`never`, and happened {n} times: {_say(place)}" for place, n in sorted(never.items()) if n > 1]
    broken += _wrong_ends(ends)
    broken += [f"should not have happened: {_say(place)}" for place in sorted(_unasked(started, happened))]
    broken += [f"had several idempotency keys: {_say(place)}" for place in sorted(_many_keys(effects))]
    return Verdict(
        seed=seed,
        kills=len(killed),
        missed=missed,
        runs=len(started),
        recorded=len(recorded),
        recorded_repeated=len(again),
        lost=len(lost),
        never=len(never),
        never_repeated=sum(n > 1 for n in never.values()),
        safe=len(safe),
        safe_repeated=sum(n > 1 for n in safe.values()),
        in_doubt=doubts,
        by_reconcile=reconciled,
        by_operator=len(answers) - reconciled,
        left_in_doubt=doubts - len(answers),
        statuses=dict(Counter(run.status for run in ends.values())),
        broken=broken,
    )


def settled(history: Iterable[Stored]) -> set[str]:
    """Paths of the steps whose end is recorded."""
    found: set[str] = set()
    for stored in history:
        match stored.fact:
            case StepSucceeded(path=path) | StepSkipped(path=path) | StepCancelled(path=path):
                found.add(path)
            case StepFailed(path=path, retry_at=None):
                found.add(path)
            case StepResolved(path=path, answer="happened" | "skip"):
                found.add(path)
            case _:
                pass
    return found


def _again(kills: Sequence[Kill], effects: Sequence[Effect]) -> set[Place]:
    """What was recorded at a kill and has begun after it."""
    again: set[Place] = set()
    for kill in kills:
        later = {(effect.run, effect.path) for effect in effects[kill.effects :] if effect.what == "begun"}
        again |= kill.recorded & later
    return again


def _lost(
    kills: Sequence[Kill], recorded: set[Place], started: Mapping[int, str], happened: Mapping[Place, int]
) -> set[Place]:
    lost = {place for kill in kills for place in kill.recorded - recorded}
    for number, run in started.items():
        lost |= {(run, path) for path in wanted(number) if not happened.get((run, path))}
        lost |= {(run, path) for path in wanted(number) if (run, path) not in recorded}
    return lost


def _unasked(started: Mapping[int, str], happened: Mapping[Place, int]) -> set[Place]:
    asked = {(run, path) for number, run in started.items() for path in wanted(number)}
    return set(happened) - asked


def _many_keys(effects: Sequence[Effect]) -> set[Place]:
    keys: dict[Place, set[str]] = {}
    for effect in effects:
        keys.setdefault((effect.run, effect.path), set()).add(effect.key)
    return {place for place, found in keys.items() if len(found) > 1}


def _wrong_ends(ends: Mapping[int, Run]) -> Iterable[str]:
    for number, run in ends.items():
        status = "failed" if fails(number) else "completed"
        if run.status != status:
            yield f"run {run.id} is {run.status}, and should be {status}"
        elif run.output != output(number):
            yield f"run {run.id} came to {run.output}, and should have come to {output(number)}"


def _say(place: Place) -> str:
    return f"step {place[1]} of run {place[0]}"
