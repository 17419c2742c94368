"""Following runs: what was recorded is told although it has not come yet, or was broken off while it came."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.cli.display import Silent
from fleetprompt.cli.follow import Following
from fleetprompt.cli.tree import Tree
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_files
from fleetprompt.client.opening import Place, make_state, open_console
from fleetprompt.client.protocol import StartRun
from fleetprompt.engine.core.signal import CANCEL
from fleetprompt.engine.ports import Page, Piece
from fleetprompt.engine.ports.model import Delta

GATED = "name: gated\nsteps: [{id: gate, type: approval, message: Go?}]"


async def test_who_has_seen_nothing_yet_catches_up_with_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / ".fleet"
    make_state(state)
    file = tmp_path / "gated.yaml"
    file.write_text(GATED)
    console = await open_console(Place(root=tmp_path, state=state, database=str(state / "fleet.db")), "engine")
    assert isinstance(console, EmbeddedConsole)
    try:
        run = await console.start(StartRun(files=load_files(file, tmp_path), by="ana"))
        while not (await console.approvals("status:pending", Page()))[0]:
            await console.engine.bus.drain()
        following = Following([run], Silent())
        at_plan, read_plan = asyncio.Event(), console.plan

        async def waits(digest: str) -> Any:
            at_plan.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(console, "plan", waits)
        reading = asyncio.ensure_future(following.read(console))
        await at_plan.wait()
        reading.cancel()
        await asyncio.wait([reading])
        monkeypatch.setattr(console, "plan", read_plan)
        await following.catch_up(console)
        seen = following.facts
        assert [step.path for step in following.trees[run].asking()] == ["gate"]
        await following.catch_up(console)
        assert following.facts == seen, "nothing is taken twice"
    finally:
        await console.close()


async def test_what_is_done_before_a_model_is_asked_stands_beside_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / ".fleet"
    make_state(state)
    file = tmp_path / "gated.yaml"
    file.write_text(GATED)
    heard: asyncio.Queue[str] = asyncio.Queue()
    hear = Tree.hear

    def told(tree: Tree, piece: Piece) -> None:
        hear(tree, piece)
        heard.put_nowait(piece.kind)

    monkeypatch.setattr(Tree, "hear", told)
    console = await open_console(Place(root=tmp_path, state=state, database=str(state / "fleet.db")), "engine")
    assert isinstance(console, EmbeddedConsole)
    loading = Delta("status", "loading the model layer")
    try:
        run = await console.start(StartRun(files=load_files(file, tmp_path), by="ana"))
        following = Following([run], Silent(), hears=True)
        reading = asyncio.ensure_future(following.read(console))
        for delta, shown in ((loading, True), (Delta("text", "So"), False), (loading, True), (Delta("reset"), False)):
            console.engine.pieces.put(run, "gate", "sre/llm/0", delta)
            async with asyncio.timeout(60):
                assert await heard.get() == delta.kind
            [row] = following.trees[run].rows(0.0)
            assert (loading.text in row.detail) == shown
        await console.command(CANCEL, run, by="ana")
        # Whoever listens does not keep what is over from having an end.
        async with asyncio.timeout(60):
            await reading
    finally:
        await console.close()
