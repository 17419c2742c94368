"""The list form: steps in their order, jumps over some of them, paths in texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_kit import data, imported, listed, play, step, steps, told, wrong

from fleetprompt.engine.definition.importing import recognise


def tool(id_: str, **fields: Any) -> dict[str, Any]:
    return {"id": id_, "type": "tool", "tool": "act", **fields}


def asks(id_: str, then: Any = None, other: Any = None, field: str = "") -> dict[str, Any]:
    """A condition on the input that is called as the step."""
    jumps = {key: to for key, to in (("then_step", then), ("else_step", other)) if to is not None}
    question = {"field": field or f"$.input.{id_}", "operator": "eq", "value": True}
    return {"id": id_, "type": "condition", "condition": question | jumps}


def flow(*given: dict[str, Any], **top: Any) -> dict[str, Any]:
    return listed(*given, **{"trigger": {"type": "manual"}} | top)


# ---------------------------------------------------------------- steps


def test_steps_run_in_their_order_and_need_not_say_so() -> None:
    found = steps(flow(tool("a"), tool("b"), {"id": "c", "type": "agent", "agent": "x", "prompt": "Go."}))
    assert found == [
        {"id": "a", "type": "tool", "tool": "act"},
        {"id": "b", "type": "tool", "tool": "act"},
        {"id": "c", "type": "agent", "agent": "x", "prompt": "Go."},
    ]


def test_paths_in_arguments_and_prompts() -> None:
    given = flow(
        tool("fetch", tool_args={"url": "$.input.url", "n": 3, "deep": {"q": ["$.input.query", "as it is"]}}),
        tool("sum", tool_args={"body": "$.fetch.body.items[0].name", "odd": "$.fetch['first name']"}),
        {
            "id": "say",
            "type": "agent",
            "agent": "x",
            "prompt": "About $.input.query: $.fetch.body. It costs $5.20, $.unknown.x.",
        },
    )
    assert step(given, "fetch")["with"] == {
        "url": "${{ inputs.url }}", "n": 3, "deep": {"q": ["${{ inputs.query }}", "as it is"]},
    }  # fmt: skip
    assert step(given, "sum")["with"] == {
        "body": "${{ steps.fetch.output.body.items[0].name }}", "odd": "${{ steps.fetch.output['first name'] }}",
    }  # fmt: skip
    said = "About ${{ inputs.query }}: ${{ steps.fetch.output.body }}. It costs $5.20, $.unknown.x."
    assert step(given, "say")["prompt"] == said
    assert told(imported(given))[-1] == "/steps/2/prompt: `$.unknown.x` stays as text: nothing is called `unknown`"


def test_every_item_of_a_list() -> None:
    given = flow(tool("a"), tool("b", tool_args={"names": "$.a.rows[*].user.name", "rows": "$.a.rows[*]"}))
    assert step(given, "b")["with"] == {
        "names": "${{ steps.a.output.rows | map(attribute='user.name') }}", "rows": "${{ steps.a.output.rows }}",
    }  # fmt: skip


def test_human() -> None:
    given = flow(
        {"id": "ask", "type": "human", "prompt": "Send $.input.text?", "approvers": ["ana"], "timeout_seconds": 60}
    )
    assert step(given, "ask") == {
        "type": "approval", "message": "Send ${{ inputs.text }}?", "approvers": ["ana"], "timeout": "1m",
    }  # fmt: skip


def test_a_decision_that_is_read_next_does_not_end_the_run() -> None:
    ask = {"id": "ask", "type": "human", "prompt": "Go?"}
    question = {"field": "$.ask.decision", "operator": "eq", "value": "approved", "then_step": "yes", "else_step": "no"}
    given = flow(ask, {"id": "check", "type": "condition", "condition": question}, tool("yes"), tool("no"))
    found = imported(given)
    assert step(given, "check")["if"] == "steps.ask.status == 'completed'"
    assert play(found, votes={"ask": "rejected"}).statuses["yes"] == "skipped"
    assert play(found, votes={"ask": "approved"}).statuses["yes"] == "completed"


def test_parallel_by_reference_and_written_out() -> None:
    given = flow({"id": "p", "type": "parallel", "parallel_steps": ["a", "b"]}, tool("a"), tool("b"), tool("c"))
    found = steps(given)
    assert [each["id"] for each in found] == ["p", "c"]
    assert [[each["id"] for each in branch] for branch in found[0]["branches"].values()] == [["a"], ["b"]]
    inner = [tool("a"), [tool("b"), tool("b2", tool_args={"x": "$.b.y"})], {"name": "third", "steps": [tool("c")]}]
    found = steps(flow({"id": "p", "type": "parallel", "branches": inner}))
    assert [[each["id"] for each in branch] for branch in found[0]["branches"].values()] == [["a"], ["b", "b2"], ["c"]]


def test_loop_by_reference_and_written_out() -> None:
    config = {"items_path": "$.fetch.rows", "item_variable": "row", "max_iterations": 5}
    body = [tool("one", tool_args={"id": "$.row.id"}), tool("two", tool_args={"x": "$.one.y", "at": "$.index"})]
    inline = flow(tool("fetch"), {"id": "each", "type": "loop", "loop_config": {**config, "steps": body}})
    named = flow(
        tool("fetch"), {"id": "each", "type": "loop", "loop_config": {**config, "steps": ["one", "two"]}}, *body
    )
    assert steps(inline) == steps(named)
    two = {"x": "${{ steps.one.output.y }}", "at": "${{ index }}"}
    assert steps(inline)[1] == {
        "id": "each", "type": "loop", "over": "steps.fetch.output.rows", "as": "row", "max_iterations": 5,
        "steps": [
            {"id": "one", "type": "tool", "tool": "act", "with": {"id": "${{ row.id }}"}},
            {"id": "two", "type": "tool", "tool": "act", "with": two},
        ],
    }  # fmt: skip
    assert told(imported(inline), "differs") == [
        "/steps/1/loop_config/max_iterations: more than 5 items fail the step here; none are left out"
    ]


def test_how_many_items_a_loop_has() -> None:
    inner = {"id": "b", "type": "tool", "tool": "t", "tool_args": {"n": "{{loop.index}} of {{loop.length}}"}}
    found = flow({"id": "a", "type": "loop", "loop_config": {"items_path": "$.input.rows", "steps": [inner]}})
    assert step(found, "b")["with"] == {"n": "${{ index }} of ${{ loop.length }}"}


def test_the_name_of_an_item_that_has_a_meaning_is_another() -> None:
    config = {
        "items_path": "$.input.rows",
        "item_variable": "steps",
        "steps": [tool("one", tool_args={"id": "$.steps.id"})],
    }
    found = steps(flow({"id": "each", "type": "loop", "loop_config": config}))[0]
    assert (found["as"], found["steps"][0]["with"]) == ("steps_item", {"id": "${{ steps_item.id }}"})


# ---------------------------------------------------------------- jumps


def test_what_stands_between_is_skipped() -> None:
    found = steps(flow(asks("c", "d", "b"), tool("b"), tool("d")))
    assert [(each["id"], each.get("needs")) for each in found] == [("c", None), ("b", ["c.else"]), ("d", None)]


@pytest.mark.parametrize(
    ("operator", "value", "wanted"),
    [
        ("==", 1, {"field": "inputs.x", "operator": "eq", "value": 1}),
        ("greater_than", 1, {"field": "inputs.x", "operator": "gt", "value": 1}),
        ("contains", "$.input.y", {"field": "inputs.x", "operator": "contains", "value": "${{ inputs.y }}"}),
        ("not_in", [1], {"not": {"field": "inputs.x", "operator": "in", "value": [1]}}),
        ("exists", None, {"field": "inputs.x", "operator": "exists"}),
        ("not_exists", None, {"not": {"field": "inputs.x", "operator": "exists"}}),
        ("matches", "^a+$", {"field": "inputs.x", "operator": "matches", "value": "^a+$"}),
        ("starts_with", "a", "inputs.x is startswith('a')"),
        ("is_empty", None, "inputs.x is empty"),
    ],
)
def test_operators(operator: str, value: Any, wanted: Any) -> None:
    given = asks("c", "b")
    given["condition"] |= {"field": "$.input.x", "operator": operator, "value": value}
    assert step(flow(given, tool("a"), tool("b")), "c")["if"] == wanted


def test_a_step_that_everything_jumps_over_never_runs_and_is_told() -> None:
    given = flow(asks("c", "d", "d"), tool("b"), tool("d", tool_args={"x": "$.b.y"}))
    found = imported(given)
    assert [each["id"] for each in data(found)["steps"]] == ["c", "d"]
    assert step(given, "d")["with"] == {"x": "${{ none }}"}
    assert told(found) == ["/steps/1: nothing leads to `b`: it never runs, and is left out"]


def test_a_jump_to_the_end_ends_it() -> None:
    found = imported(flow(asks("c", "b", "end"), tool("b")))
    assert play(found, inputs={"c": False}).statuses == {"c": "completed", "b": "skipped"}


def test_jumps_that_cannot_be_made() -> None:
    (said,) = wrong(flow(tool("a"), asks("c", "a")))
    assert said == "/steps/1/condition/then_step cycle: `c` jumps back to `a`"
    (said,) = wrong(flow(asks("c", "nowhere")))
    assert said == "/steps/0/condition/then_step unknown-need: there is no step `nowhere`"
    config = {"items_path": "$.input.rows", "steps": [asks("c", "after"), tool("b")]}
    found = imported(flow({"id": "each", "type": "loop", "loop_config": config}, tool("after")))
    assert told(found, "differs") == [
        "/steps/0/loop_config/steps/0/condition/then_step: `after` is not in the same list as `c`: "
        "what comes after it here is left out"
    ]


class Program:
    """A list of steps, and what an interpreter with a program counter does with it."""

    def __init__(self, draw: Any) -> None:
        count = draw(st.integers(1, 9))
        self.answers = {f"s{at}": draw(st.booleans()) for at in range(count)}
        self.steps: list[dict[str, Any]] = []
        for at in range(count):
            later = [None, "end", *(f"s{to}" for to in range(at + 1, count))]
            pick = st.sampled_from(later)
            self.steps.append(asks(f"s{at}", draw(pick), draw(pick)) if draw(st.booleans()) else tool(f"s{at}"))

    def run(self) -> list[str]:
        done: list[str] = []
        at = 0
        while at < len(self.steps):
            this = self.steps[at]
            done.append(this["id"])
            key = "then_step" if self.answers[this["id"]] else "else_step"
            to = this.get("condition", {}).get(key)
            at = at + 1 if to is None else len(self.steps) if to == "end" else int(to[1:])
        return done


@given(st.data(), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_a_list_runs_as_a_program_would(data: Any, seed: int) -> None:
    program = Program(data.draw)
    found = imported(flow(*program.steps))
    inputs = {name: value for name, value in program.answers.items() if f"inputs.{name}" in found.text}
    run = play(found, seed, inputs=inputs)
    assert run.run.status == "completed"
    assert run.started == program.run(), found.text


# ---------------------------------------------------------------- the file


def test_guardrails() -> None:
    limits = {
        "request_limit": 25, "tool_calls_limit": 40, "total_tokens_limit": 200_000, "max_cost_dollars": 0.4,
        "timeout_seconds": 1200, "per_user": 3,
    }  # fmt: skip
    found = imported(flow(tool("a"), guardrails=limits))
    assert data(found)["guardrails"] == {
        "requests": 25, "tokens": 200_000, "tool_calls": 40, "cost_usd": 0.4, "timeout": "20m",
    }  # fmt: skip
    assert told(found) == ["/guardrails/per_user: `per_user` of guardrails has no counterpart here"]
    inner = {"id": "a", "type": "agent", "agent": "x", "prompt": "y", "guardrails": {"request_limit": 3}}
    assert step(flow(inner), "a")["guardrails"] == {"requests": 3}


@pytest.mark.parametrize(
    ("trigger", "wanted"),
    [
        ({"type": "manual"}, {"type": "manual"}),
        ("manual", {"type": "manual"}),
        (
            {"type": "cron", "schedule": "*/5 * * * *", "timezone": "UTC"},
            {"type": "schedule", "cron": "*/5 * * * *", "timezone": "UTC"},
        ),
        ({"type": "cron", "cron": "0 0 9 ? * 1"}, {"type": "schedule", "cron": "0 9 * * 1"}),
        ({"type": "webhook", "path": "orders"}, {"type": "webhook", "path": "orders"}),
        ({"type": "event", "event": "order.placed"}, {"type": "signal", "match": "order.placed"}),
        ({"type": "event", "event_type": "order/placed now"}, {"type": "signal", "match": "order.placed.now"}),
        (
            {"type": "agent_completion", "workflow": "Nightly Audit", "status": "success"},
            {"type": "completion", "workflow": "nightly-audit", "status": ["completed"]},
        ),
    ],
)
def test_triggers(trigger: Any, wanted: dict[str, Any]) -> None:
    assert data(imported(flow(tool("a"), trigger=trigger)))["triggers"] == [wanted]


def test_a_secret_of_a_webhook_is_referred_to_and_never_repeated() -> None:
    found = imported(flow(tool("a"), trigger={"type": "webhook", "path": "in", "secret": "hunter2"}))
    assert data(found)["triggers"] == [{"type": "webhook", "path": "in", "secret": "${{ secrets.FLOW_WEBHOOK }}"}]
    assert "hunter2" not in found.text
    assert [each.code for each in found.losses] == ["differs"]


@pytest.mark.parametrize(
    ("trigger", "root"),
    [
        ({"type": "event", "event": "order.placed"}, "data"),
        ({"type": "agent_completion", "agent": "sre"}, "data"),
        ({"type": "webhook", "path": "in"}, "body"),
        ({"type": "chat"}, "data"),
    ],
)
def test_whatever_starts_it_gives_what_is_read_of_the_input(trigger: dict[str, Any], root: str) -> None:
    arguments = {"all": "$.input", "odd": "$.input['my key']", "id": "$.input.id"}
    given = data(imported(flow(tool("a", tool_args=arguments), trigger=trigger)))["triggers"][0]["inputs"]
    assert given["input"] == ("${{ body }}" if root == "body" else "${{ data | default({}, true) }}")
    assert given["my_key"] == f"${{{{ {root}['my key'] | default(none) }}}}"
    assert given.get("id", "by its name") in ("by its name", f"${{{{ {root}.id | default(none) }}}}")
    assert ("id" in given) == (trigger["type"] != "chat")
    plain = data(imported(flow(tool("a", tool_args={"id": "$.input.id"}), trigger=trigger)))
    assert ("inputs" in plain["triggers"][0]) == (trigger["type"] == "webhook")


def test_what_a_completion_does_not_tell_is_told() -> None:
    trigger = {"type": "agent_completion", "agent": "sre"}
    found = imported(flow(tool("a", tool_args={"x": "$.input.answer", "y": "$.input.status"}), trigger=trigger))
    assert told(found) == ["/trigger/type: what has ended tells how, and not what came of it: `answer`"]
    assert told(imported(flow(tool("a", tool_args={"y": "$.input.status"}), trigger=trigger))) == []


def test_triggers_that_are_not_there_are_told() -> None:
    found = imported(flow(tool("a"), trigger={"type": "moon_phase", "phase": "full"}))
    assert told(found) == ["/trigger/type: there is no trigger `moon_phase` here"]
    found = imported(flow(tool("a"), trigger={"type": "cron", "schedule": "whenever"}))
    assert told(found) == ["/trigger/schedule: this is no cron expression here: the trigger is left out"]


@pytest.mark.parametrize(
    ("given", "format_"),
    [
        (flow(tool("a")), "list"),
        (listed(tool("a", tool_args={})), "list"),
        (listed(asks("c", "b"), tool("b")), "list"),
        (listed({"id": "a", "type": "human", "prompt": "?"}), "list"),
        (listed({"id": "a", "type": "agent", "agent": "x", "prompt": "Do $.input.x"}), "list"),
        (listed({"id": "a", "type": "agent", "dependencies": []}), "graph"),
        (listed({"step_id": "a", "step_type": "agent"}), "graph"),
        ({"name": "ours", "steps": [{"id": "a", "type": "agent", "agent": "x", "prompt": "y"}]}, ""),
        ({"name": "ours", "triggers": [], "steps": [{"id": "a", "type": "transform", "output": 1}]}, ""),
        ({"name": "ours", "steps": [{"id": "a", "type": "shell", "argv": ["jq", "$.items"]}]}, ""),
        ({"steps": 3}, ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_form_is_told_by_its_shape(given: Any, format_: str) -> None:
    assert recognise(given) == format_


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("$.input.rows[1:3]", "${{ inputs.rows[1:3] }}"),
        ("$.input.rows[-2:]", "${{ inputs.rows[-2:] }}"),
        ("$.input.rows.length", "${{ inputs.rows | length }}"),
        ("{input.rows.length} of $.input.rows.length.", "${{ inputs.rows | length }} of ${{ inputs.rows | length }}."),
        ("of $.input.rows[:2].name, too", "of ${{ inputs.rows[:2] | map(attribute='name') }}, too"),
    ],
)
def test_some_items_of_a_list(there: str, here: str) -> None:
    assert step(flow(tool("a", tool_args={"x": there})), "a")["with"] == {"x": here}


@pytest.mark.parametrize(
    "path",
    ["$.input.a[::2]", "$.input.a[0,1]", "$.input.a['x','y']", "$.input.a.length()", "$.input..b", "$.input.a[?(@.x)]",
     "$..b", "$.*", "$[0]", "$[*].x", "$", "$.input.a[(@.length-1)]"],
)  # fmt: skip
def test_a_path_that_searches_or_computes_stays_whole_and_is_told(path: str) -> None:
    found = imported(flow(tool("a", tool_args={"x": path})))
    assert data(found)["steps"][0]["with"] == {"x": path}
    assert len(told(found, "unsupported")) == 1


def test_steps_of_the_graph_form_in_a_list_keep_their_parameters() -> None:
    flow = listed(
        {"id": "a", "type": "data_transform", "parameters": {"data": {"x": "$.input.q"}}},
        {"id": "b", "type": "delay", "config": {"seconds": 2}},
        {"id": "c", "type": "api_call", "parameters": {"url": "https://example.org/{{a.x}}"}, "timeout_seconds": 5},
        {"id": "d", "type": "human_approval", "parameters": {"message": "Go?", "approvers": ["ana"]}},
        {"id": "e", "type": "tool_call", "parameters": {"tool_name": "t", "arguments": {"n": "$.a.x"}}},
        {"id": "f", "type": "tool_call", "tool": "t", "parameters": {"n": "$.a.x"}},
    )
    assert steps(flow, format="list") == [
        {"id": "a", "type": "transform", "output": {"x": "${{ inputs.q }}"}},
        {"id": "b", "type": "delay", "for": "2s"},
        {"id": "c", "type": "http", "url": "https://example.org/${{ steps.a.output.x }}", "timeout": "5s"},
        {"id": "d", "type": "approval", "message": "Go?", "approvers": ["ana"]},
        {"id": "e", "type": "tool", "tool": "t", "with": {"n": "${{ steps.a.output.x }}"}},
        {"id": "f", "type": "tool", "tool": "t", "with": {"n": "${{ steps.a.output.x }}"}},
    ]
    assert told(imported(flow, format="list")) == []
