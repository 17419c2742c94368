"""Webhooks: whether a request is let in, and the signal that it becomes. Pure: the caller brings everything.

Two schemes are known. Standard Webhooks sign `<id>.<timestamp>.<body>`, so a recorded request is worthless after five
minutes, and before that its id is known. GitHub's way signs the body alone: what was recorded can be sent again under
another id. One secret never gives the same HMAC key in both, so a request signed for one cannot pose as the other's.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from fleetprompt.engine.core.codec import canonical
from fleetprompt.engine.core.condition import compile_condition
from fleetprompt.engine.core.errors import Code
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.core.plan import Trigger
from fleetprompt.engine.core.signal import TRIGGER_WEBHOOK, Signal
from fleetprompt.engine.core.template import SecretRef, compile_value

TOLERANCE: Final = 300.0
"""Seconds that the timestamp of a signed request may differ from now, in either direction."""
DEFAULT_BODY: Final = 1024 * 1024
MAX_FIELDS: Final = 1000
"""Fields of a form."""
MAX_KEY: Final = 200
"""Characters of a key as it is; of a longer one its digest is used."""

Scheme = Literal["standard", "github", "none"]
Pairs = Iterable[tuple[str, str]]

Why = Literal[
    "unknown",
    "too_large",
    "unsigned",
    "wrong_signature",
    "stale",
    "bad_media",
    "bad_body",
    "bad_key",
    "bad_headers",
    "bad_secret",
]
"""Why a request was refused: what refusals are counted by."""

_STATUS: Final[Mapping[Why, int]] = {
    "unknown": 404,
    "too_large": 413,
    "unsigned": 401,
    "wrong_signature": 401,
    "stale": 401,
    "bad_media": 415,
    "bad_body": 400,
    "bad_headers": 400,
    "bad_key": 422,
    "bad_secret": 503,
}
_PREFIX: Final = "whsec_"
_SIGNED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256")
_DELIVERY: Final = ("webhook-id", "x-github-delivery", "idempotency-key")
_ID: Final = re.compile(r"[!-\-/-~]{1,256}")
"""Visible ASCII without the full stop, which separates the parts of what is signed."""
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")
_TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_PRIVATE: Final = re.compile(
    r"authorization|cookie|(^|[-_])(token|secret|password|signature|api-?key|hmac)([-_]|$)|^x-hub-signature|^x-.*-signature"
)
"""Headers that are not kept: who has the record of a request could pose as its sender."""
_CHARSETS: Final = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "iso-8859-1": "latin-1"}


class Accepted(Struct, frozen=True, kw_only=True):
    """A request that is let in."""

    body: Any
    """JSON; of a form a mapping, of text a string, None when there is none."""
    headers: dict[str, str]
    """By lower-case name, without those that hold credentials."""
    query: dict[str, Any]
    """By name: text, or a list where the name is repeated."""
    scheme: Scheme
    """How it was signed; `none`: it was not, and whoever calls has to know the sender otherwise."""
    key: str = ""
    """Idempotency key within the hook; empty: every request is a new one."""
    traceparent: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The data of its signal."""
        return {"body": self.body, "headers": self.headers, "query": self.query}


class Filtered(Struct, frozen=True):
    """A request that is in order, and that the trigger's `if` does not want. Its sender is told it is well."""

    scheme: Scheme


class Refusal(Struct, frozen=True):
    """A request that is not let in. Nothing of it is kept, but that there was one."""

    why: Why
    message: str
    """For the sender; tells nothing that it does not know."""
    hint: str = ""
    code: Code = "VALIDATION_ERROR"

    @property
    def status(self) -> int:
        """The HTTP status it is answered with."""
        return _STATUS[self.why]


def body_limit(trigger: Trigger) -> int:
    """Bytes of the largest body that is taken: whoever reads a request can stop there."""
    return int(trigger.config.get("max_body", DEFAULT_BODY))


def secret_of(trigger: Trigger, get: Callable[[str], str]) -> str:
    """What the sender signs with; empty when no secret is declared. Raises what `get` does for an unknown name."""
    declared = trigger.config.get("secret")
    if not declared:
        return ""
    rendered = compile_value(declared).render({})
    parts = rendered.secrets.get("", [str(rendered.value)])
    return "".join(get(part.name) if isinstance(part, SecretRef) else part for part in parts)


