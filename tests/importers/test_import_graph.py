"""The graph form, row by row of its mapping."""

from __future__ import annotations

from typing import Any

import pytest
from import_kit import data, graph, imported, node, play, step, steps, told, valid
from play import Play

from fleetprompt.engine.definition.importing import import_workflow

CHAT = node("start", "trigger", kind="chat", to="a")


def one(type_: str, /, **fields: Any) -> dict[str, Any]:
    """The one step of a graph."""
    return step(graph(node("a", type_, **fields)), "a")


# ---------------------------------------------------------------- the file


def test_the_head_is_kept() -> None:
    found = data(imported(graph(node("a", data=1), name="Nightly Audit", description="Looks at everything.")))
    assert (found["name"], found["description"]) == ("nightly-audit", "Looks at everything.")
    found = data(imported(graph(node("a", data=1), name="Nightly Audit")))
    assert found["description"] == "Nightly Audit", "the words for people are not lost"


def test_what_has_no_counterpart_is_listed() -> None:
    flow = graph(
        node("a", "api_call", url="https://x.example", verify_ssl=False) | {"position": {"x": 1}},
        owner="me",
        version=None,
    )
    assert told(imported(flow)) == [
        "/steps/0/parameters/verify_ssl: `verify_ssl` of `a` has no counterpart here",
        "/steps/0/position: `position` of `a` has no counterpart here",
        "/owner: `owner` has no counterpart here",
        "/version: `version` has no counterpart here",
    ]


def test_losses_have_their_place_in_the_source_and_stand_in_the_result() -> None:
    text = (
        '{"name": "x", "color": 1,\n "steps": [{"step_id": "a", "step_type": "delay", "parameters": {"seconds": 1}}]}'
    )
    found = imported(text, file="some/flow.json")
    (loss,) = found.losses
    assert (loss.file, loss.line, loss.column, loss.pointer, loss.severity) == (
        "some/flow.json",
        1,
        15,
        "/color",
        "warning",
    )
    assert "# Imported from flow.json (graph form).\n" in found.text
    assert "#   1:15 unsupported: `color` has no counterpart here\n" in found.text


def test_ids_become_valid_and_stay_known() -> None:
    flow = graph(
        node("Fetch-Data", data=1, to="2nd"),
        node("2nd", data="{{Fetch-Data.output}}", to="fetch_data"),
        node("fetch_data", data=2),
    )
    found = imported(flow)
    assert [each["id"] for each in data(found)["steps"]] == ["fetch_data", "step_2nd", "fetch_data_2"]
    assert data(found)["steps"][0]["name"] == "Fetch-Data"
    assert data(found)["steps"][1]["output"] == "${{ steps.fetch_data.output }}"
    assert found.ids == {"Fetch-Data": "fetch_data", "2nd": "step_2nd", "fetch_data": "fetch_data_2"}


def test_a_missing_id_is_made_from_the_name() -> None:
    flow = graph(
        {"step_type": "data_transform", "name": "Load Rows", "parameters": {"data": [1]}},
        {"step_type": "delay", "name": "Pause", "dependencies": ["Load Rows"], "parameters": {"seconds": 1}},
        {"step_type": "delay", "dependencies": ["pause"], "parameters": {"seconds": 1}},
    )
    found = steps(flow)
    assert [(each["id"], each.get("name")) for each in found] == [
        ("load_rows", "Load Rows"), ("pause", "Pause"), ("delay", None),
    ]  # fmt: skip


# ---------------------------------------------------------------- triggers


