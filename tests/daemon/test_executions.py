"""Executions over HTTP, field for field as clients of older systems expect them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from daemon_kit import FLOW, served

from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.identity import Identity
from fleetprompt.daemon.access import Rules
from fleetprompt.engine.core.facts import RunCreated


async def test_a_workflow_is_executed_approved_and_read(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        answer = await daemon.http.post(
            "/api/workflows/hello/execute",
            json={
                "trigger": {
                    "kind": "chat",
                    "current_message": "hi",
                    "history": [{"role": "user", "content": "before"}],
                },
                "session_id": "talk-1",
                "context": {"name": "nobody", "unknown": 1},
                "input": {"name": "Ada"},
            },
        )
        assert answer.status_code == 202
        started = answer.json()
        assert started.keys() >= {"execution_id", "workflow_id", "status", "started_at"}
        assert started["workflow_id"] == "hello"
        execution = started["execution_id"]
        asked = await daemon.pending(execution)
        assert asked["message"] == "Say goodbye to Ada?", "`input` comes before `context`"
        assert asked.keys() >= {
            "id", "execution_id", "step_id", "message", "approvers", "requested_at", "expires_at", "status",
        }  # fmt: skip
        assert (asked["execution_id"], asked["step_id"], asked["status"]) == (execution, "gate", "pending")
        decided = await daemon.http.post(
            f"/api/approvals/{asked['id']}", json={"decision": "approved", "comment": "yes"}
        )
        assert decided.status_code == 200
        again = await daemon.http.post(f"/api/approvals/{asked['id']}", json={"decision": "rejected"})
        assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
        found = await daemon.until(execution, "completed")
        assert found.keys() >= {"id", "workflow_id", "status", "started_at", "completed_at", "steps", "result"}
        assert (found["id"], found["result"], found["session_id"]) == (execution, "Goodbye, Ada.", "talk-1")
        assert [step["step_id"] for step in found["steps"]] == ["greet", "gate", "bye"]
        for step in found["steps"]:
            assert step.keys() >= {"step_id", "status", "started_at", "completed_at", "result", "error"}
        assert found["trigger"] == "chat"
        [listed] = (await daemon.http.get("/api/executions", params={"workflow_id": "hello"})).json()
        del found["steps"]
        assert listed == found, "lists have the same without steps"
        [vote] = (await daemon.http.get(f"/api/approvals/{asked['id']}")).json()["votes"]
        assert (vote["by"], vote["comment"], vote["via"]) == ("ana", "yes", "http")


async def test_lists_tell_where_an_execution_is_and_nothing_of_its_result_before_that_is_there(tmp_path: Path) -> None:
    other = "  - {id: other, type: transform, needs: [gate.rejected], output: 1}\n"
    async with served(tmp_path, two=FLOW.replace("hello", "two") + other) as daemon:
        execution = await daemon.execute("two")
        asked = await daemon.pending(execution)
        await daemon.http.post(f"/api/approvals/{asked['id']}", json={"decision": "rejected", "comment": "no"})
        again = await daemon.execute("two", input={"name": "Ada"})
        await daemon.pending(again)
        open_, over = (await daemon.http.get("/api/executions")).json()
        assert (open_["step"], open_["waiting_on"], open_["result"]) == ("gate", "approval", None)
        assert over["result"] == (await daemon.until(execution, "completed"))["result"] == 1


def _counting(name: str, ask: Any, asked: list[str]) -> Any:
    async def counted(*args: Any, **named: Any) -> Any:
        asked.append(name)
        return await ask(*args, **named)

    return counted


async def test_a_page_of_executions_is_read_at_once_whatever_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("facts", "last_facts"):
        monkeypatch.setattr(EmbeddedConsole, name, _counting(name, getattr(EmbeddedConsole, name), asked))
    async with served(tmp_path) as daemon:
        begun = [await daemon.execute("quick") for _ in range(5)]
        for execution in begun:
            await daemon.until(execution, "completed")
        with closing(sqlite3.connect(tmp_path / ".fleet/fleet.db")) as store, store:
            store.execute("UPDATE journal SET data = ? WHERE run = ? AND type = 'RunFinished'", (b"{", begun[2]))
        asked.clear()
        rows = (await daemon.http.get("/api/executions")).json()
        assert asked == ["last_facts"]
        assert {row["id"]: row["result"] for row in rows} == dict.fromkeys(begun, 1) | {begun[2]: None}


async def test_what_is_null_is_not_given(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        bare = await daemon.http.post("/api/workflows/quick/execute")
        assert bare.status_code == 202, bare.text
        nothing = dict.fromkeys(("trigger", "user_id", "session_id", "context", "input"))
        found = await daemon.until(await daemon.execute("quick", **nothing), "completed")
        assert (found["owner"], found["session_id"], found["trigger"]) == ("ana", "", "api")
        asked = await daemon.pending(await daemon.execute("hello"))
        decision = {"decision": "approved"} | dict.fromkeys(("comment", "values", "digest"))
        assert (await daemon.http.post(f"/api/approvals/{asked['id']}", json=decision)).status_code == 200


@pytest.mark.parametrize("alias", ["/agents/workflows/hello/execute", "/api/workflows/hello/execute"])
async def test_aliases_are_the_same(tmp_path: Path, alias: str) -> None:
    async with served(tmp_path) as daemon:
        execution = (await daemon.http.post(alias, json={})).json()["execution_id"]
        await daemon.until(execution, "waiting")
        listed = (await daemon.http.get("/agents/workflows/hello/executions")).json()
        assert [each["id"] for each in listed] == [execution]
        assert (await daemon.http.get(f"/agents/workflows/executions/{execution}")).json()["id"] == execution
        answer = await daemon.http.post(
            f"/agents/workflows/executions/{execution}/approve", json={"decision": "approved"}
        )
        assert answer.status_code == 200
        assert (await daemon.until(execution, "completed"))["result"] == "Goodbye, world."
        nothing = await daemon.http.post(
            f"/agents/workflows/executions/{execution}/approve", json={"decision": "approved"}
        )
        assert nothing.status_code == 409


async def test_who_and_where_is_told_by_headers_on_this_machine(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        headers = {"X-elevAIte-UserId": "ben", "X-elevAIte-ProjectId": "shop"}
        answer = await daemon.http.post("/api/workflows/quick/execute", json={}, headers=headers)
        found = await daemon.until(answer.json()["execution_id"], "completed")
        assert (found["owner"], found["project"]) == ("ben", "shop")
        begun = (await daemon.http.post("/api/workflows/quick/execute", json={"user_id": "cleo"})).json()
        assert (await daemon.until(begun["execution_id"], "completed"))["owner"] == "cleo"
        bad = await daemon.http.post(
            "/api/workflows/quick/execute", json={}, headers={"X-elevAIte-UserId": "group:all"}
        )
        assert bad.status_code == 422


async def test_the_same_idempotency_key_is_the_same_execution(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        headers = {"Idempotency-Key": "order-7"}
        first, second = [
            (await daemon.http.post("/api/workflows/quick/execute", json={}, headers=headers)).json() for _ in range(2)
        ]
        assert first["execution_id"] == second["execution_id"]
        assert len((await daemon.http.get("/api/executions")).json()) == 1


async def test_the_same_key_for_something_else_is_refused(tmp_path: Path) -> None:
    for again in (False, True):
        async with served(tmp_path) as daemon:
            path, headers = "/api/workflows/hello/execute", {"Idempotency-Key": "order-8"}
            first = await daemon.http.post(path, json={"input": {"name": "Ada"}}, headers=headers)
            assert first.status_code == 202, "also by the next daemon"
            other = await daemon.http.post(path, json={"input": {"name": "Bob"}}, headers=headers)
            assert (other.status_code, "Idempotency-Key" in other.text) == (422, True)
            assert len((await daemon.http.get("/api/executions")).json()) == 1, again
    async with served(tmp_path) as daemon:
        other = await daemon.http.post(path, json={"input": {"name": "Bob"}}, headers=headers)
        assert (other.status_code, other.json()["hint"]) == (422, "use a new key")


async def test_every_post_that_is_sent_again_is_answered_as_the_first(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.execute("hello")
        asked = await daemon.pending(execution)
        memory = {"text": "the cache lies", "scope": "workflow/hello"}
        for path, body in (
            (f"/api/executions/{execution}/pause", None),
            (f"/api/executions/{execution}/resume", None),
            (f"/api/approvals/{asked['id']}", {"decision": "approved"}),
            ("/api/signals", {"type": "order.placed", "data": 1}),
            ("/api/memory", memory),
            ("/api/workflows", {"name": "sent", "steps": [{"id": "a", "type": "transform", "output": 1}]}),
        ):
            first, second = [
                await daemon.http.post(path, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
            ]
            assert first.is_success, first.text
            assert (second.status_code, second.content) == (first.status_code, first.content), path
            assert second.headers["idempotency-replayed"] == "true"
        tickets = [await daemon.http.post("/api/tickets", headers={"Idempotency-Key": "k"}) for _ in "12"]
        assert "idempotency-replayed" not in tickets[1].headers, "what lets somebody in is not kept"
        wrong = await daemon.http.post("/api/memory", json=memory, headers={"Idempotency-Key": "x" * 201})
        assert wrong.status_code == 422
        failed = [
            await daemon.http.post("/api/memory", json=body, headers={"Idempotency-Key": "f"})
            for body in ({"text": ""}, memory)
        ]
        assert [each.status_code for each in failed] == [422, 201], "what failed is forgotten"


async def test_the_next_daemon_knows_what_was_answered(tmp_path: Path) -> None:
    headers, memory = {"Idempotency-Key": "k"}, {"text": "the cache lies", "scope": "workflow/hello"}
    async with served(tmp_path) as daemon:
        first = await daemon.http.post("/api/memory", json=memory, headers=headers)
        execution = await daemon.execute("hello")
        await daemon.pending(execution)
        paused = await daemon.http.post(f"/api/executions/{execution}/pause", headers=headers)
        assert (first.status_code, paused.status_code) == (201, 202)
    async with served(tmp_path) as daemon:
        again = await daemon.http.post("/api/memory", json=memory, headers=headers)
        assert (again.status_code, again.content, again.headers["idempotency-replayed"]) == (201, first.content, "true")
        assert again.headers["content-type"] == first.headers["content-type"]
        assert (await daemon.http.get("/api/memory")).text.count("the cache lies") == 1
        await daemon.http.post(f"/api/executions/{execution}/resume")
        again = await daemon.http.post(f"/api/executions/{execution}/pause", headers=headers)
        assert again.content == paused.content
        assert (await daemon.until(execution, "waiting"))["waiting_on"] == "approval", "it is not paused once more"
        other = await daemon.http.post("/api/memory", json=memory | {"text": "it does not"}, headers=headers)
        assert other.status_code == 422
        theirs = await daemon.http.post(
            "/api/memory",
            json=memory,
            headers=headers | {"X-elevAIte-OrganizationId": "acme", "X-elevAIte-UserId": "ana"},
        )
        assert (theirs.status_code, "idempotency-replayed" in theirs.headers) == (201, False), "each tenant has its own"


async def test_who_sends_it_again_too_early_waits_for_the_first(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon, asyncio.TaskGroup() as group:
        headers = {"Idempotency-Key": "k"}
        sent = [
            group.create_task(daemon.http.post("/api/workflows/quick/execute", json={}, headers=headers))
            for _ in range(10)
        ]
        answers = [await each for each in sent]
        assert len({answer.json()["execution_id"] for answer in answers}) == 1
        assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9


async def test_keys_are_those_of_who_asks(tmp_path: Path) -> None:
    tokens = {name: Identity(name=name, role="operator", via="http") for name in ("a", "b")}
    async with served(tmp_path, Rules(operator="ana", local_role=None), tokens) as daemon:
        answers = [
            await daemon.http.post(
                "/api/workflows/quick/execute",
                json={},
                headers={"Idempotency-Key": "k", "Authorization": f"Bearer {name}"},
            )
            for name in ("a", "b", "nobody")
        ]
        assert [each.status_code for each in answers] == [202, 202, 401]
        assert answers[0].json()["execution_id"] != answers[1].json()["execution_id"]


async def test_lists_come_in_pages_that_lead_on(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        begun = [await daemon.execute("quick") for _ in range(5)]
        for execution in begun:
            await daemon.until(execution, "completed")
        seen: list[str] = []
        url = "/api/executions?workflow_id=quick&status=completed&limit=2"
        pages = 0
        while url:
            answer = await daemon.http.get(url)
            seen += [each["id"] for each in answer.json()]
            url = answer.links.get("next", {}).get("url", "")
            pages += 1
        assert (seen, pages) == (begun[::-1], 3)
        assert (await daemon.http.get("/api/executions", params={"filter": "wf:hello"})).json() == []
        wrong = await daemon.http.get("/api/executions", params={"filter": "stauts:failed"})
        assert wrong.status_code == 422
        assert "status" in wrong.text


async def test_what_has_not_changed_is_not_sent_again(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.finished()
        described = (await daemon.http.get("/api/openapi.json")).json()["paths"]
        lasting = {path for path, item in described.items() if "get" in item}
        lasting -= {"/healthz", "/metrics", "/api/stream", "/api/executions/{execution_id}/stream"}
        [asked] = (await daemon.http.get("/api/approvals")).json()
        [signal] = (await daemon.http.get("/api/signals?limit=1")).json()
        await daemon.http.post("/api/agents", json={"name": "sre", "system": "Be short."})
        ids = {"execution_id": execution, "approval_id": asked["id"], "signal_id": signal["id"], "name": "sre"}
        ids |= {"workflow_id": "hello"}
        paths = {path.format_map(ids) for path in lasting if not {"{letter_id}", "{ref}"} & {*path.split("/")}}
        assert len(paths) > 15
        for path in sorted(paths | {"/api/workflows/hello?form=yaml"}):
            first = await daemon.http.get(path)
            tag = first.headers["etag"]
            for known in (f'"other", {tag}', f"W/{tag}"):
                again = await daemon.http.get(path, headers={"If-None-Match": known})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path


async def test_every_list_that_can_be_long_leads_on(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        for n in range(3):
            said = {"text": f"Fact {n}.", "scope": "shared"}
            assert (await daemon.http.post("/api/memory", json=said)).status_code == 201
            await daemon.http.put("/api/switch", json={"position": "on", "reason": str(n)})

        async def walked(path: str, field: str) -> list[Any]:
            found: list[Any] = []
            while path:
                answer = await daemon.http.get(path)
                assert answer.status_code == 200, answer.text
                found += [each[field] for each in answer.json()]
                path = answer.links.get("next", {}).get("url", "")
            return found

        assert await walked("/api/memory?limit=1&scope=shared", "text") == ["Fact 2.", "Fact 1.", "Fact 0."]
        entries = await walked("/api/audit?limit=500", "seq")
        assert await walked("/api/audit?limit=2", "seq") == entries
        assert len(entries) >= 3
        for path in ("/api/memory?cursor=x", "/api/cost?cursor=-1", "/api/cost?cursor=9999999"):
            assert (await daemon.http.get(path)).status_code == 422, path


async def test_an_execution_is_paused_resumed_cancelled_and_retried(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        execution = await daemon.execute("hello")
        await daemon.until(execution, "waiting")
        for verb in ("pause", "resume"):
            answer = await daemon.http.post(f"/api/executions/{execution}/{verb}")
            assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        cancelled = await daemon.http.post(f"/api/executions/{execution}/cancel", json={"reason": "no more"})
        assert cancelled.status_code == 202
        await daemon.until(execution, "cancelled")
        over = await daemon.http.post(f"/api/executions/{execution}/pause")
        assert over.status_code == 409
        retried = await daemon.http.post(f"/api/executions/{execution}/retry", json={})
        assert (await daemon.until(retried.json()["execution_id"], "waiting"))["id"] != execution


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("POST", "/api/workflows/none/execute", {"json": {}}, 404),
        ("GET", "/api/executions/none", {}, 404),
        ("GET", "/api/executions/none/stream", {}, 404),
        ("GET", "/api/approvals/none", {}, 404),
        ("POST", "/api/approvals/none", {"json": {"decision": "approved"}}, 404),
        ("POST", "/api/approvals/none", {"json": {"decision": "maybe"}}, 422),
        (
            "POST",
            "/api/workflows/hello/execute",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
        ),
        ("POST", "/api/workflows/hello/execute", {"json": {"inputs": {}}}, 422),
        ("POST", "/api/workflows/hello/execute", {"json": {"input": {"nome": 1}}}, 422),
        ("POST", "/api/workflows/hello/execute", {"json": {"input": {"name": [1]}}}, 422),
        ("POST", "/api/workflows/hello/execute", {"json": {"session_id": "a b"}}, 422),
        ("POST", "/api/workflows/hello/execute", {"data": {"input": "x"}}, 415),
        ("POST", "/api/workflows/hello/execute", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
        ("GET", "/api/executions?limit=0", {}, 422),
        ("GET", "/api/executions?cursor=zzz", {}, 422),
        ("GET", '/api/executions?workflow_id=a"b', {}, 422),
        ("GET", "/api/executions/..%2f..%2fetc%2fpasswd", {}, 404),
        ("DELETE", "/api/executions", {}, 405),
        ("GET", "/nothing", {}, 404),
        ("POST", "/api/workflows/hello/execute", {"json": {"input": {"name": "x" * (9 * 1024 * 1024)}}}, 413),
    ],
)
async def test_what_is_wrong_is_a_problem_document(
    tmp_path: Path, method: str, path: str, options: dict[str, object], status: int
) -> None:
    async with served(tmp_path) as daemon:
        answer = await daemon.http.request(method, path, **options)  # type: ignore[arg-type]
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told.keys() >= {"title", "status", "detail", "code"}
        assert (told["status"], told["code"]) == (status, "VALIDATION_ERROR")
        assert "Traceback" not in answer.text
        assert (await daemon.http.get("/api/executions")).json() == [], "nothing was stored"


async def test_what_to_do_next_is_said_in_the_words_of_the_api(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        http = daemon.http
        assert (await http.get("/api/executions/no")).json()["hint"] == "GET /api/executions lists them"
        letter = await http.post("/api/signals/dead-letters/no/replay")
        assert letter.json()["hint"] == "GET /api/signals/dead-letters lists them"
        await http.post("/api/workflows/quick/pause")
        refused = await http.post("/api/workflows/quick/execute", json={})
        assert (refused.status_code, refused.json()["hint"]) == (409, "POST /api/workflows/quick/activate")


async def test_inputs_that_do_not_fit_are_no_fault_of_the_definition(tmp_path: Path) -> None:
    async with served(tmp_path) as daemon:
        refused = await daemon.http.post("/api/workflows/hello/execute", json={"input": {"name": 1}})
        assert (refused.status_code, refused.json()["detail"]) == (
            422,
            "the inputs do not fit what the workflow declares",
        )


DESK = """\
name: desk
triggers:
  - {type: chat, if: "data.message != 'spam'", inputs: {said: "${{ data.message }}", log: "${{ data.history }}"}}
