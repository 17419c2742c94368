"""What becomes of a file: its plan, and a digest that only changes with the meaning."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from fleetprompt.engine.core.plan import (
    Case,
    Concurrency,
    Guardrails,
    Input,
    Loop,
    Need,
    Node,
    Poll,
    Reconcile,
    Retry,
    Trigger,
    decode_plan,
    encode_plan,
    plan_digest,
)
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.definition.problems import InvalidWorkflow
from fleetprompt.engine.definition.step import StepModel, step
from fleetprompt.engine.registry import STEPS

STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")


def node(text: str, head: str = "") -> Node:
    """The last step of a file."""
    plan = load_text(f"name: flow\n{dedent(head)}steps:\n{dedent(text)}", "flow.yaml").plan
    Program(plan)
    assert decode_plan(encode_plan(plan)) == plan
    return plan.root.nodes[-1]


def digest(text: str) -> str:
    return load_text(dedent(text), "flow.yaml").digest


def test_a_step_with_everything() -> None:
    made = node(
        """\
        - {id: before, type: approval, message: x}
        - id: a
          type: shell
          name: A label
          description: What it is for
          argv: [echo, "${{ inputs.x }}"]
          env: {TOKEN: "${{ secrets.TOKEN }}"}
          if: inputs.x > 1
          needs: [before.approved, before.timeout]
          join: any
          retry: {max_attempts: 5, backoff: 1m, on: [TIMEOUT]}
          timeout: 1h30m
          repeat: never
          on_error: continue
          compensate: {type: shell, argv: [undo], timeout: 5s}
          reconcile: {type: shell, argv: [check], happened: result.exit_code == 0, output: "${{ result.stdout }}"}
          approval: {message: sure?, approvers: ana, timeout: 1h}
          concurrency: {group: "g-${{ inputs.x }}", limit: 2}
          set: {n: result.exit_code, zero: 0}
          assert: result.exit_code == 0
          poll: {until: result.stdout, every: 5s, timeout: 1m}
          pool: heavy
        """.replace("before.timeout", "before.rejected"),
        "inputs: {x: integer}\nvars: {n: 1, zero: 1}\non_failure: compensate\n",
    )
    assert made == Node(
        id="a",
        type="shell",
        config={"argv": ["echo", "${{ inputs.x }}"], "env": {"TOKEN": "${{ secrets.TOKEN }}"}},
        when="inputs.x > 1",
        needs=(Need("before", "approved"), Need("before", "rejected")),
        join=1,
        retry=Retry(max_attempts=5, backoff=60.0, on=("TIMEOUT",)),
        timeout=5400.0,
        repeat="never",
        on_error="continue",
        compensate=Node(
            id="a", type="shell", config={"argv": ["undo"]}, timeout=5.0, repeat="never", pool="shell", gated=True
        ),
        reconcile=Reconcile("shell", {"argv": ["check"]}, "result.exit_code == 0", "${{ result.stdout }}"),
        approval={"message": "sure?", "approvers": ["ana"], "timeout": 3600.0},
        concurrency=Concurrency("g-${{ inputs.x }}", 2),
        set={"n": "result.exit_code", "zero": "0"},
        asserts=("result.exit_code == 0",),
        poll=Poll("result.stdout", 5.0, 60.0),
        pool="heavy",
        gated=True,
    )  # fmt: skip


def test_a_condition() -> None:
    made = node("- {id: c, type: condition, if: run.id == 'x', then: [{id: a, type: stop}]}")
    assert (made.kind, made.when, made.config) == ("choose", None, {})
    assert made.cases == (Case("then", test="run.id == 'x'"), Case("else"))
    assert [(block.name, len(block.nodes)) for block in made.blocks] == [("then", 1)]


def test_a_switch_by_name() -> None:
    made = node(
        """\
        - id: s
          type: switch
          if: run.id == 'x'
          value: run.workflow
          cases: {high: [{id: a, type: stop}], "200": [{id: b, type: stop}], none: []}
          default: [{id: c, type: stop}]
        """
    )
    assert (made.kind, made.when, made.value) == ("choose", "run.id == 'x'", "run.workflow")
    assert made.cases == (
        Case("high", equals=("high",)),
        Case("200", equals=("200", 200)),
        Case("none", equals=("none",)),
        Case("default"),
    )
    assert [block.name for block in made.blocks] == ["high", "200", "default"]


def test_a_switch_by_list() -> None:
    made = node(
        """\
        - id: s
          type: switch
          value: run.workflow
          cases:
            - {port: few, equals: [1, 2], steps: [{id: a, type: stop}]}
            - {port: nothing, equals: null}
            - {port: odd, if: {field: run.id, operator: exists}}
        """
    )
    assert made.cases == (
        Case("few", equals=(1, 2)),
        Case("nothing", equals=(None,)),
        Case("odd", test={"field": "run.id", "operator": "exists"}),
        Case("default"),
    )


@pytest.mark.parametrize(("until", "wanted"), [("all", 0), ("any", 1), ("2", 2)])
def test_a_parallel(until: str, wanted: int) -> None:
    made = node(
        f"- {{id: p, type: parallel, until: {until}, cancel_rest: false,"
        " branches: {y: [{id: a, type: stop}], x: [{id: b, type: stop}]}}"
    )
    assert (made.kind, made.until, made.cancel_rest, made.config) == ("parallel", wanted, False, {})
    assert [block.name for block in made.blocks] == ["y", "x"]


def test_loops() -> None:
    made = node(
        "- {id: l, type: loop, over: '[1]', as: n, concurrency: 3, steps: [{id: a, type: transform, output: 1}]}"
    )
    assert made.loop == Loop(over="[1]", name="n", concurrency=3)
    assert made.concurrency is None
    made = node(
        "- {id: l, type: loop, while: index < 3, max_iterations: 5, steps: [{id: a, type: transform, output: 1}]}"
    )
    assert made.loop == Loop(test="index < 3", max_iterations=5)


def test_waiting_steps() -> None:
    made = node("- {id: g, type: approval, message: x, timeout: 1d, approvers: [group:a], form: {why: string}}")
    assert (made.kind, made.timeout) == ("approval", None)
    assert made.config == {
        "message": "x",
        "timeout": 86400.0,
        "approvers": ["group:a"],
        "form": {"why": {"type": "string"}},
    }
    made = node("- {id: w, type: wait, signal: a.*, match: data.x, timeout: 5m}")
    assert (made.kind, made.config, made.test) == ("wait", {"signal": "a.*", "timeout": 300.0}, "data.x")
    made = node("- {id: d, type: delay, for: 90s}")
    assert (made.kind, made.config) == ("delay", {"for": 90.0})


def test_children_are_named_once() -> None:
    plan = load_text(
        "name: flow\nsteps:\n"
        "  - {id: a, type: workflow, workflow: other}\n"
        "  - {id: b, type: loop, over: '[1]', steps: [{id: c, type: workflow, workflow: flow, with: {x: 1}}]}\n"
        "  - {id: d, type: workflow, workflow: other, timeout: 5s}\n",
        "flow.yaml",
    ).plan
    assert plan.children == ("flow", "other")
    assert (plan.root.nodes[2].timeout, plan.root.nodes[2].config["timeout"]) == (None, 5.0)


def test_the_head() -> None:
    plan = load_text(
        dedent("""\
            name: flow
            description: What it does
            triggers:
              - {type: schedule, every: 5m, catchup: all}
              - {type: signal, match: a.b, if: data.x, inputs: {s: "${{ data.s }}"}}
            inputs: {s: string, n: {type: number, default: 1.5}, o: {required: false}}
            vars: {a: [1]}
            guardrails: {cost_usd: 0.1, tokens: 5, timeout: 1m, on_limit: ask}
            deadline: 1h
            output: "${{ last_run.output }} ${{ inputs }} ${{ vars }}"
            on_failure: none
            concurrency: {group: one}
            max_runs: 2
            priority: -1
            grace: 0
            labels: {a: b}
            retention: 7d
            steps: [{id: a, type: stop}]
        """),
        "flow.yaml",
    ).plan
    assert plan.triggers == (
        Trigger("schedule", {"every": 300.0, "catchup": "all"}),
        Trigger("signal", {"match": "a.b", "if": "data.x", "inputs": {"s": "${{ data.s }}"}}),
    )
    assert plan.inputs == {
        "s": Input("string", required=True), "n": Input("number", default=1.5), "o": Input("any"),
    }  # fmt: skip
    assert plan.guardrails == Guardrails(tokens=5, cost_nano=100_000_000, timeout=60.0, on_limit="ask")
    assert (plan.deadline, plan.max_runs, plan.priority, plan.grace, plan.retention) == (3600.0, 2, -1, 0.0, 604800.0)
    assert (plan.has_output, plan.uses_last_run, plan.vars, plan.labels) == (True, True, {"a": [1]}, {"a": "b"})
    assert plan.root.name == ""


SAME = """\
    name: flow
    inputs: {b: string, a: {type: integer, default: 1}}
    steps:
      - id: x
        type: shell
        argv: [echo, "${{ inputs.a }} ${{ inputs.b }}"]
        env: {B: "2", A: "1"}
        retry: {max_attempts: 3}
        timeout: 300
        needs: []
