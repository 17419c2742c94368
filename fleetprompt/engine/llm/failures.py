"""What an exception under a request to a model means: whether to ask again, and whether it may be billed. PURE.

The libraries below wrap each other's errors, and invent an HTTP status where there was no answer. So the whole chain
is looked at by the names of its classes, and a status counts only where the server sent one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from msgspec import Struct

from fleetprompt.engine.core.errors import Code
from fleetprompt.engine.ports.model import FailureKind, ModelFailed, Spent

LONGEST: Final = 500
"""Characters of what a provider said that are kept."""
LONGEST_WAIT: Final = 86_400.0

_NOT_SENT: Final = {
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ConnectionTimeoutError",
    "ClientConnectorError",
    "ClientProxyConnectionError",
    "ConnectionRefusedError",
    "EndpointConnectionError",
    "gaierror",
    "SSLError",
}
_UNUSABLE: Final = {
    "UnsupportedParamsError",
    "InvalidURL",
    "InvalidUrlClientError",
    "UnsupportedProtocol",
    "LLM Provider NOT provided",
}
_TIMEOUT: Final = {"Timeout", "APITimeoutError", "ReadTimeout", "WriteTimeout", "TimeoutException", "TimeoutError"}
_TRANSPORT: Final = {
    "ReadError",
    "WriteError",
    "ProtocolError",
    "RemoteProtocolError",
    "TransportError",
    "RequestError",
    "ClientError",
    "MidStreamFallbackError",
    "ConnectionError",
    "APIConnectionError",
}
_TORN: Final = {
    "TransferEncodingError",
    "ContentLengthError",
    "ClientPayloadError",
    "IncompleteRead",
    "ReadError",
    "RemoteProtocolError",
}
ENDED: Final = "the stream ended before the answer was complete"
"""What is said of a connection that was torn down in the middle of an answer, in the place of what the library below
says of its bytes."""
_CONTEXT: Final = {"ContextWindowExceededError"}
_STATUS_OF: Final = {
    "BadRequestError": 400,
    "ContentPolicyViolationError": 400,
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "UnprocessableEntityError": 422,
    "RateLimitError": 429,
}
"""Classes that mean what they say, also where no response is in the chain."""
_CONTEXT_WORDS: Final = re.compile(r"context[ _](?:length|window)|prompt is too long|too many (?:input )?tokens", re.I)
_QUOTA_WORDS: Final = re.compile(r"insufficient_quota|credit balance|billing|exceeded your current quota", re.I)
_PREFIX: Final = re.compile(
    r"^(?:\s*(?:litellm\.)?(?:[A-Z]\w*(?:Error|Exception|Timeout)(?: \w+Error)?)\s*(?::|-)\s*)+"
)
_SUFFIX: Final = re.compile(r"\.? *Handle with `litellm\.\w+`\.")
_IN_JSON: Final = re.compile(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"')
_ORIGINAL: Final = re.compile(r"\s*Original exception:.*", re.S)
_DELAY: Final = re.compile(r'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')


class Fault(Struct, frozen=True):
    """An exception, as far as it matters."""

    classes: tuple[str, ...]
    """Names of the classes of the chain, bases included, the outermost first."""
    message: str
    status: int | None = None
    """HTTP status that the server sent; None: it sent none."""
    headers: Mapping[str, str] = {}


def fault_of(error: BaseException) -> Fault:
    """What matters of an exception and its causes."""
    classes: list[str] = []
    status: int | None = None
    headers: dict[str, str] = {}
    for link in chain(error):
        classes += [
            kind.__name__ for kind in type(link).__mro__ if kind.__module__ != "builtins" or issubclass(kind, OSError)
        ]
        if status is None:
            status = _sent_status(link)
        headers = headers or _headers(link)
    if status is None:
        named = next((name for name in classes if name in _STATUS_OF), "")
        status = _STATUS_OF.get(named)
    return Fault(tuple(classes), _said(error), status, headers)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _sent_status(link: BaseException) -> int | None:
    module, name = type(link).__module__, type(link).__name__
    if module.startswith("litellm"):
        return None
    if name == "HTTPStatusError" or (module.startswith("openai") and not name.startswith("APIConn")):
        status = getattr(getattr(link, "response", None), "status_code", None) or getattr(link, "status_code", None)
        return status if isinstance(status, int) else None
    return None


def _headers(link: BaseException) -> dict[str, str]:
    found: Any = getattr(link, "litellm_response_headers", None)
    if found is None and not type(link).__module__.startswith("litellm"):
        found = getattr(getattr(link, "response", None), "headers", None)
    if not found:
        return {}
    try:
        return {str(key).lower(): str(value) for key, value in dict(found).items()}
    except (TypeError, ValueError):
        return {}


def _said(error: BaseException) -> str:
    text = _ORIGINAL.sub("", str(error) or type(error).__name__)
    text = _SUFFIX.sub("", _PREFIX.sub("", text)).strip()
    if text.startswith(("{", "b'{", 'b"{')) and (found := _IN_JSON.search(text)):
        text = found[1] if not (delay := _DELAY.search(text)) else f"{found[1]} ({delay[0]})"
    return text or type(error).__name__


def failure(fault: Fault, *, model: str, base: str, begun: bool, received: int, now: float) -> ModelFailed:
    """What a fault means. `begun`: a part of the answer came; `received`: its tokens; `now`: seconds since 1970."""
    kind, code, retryable, spent, what, hint = _meaning(fault, begun, base)
    said = ENDED if begun and set(fault.classes) & _TORN else fault.message
    said = said if len(said) <= LONGEST else said[:LONGEST] + "…"
    return ModelFailed(
        f"`{model}` {what}: {said}",
        kind=kind,
        code=code,
        retryable=retryable,
        spent=spent,
        retry_after=retry_after(fault.headers, fault.message, now),
        status=fault.status,
        received=received,
        hint=hint,
    )


Meaning = tuple[FailureKind, Code, bool, Spent, str, str]
"""Kind, code, whether another attempt can help, what may be billed, what happened, what to do."""


def _meaning(fault: Fault, begun: bool, base: str) -> Meaning:
    names = set(fault.classes)
    if begun:
        if names & _TIMEOUT and "MidStreamFallbackError" not in names:
            return "timeout", "TIMEOUT", True, "uncertain", "fell silent in the middle of its answer", ""
        return "broken", "AGENT_ERROR", True, "uncertain", "broke off in the middle of its answer", ""
    if names & _UNUSABLE or "LLM Provider NOT provided" in fault.message:
        hint = "write the model as provider/model, such as openai/gpt-5.4-mini"
        return "refused", "VALIDATION_ERROR", False, "nothing", "cannot be asked this", hint
    if names & _NOT_SENT:
        hint = f"is a server running at {base}?" if base else "check the network, and HTTPS_PROXY"
        return "not_sent", "AGENT_ERROR", True, "nothing", "could not be reached", hint
    if names & _CONTEXT or (fault.status in (400, 413) and _CONTEXT_WORDS.search(fault.message)):
        hint = "shorten the prompt or the tools' results, or use a model with a larger context"
        return "context", "VALIDATION_ERROR", False, "nothing", "cannot take so long a prompt", hint
    if fault.status is not None:
        return _by_status(fault.status, fault.message)
    if names & _TIMEOUT:
        return "timeout", "TIMEOUT", True, "uncertain", "did not answer in time", ""
    if "JSONDecodeError" in names:
        return "answer", "AGENT_ERROR", True, "uncertain", "answered with something that cannot be read", ""
    if names & _TRANSPORT:
        return "broken", "AGENT_ERROR", True, "uncertain", "broke the connection off", ""
    return "broken", "AGENT_ERROR", False, "uncertain", "failed in a way that is not known", ""


def _by_status(status: int, message: str) -> Meaning:
    match status:
        case 401 | 403:
            hint = "check the key: `fleet doctor` says where it comes from"
            return "refused", "VALIDATION_ERROR", False, "nothing", f"refused the key (HTTP {status})", hint
        case 402:
            return (
                "refused",
                "AGENT_ERROR",
                False,
                "nothing",
                "wants to be paid (HTTP 402)",
                "add credit to the account",
            )
        case 404:
            hint = "check the name of the model and api_base"
            return "refused", "VALIDATION_ERROR", False, "nothing", "does not exist there (HTTP 404)", hint
        case 408 | 504:
            return "timeout", "TIMEOUT", True, "uncertain", f"did not answer in time (HTTP {status})", ""
        case 429 if _QUOTA_WORDS.search(message):
            return (
                "refused",
                "RATE_LIMIT",
                False,
                "nothing",
                "has no quota left (HTTP 429)",
                "add credit to the account",
            )
        case 429:
            return "overloaded", "RATE_LIMIT", True, "nothing", "gets too many requests (HTTP 429)", ""
        case 409 | 503 | 529:
            return "overloaded", "AGENT_ERROR", True, "nothing", f"is overloaded (HTTP {status})", ""
        case _ if status >= 500:
            return "server", "AGENT_ERROR", True, "uncertain", f"failed (HTTP {status})", ""
        case _:
            return "refused", "VALIDATION_ERROR", False, "nothing", f"refused the request (HTTP {status})", ""


def retry_after(headers: Mapping[str, str], message: str, now: float) -> float | None:
    """Seconds that the other side asks us to wait: `Retry-After` as seconds or as a date, `retry-after-ms`, or the
    `retryDelay` in Google's message."""
    try:
        if (wait := headers.get("retry-after-ms")) is not None:
            return _bounded(float(wait) / 1000)
        if (text := headers.get("retry-after")) is not None:
            try:
                return _bounded(float(text))
            except ValueError:
                return _bounded(parsedate_to_datetime(text).timestamp() - now)
        if found := _DELAY.search(message):
            return _bounded(float(found[1]))
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None


def truncated(model: str, received: int) -> ModelFailed:
    """A stream that ended without saying why."""
    return ModelFailed(
        f"`{model}` ended its answer without a finish reason: it is cut off",
        kind="truncated",
        retryable=True,
        spent="uncertain",
        received=received,
    )


def silent(model: str, seconds: float, received: int, what: str) -> ModelFailed:
    """A request that takes too long. `what`: which of the limits in the model's settings it hit."""
    said = {
        "first": f"`{model}` did not begin to answer in {seconds:g} s",
        "idle": f"`{model}` fell silent for {seconds:g} s in the middle of its answer",
        "timeout": f"`{model}` did not finish its answer in {seconds:g} s",
    }[what]
    return ModelFailed(
        said,
        kind="timeout",
        code="TIMEOUT",
        retryable=True,
        spent="uncertain",
        received=received,
        hint=f"to wait longer, set `{what}` of the model in fleet.toml",
    )


def unusable(model: str, what: str, received: int) -> ModelFailed:
    """An answer that ended properly and is none."""
    return ModelFailed(f"`{model}` {what}", kind="answer", retryable=True, spent="uncertain", received=received)
