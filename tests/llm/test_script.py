"""A simulated model: scripted words over what tools really returned."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from fleetprompt.engine.definition.problems import InvalidFile
from fleetprompt.engine.llm.images import draw, media_type
from fleetprompt.engine.llm.providers import Room
from fleetprompt.engine.llm.script import Script
from fleetprompt.engine.llm.simulation import load_simulation
from fleetprompt.engine.llm.vectors import SIZE, embed_text
from fleetprompt.engine.ports.model import (
    Delta,
    ImageRequest,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    ToolSpec,
)

TRIAGE = """\
description: The cause is the newest deploy that touched the file with the most errors.
rules:
  - agent: sre
    turn: 0
    think: I look for errors first.
    say: "Looking into ${{ inputs.log }}."
    call:
      - {tool: fs.grep, with: {pattern: ERROR, path: "${{ inputs.log }}"}}
      - {tool: git.log, with: {count: 3}}
  - agent: sre
    after: [git.log]
    if: results.fs_grep | first | length > 0
    output:
      cause: "${{ (results['fs.grep'] | first)[0].text }} after ${{ last.result.commits[0] }}"
      errors: "${{ results.fs_grep[0] | length }}"
      action: restart
  - agent: sre
    after: git.log
    say: "No errors in ${{ calls[0].arguments.path }}."
  - step: report
    say: "${{ asked | upper }}"
    finish: length
