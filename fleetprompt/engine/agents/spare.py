"""What an agent keeps in reserve for its last request, so that at a limit it can finish with what it has.

Under `on_limit: wrap_up` a reservation for one more request without tools is held from the first request on: nobody
else can spend it, however many branches share the budget. It is measured anew with every request, and given back
with the last one, or at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from fleetprompt.engine.agents.transcript import Transcript
from fleetprompt.engine.core import evolve_work as kinds
from fleetprompt.engine.llm import prices
from fleetprompt.engine.ports.budget import Allowance, Amounts, Reserve, Settle
from fleetprompt.engine.ports.model import ModelRequest
from fleetprompt.engine.ports.work import NoteValue, WorkContext

ANSWER = 1024
"""Tokens that the last answer may have at most."""
RESULTS = 1000
"""Tokens of results of tools, besides those before, that the last prompt has room for."""


class Spare:
    """What one agent keeps."""

    def __init__(self, ctx: WorkContext, allowances: Sequence[Allowance], transcript: Transcript) -> None:
        self._ctx = ctx
        self._allowances = tuple(allowances)
        self._transcript = transcript

    def kept(self, request: ModelRequest, prompt: int) -> tuple[NoteValue, str]:
        """The note that keeps enough for the request after this one, whose prompt has so many tokens, and the id of the
        reservation."""
        effect, path = self._ctx.effect, self._transcript.path
        number = self._transcript.spares
        id_ = f"{effect.run}/{effect.path}/a{effect.attempt}/{path}/spare/{number}"
        longer, answer = prompt + request.max_tokens + RESULTS, min(request.max_tokens, ANSWER)
        amounts = Amounts(
            requests=1,
            tokens=math.ceil(longer * prices.MARGIN) + answer,
            cost_nano=prices.most(request.target.price, longer, answer) or 0,
        )
        value: dict[str, Any] = {"reserve": msgspec.to_builtins(Reserve(id_, self._allowances, amounts))}
        return (kinds.SPARED, path, value | self._settle()), id_

    def given_back(self) -> list[NoteValue]:
        """The note that gives it back; none where nothing is kept."""
        if not self._transcript.spare:
            return []
        return [(kinds.SPARED, self._transcript.path, self._settle())]

    def _settle(self) -> dict[str, Any]:
        held = self._transcript.spare
        return {"settle": msgspec.to_builtins(Settle(held))} if held else {}
