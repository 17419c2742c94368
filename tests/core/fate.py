"""A world that does the same thing whenever it is asked, and remembers what really happened in it.

So a run that crashes can be compared with one that does not: what an operator or a check says about a doubt is true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from chance import number
from play import Play

from fleetprompt.engine.core import command
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.keys import effect_key
from fleetprompt.engine.core.signal import FINISHED, Signal
from fleetprompt.engine.core.state import Step

Outcomes = Callable[[str, int], Any]
"""Path and number of earlier attempts to what comes of the next: a value, or a `Failure`."""


class Fate:
    """The next thing that happens to a run, told by the run alone."""

    def __init__(self, outcomes: Outcomes, *, cancel_at: str = "") -> None:
        self.outcomes = outcomes
        self.cancel_at = cancel_at
        """Cancel once this step is owed."""
        self.tries: Counter[str] = Counter()
        """How often the outside saw each key."""
        self.done: dict[str, Any] = {}
        """What really happened, by key."""

    def next(self, play: Play) -> Callable[[], Any]:
        """What happens now; the outside changes in this moment, the run hears of it when the answer is called."""
        run = play.run
        if self.cancel_at in run.pending and run.root is not None and not run.root.closing:
            return play.cancel
        if run.wants_slot:
            return play.grant
        for path in run.wanted:
            if play.could_have(path):
                return lambda: play.grant(path)
        for step in run.pending.values():
            return self._performed(play, step)
        for step in run.steps.values():
            happens = self._waited_for(play, step)
            if happens is not None:
                return happens
        return play.wake

    def _performed(self, play: Play, step: Step) -> Callable[[], Any]:
        path, key = step.path, effect_key(play.run, step)
        if step.status == "in_doubt":
            found = {"found": key in self.done, "output": self.done.get(key)}
            return lambda: play.reconciled(path, found)
        # The other side knows the key: what it has done it does not do again, unless it is asked how far it is.
        known = key in self.done and step.program.node.poll is None
        result = self.done[key] if known else self.outcomes(path, self.tries[key])
        self.tries[key] += 1
        if isinstance(result, Failure):
            return lambda: play.fail(path, result.code, result.message, retryable=result.retryable)
        self.done[key] = result
        return lambda: play.ok(path, result)

    def _waited_for(self, play: Play, step: Step) -> Callable[[], Any] | None:
        path = step.path
        match step.on:
            case "approval":
                assert step.gate is not None
                decision = "rejected" if number("vote", path) == 0 else "approved"
                person = f"p{len(step.gate.votes)}"
                return lambda: play.vote(path, person, decision)
            case "signal":
                return lambda: play.hear("s.x", {"n": number("signal", path)})
            case "child":
                return lambda: play.child(path, output=number("child", path))
            case "in_doubt":
                key = effect_key(play.run, step)
                happened = key in self.done
                return lambda: play.resolve(path, "happened" if happened else "run", self.done.get(key))
            case _:
                return None


def lived(play: Play, fate: Fate, *, crash: Callable[[Play, str], bool], most: int = 2_000) -> Play:
    """The run at its end. `crash` is asked before and after each append whether the engine dies there."""
    for _ in range(most):
        if play.run.ended:
            return play
        if crash(play, "after"):
            play.crash()
            continue
        happens = fate.next(play)
        if crash(play, "before"):
            play.crash()
            continue
        happens()
    raise AssertionError(f"no end in sight: {play.statuses}")


def undisturbed(play: Play, where: str) -> bool:
    return False


def same_end(play: Play) -> dict[str, Any]:
    """What must be the same at the end, crashes or not: not times, not numbers of attempts."""
    run = play.run
    refused = command.cancel(run, play.now, by="ana")
    assert isinstance(refused, command.Refusal)
    return {
        "status": run.status,
        "output": run.output_blob or run.output,
        "error": run.error and (run.error.code, run.error.message, run.error.path),
        "vars": run.vars,
        "steps": {path: (step.status, step.blob or step.output, step.port) for path, step in run.steps.items()},
        "signals": {_name(signal): (signal.type, _data(signal)) for signal in play.signals.values()},
        "undo": [step.path for step in run.undo],
    }


def _name(signal: Signal) -> str:
    """Its id; the end of a run is told once, under an id that counts the facts before it."""
    return signal.id if signal.type != FINISHED else "the end"


def _data(signal: Signal) -> Any:
    return (
        {key: value for key, value in signal.data.items() if key != "error"} if signal.type == FINISHED else signal.data
    )
