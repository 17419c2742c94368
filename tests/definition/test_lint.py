"""Rules about the meaning of a file: each bad file has one problem, at one place, with one hint."""

from __future__ import annotations

from textwrap import dedent

import pytest

from fleetprompt.engine.definition.load import check
from fleetprompt.engine.definition.problems import Problem
from fleetprompt.engine.registry import STEPS

STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")


def errors(text: str) -> list[Problem]:
    return [problem for problem in check(dedent(text), "flow.yaml") if problem.severity == "error"]


def warnings(text: str) -> list[Problem]:
    return [problem for problem in check(dedent(text), "flow.yaml") if problem.severity == "warning"]


def steps(*lines: str) -> str:
    """A file with these steps: the first of them stands on line 3."""
    return "name: flow\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)


A = "{id: a, type: transform, output: 1}"
B = "{id: b, type: transform, output: 2}"
GATE = "{id: gate, type: approval, message: ok?}"

BAD = {
    "same id twice": (steps(A, "{id: ▸a, type: transform, output: 1}"), "duplicate-id", "rename one"),
    "id inside a composite": (
        steps(A, "{id: b, type: parallel, branches: {x: [{id: ▸a, type: transform, output: 1}]}}"),
        "duplicate-id",
        "rename one",
    ),
    "bad id": (steps("{id: ▸Fetch-it, type: transform, output: 1}"), "bad-id", "for example `fetch_it`"),
    "need of nothing": (steps(A, "{id: b, type: transform, output: 1, needs: [▸aa]}"), "unknown-need", "`a`"),
    "need as text": (steps(A, "{id: b, type: transform, output: 1, needs: ▸aa}"), "unknown-need", "`a`"),
    "need in another block": (
        steps(
            "{id: p, type: parallel, branches: {x: [{id: a, type: transform, output: 1}]}}",
            "{id: b, type: transform, output: 1, needs: [▸a]}",
        ),
        "unknown-need",
        "`p`",
    ),
    "need twice": (steps(A, "{id: b, type: transform, output: 1, needs: [a, ▸a]}"), "bad-value", "remove one"),
    "port that is not there": (
        steps(GATE, "{id: b, type: transform, output: 1, needs: [gate.▸aproved]}"),
        "bad-port",
        "`approved`",
    ),
    "port of a switch": (
        steps(
            "{id: s, type: switch, value: run.id, cases: {high: [{id: a, type: transform, output: 1}]}}",
            "{id: b, type: stop, needs: [s.▸hihg]}",
        ),
        "bad-port",
        "`high`",
    ),
    "join without needs": (steps(A, "{id: b, type: stop, join: ▸any}"), "conflicting-keys", "everything listed"),
    "join that is too much": (steps(A, "{id: b, type: stop, needs: [a], join: ▸2}"), "bad-value", "`all`"),
    "need of itself": (steps("{id: a, type: stop, needs: ▸[a]}"), "cycle", "remove one of the needs"),
    "cycle of needs": (
        steps(
            "{id: a, type: transform, output: 1, needs: ▸[b]}",
            "{id: b, type: transform, output: 1, needs: [a]}",
        ),
        "cycle",
        "remove one",
    ),
    "cycle through a barrier": (
        steps("{id: a, type: transform, output: 1, needs: ▸[c]}", B, "{id: c, type: transform, output: 1}"),
        "cycle",
        "`c` has no `needs`, so it waits for everything listed before it",
    ),
    "two ends of one approval": (
        steps(GATE, "{id: b, type: transform, output: 1, needs: ▸[gate.approved, gate.rejected]}"),
        "unreachable",
        "",
    ),
    "two ends of one approval, from afar": (
        steps(
            GATE,
            "{id: x, type: transform, output: 1, needs: [gate.approved]}",
            "{id: y, type: transform, output: 1, needs: [gate.rejected]}",
            "{id: z, type: transform, output: 1, needs: ▸[x, y]}",
        ),
        "unreachable",
        "",
    ),
    "timeout of an approval without one": (
        steps(GATE, "{id: b, type: transform, output: 1, needs: ▸[gate.timeout]}"),
        "unreachable",
        "",
    ),
    "skip of a step that is never skipped": (
        steps(A, "{id: b, type: transform, output: 1, needs: ▸[a.skipped]}"),
        "unreachable",
        "",
    ),
    "after a stop": (steps(A, "{id: s, type: stop}", "{id: ▸b, type: transform, output: 2}"), "unreachable", ""),
    "needs a stop": (
        steps("{id: s, type: stop, needs: []}", "{id: b, type: transform, output: 1, needs: ▸[s]}"),
        "unreachable",
        "",
    ),
    "unknown input": (
        'name: flow\ninputs: {log: {default: x}}\nsteps:\n  - {id: a, type: transform, output: "${{ inputs.▸lgo }}"}\n',
        "unknown-reference",
        "`log`",
    ),
    "undeclared variable": (
        steps("{id: a, type: transform, output: '${{ vars.▸n }}'}"),
        "unknown-reference",
        "under `vars:`",
    ),
    "set of an undeclared variable": (
        steps("{id: a, type: transform, output: 1, set: {▸n: result}}"),
        "unknown-reference",
        "under `vars:`",
    ),
    "id of a trigger twice": (
        "name: flow\ntriggers:\n  - {id: a, type: manual}\n  - {id: ▸a, type: chat}\nsteps:\n  - {id: a, type: stop}\n",
        "duplicate-id",
        "rename one",
    ),
    "input of a trigger": (
        "name: flow\ntriggers:\n  - {type: manual, inputs: {▸x: 1}}\nsteps:\n  - {id: a, type: stop}\n",
        "unknown-reference",
        "under `inputs:`",
    ),
    "unknown step": (
        steps(A, "{id: b, type: transform, output: '${{ steps.▸aa.output }}'}"),
        "unknown-reference",
        "`a`",
    ),
    "step without a member": (
        steps(A, "{id: b, type: transform, output: '${{ steps.▸a }}'}"),
        "unknown-reference",
        "steps.a.output",
    ),
    "member of a step": (
        steps(A, "{id: b, type: transform, output: '${{ steps.a.▸ouput }}'}"),
        "unknown-reference",
        "`output`",
    ),
    "member of its output": (
        steps(A, "{id: b, type: transform, output: '${{ steps.a.▸stdout }}'}"),
        "unknown-reference",
        "steps.a.output.stdout",
    ),
    "computed step": (
        steps(A, '{id: b, type: transform, output: "${{ ▸steps[run.id].output }}"}'),
        "unknown-reference",
        "must be known before",
    ),
    "step inside a composite": (
        steps(
            "{id: p, type: parallel, branches: {x: [{id: a, type: transform, output: 1}]}}",
            "{id: b, type: stop, output: '${{ steps.▸a.output }}'}",
        ),
        "unknown-reference",
        "steps.p.output",
    ),
    "step of another branch": (
        steps(
            "{id: p, type: parallel, branches: {x: [{id: a, type: transform, output: 1}],"
            " y: [{id: b, type: stop, output: '${{ steps.▸a.output }}'}]}}",
        ),
        "unknown-reference",
        "beside each other",
    ),
    "itself": (steps("{id: a, type: transform, output: '${{ steps.▸a.output }}'}"), "unknown-reference", "when it has"),
    "itself in a test": (
        steps("{id: a, type: transform, output: 1, assert: steps.▸a.output > 0}"),
        "unknown-reference",
        "`result`",
    ),
    "the composite around it": (
        steps(
            "{id: l, type: loop, over: '[1]', steps: [{id: a, type: transform, output: '${{ steps.▸l.output }}'}]}",
        ),
        "unknown-reference",
        "`loop.previous`",
    ),
    "a later step": (
        steps(
            "{id: a, type: transform, output: '${{ steps.▸b.output }}'}",
            "{id: b, type: transform, output: 1}",
        ),
        "unknown-reference",
        "swap them",
    ),
    "a later step beside it": (
        steps(
            "{id: a, type: transform, output: '${{ steps.▸b.output }}'}",
            "{id: b, type: transform, output: 1, needs: []}",
        ),
        "unknown-reference",
        "needs: [b]",
    ),
    "a step that depends on it": (
        steps(
            "{id: b, type: transform, output: 1, needs: [a]}",
            "{id: a, type: transform, output: '${{ steps.▸b.output }}', needs: []}",
        ),
        "unknown-reference",
        "swap them",
    ),
    "unknown name": (steps("{id: a, type: transform, output: '${{ ▸input.x }}'}"), "unknown-reference", "`inputs`"),
    "member of the run": (
        steps("{id: a, type: transform, output: '${{ run.▸moode }}'}"),
        "unknown-reference",
        "did you mean `mode`?",
    ),
    "member of the last run": (
        steps("{id: a, type: transform, output: '${{ last_run.▸outpt.x | default(0) }}'}"),
        "unknown-reference",
        "did you mean `output`?",
    ),
    "member of a run that has only its id": (
        "name: flow\nconcurrency: {group: '${{ run.▸mode }}'}\nsteps:\n  - " + A,
        "unknown-reference",
        "one of: id",
    ),
    "type with a slip": (steps("{id: a, ▸tpye: transform, output: 1}"), "unknown-key", "did you mean `type`?"),
    "text without quotes": (
        steps("{id: a, type: transform, output: 1, if: run.owner == ▸ana}"),
        "unknown-reference",
        "quote text: 'ana'",
    ),
    "a step's id alone": (
        steps(A, "{id: b, type: transform, output: '${{ ▸a.output }}'}"),
        "unknown-reference",
        "`steps.a.output`",
    ),
    "item outside a loop": (
        steps("{id: a, type: transform, output: '${{ ▸item }}'}"),
        "unknown-reference",
        "inside a loop",
    ),
    "item under its other name": (
        steps(
            "{id: l, type: loop, as: file, over: '[1]', steps: [{id: a, type: transform, output: '${{ ▸item }}'}]}",
        ),
        "unknown-reference",
        "inside a loop",
    ),
    "result outside a test": (
        steps("{id: a, type: transform, output: '${{ ▸result }}'}"),
        "unknown-reference",
        "`assert`, `poll`, `set`",
    ),
    "body outside a trigger": (
        steps("{id: a, type: transform, output: '${{ ▸body.x }}'}"),
        "unknown-reference",
        "`trigger.data`",
    ),
    "inputs in a trigger": (
        "name: flow\ntriggers:\n  - {type: manual, if: ▸inputs.x}\nsteps:\n  - {id: a, type: stop}\n",
        "unknown-reference",
        "known here: body, data, headers, query",
    ),
    "steps in the workflow's concurrency": (
        "name: flow\nconcurrency: {group: '${{ ▸steps.a.output }}'}\nsteps:\n  - {id: a, type: stop}\n",
        "unknown-reference",
        "known here: inputs, run, trigger",
    ),
    "broken expression": (steps("{id: a, type: transform, output: '${{ 1 + ▸}}'}"), "bad-expression", ""),
    "broken condition": (steps("{id: a, type: stop, if: 1 ==▸}"), "bad-expression", ""),
    "braces in a condition": (steps("{id: a, type: stop, if: '▸${{ run.id }}'}"), "bad-expression", "without ${{ }}"),
    "unknown operator": (
        steps("{id: a, type: stop, if: {field: run.id, operator: ▸equals, value: 1}}"),
        "bad-expression",
        "Available: eq, ne",
    ),
    "reference in a structured condition": (
        steps("{id: a, type: stop, if: {all: [{not: {field: steps.▸z.output, operator: exists}}]}}"),
        "unknown-reference",
        "",
    ),
    "template in a structured condition": (
        steps("{id: a, type: stop, if: {field: run.id, operator: eq, value: '${{ inputs.▸x }}'}}"),
        "unknown-reference",
        "",
    ),
    "expression in vars": (
        "name: flow\nvars: {a: '▸${{ run.id }}'}\nsteps:\n  - {id: a, type: stop, message: '${{ vars.a }}'}\n",
        "bad-expression",
        "plain value",
    ),
    "expression in a list of items": (
        steps("{id: l, type: loop, over: ['▸${{ run.id }}'], steps: [{id: a, type: stop}]}"),
        "bad-expression",
        "",
    ),
    "secret in a message": (
        steps("{id: a, type: stop, message: '${{ ▸secrets.KEY }}'}"),
        "bad-secret",
        "no field here takes secrets",
    ),
    "secret in a condition": (steps("{id: a, type: stop, if: ▸secrets.KEY == 'x'}"), "bad-secret", ""),
    "secret in the wrong field": (
        steps("{id: a, type: shell, argv: [echo, '${{ ▸secrets.KEY }}']}"),
        "bad-secret",
        "`env`",
    ),
    "secret in an output": (
        "name: flow\noutput: '${{ ▸secrets.KEY }}'\nsteps:\n  - {id: a, type: stop}\n",
        "bad-secret",
        "",
    ),
    "time limit of a step without time": (
        steps("{id: a, type: delay, for: 1h, ▸timeout: 5s}"),
        "unknown-key",
        "for steps that do outside work, and for blocks",
    ),
    "repeat of a step without work": (
        steps("{id: a, type: emit, signal: x, ▸repeat: never}"),
        "unknown-key",
        "outside",
    ),
    "pool of a block": (
        steps("{id: a, type: loop, over: '[1]', ▸pool: x, steps: [{id: b, type: delay, for: 1s}]}"),
        "unknown-key",
        "outside",
    ),
    "poll of a step without work": (
        steps("{id: a, type: stop, ▸poll: {until: result}}"),
        "unknown-key",
        "outside work",
    ),
    "approval of an approval": (
        steps("{id: a, type: approval, message: x, ▸approval: {message: y}}"),
        "unknown-key",
        "second approval",
    ),
    "a watch of the whole machine": (
        "name: flow\ntriggers: [{type: watch, paths: [in/*, ▸/etc/*]}]\nsteps: [{id: a, type: stop}]\n",
        "bad-value",
        "below the project's folder",
    ),
    "webhooks of the same path": (
        "name: flow\ntriggers:\n  - {type: webhook, path: a/b}\n  - {type: webhook, path: a/b}\n"
        "  - {type: webhook, path: ▸a/b, if: false}\nsteps: [{id: a, type: stop}]\n",
        "bad-value",
        "a path of its own",
    ),
}
"""A file, in which ▸ marks the place of the problem; its code, and a part of its hint."""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_has_one_problem_at_its_place(name: str) -> None:
    marked, code, hint = BAD[name]
    before = marked.partition("▸")[0].split("\n")
    found = errors(marked.replace("▸", ""))
    place = (len(before), len(before[-1]) + 1)
    assert [(problem.code, problem.line, problem.column) for problem in found] == [(code, *place)], found
    assert hint in found[0].hint
    assert found[0].message


