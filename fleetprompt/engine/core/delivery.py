"""Deliveries: signals that leave runs, on their way to those who subscribe to them. PURE.

A delivery is made with its signal, in one transaction, and ends delivered or dead. It is tried until it is one of the
two, always under the same id: who receives knows by it what came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from fleetprompt.engine.core.dead_letter import DeadLetter, letter_id
from fleetprompt.engine.core.errors import Code
from fleetprompt.engine.core.signal import AGENT_FINISHED, FINISHED, RESERVED, UNDERWAY, Signal, type_matches
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings

if TYPE_CHECKING:
    # Records of ports are named by it, too, and a console paints its frame before it needs expressions.
    from fleetprompt.engine.core.condition import Condition

Status = Literal["pending", "delivered", "dead"]
FIRST_PAUSE: Final = 5.0
"""Seconds until the second attempt; each pause is three times as long as the one before it."""
LONGEST_PAUSE: Final = 6 * 3600.0
LONGEST_ASKED: Final = 24 * 3600.0
"""Seconds that a receiver may ask to be left alone (`Retry-After`)."""
JITTER: Final = 0.2
"""By how much a pause is longer or shorter, so that those who failed together do not come back together."""
AGAIN: Final = frozenset({408, 409, 425, 429})
"""Answers below 500 after which another attempt may do better."""
GONE: Final = 410
LIFECYCLE: Final = UNDERWAY | {FINISHED, AGENT_FINISHED}
"""What can be subscribed to of the engine's own signals: none of its commands leaves."""


_NONE: Final[frozenset[str]] = frozenset()


class Delivery(Struct, frozen=True, kw_only=True):
    """A signal on its way to a subscription."""

    id: str
    """Also the `webhook-id` of every attempt."""
    tenant: str
    subscription: str
    signal: str
    type: str
    source: str
    status: Status = "pending"
    attempts: int = 0
    """Since it was made, or since somebody has had it delivered again."""
    due: float = 0.0
    """When it is tried next, in epoch seconds."""
    created_at: float = 0.0
    at: float = 0.0
    """When it was tried last; 0: not yet."""
    http: int = 0
    """The status of the last answer; 0: there was none."""
    code: str = ""
    reason: str = ""
    """Why the last attempt failed."""
    seq: int = 0
    """Position in the list; 0 until stored."""


class Answered(Struct, frozen=True):
    """What came of an attempt."""

    status: int = 0
    """Of the answer; 0: there was none."""
    reason: str = ""
    """Why there was none."""
    code: Code = "TOOL_ERROR"
    retry_after: str = ""
    hopeless: bool = False
    """Another attempt would come to the same, though there was no answer."""


class Subscription(Struct, frozen=True, eq=False):
    """Somebody who is told, ready."""

    name: str
    settings: SubscriptionSettings
    condition: Condition | None = None

    def wants(self, type_: str) -> bool:
        """Whether it is about signals of this type."""
        if type_.startswith(RESERVED):
            if type_ not in LIFECYCLE:
                return False
            return any(each.startswith(RESERVED) and type_matches(each, type_) for each in self.settings.types)
        return any(type_matches(each, type_) for each in self.settings.types)


