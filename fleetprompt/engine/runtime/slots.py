"""Slots: who may run now. Requests queue by priority and age; the store has the last word when a claim is taken."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from fleetprompt.engine.core.facts import Slot
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, ClaimRefused

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.driver import Driver
    from fleetprompt.engine.runtime.engine import Engine

RECHECK_SECONDS = 1.0
"""How soon a slot that another engine holds is asked for again."""

Holder = tuple[str, str]
"""Run and path."""


class Request:
    """A run (empty path) or a step that wants slots."""

    __slots__ = ("conflicted", "driver", "live", "on_conflict", "order", "path", "slots")

    def __init__(
        self, driver: Driver, path: str, slots: tuple[Slot, ...], on_conflict: str, order: tuple[int, int]
    ) -> None:
        self.driver = driver
        self.path = path
        self.slots = slots
        self.on_conflict = on_conflict
        self.order = order
        self.live = True
        self.conflicted = False

    @property
    def holder(self) -> Holder:
        return (self.driver.run.id, self.path)


class Section:
    """One scope: who holds it, as far as this engine knows, and who waits."""

    __slots__ = ("holders", "loaded", "queue", "scope")

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.holders: dict[Holder, int] = {}
        self.queue: list[tuple[tuple[int, int], Request]] = []
        self.loaded = False

    def free(self, slot: Slot, holder: Holder) -> bool:
        return holder in self.holders or sum(self.holders.values()) + slot.amount <= slot.limit


class Slots:
    """Admission of runs and steps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sections: dict[str, Section] = {}
        self._requests: dict[Holder, Request] = {}
        self._held: dict[str, set[tuple[str, str]]] = {}
        """Run to (scope, path)."""
        self._count = 0
        self._loading = False

    @property
    def waiting(self) -> int:
        return len(self._requests)

    def request(self, driver: Driver) -> None:
        """Ask for whatever a run and its steps want now."""
        run = driver.run
        created = run.created
        assert created is not None
        if run.wants_slot:
            missing = tuple(slot for slot in created.slots if slot.scope not in run.held)
            concurrency = run.program.plan.concurrency
            on_conflict = concurrency.on_conflict if concurrency is not None else "queue"
            self._ask(driver, "", missing, on_conflict)
        for path, step in run.wanted.items():
            wanted = step.program.node.concurrency
            if wanted is not None and not run.blocked:
                self._ask(driver, path, (Slot(step.ref, wanted.limit),), wanted.on_conflict)

    def _ask(self, driver: Driver, path: str, slots: tuple[Slot, ...], on_conflict: str) -> None:
        holder = (driver.run.id, path)
        known = self._requests.get(holder)
        if known is not None and known.driver is driver:
            return
        created = driver.run.created
        self._count += 1
        order = (-(created.priority if created else 0), self._count)
        request = Request(driver, path, slots, on_conflict, order)
        self._requests[holder] = request
        for slot in slots:
            section = self._sections.setdefault(slot.scope, Section(slot.scope))
            heappush(section.queue, (order, request))
        self._consider(request)

    def _consider(self, request: Request) -> bool:
        """Grant a request if everything it wants is free; False when it has to wait."""
        sections = [self._sections[slot.scope] for slot in request.slots]
        if not all(section.loaded for section in sections):
            self._load()
            return False
        holder = request.holder
        if not all(s.free(slot, holder) for s, slot in zip(sections, request.slots, strict=True)):
            self._conflict(request)
            return False
        for section, slot in zip(sections, request.slots, strict=True):
            section.holders[holder] = slot.amount
            self._held.setdefault(holder[0], set()).add((slot.scope, holder[1]))
        self._forget(request)
        slot = request.slots[0] if request.slots else Slot("", 0)
        request.driver.grant(request.path, slot)
        return True

    def _conflict(self, request: Request) -> None:
        if request.conflicted or request.on_conflict == "queue":
            return
        request.conflicted = True
        if request.on_conflict == "skip":
            self._forget(request)
            request.driver.refuse(request.path, "skip")
            return
        for slot in request.slots:
            for run, path in list(self._sections[slot.scope].holders):
                if run != request.driver.run.id:
                    self._engine.cancel_for(run, path, slot.scope)

    def _forget(self, request: Request) -> None:
        request.live = False
        self._requests.pop(request.holder, None)

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._engine.spawn(self._fill())

    async def _fill(self) -> None:
        while True:
            missing = [section for section in self._sections.values() if not section.loaded]
            if not missing:
                break
            for section in missing:
                for holder in await self._engine.store.claims.holders(section.scope):
                    section.holders.setdefault((holder.run, holder.path), holder.amount)
                    self._held.setdefault(holder.run, set()).add((section.scope, holder.path))
                section.loaded = True
        self._loading = False
        for section in list(self._sections.values()):
            self._pump(section)

    def _pump(self, section: Section) -> None:
        """Grant what has become possible, in order."""
        queue = section.queue
        while queue:
            request = queue[0][1]
            if not request.live:
                heappop(queue)
                continue
            if not self._consider(request):
                if not request.live:
                    continue
                return
            heappop(queue) if queue and queue[0][1] is request else None

    # ------------------------------------------------------------ what became of it

    def committed(self, entry: Append) -> None:
        """Claims were released by an append that is durable."""
        touched: list[Section] = []
        for path in entry.releases:
            touched += self._release(entry.run, path)
        for section in touched:
            self._pump(section)

    def unused(self, run: Run, path: str) -> None:
        """A granted slot was not taken after all."""
        for section in self._release(run.id, path):
            self._pump(section)

    def _release(self, run: str, path: str) -> list[Section]:
        held = self._held.get(run)
        if held is None:
            return []
        gone = [(scope, p) for scope, p in held if path == "*" or p == path]
        touched: list[Section] = []
        for scope, p in gone:
            if path == "" and scope.startswith("group:"):
                continue
            held.discard((scope, p))
            section = self._sections.get(scope)
            if section is not None:
                section.holders.pop((run, p), None)
                touched.append(section)
        if not held:
            del self._held[run]
        return touched

    def refused(self, driver: Driver, refusal: ClaimRefused) -> None:
        """The store knows of holders that we did not: believe it, and ask again later."""
        run = driver.run.id
        for scope, path in list(self._held.get(run, ())):
            if scope == refusal.slot.scope or (not path and scope not in driver.run.held):
                self._release(run, path)
        section = self._sections.setdefault(refusal.slot.scope, Section(refusal.slot.scope))
        section.holders = {(holder.run, holder.path): holder.amount for holder in refusal.holders}
        section.loaded = True
        self._engine.later(RECHECK_SECONDS, lambda: self._recheck(section))

    def _recheck(self, section: Section) -> None:
        section.loaded = False
        section.holders = {}
        self._load()

    def forget(self, run: str) -> None:
        """The run is no longer driven here."""
        for holder in [holder for holder in self._requests if holder[0] == run]:
            self._forget(self._requests[holder])
