"""The list of runs: what comes, changes and goes while somebody looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprompt.client.reading import Reading
from fleetprompt.engine.ports import Order
from fleetprompt.tui.state.fleet import Asked
from fleetprompt.tui.state.lines import Cell
from fleetprompt.tui.state.runs import MANY, PAGE, RunList, now_cell
from tests.tui.tui_kit import NOW, begun, moved, put, reading


async def listed(client: Reading, filter_: str = "", order: Order | None = None, *, top: bool = True) -> RunList:
    """The list with everything that is looked at read."""
    runs = RunList(client, lambda: NOW + 500, lambda _: Asked())  # type: ignore[arg-type]
    runs.filter = filter_
    runs.order = order or Order()
    runs.at_top = top
    await runs.load()
    runs.show(0, 20)
    await runs.fetch()
    return runs


def names(runs: RunList, most: int = 20) -> list[str]:
    """Ids of the first runs, `?` for rows that are not there."""
    heads = (runs.head(runs.key(index)) for index in range(min(most, runs.count)))
    return [head.id.removeprefix("run-0000") if head is not None else "?" for head in heads]


def text(cell: Cell) -> str:
    parts = (cell,) if isinstance(cell[0], str) else cell
    return "".join(part[0] for part in parts)  # type: ignore[misc]


async def test_the_newest_run_is_on_top_and_only_what_is_near_is_read(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, *(begun(n) for n in range(3 * PAGE)))
        runs = await listed(client)
        assert runs.count == 3 * PAGE
        head = runs.head(runs.key(0))
        assert head is not None
        assert head.id == f"run-{3 * PAGE - 1:06}"
        assert runs.head(runs.key(PAGE)) is not None
        assert runs.cells(3 * PAGE - 1) is None
        runs.show(3 * PAGE - 10, 3 * PAGE)
        assert await runs.fetch()
        assert runs.cells(3 * PAGE - 1) is not None
        assert not await runs.fetch()


async def test_new_runs_are_shown_at_once_to_who_looks_at_the_top(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1), begun(2))
        runs = await listed(client)
        await put(client, begun(3))
        effect = await runs.apply({"run-000003"})
        assert effect is not None
        assert effect.members
        assert names(runs) == ["03", "02", "01"]


async def test_new_runs_wait_while_somebody_reads_further_down(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1), begun(2))
        runs = await listed(client, top=False)
        key = runs.key(0)
        await put(client, begun(3), begun(4))
        await runs.apply({"run-000003", "run-000004"})
        assert names(runs) == ["02", "01"]
        assert runs.fresh == 2
        assert runs.key(0) == key
        runs.show_new()
        assert names(runs) == ["04", "03", "02", "01"]
        assert runs.fresh == 0
        assert key is not None
        assert runs.find(key) == 2


async def test_an_empty_list_shows_its_first_run(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        runs = await listed(client, top=False)
        await put(client, begun(1))
        await runs.apply({"run-000001"})
        assert names(runs) == ["01"]


async def test_a_run_leaves_a_filter_and_another_comes_to_its_place(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, *(begun(n) for n in range(1, 5)))
        runs = await listed(client, "status:running")
        await put(client, moved(2, 1, "waiting"), moved(4, 1, "completed"))
        effect = await runs.apply({"run-000002", "run-000004"})
        assert effect is not None
        assert effect.members
        assert names(runs) == ["03", "01"]
        await put(client, moved(2, 2, "running"))
        await runs.apply({"run-000002"})
        assert names(runs) == ["03", "02", "01"]


async def test_a_hidden_run_that_leaves_the_filter_is_not_counted_any_more(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1))
        runs = await listed(client, "status:running", top=False)
        await put(client, begun(2), begun(3))
        await runs.apply({"run-000002", "run-000003"})
        assert runs.fresh == 2
        await put(client, moved(3, 1, "completed"))
        await runs.apply({"run-000003"})
        assert runs.fresh == 1
        assert names(runs) == ["01"]


async def test_a_changed_row_is_the_only_one_that_is_drawn_again(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1), begun(2))
        runs = await listed(client)
        await put(client, moved(1, 1, "failed", error_message="boom\nmore", error_step="act", finished_at=NOW + 9))
        effect = await runs.apply({"run-000001"})
        assert effect is not None
        assert effect.rows == {runs.key(1)}
        assert not effect.members
        cells = runs.cells(1)
        assert cells is not None
        assert text(cells[-1]) == "act: boom"


async def test_reading_again_keeps_what_is_hidden_hidden(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1), begun(2))
        runs = await listed(client, top=False)
        await put(client, begun(3))
        await runs.load()
        assert names(runs) == ["02", "01"]
        assert runs.fresh == 1


async def test_too_many_changes_ask_for_the_whole_order(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        runs = await listed(client)
        assert await runs.apply({f"r{n}" for n in range(MANY + 1)}) is None


@pytest.mark.parametrize("descending", [True, False])
async def test_another_order_finds_rows_and_keeps_them_fresh(tmp_path: Path, descending: bool) -> None:
    async with reading(tmp_path) as client:
        await put(client, *(begun(n, cost_nano=(n * 7) % 5) for n in range(1, 5)))
        runs = await listed(client, order=Order(by="cost", descending=descending))
        costs = [(int(name) * 7) % 5 for name in names(runs)]
        assert costs == sorted(costs, reverse=descending)
        assert [runs.find(key) for index in range(4) if (key := runs.key(index)) is not None] == [0, 1, 2, 3]
        await put(client, moved(2, 1, "waiting"))
        effect = await runs.apply({"run-000002"})
        assert effect is not None
        assert len(effect.rows) == 1


async def test_a_run_that_was_deleted_says_so(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, moved(1, 0, "completed", finished_at=NOW + 1), begun(2))
        runs = RunList(client, lambda: NOW, lambda _: Asked())  # type: ignore[arg-type]
        await runs.load()
        await client.store.prune(before=NOW + 100)
        runs.show(0, 5)
        await runs.fetch()
        cells = runs.cells(1)
        assert cells is not None
        assert text(cells[1]) == "deleted"


async def test_hostile_names_are_inert(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1, workflow="\x1b[2Jx\u202e[red]", owner="a\nb", step="s\x07"))
        cells = (await listed(client)).cells(0)
        assert cells is not None
        said = " ".join(text(cell) for cell in cells)
        assert said.isprintable()
        assert "[red]" in said


async def test_rows_whose_changes_were_missed_are_shown_and_read_again(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1), begun(2))
        runs = await listed(client)
        await put(client, moved(2, 1, "completed"))
        await runs.load()
        assert not await runs.fetch()
        runs.distrust()
        await runs.load()
        assert names(runs) == ["02", "01"]
        assert await runs.fetch()
        head = runs.head(runs.key(0))
        assert head is not None
        assert head.status == "completed"
        assert not await runs.fetch()


async def test_only_what_time_has_changed_is_drawn_again(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        day, minute = NOW - 90_000, NOW + 450
        await put(client, begun(1, created_at=day, started_at=day), begun(2, created_at=minute, started_at=minute))
        runs = await listed(client)
        assert [index for index, _ in runs.ticking(0, 2)] == [runs.find(2)], "one counts seconds, the other hours"
        await put(client, moved(2, 1, "completed", finished_at=NOW + 451))
        await runs.apply({"run-000002"})
        assert runs.ticking(0, 2) == [] or all(columns == (5,) for _, columns in runs.ticking(0, 2))


async def test_an_active_run_says_that_it_is_paused(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1, step="build", waiting_on="paused"), begun(2, step="build"))
        heads = [await client.run(f"run-00000{n}") for n in (1, 2)]
        assert [head.status for head in heads] == ["running", "running"]
        assert [text(now_cell(head, NOW, Asked())).split("  ") for head in heads] == [["paused", "build"], ["build"]]
        assert text(now_cell(heads[1], NOW, Asked(), "the fleet is off")).split("  ") == ["build", "the fleet is off"]


async def test_a_run_that_does_not_begin_says_why(tmp_path: Path) -> None:
    async with reading(tmp_path) as client:
        await put(client, begun(1, status="pending"), begun(2, status="waiting", waiting_on="slot", step="build"))
        heads = [await client.run(f"run-00000{n}") for n in (1, 2)]
        said = [text(now_cell(head, NOW, Asked())) for head in heads]
        assert [each.strip() for each in said] == ["waits for a place", "waits for a place  build"]
        said = [text(now_cell(head, NOW, Asked(), "the fleet is paused")) for head in heads]
        assert [each.strip() for each in said] == ["waits: the fleet is paused", "waits: the fleet is paused  build"]
