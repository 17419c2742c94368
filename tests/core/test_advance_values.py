"""Large values and secrets: what is spilled is decided on all the same, what is secret never becomes text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from play import Play, act, ask, calc, call, cond, during, each, emit, fan, halt, node, plan, snapshot, switch

from fleetprompt.engine.core.advance import advance
from fleetprompt.engine.core.batch import SPILL_BYTES, Batch
from fleetprompt.engine.core.codec import digest, encode
from fleetprompt.engine.core.expr import NeedsValue
from fleetprompt.engine.core.facts import Blob, RunFinished, StepNoted, StepStarted, StepSucceeded
from fleetprompt.engine.core.names import HYDRATE_BYTES, RUN_MEMBERS, about
from fleetprompt.engine.core.signal import START

BIG = "x" * 100_000
HUGE = "y" * (HYDRATE_BYTES + 10)


def forgetful(play: Play) -> Play:
    """As after a crash: what was loaded is gone."""
    play.run.blobs.clear()
    return play


def test_files_may_name_what_is_told_of_a_run_and_nothing_else() -> None:
    assert tuple(about(Play(plan(act("a"))).run)) == RUN_MEMBERS


# ---------------------------------------------------------------- what is spilled


def test_a_large_output_becomes_a_blob_and_the_fact_stays_small() -> None:
    play = Play(plan(act("a"), act("b")))
    play.ok("a", {"text": BIG})
    [fact] = play.of(StepSucceeded)
    assert (fact.output, fact.blob.size) == (None, len(BIG) + 11)
    assert msgspec.json.decode(play.blobs[fact.blob.digest]) == {"text": BIG}
    assert max(map(len, play.journal)) < 1_000


def test_a_blob_keeps_the_order_of_its_author_under_the_address_of_its_content() -> None:
    play = Play(plan(act("a"), act("b")))
    play.ok("a", {"text": BIG, "about": 1})
    [fact] = play.of(StepSucceeded)
    assert list(msgspec.json.decode(play.blobs[fact.blob.digest])) == ["text", "about"]
    assert fact.blob.digest == digest({"about": 1, "text": BIG})


def test_small_values_stay_in_their_facts() -> None:
    play = Play(plan(act("a"), act("b")))
    play.ok("a", "x" * (SPILL_BYTES // 2))
    assert play.blobs == {}


@pytest.mark.parametrize("where", ["inputs", "input", "items", "value", "output", "answer", "run"])
def test_every_field_that_may_be_large_is_spilled(where: str) -> None:
    items = [BIG[:1000]] * 100
    match where:
        case "inputs":
            play = Play(plan(act("a")), {"x": BIG})
        case "input":
            play = Play(plan(act("a", config={"x": "${{ inputs.x }}"})), {"x": BIG})
        case "items":
            play = Play(plan(each("l", "inputs.x", [act("a", when="index == 0")])), {"x": items})
        case "value":
            play = Play(plan(act("a")))
            play.tell([StepNoted(at=play.now, path="a", kind="message", key="k", value=BIG)])
            assert play.step("a").notes[0][2] == Blob(next(iter(play.blobs)), len(BIG) + 2)
        case "output":
            play = Play(plan(act("a"), act("b")))
            play.ok("a", BIG)
        case "answer":
            play = Play(plan(act("a", repeat="never"), act("b")))
            play.unknown("a")
            play.resolve("a", "happened", BIG)
        case _:
            play = Play(plan(calc("a", "${{ 1 }}"), output="${{ inputs.x }}"), {"x": BIG})
            assert play.run.output_blob is not None
    assert play.blobs
    assert max(map(len, play.journal)) < SPILL_BYTES
    forgetful(play).check()


def test_the_workflow_of_a_child_with_large_inputs_is_known() -> None:
    play = Play(plan(call("w", "audit", inputs={"text": "${{ inputs.text }}"})), {"text": BIG})
    assert play.sent(START)[0].data["workflow"] == "audit"
    assert (play.step("w").input, play.step("w").input_blob is None) == (None, False)


def test_a_signal_with_large_data_is_sent_whole() -> None:
    play = Play(plan(emit("e", data="${{ inputs.text }}")), {"text": BIG})
    [sent] = play.sent("it.happened")
    assert sent.data == BIG
    assert play.run.output == {"id": sent.id}


def test_a_signal_carries_one_mebibyte_at_most() -> None:
    play = Play(plan(emit("e", data=HUGE)))
    assert (play.status(), play.run.error.code) == ("failed", "VALIDATION_ERROR")
    assert play.sent("it.happened") == []


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_stop_with_a_large_output_ends_the_run_as_it_says(status: str) -> None:
    play = Play(plan(halt("s", status, output="${{ inputs.x }}", message="m" * 200_000)), {"x": BIG})
    assert play.status() == status
    assert status == "completed" or play.run.error.message == "m" * 10_000


# ---------------------------------------------------------------- what is loaded again


def test_a_decision_that_needs_a_value_says_which_and_changes_nothing() -> None:
    play = Play(plan(act("a"), ask("g"), calc("b", "${{ steps.a.output | length }}")))
    play.ok("a", BIG)
    forgetful(play)
    batch = Batch()
    batch.add(play.run, [])
    gate = play.voted("g")
    assert isinstance(gate, list)
    batch.add(play.run, gate)
    batch.settle(play.run, play.now)
    assert batch.needs == play.step("a").blob.digest
    before = snapshot(play.run)
    with pytest.raises(NeedsValue):
        advance(play.run, play.now)
    assert snapshot(play.run) == before
    play.load(batch.needs)
    batch.settle(play.run, play.now)
    assert (batch.needs, play.run.output) == ("", len(BIG))


NEEDING = {
    "if": [act("b", when="steps.a.output | length > 5")],
    "input": [act("b", config={"x": "${{ steps.a.output[0] }}"})],
    "over": [each("l", "steps.a.output", [act("b", when="index == 0")])],
    "condition": [cond("c", "steps.a.output", [act("b")])],
    "switch": [switch("s", "steps.a.output[0]", {"x": (("x",), [act("b")])})],
    "approval": [ask("g", show="${{ steps.a.output }}"), act("b")],
    "gate": [act("b", approval={"message": "${{ steps.a.output[0] }}"})],
    "group": [act("b", concurrency={"group": "g${{ steps.a.output[0] }}"})],
    "set": [calc("b", 1, set={"v": "steps.a.output[0]"})],
    "assert": [calc("b", 1, asserts=("steps.a.output[0] == 'x'",))],
    "escalate": [ask("g", timeout=10, on_timeout="escalate", escalate={"to": ["${{ steps.a.output[0] }}"]})],
}


@pytest.mark.parametrize("name", NEEDING)
def test_every_decision_waits_for_the_value_it_needs_and_is_then_the_same(name: str) -> None:
    nodes = NEEDING[name]
    if name == "group":
        from fleetprompt.engine.core.plan import Concurrency

        nodes = [msgspec.structs.replace(nodes[0], concurrency=Concurrency("g${{ steps.a.output[0] }}"))]
    large, ends = ["x"] * 100_000, []
    for forgets in (False, True):
        play = Play(plan(act("a"), *nodes))
        if forgets:
            play.tell = _forgetting(play)  # type: ignore[method-assign]
        play.ok("a", large)
        if play.run.wanted:
            play.grant("b")
        if "g" in play.run.steps and name == "escalate":
            play.tick(10)
        ends.append([encode(fact) for fact in play.facts])
        assert forgets == (play.loads > 0)
    assert ends[0] == ends[1]


def _forgetting(play: Play) -> Any:
    """Spilled values are forgotten before every turn and every decision."""
    plain, settle = Play.tell.__get__(play), play._settle

    def forgetting(batch: Batch) -> None:
        loaded = len(play.run.blobs) if batch.needs else 0
        if not loaded:
            play.run.blobs.clear()
        settle(batch)

    play._settle = forgetting  # type: ignore[method-assign]
    return plain


def test_branches_with_large_outputs() -> None:
    play = Play(plan(fan("p", {name: [act(name)] for name in "abc"}), calc("n", "${{ steps.p.output.b | length }}")))
    for name in "abc":
        forgetful(play).ok(f"p.{name}", name + BIG)
    assert play.run.output == len(BIG) + 1


def test_a_condition_passes_a_large_output_on_without_loading_it() -> None:
    play = Play(plan(cond("c", "true", [act("a")])))
    play.ok("c.a", BIG)
    assert (play.loads, play.run.output_blob, play.step("c").blob) == (0, play.step("c.a").blob, play.step("c.a").blob)


def test_what_is_larger_than_a_mebibyte_is_only_referred_to() -> None:
    play = Play(plan(act("a"), calc("b", "${{ steps.a.output.size }}"), calc("c", "${{ steps.a.output.ref }}")))
    play.ok("a", HUGE)
    blob = play.step("a").blob
    assert (play.step("b").output, play.run.output, play.loads) == (len(HUGE) + 2, blob.digest, 0)


@pytest.mark.parametrize(
    "test",
    ["steps.a.output | length", "'x' in steps.a.output", "steps.a.output.x | default('')", "steps.a.output == 'x'"],
)
def test_what_is_larger_than_a_mebibyte_cannot_be_looked_into(test: str) -> None:
    play = Play(plan(act("a"), calc("b", 1, when=test)))
    play.ok("a", HUGE)
    assert (play.status(), "larger than 1 MiB" in play.run.error.message) == ("failed", True)


@pytest.mark.parametrize("operator", ["exists", "contains"])
def test_nor_can_it_by_a_structured_condition(operator: str) -> None:
    value = {} if operator == "exists" else {"value": "x"}
    play = Play(plan(act("a"), calc("b", 1, when={"field": "steps.a.output.x", "operator": operator, **value})))
    play.ok("a", HUGE)
    assert (play.status(), "larger than 1 MiB" in play.run.error.message) == ("failed", True)


def test_nor_is_what_stands_for_it_a_list() -> None:
    play = Play(plan(act("a"), calc("b", "${{ steps.a.output }}"), each("l", "steps.b.output", [act("x")])))
    play.ok("a", HUGE)
    assert (play.status(), "references" in play.run.error.message) == ("failed", True)


def test_what_stands_for_it_is_data_wherever_it_goes() -> None:
    play = Play(plan(act("a"), calc("b", {"list": "${{ [steps.a.output] }}", "text": "${{ steps.a.output }}!"})))
    play.ok("a", HUGE)
    digest = play.step("a").blob.digest
    assert play.run.output["list"] == [{"ref": digest, "size": len(HUGE) + 2}]
    assert digest in play.run.output["text"]


ANSWER = {"status": 200, "headers": {"etag": "e1"}, "body": HUGE, "size": 7}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("steps.a.output.status", 200),
        ("steps.a.output.headers.etag", "e1"),
        ("steps.a.output.size", 7),
        ("steps.a.output['ref'] | length", 64),
        ("steps.a.output.body is defined", None),
        ("steps.a.output.nothing | default(1)", None),
        ("steps.a.output.body | length", None),
        ("steps.a.output | length", None),
    ],
)
def test_of_an_answer_that_is_too_large_the_small_members_can_be_read(source: str, value: Any) -> None:
    for forgets in (False, True):
        play = Play(plan(act("a"), act("b", on_error="continue"), calc("c", f"${{{{ {source} }}}}")))
        play.ok("a", ANSWER)
        if forgets:
            play = Play(play.program.plan, facts=play.facts, blobs=play.blobs)
        play.fail("b")
        if value is not None:
            assert play.run.output == value
        else:
            assert "of it, only these can be read: `status`, `headers`, `size`, `ref`" in play.run.error.message


def test_what_stays_readable_of_a_large_value_is_little() -> None:
    many = {f"key_{i}": "x" * 1_000 for i in range(2_000)}
    play = Play(plan(act("a"), calc("b", "${{ steps.a.output.key_0 | length }}")))
    play.ok("a", many)
    assert play.run.output == 1_000
    assert max(map(len, play.journal)) < 20_000


def test_a_loop_looks_back_on_a_large_result() -> None:
    body = [calc("x", "${{ [index] * 60000 }}")]
    for forgets in (False, True):
        play = Play(plan(during("w", "index == 0 or loop.previous[0] < 2", body)))
        if forgets:
            play = forgetful(play)
        assert play.status() == "completed"
        assert play.step("w").inner.opened == 3


def test_the_items_of_a_loop_may_be_large() -> None:
    items = [{"n": i, "pad": BIG[:2_000]} for i in range(60)]
    play = Play(plan(each("l", "inputs.items", [act("a", config={"n": "${{ item.n }}"})])), {"items": items})
    for i in range(60):
        assert play.step(f"l[{i}].a").input == {"n": i}
        forgetful(play).ok(f"l[{i}].a")
    assert play.status() == "completed"
    assert play.loads


def test_the_cache_is_no_part_of_the_run() -> None:
    play = Play(plan(act("a"), act("b")))
    play.ok("a", BIG)
    before = snapshot(play.run)
    assert snapshot(forgetful(play).run) == before


# ---------------------------------------------------------------- approved inputs that are large


def test_an_approved_input_is_performed_whole_also_when_it_is_large() -> None:
    play = Play(
        plan(act("a", config={"x": "${{ inputs.x }}"}, approval={"message": "ok?", "show": "short"})), {"x": BIG}
    )
    forgetful(play).vote("a")
    [started] = play.of(StepStarted)
    assert (started.input, started.blob) == (None, play.step("a").gate.input)
    assert (play.step("a").input, play.step("a").input_blob) == (None, started.blob)


GATED = [
    calc("t", "${{ inputs.x }}"),
    emit("e", data="${{ inputs.x }}"),
    halt("s", "failed", output="${{ inputs.x }}"),
    node("w", "wait", config={"signal": "a.b", "x": "${{ inputs.x }}"}),
]


@pytest.mark.parametrize("gated", GATED, ids=lambda n: n.kind)
def test_what_the_core_does_itself_with_a_large_approved_input(gated: Any) -> None:
    asked = msgspec.structs.replace(gated, approval={"message": "ok?", "show": "short"})
    play = Play(plan(asked), {"x": BIG})
    forgetful(play).vote(gated.id)
    match gated.kind:
        case "transform":
            assert msgspec.json.decode(play.blobs[play.run.output_blob.digest]) == BIG
        case "emit":
            assert play.sent("it.happened")[0].data == BIG
        case "stop":
            assert (play.status(), msgspec.json.decode(play.blobs[play.step("s").blob.digest])) == ("failed", BIG)
        case _:
            assert play.waits == {"w": ("signal", "a.b", "")}


@pytest.mark.parametrize("kind", ["effect", "transform"])
def test_an_approved_input_of_more_than_a_mebibyte(kind: str) -> None:
    gate = {"message": "ok?", "show": 1, "timeout": 60, "on_timeout": "escalate", "escalate": {"to": ["bo"]}}
    config = {"output": ["${{ inputs.x }}", "${{ inputs.x }}", "${{ inputs.x }}"]}
    play = Play(plan(node("a", kind, config=config, approval=gate)), {"x": "x" * (HYDRATE_BYTES // 2)})
    play.tick(60)
    play.vote("a", "bo")
    assert play.status() == ("running" if kind == "effect" else "failed")


# ---------------------------------------------------------------- secrets

SECRET = {"header": "Bearer ${{ secrets.TOKEN }}", "plain": "${{ inputs.n }}", "deep": [{"k": "${{ secrets.KEY }}"}]}


def test_a_secret_is_a_reference_beside_the_input() -> None:
    play = Play(plan(act("a", config=SECRET)), {"n": 1})
    [started] = play.of(StepStarted)
    assert started.input == {"header": "", "plain": 1, "deep": [{"k": ""}]}
    assert started.secrets == {"/header": ["Bearer ", {"secret": "TOKEN"}], "/deep/0/k": [{"secret": "KEY"}]}
    assert play.step("a").secrets == started.secrets


def test_a_secret_survives_a_crash_an_approval_and_another_attempt() -> None:
    from fleetprompt.engine.core.plan import Retry

    play = Play(plan(act("a", config=SECRET, approval={"message": "ok?"}, retry=Retry(2))), {"n": 1})
    assert "Bearer" not in str(play.step("a").gate.input)
    play.crash()
    play.vote("a")
    play.fail("a")
    play.wake()
    play.crash()
    assert play.step("a").secrets["/header"] == ["Bearer ", {"secret": "TOKEN"}]
    assert play.step("a").attempt == 2


def test_data_that_looks_like_a_secret_is_data() -> None:
    text = "${{ secrets.TOKEN }} and ${{ inputs.n }}"
    play = Play(plan(act("a", config={"x": "${{ inputs.text }}", "y": "say ${{ inputs.text }}"})), {"text": text})
    [started] = play.of(StepStarted)
    assert (started.input, started.secrets) == ({"x": text, "y": "say " + text}, {})


def test_a_compensation_may_use_a_secret() -> None:
    undo = act("undo", config={"auth": "${{ secrets.TOKEN }}"})
    play = Play(plan(act("a", compensate=undo), act("b"), on_failure="compensate"))
    play.ok("a")
    play.fail("b")
    assert play.step("a@compensate").secrets == {"/auth": [{"secret": "TOKEN"}]}


def test_composites_children_and_runs_hand_on_what_is_readable_of_a_large_value() -> None:
    """Each is a fact of its own that holds no more than where the value is kept."""
    seen = calc("b", "${{ [steps.c.output.status, steps.w.output] }}")
    play = Play(plan(cond("c", "true", [act("a")]), call("w"), seen))
    play.ok("c.a", ANSWER)
    blob = play.step("c").blob
    assert (blob.digest, blob.head["status"]) == (play.step("c.a").blob.digest, 200)
    play.child("w", output=blob)
    assert play.run.output == [200, {"ref": blob.digest, "size": blob.size}]
    last = Play(plan(act("a")))
    last.ok("a", ANSWER)
    [end] = last.of(RunFinished)
    assert (end.blob.digest, end.output["status"]) == (blob.digest, 200)
    assert last.run.output is None


def test_a_stop_may_give_a_large_output() -> None:
    play = Play(plan(act("a"), halt("s", output="${{ inputs.x }}"), output="another"), {"x": BIG})
    play.ok("a", 1)
    assert (play.status(), play.run.output_blob.size) == ("completed", len(BIG) + 2)