inputs: {said: string, log: {type: array}, tone: {type: string, default: kind}, who: {type: string, default: nobody}}
steps:
  - id: a
    type: transform
    output: {said: "${{ inputs.said }}", log: "${{ inputs.log }}", tone: "${{ inputs.tone }}", who: "${{ inputs.who }}"}
"""


async def test_messages_are_turns_of_a_conversation(tmp_path: Path) -> None:
    async with served(tmp_path, desk=DESK) as daemon:

        async def say(text: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
            trigger = {"kind": "chat", "current_message": text, **body.pop("trigger", {})}
            sent = {"trigger": trigger, "session_id": "s1", **body}
            return await daemon.http.post("/api/workflows/desk/execute", json=sent, headers=headers)

        async def result(answer: httpx.Response) -> dict[str, Any]:
            assert answer.status_code == 202, answer.text
            return (await daemon.until(answer.json()["execution_id"], "completed"))["result"]

        first = await result(await say("hello", context={"who": "ben"}, input={"tone": "curt"}))
        assert first == {"said": "hello", "log": [], "tone": "curt", "who": "ben"}
        second = await result(await say("and now"))
        said = {"role": "user", "content": "hello"}
        assert second["log"][0] == said
        assert [each["role"] for each in second["log"]] == ["user", "assistant"]
        own = [{"role": "user", "content": "mine"}]
        labelled = {"Idempotency-Key": "k", "X-elevAIte-ProjectId": "p"}
        third = await say("third", headers=labelled, trigger={"history": own})
        assert (await result(third))["log"] == own
        again = await say("third", headers=labelled, trigger={"history": own})
        assert again.status_code == 202, again.text
        assert again.json()["execution_id"] == third.json()["execution_id"]
        found = (await daemon.http.get("/api/executions", params={"session_id": "s1"})).json()
        assert [each["trigger"] for each in found] == ["chat"] * 3
        assert (found[0]["owner"], found[0]["project"]) == ("ana", "p")
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        for sent, links in ((trace, (trace,)), ("nonsense", ())):
            linked = await say("traced", {"traceparent": sent})
            [created, *_] = await daemon.console.facts(linked.json()["execution_id"], upto=1)
            assert isinstance(created.fact, RunCreated)
            assert created.fact.links == links
        unwanted = await say("spam")
        assert (unwanted.status_code, "`if`" in unwanted.json()["detail"]) == (409, True)
        assert (await say(" ")).status_code == 422
        turns = await daemon.console.conversation("s1")
        assert [turn.message for turn in turns] == ["hello", "and now", "third", "traced", "traced"]


LARGE = """\
name: large
inputs: {text: {type: string}}
steps:
  - {id: once, type: transform, output: {text: "${{ inputs.text }}"}}
  - {id: often, type: transform, output: [OFTEN]}
  - {id: again, type: transform, output: "${{ steps.once.output }}"}
