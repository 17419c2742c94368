"""Sending a notification: by a webhook, or by whatever apprise knows. Raises what went wrong as `NotSent`."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.notice import Notice

TIMEOUT = 15.0
"""Seconds for a receiver to answer."""
LONGEST = 300
"""Characters of what apprise says of a failure."""


class NotSent(FleetError):
    """A notification was not sent."""


async def post(url: str, secret: str, id_: str, title: str, text: str, notices: Sequence[Notice], at: float) -> None:
    """Post a message as JSON, signed if there is a secret. Raises `NotSent`; what was sent again has the same id."""
    import httpx

    body: dict[str, Any] = {
        "type": "fleet.notification",
        "id": id_,
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
        "title": title,
        "text": f"{title}\n{text}",
        "notices": [msgspec.to_builtins(notice) for notice in notices],
    }
    content = json.dumps(body, ensure_ascii=False)
    headers = {"Content-Type": "application/json"}
    if secret:
        headers |= _signed(secret, id_, content)
    try:
        async with asyncio.timeout(TIMEOUT), httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            answer = await client.post(url, content=content.encode(), headers=headers)
    except TimeoutError:
        raise NotSent(f"the receiver did not answer within {TIMEOUT:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NotSent(f"the receiver cannot be reached: {error or type(error).__name__}") from None
    if not answer.is_success:
        raise NotSent(f"the receiver has answered with {answer.status_code}")


def _signed(secret: str, id_: str, content: str) -> dict[str, str]:
    from standardwebhooks import Webhook

    now = datetime.now(UTC)
    try:
        signature = Webhook(secret).sign(id_, now, content)
    except Exception as error:
        hint = "whsec_ and base64, as `openssl rand -base64 32` makes it"
        raise NotSent(f"the secret it is signed by cannot be used: {type(error).__name__}", hint=hint) from None
    return {"webhook-id": id_, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


def require_apprise() -> None:
    """Raise `InvalidInput` where apprise, which is an extra, is not installed."""
    from importlib.util import find_spec

    if find_spec("apprise") is None:
        hint = "pip install 'fleetprompt[notify]', or use `webhook`"
        raise InvalidInput("`apprise` is not installed", where="fleet.toml, [notifications]", hint=hint)


async def by_apprise(address: str, title: str, text: str) -> None:
    """Send a message to an address of apprise. Raises `NotSent`."""
    await asyncio.to_thread(_by_apprise, address, title, text)


def _by_apprise(address: str, title: str, text: str) -> None:
    import apprise

    sender: Any = apprise.Apprise()
    with _listening() as said:
        receiver: Any = sender.instantiate(address)
        if receiver is None:
            hint = "https://github.com/caronc/apprise lists them"
            raise NotSent("apprise does not understand the address", hint=hint)
        # It is text, and stays it: taken for HTML or Markdown, what a run says makes links, and a command that is
        # copied has other spaces.
        if "format=" not in address:
            receiver.notify_format = apprise.NotifyFormat.TEXT
        sender.add(receiver)
        if not sender.notify(title=title, body=text, body_format=apprise.NotifyFormat.TEXT):
            why = " ".join(" ".join(said).split())[:LONGEST] or "without a reason"
            raise NotSent(f"apprise could not send it: {why}")


@contextmanager
def _listening() -> Generator[list[str]]:
    """What apprise says in this thread of what goes wrong: it only answers that it did."""
    said: list[str] = []
    thread = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                said.append(record.getMessage())

    logger, listener = logging.getLogger("apprise"), Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