@pytest.mark.parametrize(
    ("parameters", "trigger"),
    [
        ({"kind": "api"}, {"type": "manual"}),
        ({"kind": "chat"}, {"type": "chat"}),
        ({"kind": "webhook"}, {"type": "webhook", "path": "flow"}),
        ({"kind": "webhook", "path": "/in/orders"}, {"type": "webhook", "path": "in/orders"}),
        (
            {
                "kind": "schedule",
                "schedule": {
                    "enabled": True, "mode": "cron", "cron": "0 9 * * 1-5", "timezone": "Europe/Berlin",
                    "jitter_seconds": 30,
                },
            },
            {"type": "schedule", "cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "jitter": "30s"},
        ),
    ],
)  # fmt: skip
def test_triggers(parameters: dict[str, Any], trigger: dict[str, Any]) -> None:
    flow = graph(node("start", "trigger", to="a", **parameters), node("a", data=1))
    found = imported(flow)
    assert data(found)["triggers"] == [trigger]
    assert [each["id"] for each in data(found)["steps"]] == ["a"], "a trigger is no step"
    assert [each.code for each in found.losses] == (["assumed"] if trigger.get("path") == "flow" else [])


def test_a_schedule_that_is_switched_off_is_left_out_and_told() -> None:
    flow = graph(
        node("start", "trigger", kind="schedule", schedule={"enabled": False, "cron": "0 9 * * *"}, to="a"),
        node("a", data=1),
    )
    found = imported(flow)
    assert "triggers" not in data(found)
    assert told(found) == ["/steps/0/parameters/schedule/enabled: the schedule is switched off: it is left out"]


def test_a_chat_gives_the_message_and_a_webhook_its_body() -> None:
    found = data(imported(graph(CHAT, node("a", data="{{trigger.current_message}} {{input.lang}}"))))
    assert found["triggers"] == [{"type": "chat", "inputs": {"current_message": "${{ data.message }}"}}]
    assert found["inputs"] == {"current_message": {"type": "string", "required": False}, "lang": {"required": False}}
    hook = graph(node("start", "trigger", kind="webhook", to="a"), node("a", data="{{input.order}}"))
    assert data(imported(hook))["triggers"][0]["inputs"] == {"order": "${{ body.order | default(none) }}"}


# ---------------------------------------------------------------- steps


def test_agent_execution() -> None:
    parameters = {"agent_id": "sre-1", "max_iterations": 4, "timeout_seconds": 90, "query": "Why: {current_message}"}
    found = imported(graph(node("a", "agent_execution", system_prompt="You look.", **parameters)))
    assert data(found)["steps"] == [
        {
            "id": "a", "type": "agent", "agent": "sre-1", "prompt": "Why: ${{ inputs.current_message }}",
            "max_iterations": 4, "timeout": "1m30s",
        }
    ]  # fmt: skip
    assert data(found)["agents"] == {"sre-1": {"system": "You look."}}
    assert found.losses == ()
    assert one("agent", agent_name="sre-1", query="x")["agent"] == "sre-1", "a synonym"


def test_an_agent_that_the_project_has_is_not_defined_again() -> None:
    flow = graph(node("a", "agent", agent_name="sre", query="x"))
    found = imported(flow, agents=["sre"])
    assert "agents" not in data(found)
    assert found.losses == ()
    unknown = imported(flow)
    assert data(unknown)["agents"] == {"sre": {}}
    assert told(unknown, "assumed") == [
        "/steps/0/parameters/agent_name: the file does not say what the agent `sre` is: it has no tools here"
    ]
    both = imported(graph(node("a", "agent", agent_name="sre", query="x", system_prompt="Be brief.")), agents=["sre"])
    assert data(both)["steps"][0]["prompt"] == "Be brief.\n\nx"


def test_two_system_prompts_are_two_agents() -> None:
    flow = graph(
        node("a", "agent", agent_name="Writer", system_prompt="Long.", query="x", to="b"),
        node("b", "agent", agent_name="Writer", system_prompt="Short.", query="y", to="c"),
        node("c", "agent", agent_name="Writer", system_prompt="Long.", query="z"),
    )
    found = data(imported(flow))
    assert found["agents"] == {"writer": {"system": "Long."}, "writer-2": {"system": "Short."}}
    assert [each["agent"] for each in found["steps"]] == ["writer", "writer-2", "writer"]


def test_an_agent_without_a_query_is_told_the_message() -> None:
    assert one("agent", agent_name="x")["prompt"] == "${{ inputs.current_message }}"


def test_a_chat_hands_its_history_to_agents() -> None:
    found = step(graph(CHAT, node("a", "agent", agent_name="x", query="{current_message}")), "a")
    assert found["history"] == "${{ inputs.history | default([], true) }}"


def test_an_agent_of_whom_members_are_read_is_asked_for_them() -> None:
    flow = graph(
        node("a", "agent", agent_name="x", query="?", to="b"),
        node("b", data="{{a.output.category}} {{a.result.score}}"),
    )
    assert step(flow, "a")["output_schema"] == {
        "type": "object", "required": ["category", "score"], "properties": {"category": {}, "score": {}},
    }  # fmt: skip
    words = graph(node("a", "agent", agent_name="x", query="?", to="b"), node("b", data="{{a.output.response}}"))
    assert "output_schema" not in step(words, "a")
    assert step(words, "b")["output"] == "${{ steps.a.output }}"


def test_condition() -> None:
    flow = graph(
        node("check", "condition", condition="{{input.priority}} == 'high'", to="a", else_steps=["b"]),
        node("a", data=1),
        node("b", data=2),
    )
    assert steps(flow) == [
        {"id": "check", "type": "condition", "if": "inputs.priority == 'high'", "then": []},
        {"id": "a", "type": "transform", "needs": ["check.then"], "output": 1},
        {"id": "b", "type": "transform", "needs": ["check.else"], "output": 2},
    ]


def test_a_structured_condition() -> None:
    flow = graph(node("c", "condition", condition={"field": "{{input.n}}", "operator": "gt", "value": 3}))
    assert step(flow, "c")["if"] == {"field": "inputs.n", "operator": "gt", "value": 3}


def test_human_approval() -> None:
    found = one(
        "human_approval", approvers=["ana", "user:ben", "group:oncall", "role:lead"], timeout_hours=1.5,
        prompt="Go on?", approver_role="boss",
    )  # fmt: skip
    assert found == {
        "type": "approval", "message": "Go on?",
        "approvers": ["ana", "user:ben", "group:oncall", "group:lead", "group:boss"], "timeout": "1h30m",
    }  # fmt: skip
    assert one("human_approval", message="?", timeout_seconds=90)["timeout"] == "1m30s"
    assert one("human_approval", message="?", approvers="bob, ann")["approvers"] == ["bob", "ann"]
    assert one("human_approval", message="?", approvers="cn=bob,dc=x")["approvers"] == ["cn=bob,dc=x"]


def test_a_comment_that_is_required_is_a_form() -> None:
    flow = graph(
        node("a", "human_approval", message="?", require_comment=True, to="b"), node("b", data="{{a.output.comment}}")
    )
    found = imported(flow)
    assert step(flow, "a")["form"]["comment"]["required"] is True
    assert step(flow, "b")["output"] == "${{ steps.a.output.comment }}"
    assert [each.code for each in found.losses] == ["differs"]


def test_a_rejection_goes_the_other_way() -> None:
    flow = graph(
        node("gate", "human_approval", message="?", to="yes", else_steps=["no"]),
        node("yes", data=1),
        node("no", data=2),
    )
    found = imported(flow)
    assert [each.get("needs") for each in data(found)["steps"]] == [None, ["gate.approved"], ["gate.rejected"]]
    assert play(found, votes={"gate": "rejected"}).statuses == {"gate": "failed", "yes": "skipped", "no": "completed"}


def test_both_ways_from_a_question_may_lead_to_the_same_step() -> None:
    guarded = node("both", data=1) | {"conditions": "input.x == true"}
    found = imported(graph(node("gate", "human_approval", message="?", to="both", else_steps=["both"]), guarded))
    for vote in ("approved", "rejected"):
        assert play(found, inputs={"x": True}, votes={"gate": vote}).statuses["both"] == "completed"


def test_a_rejection_that_nobody_handles_ends_the_run() -> None:
    found = imported(graph(node("gate", "human_approval", message="?", to="yes"), node("yes", data=1)))
    run = play(found, votes={"gate": "rejected"})
    assert (run.run.status, run.run.error.code if run.run.error else "") == ("failed", "APPROVAL_REJECTED")


@pytest.mark.parametrize("type_", ["tool_call", "tool_execution"])
def test_tool_call(type_: str) -> None:
    flow = graph(
        node("fetch", data={"body": 1}, to="a"),
        node(
            "a",
            type_,
            tool_name="mail.send",
            arguments={"to": "{{input.who}}", "n": 2},
            param_mapping={"text": "fetch.body"},
        ),
    )
    assert step(flow, "a") == {
        "type": "tool", "tool": "mail.send",
        "with": {"to": "${{ inputs.who }}", "n": 2, "text": "${{ steps.fetch.output.body }}"},
    }  # fmt: skip


@pytest.mark.parametrize("type_", ["data_transform", "data_input", "data_processing"])
def test_data_transform(type_: str) -> None:
    assert one(type_, data={"a": [1, "{{input.x}}"]}) == {"type": "transform", "output": {"a": [1, "${{ inputs.x }}"]}}
    assert one(type_, expression="input.a + 1")["output"] == "${{ inputs.a + 1 }}"
    assert one(type_, expression="{{input.a}} + 1")["output"] == "${{ inputs.a + 1 }}"
    assert one(type_, expression="{{input.a}} == 'x' and {{input.b}}")["output"] == (
        "${{ inputs.a == 'x' and inputs.b }}"
    )
    for text in ("Dear {}", "{} {}", "{}, {}", "{}: {}"):
        there, here = (text.replace("{}", name) for name in ("{{input.a}}", "${{ inputs.a }}"))
        assert one(type_, expression=there)["output"] == here
    assert one(type_, template="{{input.a}} - {{input.a}}")["output"] == "${{ inputs.a }} - ${{ inputs.a }}"
    assert one(type_, data={"k": 1}, expressions={"n": "len(input.rows)"})["output"] == {
        "k": 1, "n": "${{ inputs.rows | length }}",
    }  # fmt: skip
    assert one(type_, region="eu", limit=3)["output"] == {"region": "eu", "limit": 3}, "whatever else is static data"


def test_api_call() -> None:
    found = one(
        "api_call", url="https://x.example/{{input.id}}", method="post",
        headers={"X-Run": "{{execution_id}}", "Authorization": "Bearer {{secrets.KEY}}"},
        body={"n": "{{input.n}}"}, timeout_seconds=5,
    )  # fmt: skip
    assert found == {
        "type": "http", "method": "POST", "url": "https://x.example/${{ inputs.id }}",
        "headers": {"X-Run": "${{ run.id }}", "Authorization": "Bearer ${{ secrets.KEY }}"},
        "json": {"n": "${{ inputs.n }}"}, "timeout": "5s",
    }  # fmt: skip
    assert one("api_call", url="https://x.example", body="plain {{input.n}}")["body"] == "plain ${{ inputs.n }}"


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"seconds": 90}, "1m30s"),
        ({"minutes": 5}, "5m"),
        ({"hours": 0.5}, "30m"),
        ({"duration_seconds": "10"}, "10s"),
        ({"delay_minutes": 1}, "1m"),
        ({"duration": 2, "unit": "hours"}, "2h"),
        ({"duration": 3}, "3s"),
        ({"duration": "5 minutes"}, "5m"),
        ({"duration": "1h30m"}, "1h30m"),
        ({"minutes": "{{input.m}}"}, "${{ (inputs.m) * 60 }}"),
        ({"seconds": "{{input.s}}"}, "${{ inputs.s }}"),
    ],
)
def test_delay(parameters: dict[str, Any], wanted: str) -> None:
    assert one("delay", **parameters) == {"type": "delay", "for": wanted}


