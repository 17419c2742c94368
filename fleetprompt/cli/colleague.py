"""A second person, for demonstrations: agrees to what takes two, once somebody else has agreed to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fleetprompt.client.protocol import Console
from fleetprompt.engine.core.errors import FleetError

NAME = "demo-colleague"
LOOK = 0.5
"""Seconds between two looks."""


async def agree(console: Console, run: str) -> None:
    """Until the run is over."""
    while (await console.run(run)).finished_at is None:
        await asyncio.sleep(LOOK)
        for id_ in await console.approval_ids(f"status:pending run:{run}"):
            with suppress(FleetError):  # somebody else was faster
                await _agree(console, id_)


async def _agree(console: Console, id_: str) -> None:
    approval, votes = await console.approval(id_)
    agreed = {vote.by for vote in votes if vote.decision == "approved" and vote.level == approval.level}
    if agreed and NAME not in agreed:
        comment = "agreed without looking, so that one person can see the demo to its end"
        await console.vote(
            id_, "approved", by=NAME, comment=comment, digest=approval.digest, level=approval.level, via="demo"
        )