""".replace("OFTEN", ", ".join(['"${{ inputs.text }}"'] * 12))


async def test_large_results_are_given_whole_or_have_an_address(tmp_path: Path) -> None:
    tokens = {name: Identity(name=name, tenant=name, role="operator", via="http", credential=name) for name in "ab"}
    async with served(tmp_path, tokens=tokens, large=LARGE) as daemon:
        text = "x" * 100_000
        execution = await daemon.execute("large", input={"text": text})
        found = await daemon.until(execution, "completed")
        assert found["result"] == {"text": text}
        once, often, again = [step["result"] for step in found["steps"]]
        assert once == again == {"text": text}
        assert often == {"ref": often["ref"], "size": 12 * 100_003 + 1, "url": f"/api/values/{often['ref']}"}
        assert (await daemon.http.get(often["url"])).json() == [text] * 12
        [listed] = (await daemon.http.get("/api/executions")).json()
        assert (await daemon.http.get(listed["result"]["url"])).json() == {"text": text}
        *_, complete = await daemon.events(f"/api/executions/{execution}/stream", events="step_complete,complete")
        assert complete.data["result"] == {"text": text}
        for address, who in ((often["url"], {"Authorization": "Bearer b"}), (f"/api/values/{'0' * 64}", {})):
            assert (await daemon.http.get(address, headers=who)).status_code == 404
        assert (await daemon.http.get("/api/values/..%2f..")).status_code == 404


async def test_who_is_asked_about_much_sees_all_of_it(tmp_path: Path) -> None:
    gated = "name: gated\ninputs: {text: {type: string}}\nsteps: [%s]\n"
    step = '{id: say, type: transform, output: ["${{ inputs.text }}"], approval: {message: "Say it?"}}'
    async with served(tmp_path, gated=gated % step) as daemon:
        execution = await daemon.execute("gated", input={"text": "x" * 100_000})
        listed = await daemon.pending(execution)
        shown = (await daemon.http.get(f"/api/approvals/{listed['id']}")).json()["show"]
        assert "x" * 100_000 in str(shown)
        assert "url" in listed["show"] or listed["show"] == shown