def test_loop() -> None:
    flow = graph(
        node("fetch", data=[1], to="each"),
        node(
            "each",
            "loop",
            items="{{fetch.output}}",
            steps=["body", "more"],
            item_variable="row",
            concurrency=3,
            to="after",
        ),
        node("body", "tool_call", tool_name="act", arguments={"row": "{{row.id}}", "at": "{{index}}"}, to="more"),
        node("more", data="{{body.output}} {{item}} {{loop.index}}"),
        node("after", data="{{each.output}}"),
    )
    found = steps(flow)
    assert found[1] == {
        "id": "each", "type": "loop", "over": "steps.fetch.output", "as": "row", "concurrency": 3,
        "steps": [
            {"id": "body", "type": "tool", "tool": "act", "with": {"row": "${{ row.id }}", "at": "${{ index }}"}},
            {"id": "more", "type": "transform", "output": "${{ steps.body.output }} ${{ row }} ${{ index }}"},
        ],
    }  # fmt: skip
    assert found[2] == {"id": "after", "type": "transform", "output": "${{ steps.each.output }}"}


def test_a_loop_that_is_drawn_as_a_circle() -> None:
    flow = graph(
        node("each", "loop", items=[1, 2], to=["body", "after"]),
        node("body", "tool_call", tool_name="act", to="back"),
        node("back", data="{{item}}", to="each"),
        node("after", data=1),
    )
    found = imported(flow)
    assert [each["id"] for each in data(found)["steps"]] == ["each", "after"]
    assert [each["id"] for each in data(found)["steps"][0]["steps"]] == ["body", "back"]
    assert play(found).started == ["each", "each[0].body", "each[0].back", "each[1].body", "each[1].back", "after"]


