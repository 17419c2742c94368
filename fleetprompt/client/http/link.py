"""The way to a daemon: one request per question, one response that goes on per stream, all over HTTP/1.1.

What is lost is told from what is refused. Lost: nobody answers, or not in time; everything else is told so at once
until `back` has got through. Refused: somebody answered, and it is the caller's to know why.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

import httpx
import msgspec

from fleetprompt import __version__
from fleetprompt.client.http.address import Address
from fleetprompt.client.http.messages import BEAT_SECONDS, FACE, PATH, PROTOCOL, Hello, Told, Trouble
from fleetprompt.client.identity import Face, Forbidden
from fleetprompt.client.protocol import Disconnected
from fleetprompt.engine.core.errors import (
    FleetError,
    InvalidInput,
    NotFound,
    RateLimited,
    Refused,
    StoreUnavailable,
    TimedOut,
)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""How long an answer may take: commands wait for the engine, filters for the store."""
QUIET_SECONDS = 3 * BEAT_SECONDS
"""Silence after which a stream counts as lost."""
FIRST_SECONDS, MOST_SECONDS = 0.25, 5.0
"""How long to wait before a first try to get back, and at most; twice as long each time."""
ORGANIZATION = "x-elevaite-organizationid"
AT_ONCE = 100
"""Connections at most."""


class Unauthorized(Disconnected):
    """The daemon does not accept the token."""


class OtherVersion(Disconnected):
    """The daemon speaks another version of the console protocol."""


class _Problem(msgspec.Struct):
    """A problem document, as far as it is read here (RFC 9457)."""

    detail: str = ""
    hint: str = ""
    where: str = ""
    errors: list[dict[str, Any]] = []


_told = msgspec.json.Decoder(Told).decode


