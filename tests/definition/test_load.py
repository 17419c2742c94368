"""Files as a whole: what is good loads, what is bad says all that is wrong with it, nothing else ever happens."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fleetprompt.engine.definition.load import check, load_text, load_workflow
from fleetprompt.engine.definition.problems import InvalidWorkflow, render
from fleetprompt.engine.definition.yaml import load_document
from fleetprompt.engine.registry import STEPS

STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")

EXAMPLE = dedent("""\
    # yaml-language-server: $schema=../.fleet/workflow.schema.json
    name: incident-triage
    description: Cluster new errors, find the cause, restart the service once a human agrees.
    triggers:
      - {type: manual}
      - {type: schedule, cron: "*/15 * * * *", timezone: Europe/Berlin, overlap: skip, catchup: latest}
      - {type: webhook, path: alerts, secret: "${{ secrets.ALERTS }}", key: "${{ body.id }}"}
      - {type: signal, match: "deploy.*", if: data.env == 'prod'}
      - {type: completion, workflow: nightly-audit, status: [failed]}
    inputs:
      log: {type: string, default: var/log/checkout.log}
      service: {type: string, default: checkout}
    guardrails: {requests: 25, tokens: 200_000, tool_calls: 40, cost_usd: 0.40, timeout: 20m, on_limit: ask}
    steps:
      - id: cluster
        type: python
        call: demo.logs:cluster_errors
        with: {path: "${{ inputs.log }}"}
      - id: context
        type: parallel
        branches:
          deploys: [{id: git, type: shell, argv: [git, log, --oneline, -20]}]
          health:  [{id: ping, type: http, url: "http://127.0.0.1:8081/health", retry: {max_attempts: 3, backoff: 2s}}]
      - id: gate
        type: approval
        if: steps.cluster.output.action != 'none'
        message: "Restart ${{ inputs.service }}?"
        show: "${{ steps.cluster.output }}"
        approvers: [group:oncall]
        quorum: 1
        timeout: 24h
        on_timeout: reject
      - id: restart
        type: http
        needs: [gate.approved]
        method: POST
        url: http://127.0.0.1:8082/restart
        repeat: never
        compensate: {type: http, method: POST, url: "http://127.0.0.1:8082/rollback"}
    on_failure: compensate
""")

EVERYTHING = dedent("""\
    name: everything
    vars: {count: 0}
    inputs:
      names: {type: array, default: [a, b]}
      level: {type: integer, minimum: 1, maximum: 5}
    deadline: 2d
    concurrency: {group: "deploy-${{ inputs.level }}", on_conflict: skip}
    max_runs: 3
    priority: 5
    grace: 30s
    labels: {team: ops}
    retention: 30d
    output: {count: "${{ vars.count }}", before: "${{ last_run.output | default(none) }}"}
    steps:
      - id: each
        type: loop
        over: inputs.names
        as: name
        concurrency: 2
        on_item_error: continue
        steps:
          - {id: upper, type: transform, output: "${{ name | upper }} ${{ index }}", set: {count: vars.count + 1}}
      - id: until
        type: loop
        while: index < 3
        steps: [{id: again, type: transform, output: "${{ loop.previous }}"}]
      - id: pick
        type: switch
        value: inputs.level
        cases:
          - {port: low, equals: [1, 2], steps: [{id: low_done, type: transform, output: low}]}
          - {port: high, if: inputs.level > 3, steps: [{id: tell, type: emit, signal: level.high, data: {n: 1}}]}
        default: [{id: rest, type: delay, for: 5m}]
      - id: ask
        type: condition
        if: {all: [{field: inputs.level, operator: gt, value: 2}, {not: {field: vars.count, operator: exists}}]}
        then: [{id: pause, type: delay, until: "2026-12-24T18:00:00+01:00"}]
        else:
          - id: heard
            type: wait
            signal: deploy.*
            match: data.ok and signal.subject == 'shop'
            timeout: "${{ inputs.level }}m"
      - id: gate
        type: approval
        needs: ask.then
        message: go?
        timeout: 1h
        on_timeout: escalate
        escalate: {to: [group:leads], timeout: 1h, on_timeout: fail}
        form: {reason: {type: string, required: true, min_length: 3}, force: {type: boolean, default: false}}
      - id: child
        type: workflow
        needs: [gate.approved, gate.timeout]
        join: any
        workflow: everything
        with: {level: "${{ steps.gate.output.values.level }}"}
        wait: false
      - id: halt
        type: stop
        needs: [gate.rejected]
        status: cancelled
        message: "rejected: ${{ steps.gate.error.message }}"