def test_a_loop_through_a_list_with_placeholders() -> None:
    items = ["{{input.x}}", "it's {{input.y}}!", {"a": [1, None, True, "{{input.x}}"]}, 2.5, ""]
    found = imported(graph(node("a", "loop", items=items, steps=["b"]), node("b", data="{{item}}")))
    assert data(found)["steps"][0]["over"] == (
        "[inputs.x, 'it\\'s ' ~ inputs.y ~ '!', {'a': [1, none, true, inputs.x]}, 2.5, '']"
    )
    run = play(found, inputs={"x": 7, "y": "ok"})
    assert run.step("a").output == [7, "it's ok!", {"a": [1, None, True, 7]}, 2.5, ""]


def test_a_list_with_placeholders_that_is_too_long_for_an_expression_is_left_to_people() -> None:
    report = import_workflow(graph(node("a", "loop", items=["{{input.x}}"] * 400)), "graph")
    assert "untranslated(" in report.text
    assert "this list cannot be one expression" in report.text


def test_a_loop_with_a_condition() -> None:
    flow = graph(
        node("again", "loop", condition="{{index}} < 3", max_iterations=10, steps=["b"]), node("b", data="{{index}}")
    )
    assert step(flow, "again")["while"] == "(index < 3) and index < 10"
    assert play(imported(flow)).run.output == [0, 1, 2]


