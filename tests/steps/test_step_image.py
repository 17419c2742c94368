"""`image`: pictures are paid for once, kept with their run, and written to files, whatever happens in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "agents"), str(Path(__file__).parents[1] / "llm")]

from agent_kit import StubModels, command, engine_at, head, notes, over, start, until, vote, waits  # noqa: E402
from stub_server import start_stub  # noqa: E402

from fleetprompt.engine.agents import attempts  # noqa: E402
from fleetprompt.engine.core import signal as types  # noqa: E402
from fleetprompt.engine.llm.library import library  # noqa: E402
from fleetprompt.engine.ports.model import ModelTarget, Price  # noqa: E402

PRICE = Price(image=40_000_000, source="test")
CAPPED = "guardrails: {cost_usd: 1}"


def flow(more: str = "", limits: str = "") -> str:
    return f"name: draw\n{limits}\nsteps:\n  - {{id: cat, type: image, prompt: a cat{more}}}\n"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF", (0.01, 0.01, 0.01))


async def test_a_picture_is_priced_kept_and_written(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE)) as engine:
            await start(engine, flow(", file: out/cat.png", CAPPED))
            status, output = await over(engine)
            assert status == "completed", output
            content = (tmp_path / "out/cat.png").read_bytes()
            assert content.startswith(b"\x89PNG")
            assert output["file"] == "out/cat.png"
            assert output["sha256"] == sha256(content).hexdigest()
            assert (output["media_type"], output["bytes"]) == ("image/png", len(content))
            assert (output["model"], output["simulated"]) == ("openai/stub", False)
            assert output["images"][0]["revised_prompt"] == "a pixel"
            assert await engine.store.blobs.get(output["sha256"]) == content
            [started] = await notes(engine, "image.started")
            [done] = await notes(engine, "image.completed")
            assert (started.key, started.value["model"]) == ("image/0", "openai/stub")
            said = [(note.value["action"]["capability"], note.value["action"]["status"]) for note in (started, done)]
            assert said == [("image", "running"), ("image", "completed")]
            assert (done.value["cost_nano"], done.value["price"]) == (40_000_000, "test")
            found = await head(engine)
            assert (found.cost_nano, found.uncertain_nano, found.models) == (40_000_000, 0, ("openai/stub",))
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.cost_nano, budget.spent.requests, budget.reserved.cost_nano) == (40_000_000, 1, 0)
            assert (await engine.store.prune(before=engine.now() + 1))["blobs"] >= 1
            assert await engine.store.blobs.get(output["sha256"]) is None
    assert [each["body"]["prompt"] for each in stub.requests("images")] == ["a cat"]


async def test_several_pictures_have_numbers(tmp_path: Path) -> None:
    async with engine_at(tmp_path, None) as engine:
        await start(engine, flow(", n: 3, model: simulated/draw, size: 64x48", CAPPED))
        status, output = await over(engine)
        assert status == "completed", output
        files = [each["file"] for each in output["images"]]
        assert files == [f"out/images/r1/cat-{n}.png" for n in (1, 2, 3)]
        contents = [(tmp_path / file).read_bytes() for file in files]
        assert len(set(contents)) == 3
        assert all(b"SIMULATED" in content for content in contents)
        assert output["simulated"] is True
        found = await engine.load("r1")
        assert found is not None
        assert found.mode == "simulated"
        assert (await head(engine)).cost_nano == 0
        assert [note.value["cost_nano"] for note in await notes(engine, "image.completed")] == [None] * 3


@pytest.mark.parametrize(
    ("mode", "requests", "uncertain"), [("stub-500", 4, 4), ("stub-401", 1, 0), ("stub-429", 4, 0), ("stub-none", 4, 4)]
)
async def test_requests_are_repeated_where_that_can_help(
    tmp_path: Path, mode: str, requests: int, uncertain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(*_: Any) -> None: ...

    monkeypatch.setattr(attempts, "_pause", at_once)
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE)) as engine:
            await start(engine, flow(f", model: {mode}", CAPPED))
            status, error = await over(engine)
            assert status == "failed", error
            failed = await notes(engine, "image.failed")
            assert [note.value["action"]["retry_count"] for note in failed] == list(range(requests))
            assert (await head(engine)).uncertain_nano == uncertain * 40_000_000
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.uncertain.cost_nano, budget.reserved.cost_nano) == (uncertain * 40_000_000, 0)
    assert len(stub.requests()) == requests


async def test_another_model_is_asked_where_one_fails(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE, fallback=("stub",))) as engine:
            await start(engine, flow(", model: stub-401"))
            status, output = await over(engine)
            assert (status, output["model"]) == ("completed", "openai/stub")


async def test_where_it_cannot_be_written_nothing_is_paid_for(tmp_path: Path) -> None:
    (tmp_path / "out/cat-2.png").mkdir(parents=True)
    async with engine_at(tmp_path, None) as engine:
        await start(engine, flow(", n: 2, model: simulated/draw, size: 8x8, file: out/cat.png"))
        status, error = await over(engine)
        assert (status, error.code) == ("failed", "VALIDATION_ERROR")
        assert not await notes(engine, "image.started")


class Moody(StubModels):
    """A server that fails from the second request to the fifth."""

    asked = 0

    async def find(self, name: str) -> ModelTarget:
        self.asked += 1
        return await super().find("stub-500" if 1 < self.asked < 6 else name)


async def test_another_attempt_pays_for_no_picture_again(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, Moody(stub, PRICE)) as engine:
            await start(engine, flow(", n: 2, retry: {max_attempts: 2, backoff: 10ms}", CAPPED))
            assert (await over(engine))[0] == "completed"
            made = await notes(engine, "image.completed")
            assert [(note.key, note.attempt) for note in made] == [("image/0", 1), ("image/1", 2)]
    assert len(stub.requests()) == 6


async def test_a_picture_that_is_not_accepted_is_drawn_anew(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE)) as engine:
            text = ", assert: result.bytes > 100000, retry: {max_attempts: 2, backoff: 10ms}"
            await start(engine, flow(text))
            assert (await over(engine))[0] == "failed"
            assert [note.attempt for note in await notes(engine, "image.completed")] == [1, 2]


@pytest.mark.parametrize("file", ["../out.png", "/tmp/a.png", ".git/a.png", "code.py", "link/a.png"])
async def test_files_are_confined_and_nothing_else_is_replaced(tmp_path: Path, file: str) -> None:
    (tmp_path / "code.py").write_text("print()")
    (tmp_path / "link").symlink_to(tmp_path.parent)
    async with engine_at(tmp_path, None) as engine:
        await start(engine, flow(f", model: simulated/draw, size: 8x8, file: {file}"))
        status, error = await over(engine)
        assert (status, error.code) == ("failed", "VALIDATION_ERROR"), error
        assert not await notes(engine, "image.started")
    assert (tmp_path / "code.py").read_text() == "print()"


async def test_a_limit_is_kept_and_people_are_asked_for_more(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE)) as engine:
            await start(engine, flow(", n: 3", "guardrails: {cost_usd: 0.1, on_limit: ask}"))
            await waits(engine, "budget")
            assert len(stub.requests()) == 2
            await vote(engine, values={"amount": 0.05})
            assert (await over(engine))[0] == "completed"
            assert (await head(engine)).cost_nano == 120_000_000
            await start(engine, flow("", "guardrails: {cost_usd: 0.01}"), run="r2")
            status, error = await over(engine, "r2")
            assert (status, error.code, error.data["limit"]) == ("failed", "BUDGET_EXCEEDED", "cost_nano")
    assert len(stub.requests()) == 3


async def test_whom_the_approval_of_the_step_keeps_out_grants_it_no_more(tmp_path: Path) -> None:
    gated = ", approval: {message: Paint?, approvers: {not: run.starter}}"
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE)) as engine:
            await start(engine, flow(gated, "guardrails: {cost_usd: 0.01, on_limit: ask}"))
            await waits(engine, "approval")
            await vote(engine, by="bo")
            await waits(engine, "budget")
            with pytest.raises(AssertionError, match="ana started the run"):
                await vote(engine, values={"amount": 1})
            await vote(engine, by="bo", values={"amount": 1})
            assert (await over(engine))[0] == "completed"


async def test_a_picture_that_nobody_can_price_is_refused_under_a_limit(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, price=None)) as engine:
            await start(engine, flow("", CAPPED))
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "BUDGET_EXCEEDED")
    assert not stub.requests()


async def test_a_model_that_is_paid_by_its_tokens_reserves_and_costs_what_it_can_take(tmp_path: Path) -> None:
    """The stub sends no usage: what it took at most is what counts."""
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, Price(input=1000, output=2000, source="test"))) as engine:
            await start(engine, flow("", CAPPED))
            assert (await over(engine))[0] == "completed"
            [started] = await notes(engine, "image.started")
            [done] = await notes(engine, "image.completed")
            assert 4160 * 2000 <= done.value["cost_nano"] <= started.value["reserve"]["amounts"]["cost_nano"]
            assert done.value["usage"]["source"] == "estimated"


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_what_is_broken_off_may_have_been_spent(tmp_path: Path, how: str) -> None:
    # Or the time that the step has is over before it has asked for anything.
    await library()
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, PRICE)) as engine:
            await start(engine, flow(", model: stub-hang" + ", timeout: 2s" * (how == "timeout"), CAPPED))
            await until(lambda: stub.requests("images"))
            if how == "cancel":
                await command(engine, types.CANCEL, run="r1", reason="enough")
            status, _ = await over(engine)
            assert status == {"cancel": "cancelled", "timeout": "failed"}[how]
            found = await head(engine)
            assert (found.cost_nano, found.uncertain_nano) == (0, 40_000_000)
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.uncertain.cost_nano, budget.reserved.cost_nano) == (40_000_000, 0)


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_kill_at_any_commit(tmp_path: Path) -> None:
    """Real SIGKILL: pictures are made twice only between their arrival and their commit, and that is counted."""
    program = Path(__file__).with_name("image_crash.py")
    seen: set[int] = set()
    with start_stub(tmp_path) as stub:
        said = subprocess.run(
            [sys.executable, str(program), str(tmp_path), stub.base],
            env={**os.environ, "PYTHONPATH": str(program.parents[2])},
            capture_output=True,
            text=True,
            timeout=590,
            check=False,
        )
        assert said.returncode == 0, said.stderr[-3000:]
        for end in map(json.loads, said.stdout.splitlines()):
            asked = [each["headers"]["x-fleetprompt-call"] for each in stub.requests("images")]
            requests = sum(call.startswith(f"{end['run']}/") for call in asked)
            assert (end["status"], end["made"], end["reserved"]) == ("completed", 2, 0), end
            assert end["files"] == ["cat-1.png", "cat-2.png"], "and nothing half-written beside them"
            assert end["spent"] == [80_000_000] * 2, end
            assert end["uncertain"] == [40_000_000 * end["broken"]] * 2, end
            assert 2 <= requests <= 2 + end["broken"] <= 3, end
            seen.add(requests)
    assert seen == {2, 3}
