"""`simulated/script`: a model whose words are scripted, over what tools really returned.

Only the words are simulated: tools, approvals, budgets and databases are real. Nothing is spent, and everything that
comes of it is labelled.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from fleetprompt.engine.core.agent import CHAT
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import FleetError, InvalidInput
from fleetprompt.engine.core.expr import ExpressionError
from fleetprompt.engine.llm.images import draw
from fleetprompt.engine.llm.providers import PROVIDERS, Room
from fleetprompt.engine.llm.simulation import Rule, Simulation, load_simulation
from fleetprompt.engine.llm.stream import estimate_tokens
from fleetprompt.engine.llm.vectors import embed_text
from fleetprompt.engine.llm.wire import rough_tokens
from fleetprompt.engine.ports.model import (
    Delta,
    EmbeddingAnswer,
    Finish,
    ImageAnswer,
    ImageRequest,
    Message,
    ModelAnswer,
    ModelFailed,
    ModelRequest,
    ModelTarget,
    OnDelta,
    ToolCall,
    ToolSpec,
    Usage,
)

FOLDER: Final = "simulations"
BY_WORKFLOW: Final = "script"
"""The model whose file is that of the workflow."""
_WORDS: Final = re.compile(r"\S+\s*|\s+")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Script:
    """Answers from simulation files."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._loaded: dict[Path, tuple[tuple[int, int], Simulation]] = {}

    async def answer(self, request: ModelRequest, credential: str, on_delta: OnDelta) -> ModelAnswer:
        """What the first rule that matches says. Raises `ModelFailed` where none does."""
        began = time.monotonic()
        simulation = await asyncio.to_thread(self._simulation, request)
        scope = scope_of(request, simulation.tools)
        rule, said = _matched(simulation, scope)
        delay = rule.model.delay if rule.model.delay is not None else simulation.model.delay
        pace = rule.model.pace or simulation.model.pace
        calls = _calls(said, request)
        text = _text(said)
        reasoning = str(said.get("think", ""))
        finish: Finish = rule.model.finish or ("tool_calls" if calls else "stop")
        if delay:
            await asyncio.sleep(delay)
        first = time.monotonic() - began
        for delta in _deltas(reasoning, text, calls):
            on_delta(delta)
            if pace:
                await asyncio.sleep(1 / pace)
        written = estimate_tokens(reasoning + text + "".join(call.name + call.arguments for call in calls))
        thought = estimate_tokens(reasoning)
        return ModelAnswer(
            text=text,
            reasoning=reasoning,
            calls=calls,
            finish=finish,
            usage=Usage(rough_tokens(request.messages, request.tools), written, 0, thought, "estimated"),
            model=request.target.model,
            seconds=time.monotonic() - began,
            first=first,
        )

    async def image(self, request: ImageRequest, credential: str) -> ImageAnswer:
        """A picture drawn from the hash of the prompt. Raises `ModelFailed` for a size that cannot be."""
        try:
            data = await asyncio.to_thread(draw, request.prompt, request.size)
        except InvalidInput as error:
            raise _failed(error.message, error.hint) from None
        return ImageAnswer(data=data, media_type="image/png", model=request.target.model)

    async def embed(self, target: ModelTarget, texts: Sequence[str], credential: str) -> EmbeddingAnswer:
        """Vectors by the words of the texts."""
        vectors = await asyncio.to_thread(lambda: tuple(embed_text(text) for text in texts))
        usage = Usage(input=sum(map(estimate_tokens, texts)), source="estimated")
        return EmbeddingAnswer(vectors=vectors, usage=usage, model=target.model)

    async def count(self, target: ModelTarget, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Tokens that a prompt would take, estimated from above."""
        return rough_tokens(messages, tools)

    def _simulation(self, request: ModelRequest) -> Simulation:
        wanted = request.target.model.partition("/")[2]
        about = request.about
        name = str(about.get("workflow") or about.get("agent") or "").removeprefix(CHAT)
        name = name if wanted == BY_WORKFLOW else wanted
        if not _FILE.fullmatch(name):
            hint = f"write simulated/NAME for {FOLDER}/NAME.yaml"
            raise _failed(f"`{request.target.model}` does not say which simulation: there is no workflow", hint)
        beside = [Path(folder)] if (folder := str(about.get("folder") or "")) else []
        places = [place / FOLDER / f"{name}.yaml" for place in (*beside, *self._room.workflows, self._room.root)]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            hint = f"write {self._shown(places[0])} (docs/simulation.md), or configure a model (docs/models.md)"
            raise _failed(f"there is no simulation of `{name}`", hint)
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._loaded.get(path)
        if known is None or known[0] != stamp:
            try:
                known = self._loaded[path] = (stamp, load_simulation(path, self._shown(path)))
            except FleetError as error:
                raise _failed(f"{error.where}: {error.message}" if error.where else error.message, error.hint) from None
        return known[1]

    def _shown(self, path: Path) -> str:
        try:
            return str(path.relative_to(self._room.root))
        except ValueError:
            return str(path)


@PROVIDERS.register("simulated")
def _made(room: Room) -> Script:
    return Script(room)


def scope_of(request: ModelRequest, tools: Iterable[str] = ()) -> dict[str, Any]:
    """What the expressions of a simulation see of a request. Tools are called what the file calls them, `tools`."""
    about = request.about
    told = [message.text for message in request.messages if message.role == "user"]
    calls = _results(request)
    spelled = {plain_name(tool): tool for tool in tools}
    results: dict[str, list[Any]] = {}
    for call in calls:
        tool = str(call["tool"])
        call["tool"] = spelled.get(plain_name(tool), tool)
        for name in {str(call["tool"]), plain_name(tool)}:
            results.setdefault(name, []).append(call["result"])
    turn = about.get("turn")
    return {
        "workflow": str(about.get("workflow") or ""),
        "agent": str(about.get("agent") or ""),
        "step": str(about.get("step") or ""),
        "turn": turn if isinstance(turn, int) else _turns(request.messages),
        "inputs": mapping(about.get("inputs")),
        "vars": mapping(about.get("vars")),
        "prompt": told[0] if told else "",
        "asked": told[-1] if told else "",
        "calls": calls,
        "last": calls[-1] if calls else {"tool": None, "arguments": {}, "result": None},
        "results": results,
    }


def plain_name(tool: str) -> str:
    """The name of a tool as an identifier: providers do not take dots, and neither do members in expressions."""
    return re.sub(r"\W+", "_", tool)


def _results(request: ModelRequest) -> list[dict[str, Any]]:
    """Calls and what they returned, in order: as the loop tells it, else as the conversation shows it."""
    if (told := request.about.get("results")) is not None:
        rows = [mapping(row) for row in told]
        return [
            {
                "tool": str(row.get("tool", "")),
                "arguments": mapping(row.get("arguments")),
                "result": row.get("result"),
            }
            for row in rows
        ]
    asked = {call.id: call for message in request.messages for call in message.calls}
    found: list[dict[str, Any]] = []
    for message in request.messages:
        if message.role == "tool":
            call = asked.get(message.call_id)
            name = message.name or (call.name if call is not None else "")
            arguments = mapping(_json(call.arguments)) if call is not None else {}
            found.append({"tool": name, "arguments": arguments, "result": _json(message.text)})
    return found


def _turns(messages: Sequence[Message]) -> int:
    turns = 0
    for message in messages:
        turns = 0 if message.role == "user" else turns + (message.role == "assistant")
    return turns


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _matched(simulation: Simulation, scope: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """The rule that answers, and what it says with these values."""
    try:
        rule = simulation.match(scope, lambda a, b: plain_name(a) == plain_name(b))
    except ExpressionError as error:
        raise _failed(f"{error.where}: {error.message}", error.hint) from None
    if rule is None:
        _no_rule(simulation, scope)
    try:
        return rule, mapping(rule.says.render(scope).value)
    except ExpressionError as error:
        key = error.where.strip("/").partition("/")[0]
        raise _failed(f"{simulation.place(rule, key)}: {error.message}", error.hint) from None


def _no_rule(simulation: Simulation, scope: Mapping[str, Any]) -> NoReturn:
    last = scope["last"]["tool"]
    where = f"step `{scope['step']}`, agent `{scope['agent']}`, turn {scope['turn']}"
    where += f", after `{last}`" if last else ""
    near = [rule for rule in simulation.rules if rule.about(scope["agent"], scope["step"])]
    hint = "no rule is about this step and agent: add one"
    if near:
        lines = ", ".join(simulation.place(rule).rpartition(":")[0].rpartition(":")[2] for rule in near[:12])
        hint = f"the rules about it, in line {lines}, ask for another turn, tool or condition; add one"
    raise _failed(f"no rule of {simulation.document.file} answers {where}", hint)


def _text(said: Mapping[str, Any]) -> str:
    if "output" in said:
        return json.dumps(said["output"], ensure_ascii=False)
    value = said.get("say", "")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _calls(said: Mapping[str, Any], request: ModelRequest) -> tuple[ToolCall, ...]:
    offered = {plain_name(tool.name): tool.name for tool in request.tools}
    before = sum(message.role == "assistant" for message in request.messages)
    made: list[ToolCall] = []
    for at, row in enumerate(mapping(row) for row in items(said.get("call"))):
        tool, arguments = str(row["tool"]), mapping(row.get("with"))
        name = offered.get(plain_name(tool), tool)
        made.append(ToolCall(name, json.dumps(arguments, ensure_ascii=False), f"simulated_{before}_{at}"))
    return tuple(made)


def _deltas(reasoning: str, text: str, calls: Sequence[ToolCall]) -> list[Delta]:
    """An answer in words, as it would come."""
    deltas = [Delta("reasoning", word) for word in _WORDS.findall(reasoning)]
    deltas += [Delta("text", word) for word in _WORDS.findall(text)]
    for at, call in enumerate(calls):
        deltas.append(Delta("tool_name", call.name, at))
        deltas += [Delta("tool_args", word, at) for word in _WORDS.findall(call.arguments)]
    return deltas


def _failed(message: str, hint: str) -> ModelFailed:
    return ModelFailed(message, kind="answer", code="VALIDATION_ERROR", retryable=False, spent="nothing", hint=hint)