""")


def test_the_example_of_the_design_loads() -> None:
    loaded = load_text(EXAMPLE, "incident.yaml")
    assert loaded.plan.name == "incident-triage"
    assert loaded.source == EXAMPLE
    assert len(loaded.digest) == 64
    assert loaded.warnings == ()


def test_every_control_step_loads() -> None:
    loaded = load_text(EVERYTHING, "everything.yaml")
    assert [node.type for node in loaded.plan.root.nodes] == [
        "loop", "loop", "switch", "condition", "approval", "workflow", "stop",
    ]  # fmt: skip
    assert loaded.warnings == ()


def test_everything_that_is_wrong_is_said_at_once() -> None:
    text = dedent("""\
        name: Flow
        steps:
          - id: a
            type: shel
          - id: b
            type: transform
            id: c
            output: "${{ inputs.x }} ${{ steps.d.output }}"
            retry: {max_atempts: 2, backoff: soon}
            needs: [a, z]
          - id: d
            type: transform
            output: ${{ 1 + }}
    """)
    with pytest.raises(InvalidWorkflow) as caught:
        load_text(text, "flow.yaml")
    assert [(problem.code, problem.line, problem.column) for problem in caught.value.problems] == [
        ("bad-id", 1, 7),
        ("unknown-type", 4, 11),
        ("duplicate-key", 7, 5),
        ("unknown-reference", 8, 25),
        ("unknown-reference", 8, 40),
        ("unknown-key", 9, 13),
        ("bad-value", 9, 38),
        ("unknown-need", 10, 16),
        ("bad-expression", 13, 21),
    ]
    assert "(and 8 more problems)" in caught.value.message
    assert caught.value.where == "flow.yaml:1:7"


def one(step: str) -> str:
    return f"name: flow\nsteps: [{step}]\n"


def head(lines: str) -> str:
    return f"name: flow\n{lines}\nsteps: [{{id: a, type: stop}}]\n"


BAD = {
    "nothing": ("▸", "empty-file", ""),
    "a list": ("▸- a\n", "wrong-type", ""),
    "no name": ("▸steps: [{id: a, type: stop}]\n", "missing-key", ""),
    "no steps": ("▸name: flow\n", "missing-key", ""),
    "an empty block": ("name: flow\nsteps: ▸[]\n", "bad-value", ""),
    "an unknown key": (head("▸step: []"), "unknown-key", "`steps`"),
    "a step that is text": (one("▸deploy"), "wrong-type", "{id: fetch, type: http"),
    "a step without a type": (one("{▸id: a}"), "missing-key", "one of: "),
    "a step without an id": (one("{▸type: stop}"), "missing-key", "id: fetch"),
    "a type of a later release": (one("{id: a, type: ▸video}"), "unknown-type", "known: "),
    "a misspelt type": (one("{id: a, type: ▸shelll}"), "unknown-type", "`shell`"),
    "a misspelt field": (one("{id: a, type: stop, ▸mesage: x}"), "unknown-key", "`message`"),
    "a misspelt field of a part": (one("{id: a, type: stop, retry: {▸atempts: 2}}"), "unknown-key", "`max_attempts`"),
    "a misspelt field of a form": (
        one("{id: a, type: approval, message: x, form: {r: {type: string, ▸requird: true}}}"),
        "unknown-key",
        "`required`",
    ),
    "a misspelt field of a case": (
        one("{id: a, type: switch, value: run.id, cases: [{port: x, ▸equal: 1}]}"),
        "unknown-key",
        "`equals`",
    ),
    "a misspelt field of a trigger": (
        head("triggers: [{type: webhook, path: x, ▸secrt: y}]"),
        "unknown-key",
        "`secret`",
    ),
    "a secret in the file": (
        head("triggers: [{type: webhook, path: x, secret: ▸hunter2}]"),
        "bad-secret",
        "${{ secrets.NAME }}",
    ),
    "a secret that is in the request": (
        head('triggers: [{type: webhook, path: x, secret: ▸"${{ body.secret }}"}]'),
        "bad-secret",
        "${{ secrets.NAME }}",
    ),
    "a way to sign without a secret": (
        head("triggers: [{▸type: webhook, path: x, scheme: github}]"),
        "missing-key",
        "",
    ),
    "a body that is too large for a signal": (
        head("triggers: [{type: webhook, path: x, max_body: ▸1GiB}]"),
        "bad-value",
        "",
    ),
    "a misspelt field of a compensation": (
        one("{id: a, type: stop, compensate: {type: shell, argv: [ls], ▸cdw: x}}"),
        "unknown-key",
        "`cwd`",
    ),
    "a misspelt field of a check": (
        one("{id: a, type: shell, argv: [ls], reconcile: {type: shell, argv: [ls], ▸hapened: x, happened: result}}"),
        "unknown-key",
        "`happened`",
    ),
    "two ways at once": (one("▸{id: a, type: delay, for: 5m, until: '2026-12-24T18:00:00Z'}"), "conflicting-keys", ""),
    "neither of two ways": (one("{▸id: a, type: delay}"), "missing-key", ""),
    "a time without a zone": (one("{id: a, type: delay, until: ▸'2026-12-24T18:00:00'}"), "bad-value", "Z or"),
    "a duration": (one("{id: a, type: delay, for: ▸5 minutes}"), "bad-value", "write `5m`"),
    "a number that is text": (head('max_runs: ▸"3"'), "wrong-type", "remove the quotes"),
    "a truth that is text": (one("{id: a, type: workflow, workflow: b, wait: ▸no}"), "wrong-type", "write `false`"),
    "money": (head("guardrails: {cost_usd: ▸$5}"), "bad-value", ""),
    "more branches than there are": (
        one("▸{id: a, type: parallel, until: 3, branches: {x: [{id: b, type: stop}]}}"),
        "bad-value",
        "",
    ),
    "a port that exists twice": (
        one("▸{id: a, type: switch, value: run.id, cases: [{port: x, equals: 1}, {port: x, equals: 2}]}"),
        "bad-value",
        "",
    ),
    "a group on a loop": (
        one("{id: a, type: loop, over: '[1]', concurrency: ▸{group: x}, steps: [{id: b, type: stop}]}"),
        "bad-value",
        "critical section",
    ),
    "an item's name that is taken": (
        one("{id: a, type: loop, over: '[1]', as: ▸steps, steps: [{id: b, type: stop}]}"),
        "bad-value",
        "another name",
    ),
    "a trigger on what the engine says": (
        head("triggers: [{type: signal, match: ▸fleet.run.finished}]"),
        "bad-value",
        "completion",
    ),
    "a wait for what the engine says": (one("{id: a, type: wait, signal: ▸fleet.**}"), "bad-value", "completion"),
    "a reserved signal": (one("{id: a, type: emit, signal: ▸fleet.run.start}"), "bad-value", ""),
    "a workflow that is computed": (one("{id: a, type: workflow, workflow: ▸'${{ run.id }}'}"), "bad-id", ""),
    "a form default": (
        one("{id: a, type: approval, message: x, form: {n: ▸{type: integer, default: x}}}"),
        "bad-value",
        "",
    ),
    "an escalation to nobody": (
        one("{▸id: a, type: approval, message: x, timeout: 1h, on_timeout: escalate}"),
        "missing-key",
        "",
    ),
    "more approvals than people": (
        one("▸{id: a, type: approval, message: x, approvers: [ana, user:bo], quorum: 3}"),
        "bad-value",
        "",
    ),
    "more approvals than people to escalate to": (
        one(
            "▸{id: a, type: approval, message: x, approvers: [ana, bo], quorum: 2, timeout: 1h,"
            " on_timeout: escalate, escalate: {to: [cy, user:cy]}}"
        ),
        "bad-value",
        "",
    ),
    "a word for somebody who may not approve that there is none of": (
        one("{id: a, type: approval, message: x, approvers: {any_of: [ana], not: ▸run.owner}}"),
        "bad-value",
        "",
    ),
    "a key of who may approve": (
        one("{id: a, type: approval, message: x, approvers: {▸any: [ana], not: run.starter}}"),
        "unknown-key",
        "",
    ),
    "an escalation to an empty list": (
        one("{id: a, type: approval, message: x, timeout: 1h, on_timeout: escalate, escalate: {to: ▸[]}}"),
        "bad-value",
        "",
    ),
    "an input's default": (
        head("inputs: {n: ▸{type: integer, default: '1'}}"),
        "bad-value",
        "",
    ),
    "cron with four fields": (
        head("triggers: [{type: schedule, cron: ▸'* * * *'}]"),
        "bad-value",
        "minute hour day month weekday",
    ),
    "cron that never comes": (
        head("triggers: [{type: schedule, cron: ▸'0 0 31 4,6 *'}]"),
        "bad-value",
        "change the day or the month",
    ),
    "cron out of range": (head("triggers: [{type: schedule, cron: ▸'61 * * * *'}]"), "bad-value", ""),
    "an unknown time zone": (head("triggers: [{type: schedule, every: 1h, timezone: ▸Berlin}]"), "bad-value", "IANA"),
    "a misspelt trigger": (head("triggers: [{type: ▸shedule}]"), "unknown-type", "`schedule`"),
    "a trigger that is text": (head("triggers: [▸manual]"), "wrong-type", "{type: manual}"),
    "a key without a value": (one("{id: a, type: stop, ▸if: }"), "wrong-type", "remove it"),
    "an id without a value": (one("{▸id: , type: stop}"), "wrong-type", "give it one"),
    "a list that is a mapping": ("name: flow\nsteps:\n  ▸a: {type: stop}\n", "wrong-type", "`- `"),
    "a key of another system": (one("{id: a, type: stop, ▸depends_on: [b]}"), "unknown-key", "`needs`"),
    "a case of nothing": (
        one("{id: a, type: switch, value: run.id, cases: [▸{port: x, equals: []}]}"),
        "bad-value",
        "`default`",
    ),
    "a form that nobody fills in": (
        one(
            "▸{id: a, type: approval, message: x, timeout: 1h, on_timeout: approve,"
            " form: {n: {type: string, required: true}}}"
        ),
        "bad-value",
        "`default`",
    ),
    "a cut expression": (
        "name: flow\nsteps:\n  - id: a\n    type: stop\n    message: ▸${{ run.id #}}\n",
        "cut-expression",
        "quote",
    ),
}
"""A file, in which ▸ marks the place of the problem; its code, and a part of its hint."""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_where_and_why(name: str) -> None:
    marked, code, hint = BAD[name]
    before = marked.partition("▸")[0].split("\n")
    found = [problem for problem in check(marked.replace("▸", ""), "flow.yaml") if problem.severity == "error"]
    place = (len(before), len(before[-1]) + 1)
    assert [(problem.code, problem.line, problem.column) for problem in found] == [(code, *place)], found
    assert hint in found[0].hint
    assert "flow.yaml" in render(found[0])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        load_workflow(tmp_path / "none.yaml")
    assert [problem.code for problem in caught.value.problems] == ["missing-file"]


def test_a_file_on_disk_is_the_same_as_its_text(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(EVERYTHING)
    assert load_workflow(tmp_path / "flow.yaml").digest == load_text(EVERYTHING, "other.yaml").digest


def test_warnings_fail_nothing() -> None:
    loaded = load_text("name: flow\nvars: {n: 0}\nsteps: [{id: a, type: stop}]\n", "flow.yaml")
    assert [problem.severity for problem in loaded.warnings] == ["warning"]


@pytest.mark.parametrize("text", ["{{ inputs.who }}", "${inputs.who}", "${{ run.id }} for {{inputs.who}}"])
def test_expressions_of_other_systems_are_noticed(text: str) -> None:
    found = check(
        f"name: flow\ninputs: {{who: string}}\nsteps: [{{id: a, type: stop, message: '{text}'}}]\n", "flow.yaml"
    )
    assert [(problem.severity, problem.hint) for problem in found] == [("warning", "write ${{ inputs.who }}")]


@pytest.mark.parametrize("text", ["{{.Names}}", "${HOME}", "${item}", "$${{ inputs.who }}", "{{ message }}"])
def test_templates_of_programs_are_text(text: str) -> None:
    assert check(f"name: flow\nsteps: [{{id: a, type: stop, message: '{text}'}}]\n", "flow.yaml") == []


def big(count: int) -> str:
    lines = ["name: big", "inputs: {log: {default: x}}", "steps:"]
    for index in range(count):
        before = f", '${{{{ steps.s{index - 1}.output }}}}'" if index else ""
        needs = f", needs: [s{index - 1}]" if index % 3 else ""
        lines.append(
            f"  - {{id: s{index}, type: shell, argv: [echo, '${{{{ inputs.log }}}}', v{index}{before}]{needs}}}"
        )
    return "\n".join(lines) + "\n"


def test_there_is_a_limit_to_steps() -> None:
    assert check(big(2_000), "big.yaml") == []
    assert [problem.code for problem in check(big(2_001), "big.yaml")] == ["too-large", "bad-value"]


def test_there_is_a_limit_to_nesting() -> None:
    inner = "{id: s, type: stop}"
    for depth in range(21):
        inner = f"{{id: c{depth}, type: condition, if: true, then: [{inner}]}}"
    found = check(f"name: flow\nsteps: [{inner}]\n", "deep.yaml")
    assert [problem.code for problem in found] == ["too-deep", "too-deep"] or [p.code for p in found] == ["too-deep"]


def test_many_problems_are_cut() -> None:
    lines = "".join(f"  - {{id: s{index}, type: stop, mesage: x}}\n" for index in range(300))
    found = check(f"name: flow\nsteps:\n{lines}", "flow.yaml")
    assert len(found) == 101
    assert found[-1].code == "too-many"


def test_a_hundred_steps_are_checked_quickly() -> None:
    """Measured: 20 ms; the bound only catches what is quadratic."""
    check(big(3), "warm.yaml")
    start = time.process_time()
    load_text(big(100), "big.yaml")
    assert time.process_time() - start < 0.6


# ---------------------------------------------------------------- no file does anything but load or be refused


def pointers(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += pointers(item, (*at, key))
    return found


VALUES = st.sampled_from(
    [None, 0, -1, 1.5, True, "", "x", "a.b", "${{ inputs.names }}", "${{ steps.each.output }}", "${{", "gate",
     "ask.then", [], {}, [[]], [None], {"a": None}, {"type": "stop"}, [{"id": "x", "type": "loop"}], {"steps": [1]},
     "all", "9" * 30]
)  # fmt: skip
SOURCES = [load_document(text, "source.yaml").data for text in (EVERYTHING, EXAMPLE)]


def mutate(data: Any, draw: st.DataObject) -> Any:
    place = draw.draw(st.sampled_from(pointers(data)))
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    change = draw.draw(st.sampled_from(["drop", "set", "rename", "copy"]))
    key = place[-1]
    if change == "drop":
        del holder[key]
    elif change == "set":
        holder[key] = deepcopy(draw.draw(VALUES))
    elif change == "rename" and isinstance(holder, dict):
        holder[draw.draw(st.sampled_from(["if", "steps", "id", "type", "needs", "x", "with", "cases"]))] = holder.pop(
            key
        )
    elif isinstance(holder, list):
        holder.append(deepcopy(holder[key]))
    return data


@given(source=st.sampled_from(SOURCES), draw=st.data(), count=st.integers(1, 4))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_changed_file_loads_or_is_refused(source: Any, draw: st.DataObject, count: int) -> None:
    data = deepcopy(source)
    for _ in range(count):
        if pointers(data):
            data = mutate(data, draw)
    text = json.dumps(data, indent=1)
    problems = check(text, "changed.yaml")
    assert all(render(problem) and problem.line > 0 for problem in problems)
    if any(problem.severity == "error" for problem in problems):
        with pytest.raises(InvalidWorkflow):
            load_text(text, "changed.yaml")
    else:
        assert load_text(text, "changed.yaml").digest


@given(st.text(max_size=200))
@example("name: a\nsteps: *a")
@settings(max_examples=100, deadline=None)
def test_any_text_loads_or_is_refused(text: str) -> None:
    with pytest.raises(InvalidWorkflow):
        load_text(text, "any.yaml")
