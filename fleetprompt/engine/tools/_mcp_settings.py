"""What the settings say about an MCP server."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.definition.problems import ProblemCode
from fleetprompt.engine.outside.http_request import HEADER, Unusable, checked_url
from fleetprompt.engine.tools._settings import Section, Unfit


class McpSettings(Section):
    """`[mcp.NAME]`."""

    command: Annotated[list[str], Field(min_length=1)] | None = None
    """Program to start, with its arguments; it runs in the project's folder."""
    url: str | None = None
    """Or the address of a server that speaks streamable HTTP."""
    env: list[str] = Field([])
    """Variables of the engine's environment that the program gets, besides PATH, HOME, USER and the like."""
    secrets: dict[str, str] = Field({})
    """Secrets by the variable of the program, or the header of the address, that each is handed over in."""
    allow: list[str] = Field(["*"])
    """Patterns of the tools to offer."""
    safe: list[str] = Field([])
    """Patterns of tools that only look: they may be called again when nobody knows whether they took effect."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds that a call may take."""
    start_timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    """Seconds that the server may take to start."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.command is None and self.url is None:
            raise ValueError("a server has `command` or `url`")
        if self.command is not None and self.url is not None:
            message = "a server has either `command` or `url`"
            raise Unfit(message, "keep one of the two", key="url", code=ProblemCode.CONFLICTING_KEYS)
        if self.url is not None:
            try:
                checked_url(self.url)
            except Unusable as error:
                raise Unfit(error.message, key="url") from None
            for name in self.secrets:
                if not HEADER.fullmatch(name):
                    raise Unfit(f"`{inert(name)}` is not the name of a header", key="secrets")
        for name in self.env:
            if name.upper().startswith("FLEET_SECRET_"):
                hint = f'write secrets = {{{name} = "NAME OF THE SECRET"}}'
                raise Unfit("secrets are not inherited", hint, key="env")
        return self