"""
TARGET = ModelTarget(name="default", model="simulated/script", mode="simulated")
TOOLS = tuple(ToolSpec(name, name, {"type": "object"}) for name in ("fs_grep", "git_log"))


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(Room(root=tmp_path, workflows=(tmp_path / "workflows",)))


def write(tmp_path: Path, text: str, name: str = "triage") -> Path:
    path = tmp_path / "workflows" / "simulations" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def request(*messages: Message, target: ModelTarget = TARGET, **about: Any) -> ModelRequest:
    told = {"workflow": "triage", "agent": "sre", "step": "diagnose", "inputs": {"log": "app.log"}} | about
    return ModelRequest(
        target=target, messages=(Message("user", "find the cause"), *messages), tools=TOOLS, max_tokens=100, about=told
    )


async def ask(script: Script, wanted: ModelRequest, deltas: list[Delta] | None = None) -> ModelAnswer:
    return await script.answer(wanted, "", deltas.append if deltas is not None else lambda _: None)


def called(answer: ModelAnswer, *results: Any) -> list[Message]:
    """The answer, and what its calls returned."""
    told = [
        Message("tool", json.dumps(result), call_id=call.id, name=call.name)
        for call, result in zip(answer.calls, results, strict=True)
    ]
    return [Message("assistant", answer.text, answer.calls), *told]


async def test_a_story_is_told_over_real_results(script: Script, tmp_path: Path) -> None:
    write(tmp_path, TRIAGE)
    deltas: list[Delta] = []
    first = await ask(script, request(), deltas)
    assert (first.text, first.reasoning) == ("Looking into app.log.", "I look for errors first.")
    assert [(call.name, json.loads(call.arguments)) for call in first.calls] == [
        ("fs_grep", {"pattern": "ERROR", "path": "app.log"}),
        ("git_log", {"count": 3}),
    ]
    assert first.finish == "tool_calls"
    for kind, whole in (("text", first.text), ("reasoning", first.reasoning)):
        shown = [delta.text for delta in deltas if delta.kind == kind]
        assert "".join(shown) == whole
        assert len(shown) > 1
    then = called(first, [{"text": "boom"}, {"text": "bang"}], {"commits": ["a1", "b2"]})
    second = await ask(script, request(*then))
    assert json.loads(second.text) == {"cause": "boom after a1", "errors": 2, "action": "restart"}
    assert second.finish == "stop"
    none = await ask(script, request(*called(first, [], {"commits": []})))
    assert none.text == "No errors in app.log."


async def test_a_simulation_beside_its_workflow_file_comes_before_the_projects(script: Script, tmp_path: Path) -> None:
    write(tmp_path, "rules: [{say: the project's}]")
    beside = tmp_path / "elsewhere" / "simulations" / "triage.yaml"
    beside.parent.mkdir(parents=True)
    beside.write_text("rules: [{say: beside it}]")
    assert (await ask(script, request(folder=str(tmp_path / "elsewhere")))).text == "beside it"
    assert (await ask(script, request(folder=str(tmp_path)))).text == "the project's"


async def test_nothing_is_spent_and_usage_is_estimated(script: Script, tmp_path: Path) -> None:
    write(tmp_path, TRIAGE)
    answer = await ask(script, request())
    assert (answer.cost_nano, answer.price, answer.model) == (None, "", "simulated/script")
    assert answer.usage.source == "estimated"
    assert answer.usage.input > 0
    assert answer.usage.output > answer.usage.reasoning > 0


async def test_the_same_is_asked_the_same_is_answered(script: Script, tmp_path: Path) -> None:
    write(tmp_path, TRIAGE)
    once, again = await ask(script, request()), await ask(script, request())
    assert (once.text, once.calls) == (again.text, again.calls)


async def test_results_can_be_told_as_tools_returned_them(script: Script, tmp_path: Path) -> None:
    write(tmp_path, TRIAGE)
    results = [
        {"tool": "fs.grep", "arguments": {"path": "x"}, "result": [{"text": "boom"}]},
        {"tool": "git.log", "arguments": {}, "result": {"commits": ["c3"]}},
    ]
    wrapped = called(await ask(script, request()), "<untrusted>…", "<untrusted>…")
    answer = await ask(script, request(*wrapped, results=results))
    assert json.loads(answer.text)["cause"] == "boom after c3"


async def test_a_rule_can_end_early_and_is_chosen_by_its_step(script: Script, tmp_path: Path) -> None:
    write(tmp_path, TRIAGE)
    answer = await ask(script, request(step="report", agent="writer"))
    assert (answer.text, answer.finish) == ("FIND THE CAUSE", "length")


async def test_turns_are_told_or_counted_from_the_last_question(script: Script, tmp_path: Path) -> None:
    write(tmp_path, "rules:\n  - {turn: [1, 3], say: odd}\n  - {turn: 0, say: first}\n  - {say: 'turn ${{ turn }}'}\n")
    said = Message("assistant", "x")
    assert (await ask(script, request())).text == "first"
    assert (await ask(script, request(said))).text == "odd"
    assert (await ask(script, request(said, said))).text == "turn 2"
    assert (await ask(script, request(said, Message("user", "and?")))).text == "first"
    assert (await ask(script, request(turn=3))).text == "odd"


async def test_delay_and_pace_are_those_of_the_rule_or_the_file(script: Script, tmp_path: Path) -> None:
    rules = "delay: 20ms\npace: 1000\nrules:\n  - {step: quick, say: a b c, delay: 0}\n  - {say: a b c}\n"
    write(tmp_path, rules)
    quick, slow = await ask(script, request(step="quick")), await ask(script, request())
    assert quick.first is not None
    assert slow.first is not None
    assert slow.first >= 0.02
    assert slow.seconds >= 0.023


async def failed(script: Script, wanted: ModelRequest) -> ModelFailed:
    with pytest.raises(ModelFailed) as raised:
        await ask(script, wanted)
    error = raised.value
    assert (error.kind, error.code, error.retryable, error.spent) == ("answer", "VALIDATION_ERROR", False, "nothing")
    return error


async def test_what_no_rule_answers_is_named(script: Script, tmp_path: Path) -> None:
    write(tmp_path, TRIAGE)
    error = await failed(script, request(turn=7))
    assert error.message == (
        "no rule of workflows/simulations/triage.yaml answers step `diagnose`, agent `sre`, turn 7"
    )
    assert error.hint == "the rules about it, in line 3, 10, 17, ask for another turn, tool or condition; add one"
    assert "no rule is about this step and agent" in (await failed(script, request(agent="x", step="y"))).hint


async def test_an_expression_that_fails_has_its_place(script: Script, tmp_path: Path) -> None:
    write(tmp_path, "rules:\n  - say: hello\n    step: x\n  - say: ${{ last.result.commits }}\n")
    error = await failed(script, request())
    assert error.message.startswith("workflows/simulations/triage.yaml:4:5: ")
    write(tmp_path, "rules:\n  - {say: hello, if: inputs.nothing > 3}\n")
    assert (await failed(script, request())).message.startswith("workflows/simulations/triage.yaml:2:18: ")


async def test_files_are_found_by_workflow_or_by_name_and_read_again(script: Script, tmp_path: Path) -> None:
    error = await failed(script, request())
    assert error.message == "there is no simulation of `triage`"
    assert "workflows/simulations/triage.yaml" in error.hint
    path = write(tmp_path, "rules: [{say: one}]\n")
    assert (await ask(script, request())).text == "one"
    path.write_text("rules: [{say: another}]\n")
    assert (await ask(script, request())).text == "another"
    write(tmp_path, "rules: [{say: third}]\n", "other")
    other = ModelTarget(name="x", model="simulated/other", mode="simulated")
    assert (await ask(script, request(target=other))).text == "third"
    outside = ModelTarget(name="x", model="simulated/../../etc", mode="simulated")
    assert "does not say which simulation" in (await failed(script, request(target=outside))).message
    path.write_text("rules: []\n")
    assert (await failed(script, request())).message.startswith("workflows/simulations/triage.yaml:1:")


WRONG = """\
rules:
  - agent: sre
    sya: hello
  - turn: -1
    say: x
  - say: "${{ resluts.a }}"
  - say: "${{ 1 + }}"
    if: inputs.a >
  - call: {tool: a, with: {b: "${{ secrets.KEY }}"}}
  - {output: 1, say: x}
  - if: nope == 1
    output: {a: ["${{ inputz }}"]}