def receive(
    trigger: Trigger, secret: str, headers: Pairs, body: bytes, now: float, query: Pairs = ()
) -> Accepted | Filtered | Refusal:
    """Decide about a request to a hook. `secret` is that of `secret_of`, `now` in epoch seconds.

    The signature comes before everything that looks into the body. A condition that cannot be evaluated lets the
    request in: routing meets it again, and keeps what came of it where an operator sees it.
    """
    if len(body) > body_limit(trigger):
        return Refusal("too_large", f"the body is larger than {body_limit(trigger):,} bytes")
    given = _by_name(headers)
    if repeated := next((name for name in (*_SIGNED, "content-type") if len(given.get(name, ())) > 1), ""):
        return Refusal("bad_headers", f"the header {repeated} is there more than once")
    known = {name: ", ".join(values) for name, values in given.items()}
    scheme = _verified(trigger, secret, known, body, now)
    if isinstance(scheme, Refusal):
        return scheme
    try:
        content = _content(known, body)
    except _Unreadable as error:
        return error.refusal
    asked = {name: values if len(values) > 1 else values[0] for name, values in _grouped(query).items()}
    kept = {name: value for name, value in known.items() if not _PRIVATE.search(name)}
    names: dict[str, Any] = {"body": content, "headers": kept, "query": asked}
    scope = {**names, "data": names}
    try:
        key = _key(trigger, known, scope)
    except ExpressionError as error:
        return Refusal("bad_key", f"the key of this hook cannot be found in the request: {error.message}", error.hint)
    if not _wanted(trigger, scope):
        return Filtered(scheme)
    trace = known.get("traceparent", "")
    return Accepted(**names, scheme=scheme, key=key, traceparent=trace if _TRACE.fullmatch(trace) else "")


def to_signal(request: Accepted, *, path: str, id: str, at: float, tenant: str, by: str = "") -> Signal:
    """The signal that a request becomes. The path has no colon, so keys of different hooks are never the same."""
    return Signal(
        id=id,
        type=TRIGGER_WEBHOOK,
        source=f"webhook/{path}",
        at=at,
        subject=path,
        tenant=tenant,
        key=request.key and f"webhook/{path}:{request.key}",
        data=request.data,
        traceparent=request.traceparent,
        by=by,
    )


# Signatures


def _verified(trigger: Trigger, secret: str, headers: Mapping[str, str], body: bytes, now: float) -> Scheme | Refusal:
    if not trigger.config.get("secret"):
        return "none"
    if not secret:
        return Refusal("bad_secret", "the secret of this hook is not defined", code="INTERNAL")
    wanted = trigger.config.get("scheme", "any")
    if wanted in ("any", "standard") and "webhook-signature" in headers:
        return _standard(secret, headers, body, now) or "standard"
    if wanted in ("any", "github") and "x-hub-signature-256" in headers:
        return _github(secret, headers["x-hub-signature-256"], body) or "github"
    expected = {"standard": "webhook-signature", "github": "X-Hub-Signature-256"}
    header = expected.get(wanted, "webhook-signature or X-Hub-Signature-256")
    return Refusal("unsigned", f"requests to this hook are signed: the header {header} is missing")


