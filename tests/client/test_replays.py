"""Dead letters and replays through a console: what failed is tried again for its place alone, nothing comes twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from client_kit import ME, attached, embedded, place_at

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.files import load_file
from fleetprompt.client.protocol import Published, ReplayRange
from fleetprompt.engine.core.dead_letter import DeadLetter
from fleetprompt.engine.core.errors import InvalidInput, NotFound, Refused
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.ports import Page

STRICT = """
name: strict
triggers: [{id: t, type: signal, match: "deploy.*", inputs: {n: "${{ data.n }}"}}]
inputs: {n: {type: integer}}
steps: [{id: a, type: transform, output: "${{ inputs.n }}"}]
"""
LAX = """
name: lax
triggers: [{id: t, type: signal, match: "deploy.*"}]
steps: [{id: a, type: transform, output: 1}]
"""
MENDED = STRICT.replace("integer", "string")


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[EmbeddedConsole]:
    opened = await embedded(place_at(tmp_path))
    await register(opened, tmp_path, STRICT)
    await register(opened, tmp_path, LAX)
    yield opened
    await opened.close()


async def register(console: EmbeddedConsole, root: Path, text: str) -> None:
    file = root / f"{text.split()[1]}.yaml"
    file.write_text(text)
    await console.register(load_file(file))


async def send(console: EmbeddedConsole, id_: str, data: Any, type_: str = "deploy.done") -> None:
    await console.publish(Signal(id=id_, type=type_, source="ci", at=console.clock.now(), data=data))


async def dead(console: EmbeddedConsole, text: str = "") -> list[DeadLetter]:
    found, _ = await console.dead_letters(text, Page())
    return found


async def runs_of(console: EmbeddedConsole, workflow: str) -> int:
    return await console.count(f"wf:{workflow}")


async def test_what_could_not_start_is_tried_again_for_its_place_alone(
    console: EmbeddedConsole, tmp_path: Path
) -> None:
    await send(console, "s1", {"n": "many"})
    [letter] = await dead(console)
    assert (letter.target, letter.trigger, letter.signal, letter.code) == ("strict", "t", "s1", "VALIDATION_ERROR")
    assert "n" in letter.reason
    assert (await runs_of(console, "strict"), await runs_of(console, "lax")) == (0, 1)
    failed = await console.replay_letter(letter.id, by=ME)
    assert failed.status == "refused"
    assert [each.attempts for each in await dead(console)] == [2]
    await register(console, tmp_path, MENDED)
    done = await console.replay_letter(letter.id, by=ME)
    assert done.status == "accepted"
    head = await console.run(done.run)
    assert (head.workflow, head.labels["replay_of"]) == ("strict", "s1")
    assert [each.status for each in await dead(console)] == ["replayed"]
    assert (await runs_of(console, "strict"), await runs_of(console, "lax")) == (1, 1)
    with pytest.raises(Refused, match="replayed"):
        await console.replay_letter(letter.id, by=ME)
    with pytest.raises(NotFound):
        await console.replay_letter("dl-0", by=ME)


async def test_a_workflow_that_was_paused_meanwhile_and_a_trigger_that_is_gone_leave_letters(
    console: EmbeddedConsole, tmp_path: Path
) -> None:
    await send(console, "s1", {"n": "many"})
    [letter] = await dead(console)
    await console.set_workflow("strict", "paused", by=ME)
    assert (await console.replay_letter(letter.id, by=ME)).status == "refused"
    [found] = await dead(console)
    assert (found.attempts, found.status, found.reason) == (2, "dead", "workflow `strict` is not active")
    await console.set_workflow("strict", "active", by=ME)
    await register(console, tmp_path, MENDED.replace("id: t", "id: renamed"))
    assert (await console.replay_letter(letter.id, by=ME)).status == "accepted"
    assert [each.status for each in await dead(console)] == ["replayed"]


async def test_letters_are_dismissed_also_while_no_engine_runs(console: EmbeddedConsole, tmp_path: Path) -> None:
    await send(console, "s1", {"n": "many"})
    [letter] = await dead(console)
    other = await attached(place_at(tmp_path))
    try:
        result = await other.dismiss_letters([letter.id], by="ben")
    finally:
        await other.close()
    assert (result.status, result.data) == ("accepted", {"dismissed": 1})
    [found] = await dead(console, "status:dismissed")
    assert found.by == "ben"


# ---------------------------------------------------------------- ranges


async def said(console: EmbeddedConsole, **wanted: Any) -> list[Published]:
    return [each async for each in console.replay_range(ReplayRange(**wanted), by=ME)]


async def test_a_range_is_foreseen_and_said_again_in_order(console: EmbeddedConsole) -> None:
    for n in range(3):
        await send(console, f"s{n}", {"n": n})
    await send(console, "bad", {"n": "x"})
    await send(console, "other", None, "test.done")
    wanted = ReplayRange(filter="type:deploy.*,test.*")
    foreseen = await console.foresee_replay(wanted)
    assert foreseen.signals == 5
    assert foreseen.types == {"deploy.done": 4, "test.done": 1}
    assert foreseen.starts == {"lax": 4, "strict": 3}
    [(workflow, _, n)] = foreseen.problems
    assert (workflow, n) == ("strict", 1)
    assert foreseen.silent == 1
    assert await runs_of(console, "lax") == 4
    found = await said(console, filter="type:deploy.*,test.*")
    assert [each.signal.replay_of for each in found] == ["s0", "s1", "s2", "bad", "other"]
    assert (await runs_of(console, "lax"), await runs_of(console, "strict")) == (8, 6)


async def test_the_same_replay_says_nothing_twice_and_another_name_does(console: EmbeddedConsole) -> None:
    for n in range(3):
        await send(console, f"s{n}", {"n": n})
    asked: dict[str, Any] = {"filter": "type:deploy.*", "only": "strict"}
    interrupted = console.replay_range(ReplayRange(**asked), by=ME)
    assert (await anext(interrupted)).signal.replay_of == "s0"
    await interrupted.aclose()
    assert (await console.foresee_replay(ReplayRange(**asked))).before == 1
    assert [each.duplicate for each in await said(console, **asked)] == [True, False, False]
    assert [each.duplicate for each in await said(console, **asked)] == [True, True, True]
    assert (await runs_of(console, "strict"), await runs_of(console, "lax")) == (6, 3)
    assert not any(each.duplicate for each in await said(console, **asked, key="once more"))
    assert await runs_of(console, "strict") == 9


async def test_more_than_is_allowed_is_refused_and_nothing_is_said(console: EmbeddedConsole) -> None:
    for n in range(3):
        await send(console, f"s{n}", {"n": n})
    for limit in (2, 0, 10_001):
        with pytest.raises(InvalidInput):
            await said(console, filter="type:deploy.*", limit=limit)
    assert await runs_of(console, "lax") == 3
    assert len(await said(console, filter="type:deploy.*", limit=3)) == 3


async def test_the_engines_own_are_left_out(console: EmbeddedConsole) -> None:
    await send(console, "s0", {"n": 1})
    await console.set_workflow("lax", "paused", by=ME)
    foreseen = await console.foresee_replay(ReplayRange(filter=""))
    assert (foreseen.signals, foreseen.starts) == (1, {"strict": 1})
    assert foreseen.own > 1
