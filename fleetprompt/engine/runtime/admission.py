"""The door of the bus: what a signal from outside passes before it is stored. Who is refused here leaves nothing but
a number.

In this order: who sent it is known and may call it so (authenticate), it has the form that its type asks for
(validate), its source has not sent too many (rate-limit), and what must not be kept is masked (redact). That it is
new is seen by the store, in the transaction that keeps it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from fleetprompt.engine.core.codec import canonical
from fleetprompt.engine.core.errors import FleetError, InvalidInput, RateLimited
from fleetprompt.engine.core.signal import (
    AGENT_FINISHED,
    FINISHED,
    MAX_TYPE,
    OF_TRIGGERS,
    RESERVED,
    TYPE,
    Signal,
)
from fleetprompt.engine.core.signal_rules import Buckets, Rule, Rules, masked

_TYPE: Final = re.compile(TYPE)
MAX_DATA_BYTES: Final = 1024 * 1024
"""Signals carry references to large things, not the things."""
MAX_REQUEST_BYTES: Final = 17 * 1024 * 1024
"""Those of webhooks are as large as their hooks allow."""
MAX_TEXT: Final = 2048
"""Characters of a key, a subject, a source and so on."""
OWN_SOURCES: Final = ("run/", "trigger/", "webhook/", "schedule/", "watch/", "replay/")
"""How the sources begin that the engine itself signs with."""
Origin = Literal["outside", "trigger", "replay"]
"""Who publishes: somebody outside, a trigger of ours, or an operator what was published before."""
_TEXTS: Final = ("id", "source", "subject", "key", "correlation", "causation", "by", "tenant", "traceparent")


class Admission:
    """Decides who comes in. `redact` masks secrets by their value, `now` gives epoch seconds."""

    def __init__(
        self, rules: Rules, *, now: Callable[[], float], redact: Callable[[Any], Any] = lambda value: value
    ) -> None:
        self.rules = rules
        self._now = now
        self._redact = redact
        self._buckets = Buckets()
        self.tally: Counter[str] = Counter()
        """How many were `accepted`, were seen before (`duplicate`), or were refused, by the stage that did:
        `authenticate`, `validate`, `rate-limit`."""

    def admit(self, signal: Signal, origin: Origin = "outside") -> Signal:
        """The signal as it is stored. Raises `InvalidInput`, `RateLimited`.

        A replay was admitted when it was new: what its type masks is gone, and may be what a schema asks for.
        """
        self._stage("authenticate", lambda: authenticate(signal, origin))
        self._stage("validate", lambda: self._validate(signal, origin))
        if origin != "replay":
            # Counted by who finds out whether it was only said again: a number that falls is taken for one that began
            # anew.
            self._limit(signal)
        return self.redacted(signal)

    def _rules(self, signal: Signal) -> tuple[Rule, ...]:
        found = self.rules.of(signal.type)
        if found and signal.type.startswith(RESERVED):
            # What `**` says is not meant for the engine's own; what names those of triggers is.
            found = tuple(rule for rule in found if rule.pattern.startswith(RESERVED)) if _of_trigger(signal) else ()
        return found

    def _stage(self, name: str, check: Callable[[], None]) -> None:
        try:
            check()
        except FleetError:
            self.tally[name] += 1
            raise

    def leaving(self, signal: Signal) -> Signal:
        """A signal of a run as it is stored. The run goes on whatever it says; nobody hears what does not fit."""
        found = self.redacted(signal)
        return msgspec.structs.replace(found, unfit=problem) if (problem := self._misfit(signal)) else found

    def _validate(self, signal: Signal, origin: Origin) -> None:
        validate(signal, MAX_DATA_BYTES if origin == "outside" else MAX_REQUEST_BYTES)
        if origin != "replay" and (problem := self._misfit(signal)):
            raise InvalidInput(problem, where="data")

    def _misfit(self, signal: Signal) -> str:
        """What the schemas of its type say against its data, before anything of it is masked; empty: nothing."""
        for rule in self._rules(signal):
            if rule.check is not None and (problem := rule.check(signal.data)):
                return f"the data does not fit what {signal.type} carries: {problem}"
        return ""

    def _limit(self, signal: Signal) -> None:
        wanted = [
            ((rule.pattern, signal.tenant, signal.source, signal.type), rule.rate)
            for rule in self._rules(signal)
            if rule.rate is not None
        ]
        wait = self._buckets.take(wanted, self._now()) if wanted else 0.0
        if wait > 0:
            raise RateLimited(
                f"{signal.source} sends too many signals of type {signal.type}",
                retry_after=wait,
                hint=f"the next one is taken in {wait:.3g} s",
            )

    def redacted(self, signal: Signal) -> Signal:
        """The signal without secrets, and without what the rules of its type mask."""
        data = signal.data
        for rule in self._rules(signal):
            data = masked(data, rule.redact)
        data, subject = self._redact(data), self._redact(signal.subject)
        if data is signal.data and subject is signal.subject:
            return signal
        return msgspec.structs.replace(signal, data=data, subject=subject)


def authenticate(signal: Signal, origin: Origin = "outside") -> None:
    """Refuse what poses as the engine's. Who sent it is stamped on it by whoever knows: `client/guarded.py`.

    Raises `InvalidInput`.
    """
    # The end of a run is said again only to one that could not hear it: not to the run that waits for it.
    again = origin == "replay" and signal.only and signal.type in (FINISHED, AGENT_FINISHED)
    if signal.type.startswith(RESERVED) and not again and (origin == "outside" or not _of_trigger(signal)):
        raise InvalidInput(f"signals of type {RESERVED}* are the engine's own", where="type")
    if origin == "outside":
        if signal.source.startswith(OWN_SOURCES):
            own = f"{signal.source.partition('/')[0]}/…"
            raise InvalidInput(f"{own} is how the engine signs its own signals", where="source")
        if signal.replay_of or signal.only or signal.muted or signal.unfit:
            raise InvalidInput("only a replay says what it is a replay of", where="replay_of")


def _of_trigger(signal: Signal) -> bool:
    return signal.type in OF_TRIGGERS


def validate(signal: Signal, most: int = MAX_DATA_BYTES) -> None:
    """Refuse what has not the form of a signal. Raises `InvalidInput`."""
    if len(signal.type) > MAX_TYPE or not _TYPE.fullmatch(signal.type):
        hint = "dot-separated words such as deploy.finished"
        raise InvalidInput(f"{signal.type!r} is not a signal type", where="type", hint=hint)
    for name in _TEXTS:
        text: str = getattr(signal, name)
        if len(text) > MAX_TEXT or "\0" in text:
            raise InvalidInput(
                f"`{name}` of a signal has at most {MAX_TEXT:,} characters, none of them NUL", where=name
            )
    try:
        size = len(canonical(signal.data))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"the data of a signal is JSON: {error}", where="data") from None
    if size > most:
        hint = "store it elsewhere and send a reference"
        raise InvalidInput(f"the data of a signal is at most {most // 1024 // 1024} MiB", where="data", hint=hint)