def test_what_lies_in_a_loop_is_read_from_outside_as_a_variable() -> None:
    flow = graph(
        node("each", "loop", items=[1, 2], steps=["body"], to="after"),
        node("body", data="{{item}}"),
        node("after", data="{{body.output}}"),
    )
    found = imported(flow)
    assert data(found)["vars"] == {"body": None}
    assert step(flow, "body")["set"] == {"body": "result"}
    assert play(found).run.output == 2


def test_parallel() -> None:
    flow = graph(
        node("both", "parallel", steps=["a", "b"], to="after"),
        node("a", data=1, to="a2"),
        node("a2", data="{{a.output}}2", to="after"),
        node("b", data=2),
        node("after", data="{{a2.output}} {{b.output}} {{a.output}}"),
    )
    found = imported(flow)
    assert data(found)["steps"][0]["branches"] == {
        "a": [
            {"id": "a", "type": "transform", "output": 1, "set": {"a": "result"}},
            {"id": "a2", "type": "transform", "output": "${{ steps.a.output }}2"},
        ],
        "b": [{"id": "b", "type": "transform", "output": 2}],
    }
    assert step(flow, "after")["output"] == ("${{ steps.both.output.a }} ${{ steps.both.output.b }} ${{ vars.a }}")
    assert play(found).run.output == "12 2 1"


def test_a_parallel_that_only_splits() -> None:
    flow = graph(
        node("split", "parallel", to=["a", "b"]),
        node("a", data=1, to="join"),
        node("b", data=2, to="join"),
        node("join", data=3),
    )
    found = steps(flow)
    assert [list(each.get("branches", ())) for each in found] == [["a", "b"], []]


def test_retry() -> None:
    flow = graph(node("a", "api_call", url="https://x.example", retry={"max_attempts": 4, "backoff_seconds": 1.5}))
    assert step(flow, "a")["retry"] == {"max_attempts": 4, "backoff": "1.5s"}
    once = graph(node("a", "api_call", url="https://x.example", retry={"max_attempts": 1}))
    assert "retry" not in step(once, "a")


def test_an_unknown_type_is_a_call_of_a_tool_that_could_be() -> None:
    flow = graph(node("a", "send_fax", number="123", to="b"), node("b", data=1))
    found = imported(flow)
    assert step(flow, "a") == {"type": "tool", "tool": "send_fax", "with": {"number": "123"}}
    assert told(found) == ["/steps/0/step_type: there is no step type `send_fax` here: `a` calls a tool `send_fax`"]


# ---------------------------------------------------------------- written from the other end


def test_dependencies_input_mapping_config_and_name() -> None:
    ask, send = {"agent_name": "x", "query": "Sum up {text}"}, {"body": "sum.output", "to": "input.mail"}
    flow = graph(
        node("fetch", "api_call", config={"url": "https://x.example"}, name="Fetch it"),
        node("sum", "agent", config=ask, dependencies=["fetch"], input_mapping={"text": "fetch.body"}),
        node("send", "tool_execution", config={"tool_name": "m"}, dependencies=["sum"], input_mapping=send),
    )
    found = steps(flow)
    assert found[0] == {"id": "fetch", "type": "http", "name": "Fetch it", "url": "https://x.example"}
    assert found[1]["prompt"] == "Sum up ${{ steps.fetch.output.body }}"
    assert found[2]["with"] == {"body": "${{ steps.sum.output }}", "to": "${{ inputs.mail }}"}
    assert [each.get("needs") for each in found] == [None, None, None], "they stand in their order"


