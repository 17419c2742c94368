"""Slots: who may run now. Requests queue by priority and age; the store has the last word when a claim is taken.

Whoever wants several slots gets them together or waits without any, so that no two can wait for each other.

Who holds what is read once for each scope, and kept by what becomes durable here. Nothing is looked at again and
again: what other engines of the same store give back is read when `others_wrote` says that there may be something.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from heapq import heappop, heappush, nlargest
from typing import TYPE_CHECKING

from fleetprompt.engine.core.facts import Slot
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, ClaimRefused, GroupHealth, Holder

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.driver import Driver
    from fleetprompt.engine.runtime.engine import Engine

KEPT_SECTIONS = 1_000
"""Above so many, those that nobody holds or wants are forgotten: a file may make a group for every run."""

Who = tuple[str, str]
"""Run and path, as claims are kept: a step's path, or the `place` of a slot of the run's own."""
Want = tuple[str, Slot]
"""A slot, and the path under which it will be held."""
Scope = tuple[str, str]
"""Tenant and scope: what tenants call by the same name is not the same."""


class Request:
    """A run (empty path) or a step that wants slots."""

    __slots__ = ("driver", "live", "on_conflict", "order", "path", "replaced", "tenant", "wants")

    def __init__(
        self, driver: Driver, path: str, wants: tuple[Want, ...], on_conflict: str, order: tuple[int, int, int]
    ) -> None:
        created = driver.run.created
        assert created is not None
        self.tenant = created.tenant
        self.driver = driver
        self.path = path
        self.wants = wants
        self.on_conflict = on_conflict
        self.order = order
        self.live = True
        self.replaced: set[str] = set()
        """Runs that were told to make room for this one."""

    @property
    def section(self) -> Want | None:
        """The critical section that `on_conflict` is about."""
        own = self.path or "@"
        return next((want for want in self.wants if want[0] == own), None)


class Section:
    """One scope: who holds it, as far as this engine knows, and who waits."""

    __slots__ = ("asked", "holders", "queue", "read", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.holders: dict[Who, int] = {}
        self.queue: list[tuple[tuple[int, int, int], Request]] = []
        self.asked = 1
        """How often there was reason to read the holders."""
        self.read = 0
        """How many of these times were over before they were read last."""

    @property
    def loaded(self) -> bool:
        return self.read == self.asked

    def free(self, slot: Slot, holder: Who) -> bool:
        return holder in self.holders or sum(self.holders.values()) + slot.amount <= slot.limit


class Slots:
    """Admission of runs and steps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sections: dict[Scope, Section] = {}
        self._requests: dict[str, dict[str, Request]] = {}
        """By run and path."""
        self._held: dict[str, set[tuple[Scope, str]]] = {}
        """Run to scopes and paths."""
        self._count = 0
        self._loading = False
        self._released: list[Append] = []
        """What was released while holders were being read: the answer may be older."""

    @property
    def waiting(self) -> int:
        return sum(map(len, self._requests.values()))

    def groups(self, most: int) -> list[GroupHealth]:
        """The claims that are held or waited for, as far as this engine knows; the most wanted first."""
        found = [
            GroupHealth(section.scope[1], sum(section.holders.values()), sum(r.live for _, r in section.queue))
            for section in self._sections.values()
        ]
        return nlargest(most, (g for g in found if g.held or g.waiting), key=lambda g: (g.waiting, g.held))

    def request(self, driver: Driver) -> None:
        """Ask for whatever a run and its steps want now, and for nothing else any more."""
        run = driver.run
        asked = self._requests.get(run.id)
        if asked is not None:
            for path in [path for path in asked if not (path in run.wanted if path else run.wants_slot)]:
                self._forget(asked[path])
        if not run.wants_slot and not run.wanted:
            return
        own = _own(run)
        if run.wants_slot:
            concurrency = run.program.plan.concurrency
            self._ask(driver, "", own, concurrency.on_conflict if concurrency is not None else "queue")
        for path, step in list(run.wanted.items()):
            concurrency = step.program.node.concurrency
            if concurrency is not None and not run.paused:
                wants = ((path, Slot(step.ref, concurrency.limit)), *own)
                self._ask(driver, path, wants, concurrency.on_conflict)

    def _ask(self, driver: Driver, path: str, wants: tuple[Want, ...], on_conflict: str) -> None:
        requests = self._requests.setdefault(driver.run.id, {})
        known = requests.get(path)
        if known is not None:
            if known.driver is driver and known.wants == wants:
                return
            known.live = False
        created = driver.run.created
        self._count += 1
        place = known.order[:2] if known is not None else (-(created.priority if created else 0), self._count)
        order = (*place, self._count)
        request = requests[path] = Request(driver, path, wants, on_conflict, order)
        for _, slot in wants:
            heappush(self._section((request.tenant, slot.scope)).queue, (order, request))
        self._consider(request)

    def _section(self, scope: Scope) -> Section:
        found = self._sections.get(scope)
        if found is None:
            found = self._sections[scope] = Section(scope)
        return found

    def _consider(self, request: Request) -> bool:
        """Grant a request if everything it wants is free; False when it has to wait."""
        if self._engine.switch.halts(request.driver.run):
            return False
        run, tenant = request.driver.run.id, request.tenant
        found = [(self._sections[tenant, slot.scope], slot, (run, path)) for path, slot in request.wants]
        if not all(section.loaded for section, _, _ in found):
            self._load()
            return False
        if not all(section.free(slot, holder) for section, slot, holder in found):
            self._conflict(request)
            return False
        for section, slot, holder in found:
            section.holders[holder] = slot.amount
            self._held.setdefault(run, set()).add((section.scope, holder[1]))
        self._forget(request)
        slot = request.wants[0][1] if request.wants else Slot("", 0)
        request.driver.grant(request.path, slot)
        return True

    def _conflict(self, request: Request) -> None:
        """The request has to wait: if that is for a critical section, its file says what else can be done."""
        wanted = request.section
        if wanted is None or request.on_conflict == "queue":
            return
        path, slot = wanted
        section, run = self._sections[request.tenant, slot.scope], request.driver.run
        if section.free(slot, (run.id, path)):
            return
        if request.on_conflict == "skip":
            self._forget(request)
            request.driver.refuse(request.path, "skip")
            return
        before = run.created.at if run.created is not None else 0.0
        rivals = [other.driver.run.id for _, other in section.queue if other.live and other.on_conflict != "queue"]
        for other in (*(holder for holder, _ in section.holders), *rivals):
            if other != run.id and other not in request.replaced:
                request.replaced.add(other)
                self._engine.cancel_for(other, slot.scope, before)

    def _forget(self, request: Request) -> None:
        request.live = False
        run = request.driver.run.id
        requests = self._requests.get(run, {})
        if requests.get(request.path) is request:
            del requests[request.path]
            if not requests:
                del self._requests[run]

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._engine.spawn(self._fill())

    async def _fill(self) -> None:
        engine = self._engine
        filled: list[Section] = []
        while missing := [section for section in self._sections.values() if not section.loaded]:
            filled += missing
            for section in missing:
                self._released.clear()
                asked = section.asked
                tenant, scope = section.scope
                holders = await engine.patient(f"slots of {scope}", partial(engine.store.claims.holders, scope, tenant))
                gone = self._released
                self._found(section, [h for h in holders if not any(_releases(e, h.run, h.path) for e in gone)])
                section.read = asked
        self._loading = False
        for section in filled:
            self._pump(section)

    def _found(self, section: Section, holders: Sequence[Holder]) -> None:
        """Believe the store, but for what our own runs were granted and may not have taken yet."""
        ours = {who: amount for who, amount in section.holders.items() if who[0] in self._engine.live}
        section.holders = {(holder.run, holder.path): holder.amount for holder in holders} | ours
        for run, path in section.holders:
            self._held.setdefault(run, set()).add((section.scope, path))

    def others_wrote(self) -> None:
        """Another process has written to the store: what it may have given back is asked for again.

        One query for each scope that somebody here waits for and that a run holds which is not live here. What is
        being read at the moment may be from before: it is read once more.
        """
        live = self._engine.live
        for section in self._sections.values():
            if not any(request.live for _, request in section.queue):
                continue
            if not section.loaded or any(run not in live for run, _ in section.holders):
                section.asked += 1
                self._load()

    def reconsider(self) -> None:
        """Whoever waits may be let in now: the fleet's switch was moved."""
        for requests in list(self._requests.values()):
            for request in list(requests.values()):
                if request.live and not request.wants:
                    self._consider(request)
        for section in list(self._sections.values()):
            self._pump(section)

    def _pump(self, section: Section) -> None:
        """Grant what has become possible, in order; who waits for something else holds up nobody here."""
        waiting: list[tuple[tuple[int, int, int], Request]] = []
        while section.queue:
            entry = heappop(section.queue)
            request = entry[1]
            if not request.live or self._consider(request) or not request.live:
                continue
            waiting.append(entry)
            run = request.driver.run.id
            scope = section.scope[1]
            if any(slot.scope == scope and not section.free(slot, (run, path)) for path, slot in request.wants):
                break
        for entry in waiting:
            heappush(section.queue, entry)

    # ------------------------------------------------------------ what became of it

    def committed(self, entry: Append) -> None:
        """Claims were released by an append that is durable."""
        if self._loading:
            self._released.append(entry)
        held = self._held.get(entry.run, ())
        self._release(entry.run, [(scope, path) for scope, path in held if _releases(entry, entry.run, path)])

    def review(self, run: Run) -> None:
        """Forget slots that were granted to a run and that it has not taken."""
        held = self._held.get(run.id, ())
        self._release(run.id, [(scope, path) for scope, path in held if not _holds(run, scope[1], path)])

    def _release(self, run: str, gone: Sequence[tuple[Scope, str]]) -> None:
        held = self._held.get(run)
        if held is None or not gone:
            return
        held.difference_update(gone)
        if not held:
            del self._held[run]
        sections = [self._sections[scope] for scope, _ in gone if scope in self._sections]
        for scope, path in gone:
            if scope in self._sections:
                self._sections[scope].holders.pop((run, path), None)
        for section in sections:
            self._pump(section)
            if len(self._sections) > KEPT_SECTIONS and not section.holders and not section.queue:
                self._sections.pop(section.scope, None)

    def refused(self, refusal: ClaimRefused, tenant: str) -> None:
        """The store knows of holders that we did not. Those it named may be gone by now: they are read again."""
        self._section((tenant, refusal.slot.scope)).asked += 1
        self._load()

    def forget(self, run: str) -> None:
        """The run is no longer driven here."""
        for request in list(self._requests.get(run, {}).values()):
            self._forget(request)


def _own(run: Run) -> tuple[Want, ...]:
    """The slots that a run needs and does not hold."""
    created = run.created
    if created is None or run.has_slots:
        return ()
    missing = [slot for slot in created.slots if slot.scope not in run.held]
    return tuple((slot.place, slot) for slot in missing)


def _holds(run: Run, scope: str, path: str) -> bool:
    if not path or path.startswith("@"):
        return scope in run.held
    step = run.steps.get(path)
    return step is not None and step.slot is not None and step.slot.scope == scope


def _releases(entry: Append, run: str, path: str) -> bool:
    return entry.run == run and ("*" in entry.releases or path in entry.releases)
