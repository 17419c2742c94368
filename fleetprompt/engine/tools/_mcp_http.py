"""How the address of an MCP server refuses requests: the SDK tells no statuses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

import msgspec

REFUSED = 400
"""Statuses from this one on are refusals."""
UNSURE = 500
"""From this one on nobody knows whether the server behind was reached: a gateway may have lost it meanwhile."""
DENIED = (401, 403)


class Refusals:
    """What one connection was refused."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.statuses: list[int] = []

    async def notice(self, response: Any) -> None:
        """Look at a response; a hook of the HTTP client."""
        if response.status_code >= REFUSED and not await _tells(response):
            self.statuses.append(int(response.status_code))

    def unsure(self, since: int) -> bool:
        """Whether a request after the first `since` refusals may have reached the server nevertheless."""
        return any(status >= UNSURE for status in self.statuses[since:])

    def told(self) -> str:
        """The last one, in words, with what to do about it; empty where there is none."""
        if not self.statuses:
            return ""
        status = self.statuses[-1]
        phrase = HTTPStatus(status).phrase if status in {each.value for each in HTTPStatus} else ""
        told = f"HTTP {status} {phrase}".rstrip()
        return f"{told}: look at `secrets` of [mcp.{self._server}]" if status in DENIED else told


async def _tells(response: Any) -> bool:
    """Whether it is an answer of the server itself, which says in JSON-RPC what is wrong."""
    if not str(response.headers.get("content-type", "")).startswith("application/json"):
        return False
    try:
        said: object = msgspec.json.decode(await response.aread())
    except msgspec.DecodeError:
        return False
    return isinstance(said, dict) and "jsonrpc" in cast("dict[str, object]", said)
