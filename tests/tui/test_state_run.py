"""A run as it is loaded and kept up to date, from a real store with an engine beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from run_project import ME, Project

from fleetprompt.client.protocol import Console
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.ports import Stored
from fleetprompt.tui.state import run as run_state
from fleetprompt.tui.state.run import RunView
from fleetprompt.tui.state.tree_rows import tree_rows


@pytest.fixture
async def project(tmp_path: Path) -> AsyncIterator[Project]:
    made = await Project.open(tmp_path)
    yield made
    await made.console.close()


async def until(view: RunView, test: Callable[[], bool]) -> None:
    """Catch up until something holds."""
    async with asyncio.timeout(120):
        while not test():
            await asyncio.sleep(0.001)
            await view.catch_up()


def names(view: RunView) -> list[str]:
    return ["  " * node.depth + node.name for node in view.tree.visible()]


def status(view: RunView, path: str) -> Callable[[], bool]:
    """Whether a step waits."""
    return lambda: path in view.run.steps and view.run.steps[path].status == "waiting"


async def test_a_run_is_loaded_and_then_follows_what_happens(project: Project) -> None:
    run = await project.start("grandchild")
    view = await RunView.load(project.console, run)
    await until(view, status(view, "w"))
    assert (view.status, view.head.id, view.created and view.created.owner) == ("waiting", run, ME)
    await project.say("go")
    await until(view, lambda: view.status == "completed")
    assert not await view.catch_up()
    assert view.head.status == "completed"
    assert view.run.output == "said"
    assert len(view.fold.facts) == view.head.n == view.run.n


async def test_only_facts_that_have_come_since_are_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await project.start("grandchild")
    view = await RunView.load(project.console, run)
    await until(view, status(view, "w"))
    read: list[Stored] = []
    facts = project.console.facts

    async def counted(*args: object, **options: object) -> list[Stored]:
        found = await facts(*args, **options)  # type: ignore[arg-type]
        read.extend(found)
        return found

    monkeypatch.setattr(project.console, "facts", counted)
    before = view.run.n
    assert not await view.catch_up({"another"})
    assert read == []
    await project.say("go")
    await until(view, lambda: view.run.ended)
    assert [stored.n for stored in read] == list(range(before + 1, view.run.n + 1))


async def test_a_long_journal_is_folded_a_batch_at_a_time(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_state, "BATCH", 2)
    run = await project.start("grandchild")
    view = await RunView.load(project.console, run)
    await until(view, status(view, "w"))
    whole = await project.console.state(run)
    assert (view.run.n, view.run.ignored) == (whole.n, 0)


async def test_child_runs_are_loaded_when_their_row_is_opened_however_deep(project: Project) -> None:
    run = await project.start("parent")
    view = await RunView.load(project.console, run)
    await until(view, status(view, "below"))
    assert names(view) == ["first", "below", "last"]
    assert view.runs == [run]
    view.tree.move(1)
    assert view.toggle()
    assert [row.detail for row in tree_rows(view.tree, 2, 3, 0.0)] == ["loading …"]
    await until(view, lambda: "  deeper" in names(view))
    view.tree.move(1)
    assert view.tree.current is not None
    assert view.current_fold.run.created is not None
    assert (view.tree.current.depth, view.current_fold.run.created.workflow) == (1, "child")
    await until(view, lambda: view.current_step is not None and view.current_step.status == "waiting")
    assert view.toggle()
    await until(view, lambda: "    w" in names(view))
    assert len(view.runs) == 3
    cursor = view.tree.cursor
    await project.say("go")
    await until(view, lambda: view.run.ended)
    assert names(view) == ["first", "below", "  deeper", "    w", "    said", "last"]
    assert view.tree.cursor == cursor
    assert view.run.output == "said"


async def test_a_change_of_a_child_run_moves_what_is_below_its_row_alone(project: Project) -> None:
    run = await project.start("child")
    view = await RunView.load(project.console, run)
    await until(view, status(view, "deeper"))
    view.toggle()
    await until(view, lambda: "  w" in names(view))
    child = view.runs[1]
    await until(view, lambda: view.tree.children[child].run.status == "waiting")
    n = view.run.n
    await project.say("go")
    await project.console.engine.wait(run)
    assert await view.catch_up({child})
    assert view.tree.children[child].run.ended
    assert view.run.n == n


async def test_no_more_child_runs_are_followed_than_the_bound(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_state, "MOST_CHILDREN", 0)
    run = await project.start("child")
    view = await RunView.load(project.console, run)
    await until(view, status(view, "deeper"))
    view.toggle()
    await view.catch_up()
    assert list(view.tree.missing.values()) == ["not shown: 0 runs are open already"]
    await project.console.command(types.CANCEL, run, by=ME)


async def test_there_is_no_such_run(project: Project) -> None:
    console: Console = project.console
    with pytest.raises(NotFound):
        await RunView.load(console, "nothing")
