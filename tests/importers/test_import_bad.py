"""Hostile and broken files: an error with its place and what to do, or a valid result. Never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from import_kit import data, graph, imported, listed, node, step, told, wrong

from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.definition.importers.graph import KINDS
from fleetprompt.engine.definition.importing import ids_of, import_workflow, load_imported
from fleetprompt.engine.definition.problems import InvalidFile


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        (graph(), "/steps missing-key: the workflow has no steps"),
        ({"name": "x", "steps": {}}, " unknown-format: the format is not recognised"),
        (graph(node("a"), node("a")), "/steps/1/step_id duplicate-id: the id `a` is already used"),
        (graph(node("a", to="a")), "/steps/0/next_steps/0 cycle: `a` waits for itself"),
        (graph(node("a", to="b"), node("b", to="a")), "cycle: steps wait for each other: a → b → a"),
        (graph(node("a", to="nope")), "/steps/0/next_steps/0 unknown-need: there is no step `nope`"),
        (graph(node("a") | {"next_steps": [[1]]}), "/steps/0/next_steps/0 wrong-type: this must be the id of a step"),
        (graph({"step_id": "a"}), "/steps/0 missing-key: a step needs a `step_type`"),
        (graph({"step_id": "a", "step_type": 3}), "/steps/0/step_type wrong-type: `step_type` must be text"),
        (graph(node("a"), "b"), "/steps/1 wrong-type: this must be a mapping, it is text"),
        (graph({"step_id": ["a"], "step_type": "delay"}), "/steps/0/step_id wrong-type: the id of a step must be text"),
        (graph(node("a") | {"parameters": [1]}), "/steps/0/parameters wrong-type: this must be a mapping"),
        (graph(node("a", "delay")), "/steps/0/parameters missing-key: `a` does not say how long it waits"),
        (graph(node("a", "delay", seconds=-1)), "/steps/0/parameters/seconds bad-value"),
        (graph(node("a", "delay", hours=1e9)), "/steps/0/parameters/hours bad-value"),
        (graph(node("a", "delay", seconds=[1])), "/steps/0/parameters/seconds bad-value"),
        (graph(node("a", "delay", duration=1, unit="moons")), "/steps/0/parameters/unit bad-value: `moons` is no unit"),
        (graph(node("a", "api_call")), "/steps/0/parameters missing-key: `a` has no `url`"),
        (graph(node("a", "api_call", url="ftp://x")), "/steps/0/parameters/url bad-value: an address begins with http"),
        (graph(node("a", "api_call", url="https://x", method="BREW")), "bad-value: there is no method `BREW`"),
        (graph(node("a", "tool_call")), "/steps/0/parameters missing-key: `a` does not name its tool"),
        (graph(node("a", "condition")), "missing-key: `a` has no condition"),
        (graph(node("a", "condition", condition="")), "bad-value: the condition is empty"),
        (graph(node("a", "condition", condition=[])), "wrong-type: a condition is an expression"),
        (graph(node("a", "condition", condition="nope.output.x == 1")), "unknown-reference: nothing is called `nope`"),
        (
            graph(node("a", "condition", condition={"field": "input.x", "operator": "resembles", "value": 1})),
            "/steps/0/parameters/condition/operator bad-value: there is no operator `resembles`",
        ),
        (
            graph(node("a", "tool_call", tool_name="t", param_mapping={"x": "nope.y"})),
            "/steps/0/parameters/param_mapping/x unknown-reference: nothing is called `nope`",
        ),
        (
            graph(node("a", "tool_call", tool_name="t", param_mapping={"x": 3})),
            "/steps/0/parameters/param_mapping/x wrong-type: this must name a step and a field of its output",
        ),
        (graph(node("a", "loop", steps=["b"]), node("b")), "missing-key: `a` does not say what it goes through"),
        (graph(node("a", "loop", items=[1], steps=["a"])), "cycle: `a` lies in itself"),
        (
            graph(node("a", "loop", items=[1], steps=["b"]), node("b", "loop", items=[1], steps=["a"])),
            "cycle: `b` and `a` lie in each other",
        ),
        (
            graph(node("a", "loop", items=[1], steps=["c"]), node("b", "parallel", steps=["c"]), node("c")),
            "conflicting-keys: `c` is claimed by `a` and by `b`",
        ),
        (
            graph(node("c", "condition", condition="input.x", to="b"), node("a", "parallel", steps=["b"]), node("b")),
            "unknown-need: `b` lies in `a`, and cannot be reached from `c` alone",
        ),
        (graph(node("a", "loop", items=[1], steps=["b"], max_iterations=0), node("b")), "bad-value: a loop that does"),
        (graph(node("a", "agent", query="x", max_iterations="many")), "`max_iterations` must be a number, it is text"),
        (graph(node("a", "human_approval", approvers=[3])), "/steps/0/parameters/approvers/0 wrong-type"),
        (graph(node("a", "trigger", kind="schedule", to="b"), node("b")), "missing-key: a schedule needs `cron`"),
        (listed({"id": "a", "type": "tool", "tool_args": {}}), "missing-key: `a` does not name its tool"),
        (listed({"id": "a", "type": "human"}, {"id": "a", "type": "human"}), "/steps/1/id duplicate-id"),
        (listed({"type": "human"}, {"id": "b", "type": "human"}), "/steps/0 missing-key: a step needs an `id`"),
    ],
)  # fmt: skip
def test_what_makes_it_impossible_is_told_at_its_place(flow: Any, said: str) -> None:
    found = wrong(flow)
    assert any(said in each for each in found) or (said.endswith("unknown-format") and "unknown-format" in found[0]), (
        found
    )


def test_everything_that_is_wrong_is_told_at_once() -> None:
    flow = graph(node("a", "delay"), node("b", "api_call"), node("c", to="nope"), node("d", to="gone"))
    assert len(wrong(flow)) == 2, "what is wrong with the arrows"
    flow = graph(node("a", "delay"), node("b", "api_call"), node("c", "tool_call"))
    assert len(wrong(flow)) == 3, "and with the steps"


def test_errors_have_their_line_in_a_text_and_none_in_data() -> None:
    text = json.dumps(graph(node("a", to="nope")), indent=1)
    with pytest.raises(InvalidFile) as caught:
        import_workflow(text, file="x.json")
    assert (caught.value.problems[0].line, caught.value.code) == (8, "VALIDATION_ERROR")
    assert caught.value.where == "x.json:8:5"
    found = import_workflow(graph(node("a"), color=1))
    assert (found.losses[0].line, found.losses[0].pointer) == (0, "/color")


@pytest.mark.parametrize(
    "source",
    [
        "[" * 5000,
        '{"steps": ' * 5000,
        "a: &a [*a]",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nsteps: [*e,*e,*e,*e,*e,*e,*e,*e,*e]",
        '{"steps": [], "steps": []}',
        '{"a": "\\ud800"}',
        b"\xff\xfe\x00",
        b"{\"name\": \"\xff\"}",
        "!!python/object/apply:os.system [id]",
        '{"steps": [1e999]}',
        "null",
        "",
        "---\na: 1\n---\nb: 2",
        {"steps": [{"step_id": "a", "step_type": "delay", "parameters": {"seconds": float("nan")}}]},
        {"steps": {1, 2}},
        {1: 2},
    ],
)  # fmt: skip
def test_what_is_no_workflow_at_all(source: Any) -> None:
    with pytest.raises(FleetError) as caught:
        import_workflow(source)
    assert caught.value.code == "VALIDATION_ERROR"
    assert caught.value.message


def test_data_that_contains_itself() -> None:
    flow: dict[str, Any] = {"name": "x"}
    flow["steps"] = [flow]
    with pytest.raises(FleetError):
        import_workflow(flow)
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(FleetError):
        import_workflow({"name": "x", "steps": deep})


def test_json_that_writes_a_character_as_two() -> None:
    text = json.dumps(graph(node("a", data="smile \U0001f600 \\ud83d\\ude00"), name="x"))
    assert "\\ud83d\\ude00" in text
    assert step(text, "a")["output"] == "smile \U0001f600 \\ud83d\\ude00"
    assert step("\t\n" + text, "a")["output"].startswith("smile")


WORDS = ("steps", "in", "not", "if", "none", "", "ünï", "日本", "a" * 300, "1", "_", "-")


@pytest.mark.parametrize("id_", ["{{input.x}}", "$.a.b", "a b", "../x", "\x1b[31m", *WORDS])
def test_ids_of_any_kind(id_: str) -> None:
    flow = graph(node(id_, data={"v": 1}, to="after"), node("after", data=1))
    found = imported(flow)
    (first, _) = data(found)["steps"]
    assert first["id"].isidentifier()
    assert ids_of(found.text) == {ours: theirs for theirs, ours in found.ids.items()}


@pytest.mark.parametrize("id_", ["a b", "steps", "ünï", "日本", "a" * 300, "a-1", "a.b", "in-box", "step 1"])
def test_ids_of_any_kind_can_be_referred_to(id_: str) -> None:
    """Where they do not mean something else in an expression, such as `in`, or 1."""
    others = (node("b", "tool_call", tool_name="t", param_mapping={"x": f"{id_}.v"}, to="c"),
              node("c", data=f"{{{{{id_}.output.v}}}}", conditions=f"{id_}.output.v > 0"))  # fmt: skip
    flow = graph(node(id_, data={"v": 1}, to="b"), *others)
    named = data(imported(flow))["steps"][0]["id"]
    assert step(flow, "b")["with"]["x"] == f"${{{{ steps.{named}.output.v }}}}"
    assert (step(flow, "c")["output"], step(flow, "c")["if"]) == (
        f"${{{{ steps.{named}.output.v }}}}", f"steps.{named}.output.v > 0",
    )  # fmt: skip


def test_hundreds_of_steps_of_one_name() -> None:
    steps = [{"step_type": "delay", "name": "Wait!", "parameters": {"seconds": 1}} for _ in range(300)]
    found = imported({"name": "x", "steps": steps})
    assert len({each["id"] for each in data(found)["steps"]}) == 300


def test_sizes_have_bounds() -> None:
    many = graph(*(node(f"s{n}", data=1) for n in range(2001)))
    assert "too-large: the file has more than 2,000 steps" in wrong(many)[0]
    inputs = graph(node("a", data=" ".join(f"{{{{input.x{n}}}}}" for n in range(600))))
    assert len(data(imported(inputs))["inputs"]) == 500
    keys = graph(node("a", data=1), **{f"k{n}": n for n in range(5000)})
    found = imported(keys)
    assert len(found.losses) == 301
    assert found.losses[-1].message == "and 4,700 more things are not in the result, or not as they were"
    agents = graph(*(node(f"a{n}", "agent", agent_name=f"a{n}", query="x") for n in range(60)))
    assert "more than 50 agents" in wrong(agents)[0]
    loops = graph(*(node(f"l{n}", "loop", items=[1], steps=[f"l{n + 1}"]) for n in range(30)), node("l30", data=1))
    assert any("too-deep" in each for each in wrong(loops))
    asks = (node(f"c{n}", "condition", condition="input.x", to=f"c{n + 1}", else_steps=["end"]) for n in range(900))
    chain = graph(*asks, node("c900", data=1, to="end"), node("end", data=2))
    with pytest.raises(FleetError, match="depend on each other in too many ways"):
        import_workflow(chain)


@pytest.mark.parametrize(
    "text",
    ["${{ inputs.x }}", "$${{ a }}", "price: ${{input.x}}", "{% if x %}", "}}", "{{", "{{}}", "{{ }}", "$", "#{x}"],
)
def test_texts_that_look_like_expressions_of_ours_are_none(text: str) -> None:
    """What a text of the file says is never taken for an expression of ours."""
    found = imported(graph(node("a", data=text)))
    output = step(graph(node("a", data=text)), "a")["output"]
    from fleetprompt.engine.core.template import compile_template

    template = compile_template(output)
    shown = template if isinstance(template, str) else template.render({"inputs": {"x": 7}}).value
    assert shown == text.replace("{{ inputs.x }}", "7").replace("{{input.x}}", "7"), (text, output, told(found))


# ---------------------------------------------------------------- anything at all

TEXT = st.text(max_size=8) | st.sampled_from(
    [
        *("{{input.x}}", "a.b", "$.a.b[0]", "{x}", "{{a.output.x}} and {current_message}", "5m", "${{ x }}", "not a"),
        *(
            "a.output.n == 1",
            "{{b.output",
            "$.input['a b'][*].c",
            "{{ len(a.output.rows) > 2 && !input.y }}",
            "a: b #c",
        ),
        *("\x00\x1b[2J", "- x", "line\nline\n", "  indented\n", "{{a.status}} === 'x'", "$..deep", "$$.a", "1e3"),
        *('it\'s "quoted"', "yes", "null"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NUMBER = st.integers(0, 5000) | st.floats(0, 1e6) | st.sampled_from([0, 0.0001, 10**12, "7", "2.5"])
IDS = st.lists(st.sampled_from(["a", "b", "c", "d-e"]), max_size=2)
PLAUSIBLE: dict[str, Any] = {
    **dict.fromkeys(
        ("name", "description", "system_prompt", "query", "prompt", "message", "tool_name", "agent_name"), TEXT
    ),
    **dict.fromkeys(
        ("tool", "agent", "agent_id", "expression", "condition", "conditions", "items_path", "event"), TEXT
    ),
    **dict.fromkeys(("item_variable", "webhook_path", "unit", "timezone", "approver_role", "operator", "mode"), TEXT),
    **dict.fromkeys(
        ("timeout_seconds", "timeout_hours", "max_iterations", "seconds", "minutes", "concurrency"), NUMBER
    ),
    **dict.fromkeys(("arguments", "tool_args", "headers", "body", "data", "expressions", "metadata", "show"), JSON),
    **dict.fromkeys(("input_mapping", "param_mapping"), st.dictionaries(TEXT, TEXT, max_size=2)),
    **dict.fromkeys(("next_steps", "else_steps", "dependencies", "steps", "branches", "parallel_steps"), IDS),
    "items": st.lists(JSON, max_size=3) | TEXT,
    "url": st.sampled_from(["https://x.example/{{input.x}}", "http://x.example:80/a?b=c", "{{input.url}}"]) | TEXT,
    "method": st.sampled_from(["get", "POST", "Delete"]),
    "approvers": st.lists(TEXT, max_size=3),
    "require_comment": st.booleans(),
    "while": TEXT,
    "retry": st.fixed_dictionaries({}, optional={"max_attempts": NUMBER, "backoff_seconds": NUMBER, "x": JSON}),
    "guardrails": st.dictionaries(
        st.sampled_from(["request_limit", "max_cost_dollars", "timeout_seconds", "y"]), NUMBER
    ),
    "loop_config": st.fixed_dictionaries({"items_path": TEXT}, optional={"item_variable": TEXT, "steps": IDS}),
    "kind": st.sampled_from(["chat", "api", "webhook", "schedule", "x"]),
    "cron": TEXT | st.just("*/5 * * * *"),
    "schedule": st.fixed_dictionaries(
        {"cron": st.just("0 9 * * *")}, optional={"enabled": st.booleans(), "mode": TEXT}
    ),
    "then_step": st.sampled_from(["b", "c", "end"]),
    "else_step": st.sampled_from(["b", "c", "end"]),
    "field": TEXT,
    "value": JSON,
    "trigger": st.fixed_dictionaries({"type": st.sampled_from(["manual", "cron", "webhook", "event", "z"])}),
}
WILD = st.dictionaries(
    st.sampled_from([*PLAUSIBLE, "config", "x"])
    | st.sampled_from(["step_id", "step_type", "id", "type", "parameters"]),
    JSON | st.sampled_from([*KINDS, "human"]),
    max_size=5,
)
LISTED = ("agent", "tool", "condition", "human", "parallel", "loop", "delay", "http", "transform", "other")
FIELDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "agent": ({}, ("agent_name", "agent_id", "query", "system_prompt", "max_iterations", "timeout_seconds")),
    "tool_call": ({"tool_name": "t"}, ("tool_name", "arguments", "param_mapping", "timeout_hours")),
    "api_call": ({"url": "https://x.example"}, ("url", "method", "headers", "body", "timeout_seconds")),
    "data_transform": ({}, ("data", "expression", "expressions", "value", "metadata")),
    "condition": ({"condition": "input.q"}, ("condition",)),
    "human_approval": ({}, ("message", "approvers", "approver_role", "timeout_hours", "require_comment", "show")),
    "delay": ({"seconds": 1}, ("seconds", "minutes")),
    "loop": ({"items": [1]}, ("items", "item_variable", "max_iterations", "concurrency", "steps", "while")),
    "parallel": ({}, ("steps", "branches", "parallel_steps")),
    "other": ({}, ("data", "message", "url")),
}
"""By kind: what it needs, and what it may have."""
COMMON = (
    "name",
    "description",
    "conditions",
    "input_mapping",
    "retry",
    "guardrails",
    "next_steps",
    "else_steps",
    "dependencies",
)


def some(*names: str) -> Any:
    return st.fixed_dictionaries({}, optional={name: PLAUSIBLE[name] for name in names})


@pytest.mark.parametrize("kind", FIELDS)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_kind_of_step_with_all_that_it_may_have(kind: str, data: Any) -> None:
    needs, may = FIELDS[kind]
    first = node("a", data={"b": 1, "x": 2, "output": 3}, to="b")
    own, inner = data.draw(some(*COMMON)), data.draw(some(*may))
    top = data.draw(some("name", "description", "guardrails", "metadata"))
    check(
        {**top, "steps": [first, {**own, "step_id": "b", "step_type": kind, "parameters": needs | inner}, node("c")]},
        "graph",
    )
    listed = {"agent": "agent", "tool_call": "tool", "human_approval": "human"}.get(kind, kind)
    step = {**data.draw(some("name", "guardrails", "retry")), **needs, **inner, "id": "b", "type": listed}
    check({**top, "steps": [{"id": "a", "type": "data_transform"}, step, {"id": "c", "type": "human"}]}, "list")


@pytest.mark.parametrize("form", ["graph", "list"])
@given(st.lists(WILD, max_size=3), WILD)
@settings(max_examples=150, deadline=None)
def test_what_is_of_the_wrong_kind_is_refused(form: str, steps: list[Any], top: dict[str, Any]) -> None:
    assert check({**top, "steps": steps}, form) != "INTERNAL"


@given(JSON)
@settings(max_examples=60, deadline=None)
def test_anything_is_imported_or_refused(source: Any) -> None:
    for form in ("graph", "list", None):
        assert check(source, form) != "INTERNAL"


def check(source: Any, form: str | None) -> str:
    """Import it. Whatever it is, the result is valid but for what is left to people, or there is an error."""
    try:
        found = import_workflow(source if isinstance(source, dict) else json.dumps(source), form)
    except FleetError as error:
        return error.code.replace("VALIDATION_ERROR", "refused")
    problems: tuple[Any, ...] = ()
    try:
        load_imported(found)
    except InvalidFile as invalid:
        problems = invalid.problems
    assert not problems or "untranslated(" in found.text, ([each.message for each in problems], found.text)
    return "left" if problems else "valid"