def _standard(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> Refusal | None:
    # Not `Webhook.verify` of the library: it asks the wall clock, takes text only, and fails on what is malformed.
    key = standard_key(secret)
    if key is None:
        return Refusal("bad_secret", "the secret of this hook is not one of Standard Webhooks", code="INTERNAL")
    id_, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(id_):
        return Refusal("wrong_signature", "the header webhook-id is missing or malformed")
    if not _TIMESTAMP.fullmatch(stamp):
        return Refusal("wrong_signature", "the header webhook-timestamp is missing or not a number of seconds")
    expected = hmac.digest(key, f"{id_}.{stamp}.".encode() + body, "sha256")
    if not any(hmac.compare_digest(expected, each) for each in _signatures(headers["webhook-signature"])):
        return Refusal("wrong_signature", "no signature fits", "is it the same secret, and is the body sent as signed?")
    if abs(now - int(stamp)) > TOLERANCE:
        return Refusal("stale", "the request was signed more than five minutes ago, or in the future")
    return None


def standard_key(secret: str) -> bytes | None:
    """The key of a secret of Standard Webhooks, `whsec_` and base64; None for one that is none."""
    text = secret.strip().removeprefix(_PREFIX).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _signatures(header: str) -> Iterable[bytes]:
    for each in header.split(" "):
        version, _, text = each.partition(",")
        if version == "v1":
            try:
                yield base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                continue


def _github(secret: str, header: str, body: bytes) -> Refusal | None:
    expected = "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()
    if hmac.compare_digest(expected.encode(), header.strip().encode("utf-8", "replace")):
        return None
    return Refusal(
        "wrong_signature", "the signature does not fit", "is it the same secret, and is the body sent as signed?"
    )


# What is in it


class _Unreadable(Exception):
    def __init__(self, why: Why, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.refusal = Refusal(why, message, hint)


def _by_name(pairs: Pairs) -> dict[str, list[str]]:
    return _grouped((name.lower(), value) for name, value in pairs)


def _grouped(pairs: Pairs) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _content(headers: Mapping[str, str], body: bytes) -> Any:
    if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise _Unreadable("bad_media", "compressed bodies are not taken", "send it without Content-Encoding")
    media, _, parameters = headers.get("content-type", "").partition(";")
    media = media.strip().lower()
    if not body:
        return None
    if media == "application/json" or media.endswith("+json"):
        return _json(body)
    if media == "application/x-www-form-urlencoded":
        return _form(body)
    if media.startswith("text/"):
        return _text(body, _charset(parameters))
    if not media:
        try:
            return _json(body)
        except _Unreadable:
            return _text(body, "utf-8")
    raise _Unreadable("bad_media", f"bodies of type {media[:100]} are not taken", "send JSON, a form, or text")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise _Unreadable("bad_body", "the JSON of the body is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise _Unreadable("bad_body", f"the body is not JSON: {error}") from None


def _form(body: bytes) -> Any:
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise _Unreadable("bad_body", "the form is not UTF-8") from None
    except ValueError:
        raise _Unreadable("bad_body", f"the form has more than {MAX_FIELDS} fields") from None
    fields = _grouped(pairs)
    if fields.keys() == {"payload"} and len(fields["payload"]) == 1:
        # So GitHub and others send their JSON where a form was asked for.
        try:
            return _json(fields["payload"][0].encode())
        except _Unreadable:
            pass
    return {name: values if len(values) > 1 else values[0] for name, values in fields.items()}


def _text(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except UnicodeDecodeError:
        raise _Unreadable("bad_body", f"the text is not {charset.upper()}") from None


def _charset(parameters: str) -> str:
    found = re.search(r'charset\s*=\s*"?([A-Za-z0-9_.:-]+)', parameters, re.IGNORECASE)
    name = found[1].lower() if found else "utf-8"
    if name not in _CHARSETS:
        raise _Unreadable("bad_media", f"text in {name} is not taken", "send UTF-8")
    return _CHARSETS[name]


# What the trigger makes of it


def _key(trigger: Trigger, headers: Mapping[str, str], scope: Mapping[str, Any]) -> str:
    declared = trigger.config.get("key")
    value = compile_value(declared).render(scope).value if declared else None
    text = "" if value is None else value if isinstance(value, str) else canonical(value).decode()
    # A key that is null in this request names nothing: its sender's id of the delivery still does.
    text = text or next((headers[name] for name in _DELIVERY if headers.get(name)), "")
    # What lists show and indexes hold is short, and has no characters that a database refuses.
    return text if len(text) <= MAX_KEY and text.isprintable() else f"sha256-{sha256(text.encode()).hexdigest()}"


def _wanted(trigger: Trigger, scope: Mapping[str, Any]) -> bool:
    test = trigger.config.get("if")
    if test is None:
        return True
    try:
        return compile_condition(test).evaluate(scope)
    except ExpressionError:
        return True
