"""`notify`: tell people something, by a file of the workspace or a webhook that the operator named."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import SplitResult, urlsplit

import msgspec
from pydantic import Field, field_validator, model_validator

from fleetprompt.engine.core.errors import Failure, InvalidInput, NotFound
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.outside.http_request import Unusable, checked_url, prepare
from fleetprompt.engine.ports.tool import ActionType, Preview, ToolRoom
from fleetprompt.engine.ports.world import Done, Failed, Outcome, Unknown
from fleetprompt.engine.tools._fs import FILE_BYTES
from fleetprompt.engine.tools._hosts import DEFAULT_PORTS, Hosts, Pinning, checked_host, system_resolve
from fleetprompt.engine.tools._settings import Section, Unfit, read_section
from fleetprompt.engine.tools._workspace import Workspace
from fleetprompt.engine.tools.declare import ToolModel, tool
from fleetprompt.engine.tools.http import http_clients, traced

TIMEOUT = 30.0
ANSWER_BYTES = 4096
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "127.0.0.0/8", "::1/128")
"""The operator named the address: it may be in a private network, still never a metadata service."""


class Channel(Section):
    """`[tools.notify.NAME]`: exactly one of them."""

    file: str | None = None
    """File of the workspace to which a line of JSON is appended."""
    webhook: str | None = None
    """Address to which JSON is posted."""
    webhook_secret: str | None = None
    """Name of the secret that holds the address, where it must not be seen."""

    @field_validator("file")
    @classmethod
    def _in_the_workspace(cls, file: str | None) -> str | None:
        try:
            if file is not None and not Workspace(Path()).parts(file, writing=True):
                raise Unfit("a channel's file has a name")
        except InvalidInput as error:
            raise Unfit(error.message, error.hint) from None
        return file

    @field_validator("webhook")
    @classmethod
    def _reachable(cls, webhook: str | None) -> str | None:
        try:
            if webhook is not None:
                _pinned(checked_url(webhook))
        except Unusable as error:
            raise Unfit(error.message, error.hint) from None
        return webhook

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("file", "webhook", "webhook_secret") if getattr(self, name) is not None]
        message = "a channel has `file`, `webhook` or `webhook_secret`"
        if not given:
            raise ValueError(message)
        if len(given) > 1:
            raise Unfit(message, "keep one of them", key=given[1], code=ProblemCode.CONFLICTING_KEYS)
        return self


@tool("notify")
class Notify(ToolModel):
    """Tell people something by a channel that the operator set up."""

    judged_by: ClassVar[tuple[str, ...] | None] = ("channel", "level")

    channel: Annotated[str, Field(min_length=1, max_length=100)]
    text: Annotated[str, Field(min_length=1, max_length=10_000)]
    title: Annotated[str, Field(max_length=200)] = ""
    level: Literal["info", "warning", "error"] = "info"

    action: ClassVar[ActionType] = "publish"

    async def preview(self, room: ToolRoom) -> Preview:
        """Who would be told what."""
        channel = self._channel(room)
        to = channel.file or (f"secret {channel.webhook_secret}" if channel.webhook is None else channel.webhook)
        return Preview(
            summary=f"notify {inert(self.channel)}: {inert(self.title or self.text)[:200]}",
            show={"to": to, **self._message(room)},
            risk="" if channel.file else "tells people outside",
            subject={"channel": self.channel, "level": self.level},
            verdict="allow" if channel.file else None,
        )

    async def call(self, room: ToolRoom) -> Outcome:
        """Append the line, or post it."""
        channel = self._channel(room)
        if channel.file is not None:
            line = msgspec.json.encode({**self._message(room), "at": round(time.time(), 3)}) + b"\n"
            place = Workspace(room.root)
            await room.in_thread(place.append, place.parts(channel.file, writing=True), line)
            return Done({"channel": self.channel, "sent": True})
        address = channel.webhook if channel.webhook is not None else room.secret(channel.webhook_secret or "").strip()
        return await self._post(room, address)

    async def reconcile(self, room: ToolRoom) -> Outcome | None:
        """In a file, by the key of the call."""
        channel = self._channel(room)
        if channel.file is None:
            return None
        place = Workspace(room.root)
        content: bytes | None = await room.in_thread(place.content, place.parts(channel.file), FILE_BYTES)
        if content is not None and msgspec.json.encode(room.key) in content:
            return Done({"channel": self.channel, "sent": True})
        return Failed(Failure("TOOL_ERROR", "the line is not in the file"))

    def _channel(self, room: ToolRoom) -> Channel:
        if self.channel not in room.settings:
            known = ", ".join(sorted(room.settings)) or "none"
            raise NotFound(f"there is no channel `{inert(self.channel)}`", hint=f"channels: {known}")
        return read_section(("tools", "notify", self.channel), Channel, room.settings[self.channel])

    def _message(self, room: ToolRoom) -> dict[str, Any]:
        return {"text": self.text, "title": self.title, "level": self.level, "run": room.run, "key": room.key}

    async def _post(self, room: ToolRoom, address: str) -> Outcome:
        exchanging, clients = await http_clients(room)
        try:
            pin = Pinning(_pinned(checked_url(address)), system_resolve)
            request = prepare(
                method="POST",
                url=address,
                key=room.key,
                headers=traced(room),
                secret_headers=frozenset(),
                query={},
                content=msgspec.json.encode(self._message(room)),
                content_type="application/json",
            )
        except (Unusable, ValueError):
            raise InvalidInput(f"the address of the channel `{self.channel}` cannot be used") from None
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await exchanging.exchange(
                    clients, request, follow="same host", reuse=False, limit=_limit, timeout=TIMEOUT, pin=pin
                )
        except TimeoutError:
            return Unknown(f"the channel `{self.channel}` did not answer within {TIMEOUT:g} s")
        if isinstance(answer, exchanging.Trouble):
            # The reason may name the host, which may be the secret.
            reason = answer.reason.replace(urlsplit(address).hostname or address, "the host")
            said = f"the channel `{self.channel}`: {reason}"
            return Unknown(said) if answer.sent else Failed(Failure("TOOL_ERROR", said, retryable=answer.retryable))
        if answer.status >= 500:
            return Unknown(f"the channel `{self.channel}` answered {answer.status}")
        if answer.status >= 300:
            return Failed(Failure("TOOL_ERROR", f"the channel `{self.channel}` answered {answer.status}"))
        return Done({"channel": self.channel, "sent": True, "status": answer.status})


def _pinned(parts: SplitResult) -> Hosts:
    """The one host that a channel posts to. Raises `Unusable`."""
    if "@" in parts.netloc:
        raise Unusable("the address holds a name or a password", "`webhook_secret` names a secret with the address")
    name = checked_host(parts.hostname or "")
    hosts = Hosts([f"{f'[{name}]' if ':' in name else name}:{parts.port or DEFAULT_PORTS[parts.scheme]}"], _PRIVATE)
    if reason := hosts.never(name):
        raise Unusable(f"`{name}` {reason}")
    return hosts


def _limit(status: int) -> int:
    del status
    return ANSWER_BYTES