class Subscriptions:
    """All of them."""

    def __init__(self, settings: Mapping[str, SubscriptionSettings] | None = None) -> None:
        """Raises `ExpressionError` for a condition that cannot be read."""
        from fleetprompt.engine.core.condition import compile_condition

        self._all = {
            name: Subscription(name, each, compile_condition(each.when) if each.when else None)
            for name, each in (settings or {}).items()
        }
        self._underway: dict[str, frozenset[str]] = {}
        self._by_type: dict[tuple[str, str], tuple[Subscription, ...]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def get(self, name: str, tenant: str) -> Subscription | None:
        """The subscription of that name."""
        found = self._all.get(name)
        return found if found is not None and found.settings.tenant == tenant else None

    def wants(self, signal: Signal) -> bool:
        """Whether anybody is told of signals of this type."""
        return bool(self._all) and bool(self._of(signal))

    def underway(self, tenant: str) -> frozenset[str]:
        """The types of `UNDERWAY` of which somebody is told."""
        if not self._all:
            return _NONE
        found = self._underway.get(tenant)
        if found is None:
            own = [each for each in self._all.values() if each.settings.tenant == tenant]
            found = frozenset(type_ for type_ in UNDERWAY if any(each.wants(type_) for each in own))
            if own:
                self._underway[tenant] = found
        return found

    def deliveries(self, signals: Iterable[Signal], at: float) -> tuple[Delivery, ...]:
        """What has to be delivered of the signals that a run sends."""
        if not self._all:
            return ()
        return tuple(
            found
            for signal in signals
            if not signal.muted and not signal.unfit
            for each in self._of(signal)
            if (found := _delivery(each, signal, at)) is not None
        )

    def _of(self, signal: Signal) -> tuple[Subscription, ...]:
        key = signal.tenant, signal.type
        found = self._by_type.get(key)
        if found is None:
            if len(self._by_type) > 4096:
                self._by_type.clear()
            own = (each for each in self._all.values() if each.settings.tenant == signal.tenant)
            found = self._by_type[key] = tuple(each for each in own if each.wants(signal.type))
        return found


def _delivery(subscription: Subscription, signal: Signal, at: float) -> Delivery | None:
    """The delivery of a signal; None where its condition does not hold."""
    if subscription.condition is not None:
        from fleetprompt.engine.core.expr import ExpressionError

        seen = {name: getattr(signal, name) for name in ("data", "type", "source", "subject")}
        try:
            if not subscription.condition.evaluate(seen):
                return None
        except ExpressionError:
            # Whoever is told too much can look away; who is told nothing does not know that there was something.
            pass
    return Delivery(
        id=delivery_id(signal.id, subscription.name, signal.tenant),
        tenant=signal.tenant,
        subscription=subscription.name,
        signal=signal.id,
        type=signal.type,
        source=signal.source,
        due=at,
        created_at=at,
    )


def delivery_id(signal: str, subscription: str, tenant: str) -> str:
    """The id of the delivery of a signal to a subscription: without a full stop, which parts what is signed."""
    return "dv-" + sha256("\0".join(("delivery", tenant, signal, subscription)).encode()).hexdigest()[:24]


def after(delivery: Delivery, answered: Answered, settings: SubscriptionSettings, now: float) -> Delivery:
    """The delivery after an attempt."""
    tried = replace(delivery, attempts=delivery.attempts + 1, at=now, http=answered.status)
    status = answered.status
    if 200 <= status < 300:
        return replace(tried, status="delivered", code="", reason="")
    reason, code = answered.reason, answered.code
    if status == GONE:
        reason = "the receiver says that it is gone (410)"
    elif 300 <= status < 400:
        reason = f"the receiver answered {status}: redirects are not followed"
    elif status:
        reason = f"the receiver answered {status}"
        code = "RATE_LIMIT" if status == 429 else "TOOL_ERROR"
    hopeless = answered.hopeless if not status else status < 500 and status not in AGAIN
    if hopeless or tried.attempts >= settings.max_attempts:
        if not hopeless:
            reason = f"{reason}; so it was {tried.attempts} times"
        return replace(tried, status="dead", code=code, reason=reason)
    return replace(tried, due=now + pause(tried, answered.retry_after, now), code=code, reason=reason)


def pause(delivery: Delivery, retry_after: str, now: float) -> float:
    """Seconds until the next attempt: three times as long each time, and no sooner than the receiver asks."""
    grown = min(FIRST_PAUSE * 3.0 ** min(delivery.attempts - 1, 20), LONGEST_PAUSE)
    draw = int(sha256(f"{delivery.id}/{delivery.attempts}".encode()).hexdigest()[:8], 16) / 2**31 - 1.0
    return max(grown * (1 + JITTER * draw), asked(retry_after, now))


def asked(retry_after: str, now: float) -> float:
    """Seconds that a receiver asks to be left alone for (RFC 9110 10.2.3); 0: none, or not to be understood."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST_ASKED)
    from email.utils import parsedate_to_datetime

    try:
        until = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(0.0, until - now), LONGEST_ASKED)


def letter_of(delivery: Delivery) -> DeadLetter:
    """The dead letter about a delivery."""
    return DeadLetter(
        id=letter_id_of(delivery),
        tenant=delivery.tenant,
        kind="subscription",
        target=delivery.subscription,
        signal=delivery.signal,
        type=delivery.type,
        source=delivery.source,
        code=_code(delivery.code),
        reason=delivery.reason,
        at=delivery.at,
        attempts=max(1, delivery.attempts),
    )


def _code(text: str) -> Code:
    return "RATE_LIMIT" if text == "RATE_LIMIT" else "TIMEOUT" if text == "TIMEOUT" else "TOOL_ERROR"


def letter_id_of(delivery: Delivery) -> str:
    """The id of the dead letter about a delivery, whether there is one or not."""
    return letter_id(delivery.signal, "subscription", delivery.subscription, "", delivery.tenant)


def ended(deliveries: Sequence[Delivery], reason: str, at: float) -> list[Delivery]:
    """Deliveries whose receiver is gone: none of them is tried any more."""
    return [replace(each, status="dead", code="TOOL_ERROR", reason=reason, at=at) for each in deliveries]