class Link:
    """To one daemon."""

    def __init__(self, address: Address, tenant: str = "", *, dice: Callable[[], float] = random.random) -> None:
        """`tenant` is asked for where there is no token. Raises `InvalidInput`, `NotFound` for files of the address."""
        self.address = address
        self.face: Face = "cli"
        self.lost = ""
        """Why it cannot be reached; empty while it can."""
        self.refused = False
        """It answers, and does not let one in."""
        self.told: Callable[[str], None] = lambda lost: None
        """Is told whenever that changes."""
        self._tenant = tenant
        self._dice = dice
        self._first: Hello | None = None
        """As whom one was let in."""
        self._closed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._wait = FIRST_SECONDS
        self._token = address.token()
        self._http = httpx.AsyncClient(
            base_url=address.url,
            transport=httpx.AsyncHTTPTransport(
                verify=address.trust() if address.url.startswith("https") else False,
                uds=address.socket or None,
                limits=httpx.Limits(max_connections=AT_ONCE, keepalive_expiry=30.0),
            ),
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    @property
    def closed(self) -> bool:
        """It was hung up."""
        return self._closed.is_set()

    async def close(self) -> None:
        """Hang up: streams end."""
        self._closed.set()
        await self._http.aclose()

    # ------------------------------------------------------------ asking

    async def hello(self) -> Hello:
        """Say hello. Raises `Unauthorized`, `OtherVersion`, `Disconnected`, or what the daemon refuses it with."""
        body = await self._got("GET", PATH, b"", sure=True)
        try:
            said = msgspec.json.decode(body, type=Hello)
        except msgspec.DecodeError:
            raise OtherVersion(f"what answers at {self.address.shown} is no daemon of this kind") from None
        if said.protocol != PROTOCOL:
            raise OtherVersion(
                f"the daemon is FleetPrompt {said.version} and speaks version {said.protocol} of the console protocol, "
                f"this is {__version__} and speaks version {PROTOCOL}",
                hint=f"use fleet {said.version} here, or bring the daemon to {__version__}",
            )
        self._same(said)
        return said

    def _same(self, said: Hello) -> None:
        """Go on as nobody else: what is shown, and what is asked before something is done, is somebody's. Raises
        `Unauthorized`."""
        was = self._first = self._first or said
        if (said.name, said.tenant, said.role) != (was.name, was.tenant, was.role):
            raise Unauthorized(
                f"{self.address.shown} takes one for {said.name} ({said.role} of {said.tenant}) by now, "
                f"and no more for {was.name} ({was.role} of {was.tenant})",
                hint="open the console anew",
            )

    async def ask(self, name: str, body: bytes, *, changes: bool) -> bytes:
        """Call a method; what it answers. `changes`: it changes something, so that nobody knows whether it happened
        where the answer is lost.

        Raises `Disconnected` and what the daemon refuses it with.
        """
        if self.lost:
            raise Disconnected(self.lost)
        try:
            return await self._got("POST", f"{PATH}/{name}", body, sure=not changes)
        except Disconnected as error:
            self._lose(error)
            raise

    async def _got(self, verb: str, path: str, body: bytes, *, sure: bool) -> bytes:
        try:
            response = await self._http.request(verb, path, content=body, headers=self._headers())
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise self._unreachable(error) from None
        except (httpx.TransportError, OSError, RuntimeError) as error:
            failed = self._unreachable(error)
            if not sure and not self.closed:
                failed.hint = "it may have been done all the same: look before you do it again"
            raise failed from None
        if response.status_code != 200:
            raise self._refused(response.status_code, response.content, response.headers)
        return response.content

    async def stream(self, name: str, body: bytes) -> AsyncGenerator[Told]:
        """What a method goes on telling, until the daemon ends it. Raises as `ask` does."""
        if self.lost:
            raise Disconnected(self.lost)
        timeout = httpx.Timeout(QUIET_SECONDS, connect=CONNECT_SECONDS)
        try:
            async with self._http.stream(
                "POST", f"{PATH}/{name}", content=body, headers=self._headers(), timeout=timeout
            ) as response:
                if response.status_code != 200:
                    raise self._refused(response.status_code, await response.aread(), response.headers)
                async with aclosing(_lines(response)) as lines:
                    async for line in lines:
                        told = _told(line)
                        if told.trouble is not None:
                            raise self._trouble(told.trouble)
                        if told.over:
                            return
                        yield told
            raise Disconnected(f"{self.address.shown} has ended the connection")
        except Disconnected as error:
            self._lose(error)
            raise
        except msgspec.DecodeError as error:
            # It goes on telling that, and whoever listens begins anew: not as fast as they can.
            with suppress(TimeoutError):
                async with asyncio.timeout(MOST_SECONDS):
                    await self._closed.wait()
            raise OtherVersion(f"the daemon tells what is not understood here: {error}") from None
        except (httpx.TransportError, httpx.StreamError, OSError, RuntimeError) as error:
            failed = self._unreachable(error)
            self._lose(failed)
            raise failed from None

    def _headers(self) -> dict[str, str]:
        headers = {FACE: self.face, "content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        elif self._tenant:
            headers[ORGANIZATION] = self._tenant
        return headers

    # ------------------------------------------------------------ what goes wrong

    def _unreachable(self, error: Exception) -> Disconnected:
        shown = self.address.shown
        if isinstance(error, httpx.TimeoutException):
            return Disconnected(f"{shown} does not answer")
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            why = str(error).partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0]
            hint = "give the authority that has signed it with --ca-file"
            return Disconnected(f"the certificate of {shown} is not trusted: {why}", hint=hint)
        cause: BaseException | None = error
        while cause is not None and not (isinstance(cause, OSError) and cause.errno):
            cause = cause.__cause__ or cause.__context__
        why = ""
        if isinstance(cause, OSError) and cause.errno:
            # Names that cannot be resolved have numbers of their own.
            why = f": {os.strerror(cause.errno) if cause.errno > 0 else cause.strerror}".lower()
        return Disconnected(f"{shown} cannot be reached{why}", hint="is `fleet serve` running there?")

    def _trouble(self, trouble: Trouble) -> FleetError:
        if trouble.status == 401:
            return self._unauthorized(trouble.detail)
        return _KINDS.get(trouble.status, FleetError)(trouble.detail, hint=trouble.hint)

    def _unauthorized(self, detail: str) -> Unauthorized:
        if not self._token:
            return Unauthorized(
                detail, hint="give --token-file with a token: `fleet token create NAME` makes one there"
            )
        file = self.address.token_file
        hint = f"put a new one into {file}: `fleet token create NAME` makes it where the daemon is"
        return Unauthorized(detail, where=str(file), hint=hint)

    def _refused(self, status: int, body: bytes, headers: httpx.Headers) -> FleetError:
        try:
            said = msgspec.json.decode(body, type=_Problem)
        except msgspec.DecodeError:
            return OtherVersion(
                f"what answers at {self.address.shown} is no daemon that consoles can attach to (HTTP {status})",
                hint="give the address that `fleet serve` has told, without a path",
            )
        detail = said.detail or f"HTTP {status}"
        if status == 401:
            return self._unauthorized(detail)
        if status == 429:
            after = headers.get("retry-after", "1")
            return RateLimited(detail, retry_after=float(after) if after.isdigit() else 1.0, hint=said.hint)
        if said.errors:
            detail = "\n".join([detail, *(_line(each) for each in said.errors)])
        return _KINDS.get(status, FleetError)(detail, where=said.where, hint=said.hint)

    # ------------------------------------------------------------ getting back

    def _lose(self, error: FleetError) -> None:
        refused = not isinstance(error, Disconnected) or isinstance(error, Unauthorized | OtherVersion)
        # Of a line that was just cut it is too early to say what to look at.
        why = f"{error.message} ({error.hint})" if error.hint and (refused or self.lost) else error.message
        if not self.closed and why != self.lost:
            self.lost, self.refused = why, refused
            self.told(why)

    async def back(self) -> bool:
        """Wait a while, the longer the more often it was in vain, and try to get through again; whether that is so.

        Several may wait for it: one tries for all.
        """
        async with self._one_at_a_time:
            if not self.lost or self.closed:
                return not self.closed
            # Consoles that were cut off together do not come back together.
            wait = self._wait * (0.5 + self._dice() / 2)
            self._wait = min(MOST_SECONDS, self._wait * 2)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._closed.wait()
                return False
            try:
                # It may have been exchanged meanwhile.
                self._token = self.address.token()
                await self.hello()
            except FleetError as error:
                self._lose(error)
                return False
            self._wait = FIRST_SECONDS
            self.lost, self.refused = "", False
            self.told("")
            return True


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes]:
    """The lines of a stream; those without anything only say that it goes on."""
    rest = b""
    async for some in response.aiter_raw():
        *lines, rest = (rest + some).split(b"\n")
        for line in lines:
            if line:
                yield line


def _line(problem: dict[str, Any]) -> str:
    said = str(problem.get("message") or problem.get("detail") or problem.get("code") or "")
    line, column = problem.get("line"), problem.get("column")
    return f"{problem.get('file', '')}:{line}:{column}: {said}" if line else said


_KINDS: dict[int, type[FleetError]] = {
    400: InvalidInput,
    403: Forbidden,
    404: NotFound,
    409: Refused,
    413: InvalidInput,
    421: Refused,
    422: InvalidInput,
    503: StoreUnavailable,
    504: TimedOut,
}
"""What an answer's status means, the other way round from the daemon's `problems`."""
