"""Requests to models: repeated by us, handed on to others, recorded, limited, and counted whatever becomes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_kit import StubModels, command, engine_at, facts, head, notes, over, start, until, vote, waits
from stub_server import start_stub

from fleetprompt.engine.agents import attempts
from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import ApprovalDecided, ApprovalRequested, BudgetRaised, StepFailed
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import AGENT_SESSION_FIELDS
from fleetprompt.engine.llm.discovery import Place
from fleetprompt.engine.llm.models import KnownModels
from fleetprompt.engine.llm.providers import Room
from fleetprompt.engine.ports import Page

PLAIN = """
name: plain
agents:
  a: {{model: {model}, max_tokens: 100}}
steps:
  - {{id: say, type: agent, agent: a, prompt: hello{more}}}
{limits}
"""


def flow(model: str = '""', more: str = "", limits: str = "") -> str:
    return PLAIN.format(model=model, more=more, limits=limits)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF", (0.01, 0.01, 0.01))


@pytest.mark.parametrize(
    ("mode", "requests", "code"),
    [
        ("stub-500", 4, "AGENT_ERROR"),
        ("stub-401", 1, "VALIDATION_ERROR"),
        ("stub-ctx", 1, "VALIDATION_ERROR"),
        ("stub-eof", 4, "AGENT_ERROR"),
        ("stub-reset", 4, "AGENT_ERROR"),
    ],
)
async def test_a_request_is_repeated_as_often_as_that_can_help(
    tmp_path: Path, mode: str, requests: int, code: str
) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow(mode))
            status, error = await over(engine)
            assert status == "failed"
            assert error.code == code, error
            assert len(await notes(engine, "llm.started")) == len(await notes(engine, "llm.failed")) == requests
    assert len(stub.requests()) == requests


@pytest.mark.parametrize(
    "step", ["type: agent, agent: a, prompt: hello", "type: image, prompt: a cat, model: stub-429"]
)
async def test_another_attempt_at_a_step_waits_as_long_as_the_model_has_asked_for(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "TRIES", 1)
    text = flow("stub-429").replace("type: agent, agent: a, prompt: hello", step + ", retry: {backoff: 10ms}")
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)

            async def failed() -> StepFailed | None:
                return next((fact for fact in await facts(engine) if isinstance(fact, StepFailed)), None)

            fact = await until(failed)
            (asked,) = [note.value for note in await notes(engine) if note.kind in ("llm.failed", "image.failed")]
            assert asked["retry_after"] == 2.0
            assert fact.retry_at >= asked["at"] + 2.0
            await command(engine, types.CANCEL)


async def test_another_model_is_asked_where_one_gives_no_answer(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, fallback=("stub",))) as engine:
            await start(engine, flow("stub-401"))
            status, output = await over(engine)
            assert status == "completed"
            assert output.startswith("w0 w1")
            started = await notes(engine, "llm.started")
            assert [note.value["model"] for note in started] == ["openai/stub-401", "openai/stub"]
            assert (await head(engine)).models == ("openai/stub-401", "openai/stub")


async def test_what_a_broken_answer_may_have_cost_is_shown_apart(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, fallback=("stub",))) as engine:
            await start(engine, flow("stub-eof", limits="guardrails: {cost_usd: 1}"))
            assert (await over(engine))[0] == "completed"
            found = await head(engine)
            assert found.cost_nano == 25_000
            assert found.uncertain_nano > 0
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.cost_nano, budget.uncertain.cost_nano) == (found.cost_nano, found.uncertain_nano)
            assert (budget.reserved.cost_nano, budget.spent.requests) == (0, 5)


async def test_a_limit_on_requests_is_kept(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_list", "arguments": {"path": "."}}]}, {"text": "never"}]
    text = flow(limits="guardrails: {requests: 1}").replace("max_tokens: 100", 'max_tokens: 100, tools: ["fs.list"]')
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "BUDGET_EXCEEDED")
            assert (error.data["limit"], error.data["scope"]) == ("requests", "run/r1")
            assert error.message.startswith("the limit of this run is reached: 1 used and 0 reserved of 1 requests; ")
    assert len(stub.requests()) == 1


async def test_at_a_limit_people_are_asked_for_more_and_the_work_goes_on(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_list", "arguments": {"path": "."}}]}, {"text": "done"}]
    text = flow(limits="guardrails: {requests: 1, on_limit: ask}")
    text = text.replace("max_tokens: 100", 'max_tokens: 100, tools: ["fs.list"]')
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "budget")
            [asked] = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
            reached = (
                "the limit of this run is reached: 1 used and 0 reserved of 1 requests; the next request may take 1"
            )
            assert asked.message == f"a: {reached}. Raise the limit?"
            assert asked.form["amount"]["description"] == "How many requests more: 1 for what comes next."
            await vote(engine, values={"amount": 1}, comment="one more")
            assert await over(engine) == ("completed", "done")
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.requests, budget.raised.requests) == (2, 1)


async def test_whom_an_agent_keeps_from_approving_grants_it_no_more_either(tmp_path: Path) -> None:
    text = flow(limits="guardrails: {requests: 0, on_limit: ask}")
    text = text.replace("max_tokens: 100", "max_tokens: 100, approval: {approvers: {not: run.starter}}")
    with start_stub(tmp_path, [{"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "budget")
            with pytest.raises(AssertionError, match="ana started the run"):
                await vote(engine, values={"amount": 1})
            await vote(engine, by="bo", values={"amount": 1})
            assert await over(engine) == ("completed", "done")


async def test_what_waits_at_a_limit_goes_on_when_that_is_raised_or_shows_how_it_stands(tmp_path: Path) -> None:
    with start_stub(tmp_path, [{"text": "done"}]) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow(limits="guardrails: {tokens: 10, on_limit: ask}"))
            await waits(engine, "budget")
            await command(engine, types.RAISE, amounts={"tokens": 7})

            async def asked() -> list[ApprovalRequested]:
                found = [fact for fact in await facts(engine) if isinstance(fact, ApprovalRequested)]
                return found if len(found) > 1 else []

            first, second = await until(asked)
            assert "0 reserved of 10 tokens" in first.message
            assert "0 reserved of 17 tokens" in second.message
            await command(engine, types.RAISE, amounts={"tokens": 1000}, by="ben")
            assert await over(engine) == ("completed", "done")
            decided = [fact for fact in await facts(engine) if isinstance(fact, ApprovalDecided)]
            assert [(fact.decision, fact.reason, fact.by) for fact in decided] == [
                ("withdrawn", "raised", ("ana",)),
                ("withdrawn", "raised", ("ben",)),
            ]


async def test_an_operator_can_let_a_paused_run_spend_more(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_write", "arguments": {"path": "b", "content": "x"}}]}, {"text": "done"}]
    text = flow(limits="guardrails: {requests: 1}").replace("max_tokens: 100", 'max_tokens: 100, tools: ["fs.*"]')
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "approval")
            await command(engine, types.PAUSE)
            await command(engine, types.RAISE, amounts={"requests": 1}, reason="nearly there")
            await command(engine, types.RESUME)
            await vote(engine)
            assert await over(engine) == ("completed", "done")
            [raised] = [fact for fact in await facts(engine) if isinstance(fact, BudgetRaised)]
            assert (raised.scope, raised.amount, raised.by, raised.reason) == ("run/r1", 1, "ana", "nearly there")
            [budget] = await engine.store.budgets.of_run("r1")
            assert (budget.spent.requests, budget.raised.requests) == (2, 1)


async def test_who_grants_no_more_ends_it(tmp_path: Path) -> None:
    text = flow(limits="guardrails: {requests: 0, on_limit: ask}")
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "budget")
            await vote(engine, "rejected")
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "BUDGET_EXCEEDED")
    assert not stub.requests()


async def test_less_is_asked_for_where_the_budget_allows_no_more(tmp_path: Path) -> None:
    # The prompt takes about a hundred tokens, and an answer of 4,096 would cost 0.0082 USD.
    text = flow(limits="guardrails: {cost_usd: 0.002}").replace("max_tokens: 100", "max_tokens: 4096")
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            assert (await over(engine))[0] == "completed"
    sent = stub.requests()[0]["body"]
    assert 256 <= (sent.get("max_tokens") or sent.get("max_completion_tokens")) < 1_000


async def test_a_model_whose_price_nobody_knows_is_refused_under_a_limit_on_money(tmp_path: Path) -> None:
    with start_stub(tmp_path) as stub:
        async with engine_at(tmp_path, StubModels(stub, price=None)) as engine:
            await start(engine, flow(limits="guardrails: {cost_usd: 1}"))
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "BUDGET_EXCEEDED")
            assert "price" in error.hint
    assert not stub.requests()


async def test_an_answer_that_does_not_fit_is_asked_for_again(tmp_path: Path) -> None:
    schema = ", output_schema: {type: object, required: [cause], properties: {cause: {type: string}}}"
    script = [{"text": "the disk"}, {"text": '{"cause": 7}'}, {"text": '```json\n{"cause": "the disk"}\n```'}]
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, flow(more=schema))
            assert await over(engine) == ("completed", {"cause": "the disk"})
    assert len(stub.requests()) == 3
    assert "not JSON" in stub.requests()[1]["body"]["messages"][-1]["content"]
    assert "cause: 7 is not of type" in stub.requests()[2]["body"]["messages"][-1]["content"]


async def test_another_attempt_at_the_step_goes_on_with_what_was_done(tmp_path: Path) -> None:
    """A model that cannot be reached for a while must not cost the work that was done before."""
    script = [{"calls": [{"name": "fs_list", "arguments": {"path": "."}}]}] + [{"mode": "500"}] * 4 + [{"text": "done"}]
    text = flow(more=", retry: {max_attempts: 2, backoff: 10ms}")
    text = text.replace("max_tokens: 100", 'max_tokens: 100, tools: ["fs.list"]')
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            assert await over(engine) == ("completed", "done")
            assert len(await notes(engine, "tool.started")) == 1
            (execution,), _ = await engine.store.agents.list(parse("", AGENT_SESSION_FIELDS), Page(), now=0.0)
            assert (execution.status, execution.retries, execution.requests) == ("completed", 1, 6)
    assert len(stub.requests()) == 6


async def test_a_paused_run_asks_no_model(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_write", "arguments": {"path": "b", "content": "x"}}]}, {"text": "done"}]
    text = flow().replace("max_tokens: 100", 'max_tokens: 100, tools: ["fs.*"]')
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            await waits(engine, "approval")
            await command(engine, types.PAUSE)
            await vote(engine)
            await waits(engine, "paused")
            assert len(stub.requests()) == 1
            await command(engine, types.RESUME)
            assert await over(engine) == ("completed", "done")


async def test_an_agent_has_limits_of_its_own(tmp_path: Path) -> None:
    script = [{"calls": [{"name": "fs_list", "arguments": {"path": "."}}]}, {"text": "never"}]
    text = flow().replace("max_tokens: 100", 'guardrails: {requests: 1}, tools: ["fs.list"]')
    with start_stub(tmp_path, script) as stub:
        async with engine_at(tmp_path, StubModels(stub)) as engine:
            await start(engine, text)
            status, error = await over(engine)
            assert (status, error.code) == ("failed", "BUDGET_EXCEEDED")
            assert error.data["scope"] == "step/r1/say/a"
    assert len(stub.requests()) == 1


SAYS_YES = {"when": "say_yes", "calls": [{"name": "say_yes", "arguments": {"yes": True}}]}


@pytest.mark.parametrize("calls", [True, False])
async def test_a_model_that_was_only_found_here_shows_once_that_it_calls_tools_before_it_is_given_any(
    tmp_path: Path, calls: bool
) -> None:
    with_tools = "name: w\nagents: {a: {tools: [fs.read]}}\nsteps: [{id: say, type: agent, agent: a, prompt: hello}]\n"
    with start_stub(tmp_path, [*([SAYS_YES] if calls else []), {"text": "ok"}]) as stub:
        models = KnownModels({}, {}, Room(), where=(Place("test", stub.base, f"{stub.base}/models"),))
        async with engine_at(tmp_path, models) as engine:
            await start(engine, flow())
            assert await over(engine) == ("completed", "ok"), "without tools, nothing has to be shown"
            for run in ("r2", "r3"):
                await start(engine, with_tools, run=run)
                status, said = await over(engine, run)
                assert status == ("completed" if calls else "failed")
                if not calls:
                    assert said.code == "VALIDATION_ERROR"
                    assert "answers with text where it is told to call a tool" in said.message
                    assert "[models.default]" in said.hint
            probed = [note.value for run in ("r2", "r3") for note in await notes(engine, "model.probed", run)]
            assert [each["ok"] for each in probed] == [calls]
    assert len(stub.requests()) == (4 if calls else 2)