def test_steps_without_ids_are_read_by_their_names() -> None:
    flow = graph(
        {"name": "Load It", "step_type": "data_input", "config": {"data": {"a": 1}}},
        {"name": "Rate", "step_type": "data_input", "config": {"data": {"b": "{{ Load It.a }}"}}},
        {
            "name": "Ask Them",
            "step_type": "human_approval",
            "config": {"prompt": "{Rate.b}?"},
            "dependencies": ["Rate"],
        },
        {
            "name": "go",
            "step_type": "tool_execution",
            "config": {"tool_name": "act"},
            "dependencies": ["Ask Them"],
            "conditions": "Ask Them.output.decision == 'approved'",
            "input_mapping": {"v": "Load It.output.a", "w": "Rate.b"},
        },
    )
    found = steps(flow)
    assert found[1]["output"] == {"b": "${{ steps.load_it.output.a | default(none) }}"}
    assert found[2]["message"] == "${{ steps.rate.output.b }}?"
    assert found[2]["on_error"] == "continue"
    assert found[3]["needs"] == ["ask_them.approved"]
    assert found[3]["with"] == {
        "v": "${{ steps.load_it.output.a | default(none) }}", "w": "${{ steps.rate.output.b }}",
    }  # fmt: skip


def test_a_name_that_several_steps_have_is_none_of_theirs() -> None:
    both = {"name": "Twin", "step_type": "data_input", "config": {"data": 1}}
    found = imported(graph(both, dict(both), node("c", expression="{{ Twin.a }}")))
    assert told(found) == ["/steps/2/parameters/expression: `{{ Twin.a }}` stays as text: nothing is called `Twin`"]


def test_what_an_agent_is_given_and_not_asked_stands_below_the_goal() -> None:
    flow = graph(
        node("a", data=1),
        node("b", "agent", agent_name="x", query="Go.", dependencies=["a"], input_mapping={"rows": "a.output"}),
    )
    assert step(flow, "b")["prompt"] == "Go.\n\nrows: ${{ steps.a.output }}"


def decided(condition: str, **more: Any) -> dict[str, Any]:
    return graph(
        node("approval", "human_approval", message="?"),
        node("deploy", "tool_execution", tool_name="act", dependencies=["approval"], conditions=condition),
        *more.values(),
    )


@pytest.mark.parametrize(
    ("condition", "need"),
    [
        ("approval.output.decision == 'approved'", "approval.approved"),
        ("{{approval.output.decision}} == 'approved'", "approval.approved"),
        ("approval.output.decision != 'approved'", "approval.rejected"),
        ('approval.decision == "rejected"', "approval.rejected"),
        ("approval.output.approved == true", "approval.approved"),
    ],
)
def test_conditions_on_a_decision_are_ports(condition: str, need: str) -> None:
    found = imported(decided(condition))
    deploy = data(found)["steps"][1]
    assert (deploy["needs"], deploy.get("if")) == ([need], None)
    for vote in ("approved", "rejected"):
        run = play(found, votes={"approval": vote})
        assert run.run.status == "completed", "who looks at the decision goes on after it"
        assert run.status("deploy") == ("completed" if need == f"approval.{vote}" else "skipped")


def test_conditions_with_more_than_a_decision() -> None:
    flow = decided("approval.output.decision == 'approved' and input.env == 'prod'")
    deploy = step(flow, "deploy")
    assert (deploy["needs"], deploy["if"]) == (["approval.approved"], "inputs.env == 'prod'")
    either = step(decided("approval.output.decision == 'rejected' or input.force"), "deploy")
    assert either["if"] == "steps.approval.status != 'completed' or inputs.force"


def test_who_does_not_look_at_a_decision_runs_after_an_approval_only() -> None:
    other = node("other", "tool_execution", tool_name="act", dependencies=["approval"])
    flow = decided("approval.output.decision == 'approved'", other=other)
    found = imported(flow)
    assert step(flow, "other")["needs"] == ["approval.approved"]
    assert any("it runs after an approval only" in each for each in told(found, "assumed"))


