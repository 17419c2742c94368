"""What the facts of a run that is over must say, whatever happened to it."""

from __future__ import annotations

from collections import Counter

from play import Play

from fleetprompt.engine.core.facts import (
    ApprovalDecided,
    ApprovalRequested,
    RunCreated,
    StepCancelled,
    StepFailed,
    StepNoted,
    StepResolved,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Node
from fleetprompt.engine.core.signal import CANCEL, START
from fleetprompt.engine.core.state import FINAL
from fleetprompt.engine.core.transition import COMPENSATION


def kept(play: Play, nodes: list[Node]) -> None:
    """Every promise that the facts alone can break."""
    time_goes_forward(play)
    nothing_is_left(play)
    no_more_attempts_than_the_file_says(play)
    never_performed_twice_without_an_order(play, nodes)
    undone_in_reverse(play)
    asked_once(play)
    children_are_told(play)


def time_goes_forward(play: Play) -> None:
    """And a run is created once, at the beginning."""
    assert isinstance(play.facts[0], RunCreated)
    times = [fact.at for fact in play.facts]
    assert times == sorted(times)
    assert len(play.of(RunCreated)) == 1


def nothing_is_left(play: Play) -> None:
    """A step has ended, or was never begun because nothing new was to begin where it is."""
    for path, step in play.run.steps.items():
        over = step.status in FINAL or (step.status == "pending" and step.scope.closing)
        assert over, f"{path} is {step.status} in a run that is over"


def no_more_attempts_than_the_file_says(play: Play) -> None:
    tries: Counter[str] = Counter()
    for fact in play.facts:
        if isinstance(fact, StepFailed) and fact.retry_at is not None:
            tries[fact.path] += 1
            assert tries[fact.path] < play.step(fact.path).program.node.retry.max_attempts, fact.path
        elif isinstance(fact, StepResolved):
            tries[fact.path] = 0


def never_performed_twice_without_an_order(play: Play, nodes: list[Node]) -> None:
    """An attempt at such an effect begins once; another follows only a definite failure, a poll or an order."""
    never = {node.id for node in nodes if node.kind == "effect" and node.repeat == "never"}
    allowed: Counter[str] = Counter()
    for fact in play.facts:
        path = getattr(fact, "path", "")
        if path.rsplit(".", 1)[-1] not in never:
            continue
        match fact:
            case StepStarted():
                assert fact.attempt == 1 or allowed[path] > 0, f"{path} is performed again, and nobody said so"
                allowed[path] = 0
                assert play.performed[(path, fact.attempt)] <= 1, f"attempt {fact.attempt} at {path} began twice"
            case StepFailed() if fact.retry_at is not None:
                assert fact.error.code != "INTERNAL", "an unknown outcome is no failure"
                allowed[path] += 1
            case StepResolved(answer="run") | StepWaiting(on="timer"):
                allowed[path] += 1
            case _:
                pass


def undone_in_reverse(play: Play) -> None:
    """What completed and can be undone is undone once, the last first; and only where the file or a person says so."""
    run = play.run
    done: list[str] = []
    undone: list[str] = []
    for fact in play.facts:
        if isinstance(fact, StepStarted) and fact.role == "compensation":
            if fact.attempt == 1:
                undone.append(fact.path.removesuffix(COMPENSATION))
        elif isinstance(fact, StepSucceeded) or (isinstance(fact, StepResolved) and fact.answer == "happened"):
            step = play.step(fact.path)
            done += [fact.path] if step.role == "step" and step.program.compensation is not None else []
    wanted = run.compensate or run.program.plan.on_failure == "compensate"
    assert undone == (done[::-1] if wanted and run.status != "completed" else [])


def asked_once(play: Play) -> None:
    """Every approval is decided or withdrawn, once."""
    asked = {fact.id for fact in play.of(ApprovalRequested)}
    decided = Counter(fact.id for fact in play.of(ApprovalDecided))
    assert set(decided) == asked
    assert all(n == 1 for n in decided.values())


def children_are_told(play: Play) -> None:
    """A child that nobody needs any more is told so once, and waited for until it is over."""
    cancelled = [signal.subject for signal in play.sent(CANCEL)]
    assert set(cancelled) <= {signal.subject for signal in play.sent(START)}
    waiting: dict[str, str] = {}
    told: list[str] = []
    for fact in play.facts:
        if isinstance(fact, StepWaiting) and fact.on == "child":
            waiting[fact.path] = fact.ref
        elif isinstance(fact, StepNoted) and fact.kind == "closing" and fact.path in waiting:
            told.append(waiting[fact.path])
        elif isinstance(fact, (StepSucceeded, StepFailed, StepCancelled)) and fact.path in waiting:
            waits = play.step(fact.path).program.node.config.get("wait", True)
            over = waiting.pop(fact.path) in play.ended_children
            assert over is waits, f"{fact.path} did not wait for its child"
    assert not waiting
    assert cancelled == told
    assert len(told) == len(set(told))
