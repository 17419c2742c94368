"""CloudEvents in HTTP requests: one JSON document (structured mode), or headers and a body (binary mode).

Batches are refused: an answer has one status, and of several events some may be taken and others not.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from fleetprompt.engine.core.cloudevents import JSON, attributes, from_attributes, is_json, mapping_of, wrong
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.core.signal import Signal

STRUCTURED: Final = "application/cloudevents+json"
_MIME: Final = "application/cloudevents"
_BATCH: Final = "application/cloudevents-batch"
_PREFIX: Final = "ce-"
_PLAIN: Final = frozenset(chr(code) for code in range(0x21, 0x7F)) - {'"', "%"}
_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)

Pairs = Iterable[tuple[str, str]]
Mode = Literal["structured", "binary", "batch"]


def mode(headers: Pairs) -> Mode | None:
    """How a request carries events; None: it carries none."""
    given = {name.lower(): value for name, value in headers}
    media = given.get("content-type", "").strip().lower()
    if media.startswith(_BATCH):
        return "batch"
    if media.startswith(_MIME):
        return "structured"
    return "binary" if any(name.startswith(_PREFIX) for name in given) else None


def read(headers: Pairs, body: bytes, now: float) -> Signal:
    """The signal in a request, as its sender wrote it; `now` (epoch seconds) is its time where it has none.

    Raises `InvalidInput`, which names the attribute that is missing or wrong in `where`.
    """
    pairs = [(name.lower(), value) for name, value in headers]
    match mode(pairs):
        case "structured":
            return _structured(dict(pairs).get("content-type", ""), body, now)
        case "binary":
            return _binary(pairs, body, now)
        case "batch":
            raise InvalidInput("batches of CloudEvents are not taken", hint="send each event by itself")
        case None:
            hint = f"send {STRUCTURED}, or the attributes as ce- headers"
            raise wrong("specversion", "is missing: this is not a CloudEvent", hint)


def structured(signal: Signal) -> tuple[dict[str, str], bytes]:
    """A signal as one JSON document: headers and body."""
    document: dict[str, Any] = {**attributes(signal)}
    if signal.data is not None:
        document["data"] = signal.data
    return {"content-type": STRUCTURED}, msgspec.json.encode(document)


def binary(signal: Signal) -> tuple[dict[str, str], bytes]:
    """A signal as headers, and its data as the body."""
    known = attributes(signal)
    media = known.pop("datacontenttype", None)
    headers = {f"{_PREFIX}{name}": percent_encoded(_canonical(value)) for name, value in known.items()}
    if media is None:
        return headers, b""
    text = isinstance(signal.data, str) and not is_json(str(media))
    return {**headers, "content-type": str(media)}, signal.data.encode() if text else msgspec.json.encode(signal.data)


def percent_encoded(text: str) -> str:
    """A value for a header: everything but visible ASCII, and of that the quote and the percent sign, is encoded."""
    return "".join(char if char in _PLAIN else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)


def percent_decoded(value: str) -> str:
    """The text in a header. Raises `ValueError` where it is not UTF-8."""
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    # Servers hand headers over as Latin-1, whatever was sent.
    raw = value.encode("latin-1") if all(ord(char) < 0x100 for char in value) else value.encode()
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), raw).decode()


def _canonical(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _structured(media: str, body: bytes, now: float) -> Signal:
    kind = media.partition(";")[0].strip().lower()
    if kind not in (STRUCTURED, _MIME):
        raise InvalidInput(f"events of type {kind[:100]} are not taken", hint=f"send {STRUCTURED}")
    event = mapping_of(_json(body, "the event is not JSON"))
    declared = event.get("datacontenttype")
    data = event.get("data")
    if event.get("data_base64") is not None:
        if data is not None:
            raise wrong("data_base64", "and `data` are both there")
        try:
            raw = base64.b64decode(str(event["data_base64"]), validate=True)
        except (binascii.Error, ValueError):
            raise wrong("data_base64", "is not base64") from None
        data = _data(str(declared or JSON), raw, "data_base64")
    elif data is not None and isinstance(declared, str) and not is_json(declared) and not isinstance(data, str):
        raise wrong("data", f"is JSON, and the attribute `datacontenttype` says {declared[:100]}")
    return from_attributes(event, data, now)


def _binary(pairs: list[tuple[str, str]], body: bytes, now: float) -> Signal:
    known: dict[str, Any] = {}
    for name, value in pairs:
        attribute = "datacontenttype" if name == "content-type" else name.removeprefix(_PREFIX)
        if name != "content-type" and (not name.startswith(_PREFIX)):
            continue
        if name == "ce-datacontenttype":
            raise wrong(attribute, "is the header Content-Type in this mode")
        if attribute in known:
            raise wrong(attribute, "is there more than once")
        try:
            known[attribute] = value.strip() if name == "content-type" else percent_decoded(value.strip())
        except ValueError:
            raise wrong(attribute, "is not UTF-8") from None
    media = known.get("datacontenttype") or JSON
    if not body:
        known.pop("datacontenttype", None)
    return from_attributes(known, _data(media, body, "data") if body else None, now)


def _data(media: str, raw: bytes, attribute: str) -> Any:
    if is_json(media):
        return _json(raw, f"the {attribute} of the event is not JSON")
    if media.strip().lower().startswith("text/"):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise wrong(attribute, "is text that is not UTF-8") from None
    hint = "store it elsewhere and send a reference"
    raise wrong(attribute, f"is of type {media[:100]}, and signals carry JSON and text only", hint)


def _json(raw: bytes, message: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise InvalidInput("the JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"{message}: {error}") from None