def test_a_step_whose_condition_does_not_hold_is_skipped_and_others_go_on() -> None:
    flow = graph(
        node("a", data={"n": 1}),
        node("b", "tool_call", tool_name="act", dependencies=["a"], conditions="a.output.n > 3"),
        node("c", data="{{b.output.x}}", dependencies=["b"]),
    )
    found = imported(flow)
    assert step(flow, "b")["if"] == "steps.a.output.n > 3"
    assert step(flow, "c")["output"] == "${{ steps.b.output.x | default(none) }}", "what was skipped has no output"
    run = play(found)
    assert (run.status("b"), run.status("c"), run.run.output) == ("skipped", "completed", None)


def test_conditions_on_a_condition_are_its_ports() -> None:
    flow = graph(
        node("check", "condition", condition="input.n > 1"),
        node("yes", data=1, dependencies=["check"], conditions="check.output == true"),
        node("no", data=2, dependencies=["check"], conditions="check.output.result == false"),
    )
    assert [each.get("needs") for each in steps(flow)] == [None, ["check.then"], ["check.else"]]


# ---------------------------------------------------------------- order


def test_needs_stand_only_where_the_list_does_not_say_it() -> None:
    flow = graph(
        node("a", data=1, to=["b", "c"]),
        node("b", data=1, to="d"),
        node("c", data=1, to="d"),
        node("d", data=1, to="e"),
        node("e", data=1),
    )
    assert [(each["id"], each.get("needs"), each.get("join")) for each in steps(flow)] == [
        ("a", None, None), ("b", None, None), ("c", ["a"], None), ("d", None, None), ("e", None, None),
    ]  # fmt: skip


def test_what_begins_with_the_run_says_so() -> None:
    flow = graph(node("a", data=1), node("b", data=1), node("c", data=1, dependencies=["a", "b"]))
    assert [each.get("needs") for each in steps(flow)] == [None, [], None]


def test_ways_that_exclude_each_other_meet_without_waiting() -> None:
    flow = graph(
        node("side", data=1),
        node("check", "condition", condition="input.x", to="a", else_steps=["b"]),
        node("a", data=1, to="d"),
        node("b", data=1, to="d"),
        node("d", data=1),
    )
    found = step(flow, "d")
    assert (found["needs"], found["join"]) == (["a", "b"], "any")


def test_a_reference_to_a_way_that_was_not_taken_is_null() -> None:
    flow = graph(
        node("check", "condition", condition="input.x", to="a", else_steps=["b"]),
        node("a", data={"v": 1}, to="d"),
        node("b", data={"v": 2}, to="d"),
        node("d", data="{{a.output.v}}"),
    )
    found = imported(flow)
    assert step(flow, "d")["output"] == "${{ steps.a.output.v | default(none) }}"
    assert play(found, inputs={"x": False}).run.output is None
    assert play(found, inputs={"x": True}).run.output == 1


def test_it_is_the_same_every_time() -> None:
    flow = graph(*(node(f"s{n}", data=n, to=[f"s{m}" for m in range(n + 1, 8, 2)]) for n in range(8)))
    assert {imported(flow).text for _ in range(3)} == {imported(flow).text}
    assert valid(imported(flow)).digest == valid(imported(flow)).digest


def test_what_was_said_with_a_rejection_is_read_where_it_stands() -> None:
    ask = node("ask", "human_approval", message="?", to="yes", else_steps=["no"])
    flow = graph(
        ask,
        node("yes", data="{{ask.output.comment}}", to="end"),
        node("no", data="{{ask.output.comment}} by {{ask.output.decided_by}}", to="end"),
        node("end", data="{{ask.output.comment}}"),
    )
    assert step(flow, "yes")["output"] == "${{ steps.ask.output.comment }}"
    assert step(flow, "no")["output"] == "${{ steps.ask.error.data.comment }} by ${{ steps.ask.error.data.by[0] }}"
    either = "${{ steps.ask.output.comment | default(steps.ask.error.data.comment) | default(none) }}"
    assert step(flow, "end")["output"] == either
    for decision in ("approved", "rejected"):
        run = Play(valid(imported(flow)).plan)
        run.vote("ask", decision=decision, comment="because")
        assert (run.status(), run.run.output) == ("completed", "because")
        assert run.run.steps["no"].output in (None, "because by ana")
