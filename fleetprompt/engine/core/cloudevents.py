"""Signals as CloudEvents 1.0: which attribute is which, and what each may hold.

A signal that was written as an event and read again is the same, but for `by`: who sent something is what the door
knows, not what the envelope says. `cloudevents_http` puts events into requests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, cast
from urllib.parse import quote

import msgspec

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.keys import signal_id
from fleetprompt.engine.core.signal import Signal

VERSION: Final = "1.0"
JSON: Final = "application/json"
MAX_ATTRIBUTE: Final = 2048
"""Characters of an attribute."""
MAX_EXTENSIONS: Final = 32
"""Extensions of an event that mean nothing here."""

EXTENSIONS: Final[Mapping[str, str]] = {
    "correlationid": "correlation",
    "causationid": "causation",
    "traceparent": "traceparent",
    "tenant": "tenant",
    "key": "key",
    "replayof": "replay_of",
}
"""Our extension attributes that are text, and the fields of a signal that they are."""
_TEXTS: Final[Mapping[str, str]] = {"id": "id", "type": "type", "source": "source", "subject": "subject", **EXTENSIONS}
_REQUIRED: Final = ("id", "source", "type")
_OWN: Final = frozenset({"specversion", "time", "sequence", *_TEXTS})
_BODY: Final = frozenset({"data", "data_base64"})

_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What the type String of CloudEvents does not hold."""
_URI_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_URI_SAFE: Final = "-._~:/?#[]@!$&'()*+,;="
_ESCAPED: Final = re.compile(r"(%[0-9A-Fa-f]{2})")
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LATEST: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""What can be written as a time in UTC again."""
_TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
_MEDIA: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+\s*(;.*)?")


def wrong(attribute: str, problem: str, hint: str = "") -> InvalidInput:
    """The error about an attribute of an event, which it names."""
    return InvalidInput(f"the attribute `{attribute}` {problem}", where=attribute, hint=hint)


# Out


def attributes(signal: Signal) -> dict[str, str | int | bool]:
    """The context attributes of a signal, without its data, in their order of importance."""
    found: dict[str, str | int | bool] = {
        "specversion": VERSION,
        "id": signal.id,
        "source": uri_reference(signal.source),
        "type": signal.type,
        "time": rfc3339(signal.at),
    }
    if signal.data is not None:
        found["datacontenttype"] = JSON
    if signal.subject:
        found["subject"] = signal.subject
    for name, field in EXTENSIONS.items():
        if value := getattr(signal, field):
            found[name] = value
    if signal.sequence:
        # The type that the extension `sequence` of CloudEvents has.
        found["sequence"] = str(signal.sequence)
    found |= {name: value for name, value in signal.extensions.items() if name not in _OWN}
    if signal.data is None:
        found.pop("datacontenttype", None)
    return found


def uri_reference(text: str) -> str:
    """A text as a URI reference: what may not stand in one is percent-encoded, and what may stays."""
    if _URI_REFERENCE.fullmatch(text):
        return text
    parts = _ESCAPED.split(text)
    return "".join(part if at % 2 else quote(part, safe=_URI_SAFE) for at, part in enumerate(parts))


def rfc3339(at: float) -> str:
    """Seconds since the epoch as a time in UTC, to the microsecond."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(at * 1_000_000))
    text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text.rstrip('0').rstrip('.')}Z"


# In


def from_attributes(given: Mapping[str, Any], data: Any, now: float) -> Signal:
    """The signal that context attributes and data make; `now` is its time where it has none.

    Raises `InvalidInput`, which names the attribute in `where`. An attribute that is null is not there.
    """
    known = {name: value for name, value in given.items() if value is not None and name not in _BODY}
    if "specversion" not in known:
        raise wrong("specversion", "is missing", f'this is not a CloudEvent, which says specversion "{VERSION}"')
    if known["specversion"] != VERSION:
        raise wrong("specversion", f"is not {VERSION}")
    for name in _REQUIRED:
        if name not in known:
            raise wrong(name, "is missing")
    fields: dict[str, Any] = {field: _text(name, known[name]) for name, field in _TEXTS.items() if name in known}
    if not _URI_REFERENCE.fullmatch(fields["source"]):
        raise wrong("source", "is not a URI reference", "such as /builds/17 or https://ci.example.com")
    if fields.get("traceparent") and not _TRACE.fullmatch(fields["traceparent"]):
        raise wrong("traceparent", "is not one of W3C Trace Context")
    if "sequence" in known:
        fields["sequence"] = _sequence(known["sequence"])
    fields["at"] = _time(known["time"]) if "time" in known else now
    fields["extensions"] = _extensions(known)
    if data is None:
        fields["extensions"].pop("datacontenttype", None)
    return Signal(**fields, data=data)


