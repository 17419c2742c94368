"""One attempt at a delivery: a signed CloudEvent to an address that was looked at, and what the receiver said."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from fleetprompt.engine.core.cloudevents_http import structured
from fleetprompt.engine.core.delivery import Answered, Delivery
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.core.subscription_settings import SubscriptionSettings
from fleetprompt.engine.outside.http_request import Unusable, prepare
from fleetprompt.engine.tools._hosts import DEFAULT_PORTS, NEVER, Address, Resolve, checked_host, embedded
from fleetprompt.engine.triggers.webhook import standard_key


class Posting:
    """Sends deliveries. `secret` gives the value of a secret, or raises what keeps it from that; `now` gives epoch
    seconds."""

    def __init__(self, secret: Callable[[str], str], now: Callable[[], float], resolve: Resolve) -> None:
        self._secret = secret
        self._now = now
        self._resolve = resolve

    async def post(self, delivery: Delivery, signal: Signal, to: SubscriptionSettings) -> Answered:
        """Try once, for as long as the subscription allows."""
        try:
            async with asyncio.timeout(to.timeout):
                return await self._post(delivery, signal, to)
        except TimeoutError:
            return Answered(reason=f"the receiver did not answer within {to.timeout:g} s", code="TIMEOUT")

    async def _post(self, delivery: Delivery, signal: Signal, to: SubscriptionSettings) -> Answered:
        exchanging, context = _load() if _load.cache_info().currsize else await asyncio.to_thread(_load)
        headers, body = structured(signal)
        try:
            key = standard_key(self._secret(to.secret))
        except FleetError as error:
            return Answered(reason=error.message)
        if key is None:
            return Answered(reason=f"the secret `{to.secret}` is not one of Standard Webhooks: whsec_ and base64")
        try:
            request = prepare(
                method="POST",
                url=to.url,
                key=delivery.id,
                headers=headers | _trace(signal) | signed(key, delivery.id, int(self._now()), body),
                secret_headers=frozenset(),
                query={},
                content=body,
            )
        except Unusable as error:
            return Answered(reason=error.message, hopeless=True)
        pin = Pin(to.networks, self._resolve)
        clients = exchanging.clients() or await exchanging.open_clients(context)
        answer = await exchanging.exchange(
            clients, request, follow="never", reuse=False, limit=_nothing, timeout=to.timeout, pin=pin
        )
        if isinstance(answer, exchanging.Trouble):
            late = answer.timeout
            return Answered(
                reason=answer.reason, code="TIMEOUT" if late else "TOOL_ERROR", hopeless=pin.refused is not None
            )
        return Answered(status=answer.status, retry_after=answer.headers.get("retry-after", ""))


def signed(key: bytes, id_: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks: id, time and body belong together, and come from whoever has the key."""
    digest = hmac.digest(key, f"{id_}.{at}.".encode() + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signature}


def _trace(signal: Signal) -> dict[str, str]:
    """Where in a trace it was sent (W3C), also for receivers that look at no CloudEvent."""
    return {"traceparent": signal.traceparent} if signal.traceparent else {}


class Pin:
    """Finds the address of a receiver, and looks at it: what was looked at is what is connected to."""

    def __init__(self, networks: list[str], resolve: Resolve) -> None:
        self._networks = [ip_network(network) for network in networks]
        self._resolve = resolve
        self.refused: str | None = None
        """Why it must not be reached, once that is known."""

    async def __call__(self, url: str) -> str:
        """The address. Raises `Unusable`."""
        import httpx

        read = httpx.URL(url)
        host = checked_host(read.raw_host.decode("ascii", "replace"))
        try:
            addresses = [ip_address(host)]
        except ValueError:
            found = await self._resolve(host, read.port or DEFAULT_PORTS[read.scheme])
            addresses = [ip_address(text.partition("%")[0]) for text in found]
        if not addresses:
            raise Unusable(f"`{host}` has no address")
        for address in addresses:
            # All of them: a name with a good and a bad address is somebody's attempt.
            if reason := self._refusal(address):
                self.refused = f"`{host}` is at {address}, which {reason}"
                raise Unusable(self.refused)
        return str(addresses[0])

    def _refusal(self, address: Address) -> str:
        plain = embedded(address)
        if any(plain.version == network.version and plain in network for network in NEVER):
            return "is link-local, a metadata service, or no host at all"
        if plain.is_global or any(plain.version == each.version and plain in each for each in self._networks):
            return ""
        return "is private, and not in the `networks` of the subscription"


def _nothing(status: int) -> int:
    """No byte of an answer is read: only its status counts."""
    del status
    return 0


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    from importlib import import_module

    import httpx

    exchanging = import_module("fleetprompt.engine.outside.http_exchange")
    import_module("anyio._backends._asyncio")
    return exchanging, httpx.create_ssl_context()
