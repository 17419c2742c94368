"""Chance for the tests of the core: random plans, a world that does what it likes, and an independent idea of order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from play import Play, act, ask, calc, call, cond, delay, during, each, emit, fan, halt, listen, plan, switch

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunStarted,
    Slot,
    StepCancelled,
    StepExpanded,
    StepFailed,
    StepResolved,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.plan import Concurrency, Guardrails, Node, Plan, Poll, Reconcile, Retry
from fleetprompt.engine.core.state import Step

T = TypeVar("T")


class Dice:
    """Decisions that hypothesis takes, and can shrink: 0 and the first choice are the dull ones."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw

    def below(self, n: int) -> int:
        return self._draw(_below(n))

    def chance(self, percent: int) -> bool:
        return self.below(100) >= 100 - percent

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]


class Seeded(Dice):
    """The same from a number: nothing to shrink, but ten times as much of it in the same time."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def below(self, n: int) -> int:
        return self._random.randrange(n)


_STRATEGIES: dict[int, Any] = {}


def _below(n: int) -> Any:
    found = _STRATEGIES.get(n)
    if found is None:
        found = _STRATEGIES[n] = st.integers(0, n - 1)
    return found


# ---------------------------------------------------------------- plans

LEAVES = ["effect"] * 8 + ["transform", "approval", "delay", "wait", "workflow", "emit", "fire", "stop"]
COMPOSITES = ["parallel", "loop", "while", "condition", "switch"]
PORTS: dict[str, tuple[str, ...]] = {
    "approval": ("approved", "rejected", "timeout"),
    "condition": ("then", "else"),
    "switch": ("one", "default"),
    "wait": ("received", "timeout"),
}


class Maker:
    """Makes one random plan."""

    def __init__(self, dice: Dice, *, safe: bool = False, calm: bool = False) -> None:
        self.dice = dice
        self.safe = safe
        """Every effect may be repeated."""
        self.calm = calm
        """Nothing depends on when things happen: no time limits, no races, no groups."""
        self.count = 0

    def plan(self) -> Plan:
        dice = self.dice
        fields: dict[str, Any] = {"vars": {"n": 0}, "grace": 5.0}
        if dice.chance(40):
            fields["on_failure"] = "compensate"
        if not self.calm:
            if dice.chance(15):
                fields["deadline"] = float(dice.pick([1, 50, 5_000]))
            if dice.chance(15):
                fields["guardrails"] = Guardrails(timeout=float(dice.pick([1, 20])))
        return plan(*self.block(0), **fields)

    def block(self, depth: int) -> list[Node]:
        nodes: list[Node] = []
        for _ in range(1 + self.dice.below(6 if depth == 0 else 3)):
            nodes.append(self.node(depth, nodes))
        return nodes

    def node(self, depth: int, before: list[Node]) -> Node:
        dice = self.dice
        self.count += 1
        id_ = f"s{self.count}"
        composite = depth < 3 and self.count < 24 and dice.chance(40)
        made = self.composite(id_, depth) if composite else self.leaf(id_)
        more: dict[str, Any] = {}
        if before and dice.chance(45):
            more |= self.needs(before)
        elif dice.chance(10):
            more["needs"] = ()
        if dice.chance(12):
            more["when"] = dice.pick([False, "vars.n == 0", "vars.n > 1"])
        if dice.chance(20):
            more["on_error"] = "continue"
        if dice.chance(20):
            more["set"] = {"n": "vars.n + 1"}
        if made.kind != "stop" and made.compensate is None and dice.chance(10):
            more["compensate"] = self.undo()
        if made.kind not in ("approval", "stop") and dice.chance(25):
            more["retry"] = Retry(2 + dice.below(2), backoff=float(dice.pick([0, 5])), factor=1.0, jitter=0.0)
        if before and made.kind == "effect" and dice.chance(20):
            more["config"] = {"from": f"${{{{ steps.{dice.pick(before).id}.output }}}}"}
        if not self.calm:
            if dice.chance(8):
                on_conflict = dice.pick(["queue", "queue", "skip", "cancel_running"])
                more["concurrency"] = Concurrency(dice.pick(["g", "h"]), on_conflict=on_conflict)
            if made.kind not in ("approval", "stop") and dice.chance(6):
                more["approval"] = {"message": "start it?", "timeout": 30}
        return msgspec.structs.replace(made, **more)

    def needs(self, before: list[Node]) -> dict[str, Any]:
        from fleetprompt.engine.core.plan import Need

        dice = self.dice
        found: list[Need] = []
        for _ in range(1 + dice.below(3)):
            on = dice.pick(before)
            ports = ("", "", "", "completed", "failed", "timeout", "skipped", *PORTS.get(on.type, ()))
            found.append(Need(on.id, dice.pick(ports)))
        return {"needs": tuple(found), "join": dice.below(len(found) + 1)}

    def leaf(self, id_: str) -> Node:
        dice = self.dice
        match dice.pick(LEAVES):
            case "transform":
                return calc(id_, "${{ vars.n }}", asserts=("result < 4",) if dice.chance(20) else ())
            case "approval":
                fields: dict[str, Any] = {}
                if not self.calm:
                    fields = {"timeout": 20, "on_timeout": dice.pick(["reject", "approve", "fail", "escalate"])}
                    if dice.chance(50):
                        fields["escalate"] = {"to": ["p0", "p1"], "timeout": 10, "on_timeout": "approve"}
                return ask(id_, quorum=1 + dice.below(2), **fields)
            case "delay":
                return delay(id_, dice.pick([0, 5, 20]))
            case "wait":
                return listen(id_, "s.*", timeout=None if self.calm else dice.pick([None, 15]))
            case "workflow":
                return call(id_, timeout=None if self.calm else dice.pick([None, 25.0]))
            case "fire":
                return call(id_, wait=False)
            case "emit":
                return emit(id_, "e.x", data="${{ vars.n }}")
            case "stop":
                return halt(id_, dice.pick(["completed", "failed", "cancelled"]), when="vars.n > 2")
            case _:
                return self.effect(id_)

    def effect(self, id_: str) -> Node:
        dice = self.dice
        fields: dict[str, Any] = {}
        if not self.safe and dice.chance(45):
            fields["repeat"] = "never"
            if dice.chance(30):
                fields["reconcile"] = Reconcile("look", {}, "result.found")
        if dice.chance(30):
            fields["compensate"] = self.undo()
        if dice.chance(8):
            fields["poll"] = Poll("result > 1", 5.0, timeout=None if self.calm else 12.0)
        if dice.chance(10):
            fields["asserts"] = ("result < 8",)
        return act(id_, **fields)

    def undo(self) -> Node:
        dice = self.dice
        fields: dict[str, Any] = {"repeat": "safe" if self.safe or dice.chance(60) else "never"}
        if dice.chance(10):
            fields["poll"] = Poll("result > 1", 5.0, timeout=None if self.calm else 12.0)
        if dice.chance(10):
            fields["asserts"] = ("result < 8",)
        if dice.chance(10):
            fields["config"] = {"why": "${{ run.error.message }}", "what": "${{ vars.n }}"}
        return act("undo", retry=Retry(1 + dice.below(2), backoff=5.0, jitter=0.0), **fields)

    def composite(self, id_: str, depth: int) -> Node:
        dice = self.dice
        limit = None if self.calm or not dice.chance(20) else float(dice.pick([5, 20]))
        match dice.pick(COMPOSITES):
            case "parallel":
                branches = {f"b{i}": self.block(depth + 1) for i in range(1 + dice.below(3))}
                until = 0 if self.calm else dice.below(len(branches) + 1)
                return fan(id_, branches, until=until, cancel_rest=not dice.chance(30), timeout=limit)
            case "loop":
                own = {"at_once": 1 + dice.below(3), "on_item_error": dice.pick(["fail", "continue"])}
                return each(id_, list(range(dice.below(4))), self.block(depth + 1), timeout=limit, **own)
            case "while":
                own = {"max_iterations": 3, "on_item_error": dice.pick(["fail", "continue"])}
                test = f"index < {dice.below(4)} and vars.n < 5"
                return during(id_, test, self.block(depth + 1), timeout=limit, **own)
            case "condition":
                then, els = self.block(depth + 1), self.block(depth + 1) if dice.chance(50) else []
                return cond(id_, dice.pick(["vars.n == 0", "vars.n > 0"]), then, els, timeout=limit)
            case _:
                default = self.block(depth + 1) if dice.chance(50) else []
                return switch(id_, "vars.n", {"one": ((1, 2), self.block(depth + 1))}, default, timeout=limit)


@st.composite
def plans(draw: Any, *, safe: bool = False, calm: bool = False) -> Plan:
    return Maker(Dice(draw), safe=safe, calm=calm).plan()


def nodes_of(nodes: Sequence[Node]) -> list[Node]:
    found: list[Node] = []
    for node in nodes:
        found.append(node)
        for block in node.blocks:
            found += nodes_of(block.nodes)
    return found


# ---------------------------------------------------------------- the world

LARGE = "x" * 70_000


def number(*parts: object) -> int:
    """A number below 10 that is the same whenever it is asked for."""
    return sha256("/".join(map(str, parts)).encode()).digest()[0] % 10


def outcome(path: str, attempt: int) -> Any:
    """What an attempt yields: a number, now and then something large."""
    n = number(path, attempt)
    return [f"{path}{LARGE}"] if n == 9 else n


class World:
    """Does one thing after the other to a run, as the dice fall; when it has to come to an end, only what helps."""

    def __init__(
        self, play: Play, dice: Dice, *, crashes: bool = True, orders: bool = True, crowd: bool = False
    ) -> None:
        self.play = play
        self.dice = dice
        self.crashes = crashes
        self.orders = orders
        """Someone pauses and cancels."""
        self.turns = 0
        if crowd:
            play.places = 1 + dice.below(3)

    def live(self, turns: int = 60, most: int = 1_500) -> None:
        """Until the run has ended."""
        while not self.play.run.ended:
            self.turns += 1
            assert self.turns < most, f"no end in sight: {self.play.statuses}"
            self.turn(calm=self.turns > turns)

    def turn(self, *, calm: bool) -> None:
        play, dice = self.play, self.dice
        if not calm and self.crashes and dice.chance(12):
            play.crash()
            return
        if not calm and dice.chance(6):
            play.now -= 50
        happenings = self.happenings(calm=calm)
        assert happenings, f"nothing can happen: {play.statuses}"
        (happenings[0] if calm else dice.pick(happenings))()

    def happenings(self, *, calm: bool) -> list[Callable[[], Any]]:
        """What could happen now; those that bring the run on come first."""
        play, run, dice = self.play, self.play.run, self.dice
        found: list[Callable[[], Any]] = []
        if run.paused:
            found.append(play.resume)
        if run.wants_slot and play.could_have():
            found.append(play.grant)
        found += [partial(play.grant, path) for path in run.wanted if play.could_have(path)]
        found += [partial(play.refuse, path) for path in run.wanted if self.is_skipped(path)]
        if play.others.total():
            found.append(play.others.clear)
        found += [partial(self.outcome, step, calm=calm) for step in run.pending.values()]
        for step in run.steps.values():
            match step.on:
                case "approval":
                    found.append(partial(self.vote, step, calm=calm))
                case "signal":
                    found.append(lambda: play.hear("s.x", {"n": 1}, id=f"s{self.turns}"))
                case "child":
                    found.append(partial(self.child, step, calm=calm))
                case "in_doubt":
                    found.append(partial(self.answer, step, calm=calm))
        if run.wake_at is not None:
            found.append(play.wake)
        if not calm:
            found.append(lambda: play.tick(dice.pick([0, 1, 7, 60])))
            if dice.chance(5):
                found.append(lambda: play.others.update({f"group:{dice.pick('gh')}": 1}))
            if self.orders and dice.chance(15):
                found.append(play.resume if run.paused else play.pause)
            can_be_cancelled = run.verdict is None and run.root is not None and not run.root.closing
            if self.orders and dice.chance(10) and can_be_cancelled:
                found.append(play.cancel)
        return found

    def outcome(self, step: Step, *, calm: bool) -> None:
        play, dice, path = self.play, self.dice, step.path
        if step.status == "in_doubt":
            error = Failure("TOOL_ERROR", "down") if dice.chance(20) else None
            play.reconciled(path, {"found": dice.chance(50)} if error is None else None, error)
            return
        match 9 if calm else dice.below(10):
            case 1:
                play.fail(path, "TOOL_ERROR" if dice.chance(70) else "TIMEOUT")
            case 2:
                play.unknown(path, code="INTERNAL" if dice.chance(70) else "TIMEOUT")
            case _:
                play.ok(path, 3 if calm else outcome(path, step.attempt), usage={"cost_nano": 1})

    def is_skipped(self, path: str) -> bool:
        concurrency = self.play.step(path).program.node.concurrency
        assert concurrency is not None
        return concurrency.on_conflict == "skip" and not self.play.free(self.play.slot_of(path))

    def vote(self, step: Step, *, calm: bool) -> None:
        assert step.gate is not None
        by = f"p{len(step.gate.votes)}"
        self.play.vote(step.path, by, "approved" if calm or self.dice.chance(70) else "rejected")

    def child(self, step: Step, *, calm: bool) -> None:
        dice = self.dice
        status = "completed" if calm else dice.pick(["completed", "completed", "failed", "cancelled", "timeout"])
        error = None
        if status != "completed":
            code = {"cancelled": "CANCELLED", "timeout": "TIMEOUT"}.get(status, "TOOL_ERROR")
            error = Failure(code, "boom", path=dice.pick(["", "x"]), retryable=dice.chance(50))  # pyright: ignore[reportArgumentType]
        self.play.child(step.path, status, output=1, error=error)

    def answer(self, step: Step, *, calm: bool) -> None:
        answers = ["happened", "skip", "run", "abort"]
        self.play.resolve(step.path, "happened" if calm else self.dice.pick(answers), 2)


def slots(dice: Dice) -> tuple[Slot, ...]:
    return (Slot("runs", 1),) if dice.chance(30) else ()


# ---------------------------------------------------------------- order, told independently

SETTLED = ("completed", "failed", "timeout", "skipped", "cancelled")


class Order:
    """What may start, worked out from the plan and the facts alone, from scratch each time.

    It watches the facts before they are folded, and complains about the first that comes too early.
    """

    def __init__(self, plan_: Plan) -> None:
        self.places: dict[str, tuple[str, tuple[Node, ...], Node]] = {}
        """Path of a step to the prefix of its block, the block and the node."""
        self.status: dict[str, str] = {}
        self.ports: dict[str, str] = {}
        self.dead: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.running = False
        self.open("", plan_.root.nodes)

    def open(self, prefix: str, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            self.places.setdefault(prefix + node.id, (prefix, nodes, node))

    # ------------------------------------------------------------ what the facts say

    def see(self, fact: AnyFact) -> None:
        path = getattr(fact, "path", "")
        if path.endswith("@compensate"):
            return
        match fact:
            case RunStarted():
                self.running = True
            case ApprovalRequested() | StepWaiting() | StepStarted():
                self.begins(path)
                if isinstance(fact, StepStarted):
                    self.attempts[path] = fact.attempt
            case StepSkipped(reason="dead"):
                assert self.is_dead(path), f"{path} is skipped as dead, and is not"
                self.dead.add(path)
                self.status[path] = "skipped"
            case StepSkipped():
                if fact.reason == "if":
                    self.begins(path)
                self.status[path] = "skipped"
            case StepSucceeded():
                self.status[path], self.ports[path] = "completed", fact.port
            case StepFailed(retry_at=None):
                if path not in self.status:
                    self.begins(path)
                self.status[path] = "timeout" if fact.error.code == "TIMEOUT" else "failed"
                self.ports[path] = fact.port
            case StepFailed():
                if path not in self.status:
                    self.begins(path)
            case StepCancelled():
                self.status[path] = "cancelled"
            case StepResolved(answer="happened" | "skip" | "abort"):
                self.status[path] = {"happened": "completed", "skip": "skipped", "abort": "failed"}[fact.answer]
                self.ports[path] = ""
            case StepExpanded():
                self.expand(fact)
            case _:
                pass

    def expand(self, fact: StepExpanded) -> None:
        node = self.places[fact.path][2]
        attempt = self.attempts[fact.path]
        base = fact.path + (f"#{attempt}" if attempt > 1 else "")
        blocks = {block.name: block.nodes for block in node.blocks}
        if node.loop is not None:
            for i in range(fact.count):
                self.open(f"{base}[{i}].", next(iter(blocks.values())))
        for name in fact.branches:
            self.open(f"{base}.", blocks.get(name, ()))

    def begins(self, path: str) -> None:
        if path in self.status:
            assert self.status[path] == "begun", f"{path} goes on after it was {self.status[path]}"
            return
        assert self.running, f"{path} begins before its run"
        assert path in self.places, f"{path} begins in a block that is not open"
        assert self.is_ready(path), f"{path} begins before what it needs: {self.status}"
        prefix, nodes, _ = self.places[path]
        for other in nodes:
            assert not self.unhandled(prefix, nodes, other), f"{path} begins after {other.id} has failed"
        owner = re.sub(r"(#\d+)?(\[\d+\])?\.$", "", prefix)
        if owner:
            kept = self.places[owner][2].kind == "parallel" and not self.places[owner][2].cancel_rest
            assert self.status[owner] == "begun" or kept, f"{path} begins inside {owner}, which is {self.status[owner]}"
        self.status[path] = "begun"

    # ------------------------------------------------------------ what follows from that

    def is_ready(self, path: str) -> bool:
        prefix, nodes, node = self.places[path]
        if node.needs is None:
            before = [prefix + other.id for other in nodes[: nodes.index(node)]]
            settled = all(self.status.get(other) in SETTLED for other in before)
            return settled and (not before or any(other not in self.dead for other in before))
        met = sum(self.meets(prefix + need.step, need.port, self.node(nodes, need.step)) for need in node.needs)
        return met >= (node.join or len(node.needs))

    def is_dead(self, path: str) -> bool:
        prefix, nodes, node = self.places[path]
        if node.needs is None:
            before = [prefix + other.id for other in nodes[: nodes.index(node)]]
            return bool(before) and all(other in self.dead for other in before)
        lost = sum(
            self.status.get(prefix + need.step) in SETTLED
            and not self.meets(prefix + need.step, need.port, self.node(nodes, need.step))
            for need in node.needs
        )
        return len(node.needs) - lost < (node.join or len(node.needs))

    def node(self, nodes: tuple[Node, ...], id_: str) -> Node:
        return next(node for node in nodes if node.id == id_)

    def meets(self, path: str, port: str, node: Node) -> bool:
        status, ports = self.status.get(path), self.ports.get(path, "").split()
        failed = status in ("failed", "timeout")
        if status not in SETTLED:
            return False
        if port == "":
            skipped = status == "skipped" and path not in self.dead
            return status == "completed" or skipped or (failed and node.on_error == "continue")
        if port == "completed":
            return status == "completed"
        if port == "failed":
            return failed and "rejected" not in ports
        if port == "timeout":
            return status == "timeout" or "timeout" in ports
        if port == "skipped":
            return status == "skipped" and path not in self.dead
        return port in ports

    def unhandled(self, prefix: str, nodes: tuple[Node, ...], node: Node) -> bool:
        path = prefix + node.id
        if self.status.get(path) not in ("failed", "timeout") or node.on_error == "continue":
            return False
        needs = [need for other in nodes for need in other.needs or () if need.step == node.id and need.port]
        return not any(self.meets(path, need.port, node) for need in needs)

    def check_nothing_is_forgotten(self, play: Play) -> None:
        """What is ready or dead, and has not been decided although nothing is in the way."""
        run = play.run
        if run.ended or run.blocked or run.started_at is None:
            return
        for path, step in run.steps.items():
            if step.status == "pending" and not step.scope.closing and path not in self.status:
                crowded = play.is_full and step in run.agenda
                assert crowded or not self.is_ready(path), f"{path} could start and does not"
                assert not self.is_dead(path), f"{path} is dead and nobody says so"
