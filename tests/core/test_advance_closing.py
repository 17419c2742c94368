"""A scope that closes while something in it is timed: no attempt begins, and nothing ends as if it had gone well."""

from __future__ import annotations

import pytest
from play import Play, act, delay, fan, listen, plan

from fleetprompt.engine.core import command
from fleetprompt.engine.core.facts import StepStarted
from fleetprompt.engine.core.plan import Poll, Retry


def test_a_poll_that_does_not_hold_ends_with_a_cancelled_run() -> None:
    play = Play(plan(act("a", repeat="never", poll=Poll(until="result == 'done'", every=2)), grace=30))
    play.tell(command.cancel(play.run, play.now, by="ana"))
    play.ok("a", "not yet")
    assert (play.status(), play.status("a"), len(play.of(StepStarted, "a"))) == ("cancelled", "cancelled", 1)


def test_a_poll_that_holds_in_its_grace_completes() -> None:
    play = Play(plan(act("a", repeat="never", poll=Poll(until="result == 'done'", every=2)), grace=30))
    play.tell(command.cancel(play.run, play.now, by="ana"))
    play.ok("a", "done")
    assert (play.status(), play.status("a")) == ("cancelled", "completed")


@pytest.mark.parametrize(
    "fields", [{"poll": Poll(until="result == 'done'", every=2)}, {"retry": Retry(3, 2, jitter=0)}]
)
def test_no_attempt_begins_in_a_region_that_closed_in_the_same_moment(fields: dict) -> None:
    play = Play(plan(fan("p", {"a": [delay("d", 2)], "b": [act("j", **fields)]}, until=1)))
    if "poll" in fields:
        play.ok("p.j", "not yet")
    else:
        play.fail("p.j")
    play.tick(2)
    assert (play.status(), play.status("p.d"), play.status("p.j")) == ("completed", "completed", "cancelled")
    assert len(play.of(StepStarted, "p.j")) == 1


@pytest.mark.parametrize("other", [delay("x", 2), listen("x", timeout=2)], ids=lambda node: node.kind)
def test_what_is_due_in_a_region_that_closed_in_the_same_moment_is_cancelled(other) -> None:
    play = Play(plan(fan("p", {"a": [delay("d", 2)], "b": [other]}, until=1)))
    play.tick(2)
    assert (play.status(), play.status("p.d"), play.status("p.x")) == ("completed", "completed", "cancelled")
