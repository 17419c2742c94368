"""File watches in an engine on real files: each change starts one run, whatever is started again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.core.firing import Firing
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import FIRING_FIELDS
from fleetprompt.engine.core.signal import SET_SCHEDULE, Signal
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.ports import Page
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime import watches
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.store.database import SqlStore
from fleetprompt.engine.store.firings import SqlFirings

FLOW = """
name: take
triggers: [{type: watch, id: drop, paths: "../in/*.csv", settle: SETTLE, OPTIONS}]
inputs: {path: string, event: string}
steps: [{id: a, type: transform, output: "${{ inputs.event }} ${{ inputs.path }}"}]
"""


@asynccontextmanager
async def watching(
    root: Path, options: str = "events: [created, modified, deleted]", settle: str = "50ms"
) -> AsyncGenerator[Engine]:
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
    text = FLOW.replace("OPTIONS", options).replace("SETTLE", settle)
    for folder in ("workflows", "in"):
        (root / folder).mkdir(exist_ok=True)
    file = root / "workflows/take.yaml"
    file.write_text(text)
    async with Engine(SqlStore(root / "fleet.db"), directory=root, fires=True) as engine:
        await engine.workflows.register(load_text(text, "take.yaml", file.parent).plan, source=text, file=str(file))
        yield engine


async def firings(engine: Engine) -> list[Firing]:
    found, _ = await engine.store.firings.list(parse("", FIRING_FIELDS), Page(limit=500), now=engine.now())
    return found[::-1]


async def until(test: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(60):
        while not (found := await test()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found


async def said(engine: Engine, count: int) -> list[str]:
    """What the runs that were started have said, in the order of their firings."""

    async def there() -> list[Firing]:
        found = await firings(engine)
        return found if len(found) >= count else []

    outputs: list[str] = []
    for firing in await until(there):
        if firing.outcome == "fired":
            await until(lambda run=firing.run: engine.store.runs.get(run))
            await engine.wait(firing.run)
            state = await engine.load(firing.run)
            outputs.append(str(state.output) if state is not None else "")
    return outputs


async def begun(engine: Engine) -> None:
    """Until files have been looked at."""

    async def looked() -> bool:
        return any(kept.files is not None for kept in engine.watches._kept.values())

    await until(looked)


async def restless(engine: Engine) -> bool:
    """Whether a file was found to have changed, and is not left alone yet."""
    return any(kept.files is not None and kept.files.next is not None for kept in engine.watches._kept.values())


async def test_changes_start_runs_and_what_is_there_does_not(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/old.csv").write_text("old")
    async with watching(tmp_path) as engine:
        await begun(engine)
        (tmp_path / "in/a.csv").write_text("1")
        (tmp_path / "in/other.txt").write_text("1")
        assert await said(engine, 1) == ["created in/a.csv"]
        (tmp_path / "in/a.csv").write_text("22")
        assert await said(engine, 2) == ["created in/a.csv", "modified in/a.csv"]
        (tmp_path / "in/a.csv").unlink()
        assert (await said(engine, 3))[-1] == "deleted in/a.csv"


async def test_a_file_that_comes_before_anybody_has_looked_is_not_overlooked(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        # It is registered, and nobody has looked at its files yet.
        (tmp_path / "in/a.csv").write_text("1")
        assert await engine.store.firings.standing("take", "drop") is None
        assert await said(engine, 1) == ["modified in/a.csv"]


async def _set(engine: Engine, state: str) -> Any:
    data = {"workflow": "take", "trigger": "drop", "state": state, "reason": "incident 7"}
    now = engine.now()
    result = await engine.bus.submit(
        Signal(id=f"{state}-{now}", type=SET_SCHEDULE, source="test", at=now, data=data, by="ana")
    )
    assert result.status == "accepted", result
    return result.data


async def test_a_watch_that_is_paused_lets_changes_go_by_and_goes_on_from_then_on(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
        assert await _set(engine, "paused") == {"changed": True}
        assert await _set(engine, "paused") == {"changed": False}
        (tmp_path / "in/a.csv").write_text("1")
        assert await said(engine, 1) == []
        (skipped,) = await firings(engine)
        assert (skipped.outcome, skipped.reason, skipped.run) == ("skipped", "paused by ana: incident 7", "")
    # Nor is anything made up for of what changed while nobody was there.
    (tmp_path / "in/b.csv").write_text("1")
    async with watching(tmp_path) as engine:
        assert await said(engine, 2) == []
        assert await _set(engine, "active") == {"changed": True}
        (tmp_path / "in/c.csv").write_text("1")
        assert await said(engine, 3) == ["created in/c.csv"]
    async with watching(tmp_path) as engine:
        await begun(engine)
        (tmp_path / "in/d.csv").write_text("1")
        found = [(each.scheduled[:8], each.outcome) for each in await until_four(engine)]
        assert found == [(f"in/{n}.csv", "skipped") for n in "ab"] + [(f"in/{n}.csv", "fired") for n in "cd"]


async def until_four(engine: Engine) -> list[Firing]:
    await said(engine, 4)
    return await firings(engine)


async def test_what_could_not_be_recorded_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "LATER_SECONDS", 0.1)
    async with watching(tmp_path) as engine:
        await begun(engine)
        add, failed = engine.store.firings.add, []

        async def failing(*given: Any) -> Firing | None:
            if not failed:
                failed.append(given)
                raise RuntimeError("once")
            return await add(*given)

        monkeypatch.setattr(engine.store.firings, "add", failing)
        (tmp_path / "in/a.csv").write_text("1")
        assert len(await said(engine, 1)) == 1
        assert failed


async def test_an_engine_that_begins_again_makes_up_for_what_it_missed_and_repeats_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
        (tmp_path / "in/a.csv").write_text("1")
        await said(engine, 1)
    (tmp_path / "elsewhere.csv").write_text("written long before it was moved there")
    (tmp_path / "elsewhere.csv").rename(tmp_path / "in/b.csv")
    for _ in range(3):
        async with watching(tmp_path) as engine:
            assert await said(engine, 2) == ["created in/a.csv", "modified in/b.csv"]
            (tmp_path / "in/a.csv").chmod(0o600)
    async with watching(tmp_path) as engine:
        (tmp_path / "in/c.csv").write_text("1")
        assert [firing.scheduled[:8] for firing in await until_three(engine)] == ["in/a.csv", "in/b.csv", "in/c.csv"]


async def until_three(engine: Engine) -> list[Firing]:
    await said(engine, 3)
    return await firings(engine)


async def test_an_engine_that_dies_before_it_has_said_up_to_when_repeats_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
        (tmp_path / "in/a.csv").write_text("1")
        await said(engine, 1)

        async def gone() -> None:
            pass

        engine.watches.close = gone  # type: ignore[method-assign]
    async with watching(tmp_path) as engine:
        (tmp_path / "in/b.csv").write_text("1")
        assert len(await said(engine, 2)) == 2
        assert [firing.outcome for firing in await firings(engine)] == ["fired", "fired"]


async def test_what_is_missed_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fleetprompt.engine.core import watching as core

    monkeypatch.setattr(core, "GRACE", -1e9)
    async with watching(tmp_path, "catchup: none") as engine:
        await begun(engine)
    (tmp_path / "in/a.csv").write_text("1")
    async with watching(tmp_path, "catchup: none", settle="0s") as engine:
        await until(lambda: firings(engine))
        [firing] = await firings(engine)
        assert (firing.outcome, firing.kind, firing.run) == ("missed", "watch", "")
        assert "catchup: none" in firing.reason
        assert not await engine.store.runs.unfinished(now=engine.now())


async def test_a_name_that_nobody_can_be_told_of_is_recorded(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
        Path(str(tmp_path / "in/\udcff.csv")).write_text("x")
        await until(lambda: firings(engine))
        [firing] = await firings(engine)
        assert (firing.outcome, firing.reason) == (
            "failed", "the name of in/\\xff.csv is no UTF-8: no run can be told of it"
        )  # fmt: skip


async def test_a_watch_that_leads_out_of_the_project_is_told_of_and_the_others_go_on(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
        text = (
            FLOW.replace("OPTIONS", "")
            .replace("SETTLE", "50ms")
            .replace("name: take", "name: far")
            .replace("../in", "../../in")
        )
        await engine.workflows.register(load_text(text, "far.yaml").plan, source=text, file="workflows/far.yaml")
        (tmp_path / "in/a.csv").write_text("1")
        assert await said(engine, 1) == ["created in/a.csv"]
        assert any(where == "watch far/drop" and "leads out" in what for _, where, what in engine.troubles)


@pytest.mark.parametrize("seen", [True, False])
async def test_what_changes_as_an_engine_leaves_is_found_by_the_next(tmp_path: Path, seen: bool) -> None:
    """It is not left alone yet, or nobody has looked since: that it was there before the end says nothing."""
    async with watching(tmp_path, settle="1h" if seen else "50ms") as engine:
        await begun(engine)
        (tmp_path / "in/a.csv").write_text("1")
        if seen:
            await until(lambda: restless(engine))
    async with watching(tmp_path) as engine:
        assert len(await said(engine, 1)) == 1


async def test_what_is_being_written_as_an_engine_comes_is_left_alone_first(tmp_path: Path) -> None:
    # The next engine looks by what was registered before, until it is registered anew.
    async with watching(tmp_path, settle="1h") as engine:
        await begun(engine)
    (tmp_path / "in/a.csv").write_text("1")
    async with watching(tmp_path, settle="1h") as engine:
        await until(lambda: restless(engine))
        assert await firings(engine) == []


async def test_an_engine_that_is_there_for_one_run_watches_nothing(tmp_path: Path) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
    (tmp_path / "in/a.csv").write_text("1")
    async with Engine(SqlStore(tmp_path / "fleet.db"), directory=tmp_path) as engine:
        await asyncio.sleep(0)
    async with watching(tmp_path) as engine:
        assert len(await said(engine, 1)) == 1


@pytest.mark.parametrize("begins", [False, True])
async def test_what_is_being_recorded_as_the_engine_closes_is_found_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    reached = asyncio.Event()

    async def slow(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with watching(tmp_path) as engine:
        await begun(engine)
        if not begins:
            monkeypatch.setattr(engine.store.firings, "add", slow)
            (tmp_path / "in/a.csv").write_text("1")
            await reached.wait()
    if begins:
        (tmp_path / "in/a.csv").write_text("1")
        with monkeypatch.context() as patched:
            patched.setattr(SqlFirings, "add", slow)
            async with watching(tmp_path):
                await reached.wait()
    async with watching(tmp_path) as engine:
        assert await said(engine, 1) == ["modified in/a.csv"]


async def test_what_was_missed_and_cannot_be_asked_for_at_first_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watching(tmp_path) as engine:
        await begun(engine)
    (tmp_path / "in/a.csv").write_text("1")
    get, failed = SqlFirings.get, []

    async def failing(*given: Any, **which: Any) -> Firing | None:
        if not failed:
            failed.append(given)
            raise StoreUnavailable("once")
        return await get(*given, **which)

    monkeypatch.setattr(SqlFirings, "get", failing)
    async with watching(tmp_path) as engine:
        assert await said(engine, 1) == ["modified in/a.csv"]
    assert failed


async def test_folders_are_not_watched_anew_because_others_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import watchfiles

    begun_, awatch = [], watchfiles.awatch

    def counted(*folders: Any, **options: Any) -> Any:
        begun_.append(folders)
        return awatch(*folders, **options)

    monkeypatch.setattr(watchfiles, "awatch", counted)
    async with watching(tmp_path) as engine:
        for n in range(3):
            await engine.others_wrote()
            (tmp_path / f"in/{n}.csv").write_text("1")
            await said(engine, n + 1)
        assert len(begun_) == 1
