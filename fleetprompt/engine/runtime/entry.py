"""What a turn of a driver hands to the journal: facts, and everything that becomes true with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fleetprompt.engine.core.batch import Batch
from fleetprompt.engine.core.lifecycle import underway
from fleetprompt.engine.core.signal import FINISHED, Result, Signal
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, RunHead, Take, Wait
from fleetprompt.engine.ports.budget import Raise, Reserve, Settle
from fleetprompt.engine.runtime.message import Message

if TYPE_CHECKING:
    from fleetprompt.engine.runtime.engine import Engine


T = TypeVar("T")


def _all(values: Sequence[Any], type_: type[T]) -> tuple[T, ...]:
    return tuple(msgspec.convert(value, type_) for value in values) if values else ()


def entry_of(engine: Engine, run: Run, batch: Batch, taken: Sequence[Message], head: RunHead, work: float) -> Append:
    """The entry for a batch, which is folded into the run already, and for the messages that led to it."""
    out, created = run.outbox, run.created
    assert created is not None
    routed: list[str] = []
    results: list[Result] = []
    received: Signal | None = None
    for message in taken:
        if message.signal is not None:
            if not message.overheard:
                routed.append(message.signal.id)
            if message.received:
                received = message.signal
            if message.result is not None:
                results.append(message.result)
    wanted = engine.deliverer.subscriptions.underway(created.tenant)
    told = underway(run, batch.facts, wanted) if wanted else []
    signals = tuple(engine.outgoing(run, [*told, *out.signals])) if told or out.signals else ()
    routed += [signal.id for signal in told]
    if run.ended:
        routed += [s.id for s in signals if s.type == FINISHED and not engine.anyone_listens(run, s)]
    return Append(
        run=created.run,
        tenant=created.tenant,
        after=run.n - len(batch.facts),
        facts=tuple(batch.facts),
        encoded=tuple(batch.encoded),
        head=head,
        takes=tuple(Take(slot, path) for path, slot in out.takes) if out.takes else (),
        releases=tuple(out.releases) if out.releases else (),
        waits=tuple(Wait(*wait) for wait in out.waits) if out.waits else (),
        unwaits=tuple(out.unwaits) if out.unwaits else (),
        signals=signals,
        deliveries=engine.deliverer.subscriptions.deliveries(signals, engine.now()) if signals else (),
        received=received,
        results=tuple(results),
        routed=tuple(routed),
        blobs=tuple(batch.blobs) if batch.blobs else (),
        reserves=_all(out.reserves, Reserve),
        settles=_all(out.settles, Settle),
        raises=_all(out.raises, Raise),
        work=work,
    )
