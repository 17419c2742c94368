"""How the lineage of a signal is followed, whatever the store: level by level, each thing once, and not for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec.structs import replace

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.signal import RETRY, START, Signal
from fleetprompt.engine.ports import Kin, Lineage, RunHead

CAUSES = 100
EFFECTS = 500
DEEPEST = 30
FAMILY = 200
STARTING = (START, RETRY)
"""Types of signals that start a run."""


class Relations(Protocol):
    """What a store knows of signals and runs. A cause is the id of a signal or of a run."""

    async def signals_of(self, ids: Sequence[str]) -> Mapping[str, Signal]:
        """The signals of these ids."""
        ...

    async def runs_of(self, ids: Sequence[str]) -> Mapping[str, RunHead]:
        """The runs of these ids."""
        ...

    async def caused(self, causes: Sequence[str], after: int, most: int) -> Sequence[Signal]:
        """Signals with one of these causes, behind a position, the oldest first; of more than `most`, any."""
        ...

    async def reached(self, signals: Sequence[str], most: int) -> Sequence[tuple[str, str]]:
        """Signals and the runs that have accepted them."""
        ...

    async def starter(self, run: str) -> Signal | None:
        """The signal that has started a run."""
        ...

    async def correlated(self, correlation: str, most: int) -> Sequence[Signal]:
        """Signals of a correlation, and the one that it is named after, the oldest first."""
        ...


async def trace(known: Relations, signal: Signal) -> Lineage:
    """The lineage of a signal."""
    more: set[Literal["causes", "effects", "family"]] = set()
    causes = await _causes(known, signal)
    if len(causes) > CAUSES:
        more.add("causes")
    effects = _Effects(known, signal)
    await effects.follow()
    if effects.cut:
        more.add("effects")
    family = await known.correlated(signal.correlation or signal.id, FAMILY + 1)
    if len(family) > FAMILY:
        more.add("family")
    return Lineage(
        signal=signal,
        causes=tuple(causes[:CAUSES]),
        effects=tuple(await effects.tree()),
        family=tuple(family[:FAMILY]),
        more=frozenset(more),
    )


def is_emitted(signal: Signal) -> bool:
    """Whether its cause is a run. The id alone does not tell: a run may have that of the signal that has started it."""
    return f"{signal.source}/".startswith(f"run/{signal.causation}/")


async def _causes(known: Relations, signal: Signal) -> list[Kin]:
    """What led to a signal, and one too many if there is more than is wanted."""
    found: list[Kin] = []
    seen = {("signal", signal.id)}
    last: Signal | str = signal
    while last and len(found) <= CAUSES:
        kin = await _cause(known, last, len(found) + 1)
        place = ("run" if kin is not None and kin.how == "emitted" else "signal", kin.id if kin is not None else "")
        if kin is None or place in seen:
            break
        seen.add(place)
        found.append(kin)
        last = kin.signal or (kin.id if kin.run is not None else "")
    return found


async def _cause(known: Relations, effect: Signal | str, depth: int) -> Kin | None:
    """What led to a signal or a run directly; None where that is not known."""
    if isinstance(effect, str):
        starter = await known.starter(effect)
        return Kin(id=starter.id, how="started", depth=depth, signal=starter) if starter is not None else None
    id_ = effect.causation
    if not id_:
        return None
    if is_emitted(effect):
        return Kin(id=id_, how="emitted", depth=depth, run=(await known.runs_of([id_])).get(id_))
    return Kin(id=id_, how="caused", depth=depth, signal=(await known.signals_of([id_])).get(id_))


Place = tuple[Literal["signal", "run"], str]
"""A signal or a run, by its id."""


class _Effects:
    """What a signal led to."""

    def __init__(self, known: Relations, signal: Signal) -> None:
        self._known = known
        self._root = signal
        self._below: dict[Place, list[Kin]] = {("signal", signal.id): []}
        """By cause: what followed from it directly."""
        self._since: dict[Place, int] = {("signal", signal.id): signal.sequence}
        """After which position an effect of each must stand. A run may have emitted others before it was reached."""
        self.cut = False
        """There may be more than was found."""

    async def follow(self) -> None:
        """Find them, level by level."""
        level: list[Signal | str] = [self._root]
        for depth in range(1, DEEPEST + 2):
            level = await self._next(level, depth)
            if not level or self.cut:
                return

    async def _next(self, level: Sequence[Signal | str], depth: int) -> list[Signal | str]:
        """What followed from a level directly and was not found before."""
        signals = {each.id: each for each in level if isinstance(each, Signal)}
        since = {_place(each): self._since[_place(each)] for each in level}
        most = EFFECTS + 2 - len(self._since)
        caused = await self._known.caused([*{id_ for _, id_ in since}], min(since.values()), most)
        reached = await self._known.reached([*signals], most) if signals else ()
        self.cut = max(len(caused), len(reached)) >= most
        # They stand below the signal that starts them, not beside it.
        starting = {str(mapping(each.data).get("run") or each.id) for each in caused if each.type in STARTING}
        found: list[Signal | str] = []
        for cause, run in reached:
            starts = signals[cause].type in STARTING
            kin = Kin(id=run, how="started" if starts else "reached", depth=depth)
            if (starts or run not in starting) and self._add(("signal", cause), kin, signals[cause].sequence):
                found.append(run)
        for each in caused:
            emitted = is_emitted(each)
            kin = Kin(id=each.id, how="emitted" if emitted else "caused", depth=depth, signal=each)
            cause = ("run" if emitted else "signal", each.causation)
            if each.sequence > since.get(cause, each.sequence) and self._add(cause, kin, each.sequence):
                found.append(each)
        return found

    def _add(self, cause: Place, kin: Kin, since: int) -> bool:
        """Take up what was not found before, if there is room."""
        place: Place = ("signal" if kin.signal is not None else "run", kin.id)
        if place in self._since:
            return False
        if len(self._since) > EFFECTS or kin.depth > DEEPEST:
            self.cut = True
            return False
        self._below[cause].append(kin)
        self._below[place] = []
        self._since[place] = since
        return True

    async def tree(self) -> list[Kin]:
        """All that was found, each behind its cause, and runs with what is known of them."""
        heads = await self._known.runs_of([id_ for kind, id_ in self._below if kind == "run"])
        found: list[Kin] = []
        left = self._below[_place(self._root)][::-1]
        while left:
            kin = left.pop()
            found.append(replace(kin, run=heads.get(kin.id)) if kin.signal is None else kin)
            left += reversed(self._below[_place(kin.signal or kin.id)])
        return found


def _place(each: Signal | str) -> Place:
    return ("signal", each.id) if isinstance(each, Signal) else ("run", each)
