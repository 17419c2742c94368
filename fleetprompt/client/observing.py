"""Who is told of what an engine commits: logs, and traces where somebody has configured a receiver."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fleetprompt import __version__
from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.telemetry.logs import FIELDS, JsonLines, RunLog, json_lines
from fleetprompt.engine.telemetry.otel import OpenTelemetry, Target, open_telemetry

if TYPE_CHECKING:
    from fleetprompt.engine.telemetry.observing import Observer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""The variable of OpenTelemetry that says where to send."""
FROM = "env:"
_log = logging.getLogger("fleetprompt.serve")


class Observed:
    """Those who are told, and how what they are told is masked."""

    def __init__(self, lines: JsonLines | None, telemetry: OpenTelemetry | None) -> None:
        self._lines = lines
        self._telemetry = telemetry
        self.observers: list[Observer] = [RunLog()] if lines is not None else []
        if telemetry is not None:
            self.observers.append(telemetry)

    def redact_by(self, redact: Callable[[str], str]) -> None:
        """Mask what an engine knows to be secret, which is more than what was known before it was there."""
        for each in (self._lines, self._telemetry):
            if each is not None:
                each.redact = redact


@asynccontextmanager
async def observed(state: Path, *, logs: bool, target: Target | None) -> AsyncGenerator[Observed]:
    """Those who are told while this lasts. `state` has the secrets, `logs`: as JSON on standard error. Raises
    `InvalidInput` for a receiver that cannot be told."""
    secrets = Secrets(state / "secrets.toml")
    with ExitStack() as stack:
        lines = stack.enter_context(json_lines(redact=secrets.redact)) if logs else None
        telemetry = None
        if target is not None:
            telemetry = open_telemetry(target, version=__version__, redact=secrets.redact)
        try:
            yield Observed(lines, telemetry)
        finally:
            if telemetry is not None:
                # It waits for the receiver, a few seconds at most.
                await asyncio.to_thread(telemetry.close)


def logged(event: str, text: str, **more: str) -> None:
    """Log what a daemon says of itself."""
    _log.info(text, extra={FIELDS: {"event": event, **more}})


def target_of(endpoint: str, headers: Mapping[str, str], service: str) -> Target | None:
    """Where to send what the settings say, or the environment; None: nowhere. Raises `InvalidInput`."""
    endpoint = endpoint or os.environ.get(ENDPOINT, "")
    if not endpoint:
        return None
    return Target(
        endpoint=endpoint, headers={name: _value(name, value) for name, value in headers.items()}, service=service
    )


def _value(name: str, value: str) -> str:
    if not value.startswith(FROM):
        return value
    variable = value.removeprefix(FROM)
    if variable not in os.environ:
        where = f"fleet.toml, [telemetry] otlp_headers.{name}"
        raise InvalidInput(f"the variable {variable} is not set", where=where, hint=f"export {variable}=…")
    return os.environ[variable]