def admitted(event: Signal, *, tenant: str, by: str, now: float) -> Signal:
    """An event from outside as a signal that may be published: its tenant and sender are those that the door knows.

    CloudEvents are told apart by source and id, so the id here is made of both: an event that is sent again is a
    duplicate. Its own id stays in the extension `originid`. What has not happened yet happened now.
    """
    return msgspec.structs.replace(
        event,
        id=signal_id("event", tenant, event.source, event.id),
        tenant=tenant,
        by=by,
        at=min(event.at, now),
        sequence=0,
        replay_of="",
        extensions={**event.extensions, "originid": event.id},
    )


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong(name, "is not text")
    if not value:
        raise wrong(name, "is empty")
    if len(value) > MAX_ATTRIBUTE:
        raise wrong(name, f"has more than {MAX_ATTRIBUTE:,} characters")
    if _CONTROL.search(value):
        raise wrong(name, "holds characters that CloudEvents do not allow")
    return value


def _sequence(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    raise wrong("sequence", "is not a number")


def _time(value: Any) -> float:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise wrong("time", "is not a time of RFC 3339", "such as 2026-03-01T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction, sign, off_hours, off_minutes = found.groups()[6:]
    offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
    try:
        # A leap second is the first of the next minute.
        moment = datetime(
            year, month, day, hour, minute, min(second, 59), tzinfo=timezone(-offset if sign == "-" else offset)
        )
        seconds = moment.timestamp() + max(0, second - 59)
    except (ValueError, OverflowError):
        raise wrong("time", "is a time that there is not") from None
    if second > 60 or not _EARLIEST <= seconds <= _LATEST:
        raise wrong("time", "is a time that there is not")
    if fraction is None:
        return seconds
    # One division of whole numbers: a sum of two fractions is not the number that was written.
    return (round(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0"))) / 1_000_000


def _extensions(known: Mapping[str, Any]) -> dict[str, str | int | bool]:
    found: dict[str, str | int | bool] = {}
    for name, value in known.items():
        if name in _OWN:
            continue
        if not _NAME.fullmatch(name):
            raise wrong(name[:64], "has a name that CloudEvents do not allow", "names are of a-z and 0-9")
        if isinstance(value, bool) or (isinstance(value, int) and -(2**31) <= value < 2**31):
            found[name] = value
        elif isinstance(value, str):
            found[name] = _text(name, value)
        else:
            raise wrong(name, "is neither text, a whole number of 32 bits, nor true or false")
    if len(found) > MAX_EXTENSIONS:
        raise InvalidInput(f"an event has at most {MAX_EXTENSIONS} extensions")
    media = found.get("datacontenttype")
    if media is not None and not (isinstance(media, str) and _MEDIA.fullmatch(media)):
        raise wrong("datacontenttype", "is not a media type")
    schema = found.get("dataschema")
    if schema is not None and not (isinstance(schema, str) and _URI_REFERENCE.fullmatch(schema)):
        raise wrong("dataschema", "is not a URI")
    if isinstance(media, str) and is_json(media):
        del found["datacontenttype"]
    return found


def is_json(media: str) -> bool:
    """Whether data of this media type is JSON."""
    kind = media.partition(";")[0].strip().lower()
    return kind in (JSON, "text/json") or kind.endswith("+json")


def mapping_of(value: Any) -> dict[str, Any]:
    """A parsed body as the event it should be. Raises `InvalidInput`."""
    if not isinstance(value, dict):
        raise InvalidInput("a CloudEvent is a JSON object")
    return cast("dict[str, Any]", value)