"""


def test_every_problem_of_a_file_has_its_place(tmp_path: Path) -> None:
    def said(text: str) -> list[str]:
        path = tmp_path / "x.yaml"
        path.write_text(text)
        with pytest.raises(InvalidFile) as refused:
            load_simulation(path, "x.yaml")
        return [f"{p.line}:{p.column} {p.code} {p.message} ({p.hint})" for p in refused.value.problems]

    assert said(WRONG) == [
        "3:5 unknown-key unknown key `sya` (did you mean `say`?)",
        "4:11 bad-value `turn` must be at least 0 ()",
        "10:5 conflicting-keys `output` stands alone "
        "(what is said beside an output would be no part of it; put `call` into a rule before)",
    ]
    shapes_right = WRONG.replace("sya", "say").replace("-1", "1").replace("{output: 1, say: x}", "{output: 1}")
    found = said(shapes_right)
    assert [problem.split(" (")[0] for problem in found if "unknown-reference" in problem] == [
        "6:15 unknown-reference there is no `resluts` here",
        "11:9 unknown-reference there is no `nope` here",
        "12:23 unknown-reference there is no `inputz` here",
    ]
    assert "did you mean `results`?" in found[0]
    assert sum("bad-expression" in problem for problem in found) == 2
    assert any("bad-secret" in problem for problem in found)


async def test_a_picture_is_a_real_png_of_the_size(script: Script) -> None:
    def wanted(prompt: str, size: str = "64x48") -> ImageRequest:
        return ImageRequest(target=TARGET, prompt=prompt, size=size)

    one, same, other = [(await script.image(wanted(p), "")).data for p in ("a cat", "a cat", "a dog")]
    assert one == same != other
    assert media_type(one) == "image/png"
    assert struct.unpack(">II", one[16:24]) == (64, 48)
    assert b"SIMULATED" in one
    at, pixels = 8, b""
    while at < len(one):
        (length,) = struct.unpack(">I", one[at : at + 4])
        kind, data = one[at + 4 : at + 8], one[at + 8 : at + 8 + length]
        assert struct.unpack(">I", one[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        pixels += data if kind == b"IDAT" else b""
        at += 12 + length
    assert len(zlib.decompress(pixels)) == 48 * (1 + 64 * 3)
    assert (await script.image(wanted("x"), "")).cost_nano is None
    with pytest.raises(ModelFailed, match="no size of a picture"):
        await script.image(wanted("x", "0x5"), "")
    assert len(draw("x", "1024x1024")) < 20_000


async def test_vectors_are_near_where_words_are_shared(script: Script) -> None:
    texts = ["the payment service fails", "The payment service FAILED", "cats sleep all day", ""]
    answer = await script.embed(TARGET, texts, "")
    assert all(len(vector) == SIZE and math.isclose(sum(x * x for x in vector), 1) for vector in answer.vectors)

    def near(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(answer.vectors[a], answer.vectors[b], strict=True))

    assert near(0, 1) > 0.5 > abs(near(0, 2))
    assert answer.vectors[0] == embed_text(texts[0])
    assert (answer.usage.source, answer.cost_nano) == ("estimated", None)


def test_simulations_import_no_litellm(tmp_path: Path) -> None:
    write(tmp_path, "rules: [{say: hello}]\n")
    code = """
import asyncio, sys
from pathlib import Path
from fleetprompt.engine.llm.models import KnownModels
from fleetprompt.engine.llm.providers import Room
from fleetprompt.engine.ports.model import Message, ModelRequest
async def main():
    models = KnownModels({}, {}, Room(root=Path(), workflows=(Path("workflows"),)), where=())
    target = await models.find("")
    request = ModelRequest(target=target, messages=(Message("user", "x"),), max_tokens=9, about={"workflow": "triage"})
    provider = models.provider(target)
    answer = await provider.answer(request, models.reveal(target), lambda delta: None)
    await provider.count(target, request.messages, ())
    await models.close()
    print(target.mode, answer.text, [name for name in ("litellm", "openai", "aiohttp") if name in sys.modules])
asyncio.run(main())
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": root, "PATH": ""},
    )
    assert (done.stdout, done.stderr) == ("simulated hello []\n", "")