GOOD = {
    "ports": steps(
        f"{{id: c, type: condition, if: run.id == 'x', then: [{A}]}}",
        "{id: x, type: transform, output: 1, needs: [c.then]}",
        "{id: y, type: transform, output: 1, needs: [c.else]}",
        "{id: z, type: transform, output: 1, needs: [x, y], join: any}",
    ),
    "an approval and both its ends": steps(
        GATE,
        "{id: x, type: transform, output: 1, needs: [gate.approved]}",
        "{id: y, type: transform, output: 1, needs: [gate.rejected]}",
        "{id: z, type: transform, output: '${{ steps.gate.port }}'}",
    ),
    "an approval that times out and is rejected at once": steps(
        "{id: gate, type: approval, message: x, timeout: 1h}",
        "{id: x, type: transform, output: 1, needs: [gate.timeout, gate.rejected]}",
    ),
    "a stop on one side": steps(
        GATE, "{id: s, type: stop, needs: [gate.rejected]}", "{id: x, type: transform, output: 1}"
    ),
    "a stop that may be skipped": steps(
        "{id: s, type: stop, if: run.id == ''}",
        "{id: x, type: transform, output: 1}",
        "{id: y, type: stop, needs: [s]}",
    ),
    "names of a loop": steps(
        "{id: l, type: loop, over: '[1, 2]', as: n, steps: [{id: a, type: transform, output: '${{ n + index }}'},"
        " {id: m, type: loop, while: loop.previous is none or index < 3, steps: [{id: b, type: transform,"
        " output: '${{ [n, index, loop.previous, steps.a.output] }}'}]}]}"
    ),
    "names after a step": steps(
        "{id: a, type: shell, argv: [ls], assert: [result.exit_code == 0, {field: result.stdout, operator: exists}],"
        " poll: {until: result.stdout != '', every: 1s}, repeat: never,"
        " reconcile: {type: shell, argv: [ls, '${{ inputs.x }}', '${{ key }}', '${{ input.argv }}'],"
        " happened: error is none, output: '${{ result.stdout }}'}}"
    ).replace("steps:", "inputs: {x: {default: 1}}\nsteps:"),
    "names of a wait": steps("{id: w, type: wait, signal: a.b, match: data.x == signal.subject}"),
    "its own output in a compensation": steps(
        "{id: a, type: shell, argv: [ls], compensate: {type: shell, argv: [rm, '${{ steps.a.output.stdout }}']}}"
    ).replace("steps:", "on_failure: compensate\nsteps:", 1),
    "what may be missing": steps(
        "{id: a, type: transform, output: \"${{ steps.b.output | default('none') }}\"}",
        "{id: b, type: transform, output: 1, needs: []}",
    ),
    "a secret in its field": steps("{id: a, type: shell, argv: [ls], env: {TOKEN: 'x-${{ secrets.TOKEN }}'}}"),
    "an escape": steps("{id: a, type: transform, output: 'write $${{ x }}'}"),
    "the previous run": steps('{id: a, type: transform, output: "${{ last_run.output | default(0) }}"}'),
    "a workflow that starts itself": steps("{id: a, type: workflow, workflow: flow, if: trigger.data.n > 0}"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_has_no_problem(name: str) -> None:
    assert check(GOOD[name], "flow.yaml") == []


def test_a_cycle_is_told_as_a_path() -> None:
    (problem,) = errors(BAD["cycle through a barrier"][0].replace("▸", ""))
    assert problem.message == "steps wait for each other: a → c → a"


def test_steps_that_only_follow_an_unreachable_one_are_not_reported() -> None:
    text = BAD["two ends of one approval"][0].replace("▸", "") + "  - {id: c, type: stop, needs: [b]}\n"
    assert [problem.code for problem in errors(text)] == ["unreachable"]


def test_a_need_on_either_end_of_an_approval_can_be_met() -> None:
    text = steps(GATE, "{id: b, type: transform, output: 1, needs: [gate.approved, gate.rejected], join: any}")
    assert errors(text) == []


WARNINGS = {
    "an unused input": (
        "name: flow\ninputs: {log: string}\nsteps:\n  - {id: a, type: stop}\n", 2, 10, "the input `log` is never used",
    ),
    "schedules that come at the same times": (
        "name: flow\ntriggers:\n  - {id: x, type: schedule, every: 1h}\n  - {type: schedule, every: 1h}\n"
        "  - {type: schedule, every: 1h, if: false}\nsteps: [{id: a, type: stop}]\n",
        5, 12, "this schedule comes at the same times as that of trigger 2",
    ),
    "a workflow that starts itself": (
        "name: flow\ntriggers:\n  - {type: completion, workflow: other}\n  - {type: completion, workflow: flow}\n"
        "steps: [{id: a, type: stop}]\n",
        4, 34, "the end of each run starts the next, until 32 have started one another in a row",
    ),
    "a catch-up that overlaps itself": (
        "name: flow\ntriggers: [{type: schedule, every: 1h, catchup: all}]\nsteps: [{id: a, type: stop}]\n",
        2, 49, "of the times that are made up for only the first starts a run: the others overlap it",
    ),
    "an unused variable": (
        "name: flow\nvars: {n: 0}\nsteps:\n  - {id: a, type: transform, output: 1, set: {n: result}}\n",
        2, 8, "the variable `n` is never used",
    ),
    "a step beside the one it reads": (
        steps(A, "{id: b, type: transform, output: '${{ steps.a.output }}', needs: []}"), 4, 49, "may not have run",
    ),
    "a step that also runs after a rejection": (
        steps(
            GATE,
            "{id: restart, type: transform, output: 1}",
            "{id: tell, type: transform, output: 1, needs: [gate.rejected]}",
        ),
        4, 10, "`restart` also runs when `gate` is rejected",
    ),
    "a compensation that is not asked for": (
        steps("{id: a, type: shell, argv: [ls], compensate: {type: shell, argv: [ls]}}"), 3, 38, "aborts the run",
    ),
    "nothing to compensate": (
        "name: flow\non_failure: compensate\nsteps:\n  - {id: a, type: stop}\n", 2, 13, "no step has a `compensate`",
    ),
    "a check of what is safe": (
        steps("{id: a, type: shell, argv: [ls], repeat: safe, reconcile: {type: shell, argv: [ls], happened: result}}"),
        3, 52, "never performed",
    ),
    "limits of a step that spends nothing": (
        steps("{id: a, type: stop, guardrails: {cost_usd: 1}}"), 3, 25, "no effect on a step of type `stop`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_stands_at_its_place_and_fails_nothing(name: str) -> None:
    text, line, column, message = WARNINGS[name]
    (problem,) = warnings(text)
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message
    assert problem.hint
    assert errors(text) == []