"""


def test_what_means_the_same_has_the_same_digest() -> None:
    other = """\
        # a comment
        steps:
        - {needs: [], timeout: 5m, retry: 3, env: {A: '1', B: '2'}, type: shell, id: x, on_error: fail,
           argv: ["echo", '${{ inputs.a }} ${{ inputs.b }}'], description: ""}
        inputs:
          a: {default: 1, type: integer, required: false}
          b: {type: string, required: true}
        name: flow
        priority: 0
    """
    assert digest(SAME) == digest(other)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: flow", "name: flow2"),
        ("timeout: 300", "timeout: 301"),
        ("needs: []", "on_error: fail"),
        ("[echo,", "[echo2,"),
        ("default: 1", "default: 2"),
        ("max_attempts: 3", "max_attempts: 4"),
        ("type: shell", "type: shell\n        repeat: safe"),
    ],
)
def test_what_means_something_else_has_another_digest(old: str, new: str) -> None:
    assert digest(SAME) != digest(SAME.replace(old, new))


def test_the_order_of_steps_and_branches_counts() -> None:
    steps = ["  - {id: a, type: transform, output: 1}\n", "  - {id: b, type: transform, output: 2}\n"]
    assert digest("name: f\nsteps:\n" + "".join(steps)) != digest("name: f\nsteps:\n" + "".join(reversed(steps)))


def test_the_digest_covers_files_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Schemed(StepModel):
        """A step type that names a file."""

        file_fields = ("schema_file",)
        type_name = "schemed"
        schema_file: str

    monkeypatch.setitem(vars(STEPS)["_items"], "schemed", Schemed)
    text = "name: f\nsteps: [{id: a, type: schemed, schema_file: s.json}]\n"
    with pytest.raises(InvalidWorkflow) as caught:
        load_text(text, "f.yaml", tmp_path)
    assert [(problem.code, problem.line, problem.column) for problem in caught.value.problems] == [
        ("missing-file", 2, 45)
    ]
    (tmp_path / "s.json").write_text("{}")
    first = load_text(text, "f.yaml", tmp_path)
    (tmp_path / "s.json").write_text("[]")
    assert list(first.plan.files) == ["s.json"]
    assert first.digest != load_text(text, "f.yaml", tmp_path).digest
    assert load_text(text, "f.yaml").plan.files == {}


def test_a_plan_comes_back_in_the_order_of_its_author() -> None:
    plan = load_text(dedent(SAME), "flow.yaml").plan
    back = decode_plan(encode_plan(plan))
    assert list(back.root.nodes[0].config["env"]) == ["B", "A"], "what is shown for a decision begins as it was written"
    sorted_ = msgspec.json.encode(plan, order="deterministic")
    assert plan_digest(decode_plan(sorted_)) == plan_digest(back) == plan_digest(plan), "its address is of the content"


def test_a_plan_is_json() -> None:
    plan = load_text(dedent(SAME), "flow.yaml").plan
    assert msgspec.json.decode(encode_plan(plan))["name"] == "flow"


def test_an_effect_that_does_nothing_is_no_step_type() -> None:
    class Idle(StepModel):
        pass

    with pytest.raises(TypeError, match="'idle' has no `perform`"):
        step("idle")(Idle)
    assert "idle" not in STEPS
