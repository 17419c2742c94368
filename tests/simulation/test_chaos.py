"""Random workflows in a world in which everything goes wrong: the end is the same as in a quiet one.

Tasks are stepped in random order, appends take their time and are refused, answers are stale, the clock jumps, and
engines die. Reproduce a failure with the seed and the interruptions that Hypothesis prints.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from random_flows import workflows
from world import Deed, Interruption, Scenario, World, check_end, ending, play

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import FleetError, StoreUnavailable
from fleetprompt.engine.ports import Append, Conflict
from fleetprompt.engine.runtime.engine import Limits

FLAT = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking plays a stuck story again and again; what Hypothesis prints is enough to play it once.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
)
PATIENCE = 8 * 3600.0
STARTS = [("flow", {"n": 1}), ("flow", {"n": 2})]


def scenario(files: list[str], limits: Limits | None = None, deeds: Sequence[Deed] = ()) -> Scenario:
    return Scenario("random", files, STARTS, limits=limits or Limits(grace=5.0), says_go="go.on", deeds=deeds)


def impatient(world: World) -> None:
    """No step of these stories waits for longer than an hour: who does is stuck."""
    world.patience = PATIENCE


def disturb(seed: int) -> Callable[[World], None]:
    """A world's troubles, drawn from a seed of their own."""

    def prepare(world: World) -> None:
        impatient(world)
        dice = random.Random(seed)
        kinds = {kind for kind in ("away", "unread", "conflicts", "lost", "jumps") if dice.random() < 0.6}
        away = sorted(dice.uniform(0, 60) for _ in range(6))

        def is_away() -> bool:
            return sum(at <= world.time_now() for at in away) % 2 == 1

        def write(entry: Append) -> FleetError | None:
            if "away" in kinds and is_away():
                return StoreUnavailable("the disk is away")
            if "conflicts" in kinds and entry.after and dice.random() < 0.08:
                return Conflict("somebody else was first")
            return None

        def late(what: str) -> FleetError | None:
            if "lost" in kinds and world.is_open and not what.startswith("catalog") and dice.random() < 0.05:
                return StoreUnavailable("the answer was lost")
            return None

        def read(what: str) -> FleetError | None:
            if "jumps" in kinds and dice.random() < 0.01:
                world.skew += dice.choice((-3_600.0, -5.0, 7.0, 4_000.0))
            if not world.is_open or what.startswith("catalog"):
                return None
            if "unread" in kinds and (dice.random() < 0.05 or is_away()):
                return StoreUnavailable("the disk cannot be read")
            return None

        world.write_fault, world.late_fault, world.read_fault = write, late, read

    return prepare


@given(files=workflows(), seed=st.integers(0, 2**32), limits=st.sampled_from([None, 1, 2]))
@FLAT
def test_the_order_of_things_does_not_change_the_end(files: list[str], seed: int, limits: int | None) -> None:
    quiet = play(scenario(files), prepare=impatient)
    check_end(quiet)
    mixed = play(scenario(files, Limits(max_runs=limits, pools={"python": 2}, grace=5.0)), seed=seed, prepare=impatient)
    assert ending(mixed) == ending(quiet)
    check_end(mixed)


@given(files=workflows(), seed=st.integers(0, 2**32))
@FLAT
def test_a_store_that_fails_and_a_clock_that_jumps_do_not_change_the_end(files: list[str], seed: int) -> None:
    quiet = play(scenario(files), prepare=impatient)
    rough = play(scenario(files), seed=seed, prepare=disturb(seed))
    assert ending(rough) == ending(quiet)
    check_end(rough)


Interruptions = st.lists(
    st.tuples(st.sampled_from(["before", "after", "close"]), st.integers(1, 30)), min_size=1, max_size=4
)


@given(files=workflows(), seed=st.integers(0, 2**32), interruptions=Interruptions)
@FLAT
def test_engines_that_die_amid_all_this_do_not_change_the_end(
    files: list[str], seed: int, interruptions: list[Interruption]
) -> None:
    quiet = play(scenario(files), prepare=impatient)
    note(f"the quiet story has {quiet.points} durable writes")
    rough = play(scenario(files), *interruptions, seed=seed, prepare=disturb(seed))
    assert ending(rough) == ending(quiet)
    check_end(rough)


def order(number: int, type_: str, run: str, after: int) -> Deed:
    """A command once so much has been written, or nothing goes on any more without it."""
    name = f"order {number}"

    def is_due(world: World) -> bool:
        return run in world.disk.runs and (world.points >= after or _rests(world))

    return Deed(name, is_due, lambda world: world.command(type_, run, key=name))


def last_word(run: str, orders: int) -> Deed:
    """Whoever paused a run lets it go on in the end."""
    name, others = f"go on, {run}", {f"order {number}" for number in range(orders)}
    return Deed(
        name, lambda world: others <= world.acknowledged, lambda world: world.command(types.RESUME, run, key=name)
    )


def _rests(world: World) -> bool:
    """Every run is over, or paused, or waits for what a paused one may hold."""
    heads = world.disk.runs.values()
    resting = ("paused", "slot")
    return all(h.finished_at is not None or h.status == "pending" or h.waiting_on in resting for h in heads)


VERBS = [types.PAUSE, types.RESUME, types.CANCEL, types.RETRY]
Orders = st.lists(
    st.tuples(st.sampled_from(VERBS), st.sampled_from(["run-0", "run-1"]), st.integers(1, 60)), min_size=1, max_size=8
)


@given(
    files=workflows(wild=True),
    seed=st.integers(0, 2**32),
    orders=Orders,
    limits=st.sampled_from([None, 1, 2]),
    interruptions=st.just([]) | Interruptions,
)
@FLAT
def test_whatever_an_operator_does_every_promise_is_kept(
    files: list[str],
    seed: int,
    orders: list[tuple[str, str, int]],
    limits: int | None,
    interruptions: list[Interruption],
) -> None:
    """How such a story ends depends on what comes first; but everything ends, once, and nothing is left."""
    deeds = [order(i, *one) for i, one in enumerate(orders)]
    deeds += [last_word(f"run-{i}", len(orders)) for i in range(len(STARTS))]
    told = scenario(files, Limits(max_runs=limits, pools={"python": 2}, grace=5.0), deeds)
    check_end(play(told, *interruptions, seed=seed, prepare=disturb(seed)))
