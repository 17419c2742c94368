"""What the rows of an agent's work say, and the values behind them. PURE."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from fleetprompt.client.values import preview
from fleetprompt.client.wording import count, decided_by, sign
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.state.agent_work import SETTLED, Entry, entries, told_arguments
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.run_values import Held
from fleetprompt.tui.state.tree_index import Track

WORDS = 160
"""Characters of an answer or of a result that are told on a line."""
_ASIDE = frozenset({"reserve", "settle", "action", "decision"})
"""What notes hold for whoever counts, and rows tell in other words."""
_ANSWER = frozenset({"text", "reasoning", "calls", "output"})
_SAID = {
    "task_delegation": "asks",
    "question": "asks",
    "result": "answers",
    "error_notification": "fails",
    "collaboration_request": "asks for help",
    "status_update": "tells",
    "resource_request": "asks for",
}


class Told(Struct, frozen=True):
    """An entry in words. They come from models, tools and people: whoever draws them makes them inert."""

    name: str
    given: str = ""
    """What a call was given; the first words of an answer."""
    by: str = ""
    """Which model said it, or who allowed it."""
    detail: str = ""


def told(entry: Entry) -> Told:
    """What a row says of an entry."""
    match entry.what:
        case "turn":
            return _turn(entry)
        case "call":
            return _call(entry)
        case "agent":
            goal = str(entry.value("session").get("goal", ""))
            turns = sum(each.what == "turn" for each in entry.inside)
            return Told(f"agent {entry.name}", by=count(turns, "turn"), detail=preview(goal, WORDS))
        case "said":
            return _said(entry)


def _number(entry: Entry) -> int:
    return int(entry.key.rpartition("/")[2]) + 1


def _turn(entry: Entry) -> Told:
    note = entry.note("llm.completed", "image.completed", "embedding.completed")
    name = f"{entry.name} {_number(entry)}"
    if note is None:
        failed = entry.value("llm.failed", "image.failed", "embedding.failed")
        said = f"{count(entry.failures, 'request')} failed: {failed.get('message', '')}" if failed else ""
        return Told(name, by=entry.model, detail=said)
    value = mapping(note.value)
    asked = [str(mapping(call).get("name", "")) for call in items(value.get("calls"))]
    said = preview(str(value.get("text") or ""), WORDS)
    if note.blob is not None and not said:
        said = f"{note.blob.size:,} bytes"
    calls = f"{sign('→')} {', '.join(asked)}" if asked else ""
    again = f"after {count(entry.failures, 'failure')}" if entry.failures else ""
    return Told(name, said, by=entry.model, detail="  ".join(part for part in (again, calls) if part))


def _call(entry: Entry) -> Told:
    started, proposed = entry.value("tool.started"), entry.value("tool.proposed")
    arguments = started.get("arguments", proposed.get("arguments"))
    return Told(entry.name or "call", told_arguments(arguments), allowed(entry), _result(entry))


def allowed(entry: Entry) -> str:
    """Who or what has decided about a call."""
    decided, proposed = entry.decided, entry.value("tool.proposed")
    if decided is not None:
        # Who has let it through is told by name alone; whoever has not, by what was decided.
        who = decided_by(decided.by, decided.reason)
        return who.strip() if decided.decision == "approved" and who else f"{decided.decision}{who}"
    if entry.asked is not None:
        return "asks"
    match proposed.get("verdict"):
        case "allow":
            return "by grant" if str(proposed.get("rule", "")).startswith("grant ") else "by rule"
        case "deny":
            return "denied"
        case _:
            return "by approval" if entry.value("tool.started").get("approval") else ""


def changed(entry: Entry) -> dict[str, Any]:
    """The arguments of a call that whoever approved it has changed, whatever came of it then."""
    if entry.what != "call" or entry.decided is None:
        return {}
    first = next((fact for fact in entry.facts if fact.kind == "tool.proposed"), None)
    before = mapping(mapping(first.value).get("arguments")) if first is not None else {}
    given = entry.decided.values.items()
    return {name: value for name, value in given if value is not None and before.get(name) != value}


def _result(entry: Entry) -> str:
    if entry.asked is not None and entry.decided is None:
        return preview(entry.asked.message, WORDS)
    note = entry.note(*SETTLED)
    if note is None:
        return str(entry.value("tool.proposed").get("problem", ""))
    value = mapping(note.value)
    error = mapping(value.get("error"))
    if error:
        # Which of the four answers was given stands in the decision, and only its reason in the error.
        skipped = mapping(value.get("decision")).get("chosen") == "skip"
        return f"{'skipped: ' if skipped else ''}{error.get('code', '')}: {error.get('message', '')}"
    if note.blob is not None:
        return f"{note.blob.size:,} bytes"
    output = value.get("output", value.get("reason"))
    return "" if output is None else preview(output, WORDS)


def _said(entry: Entry) -> Told:
    asked, decided = entry.asked, entry.decided
    if asked is not None:
        by = f"{decided.decision}{decided_by(decided.by, decided.reason)}" if decided is not None else "asks"
        comment = f"  {decided.comment}" if decided is not None and decided.comment else ""
        return Told(entry.name, by=by, detail=preview(asked.message, WORDS) + comment)
    value = mapping(entry.facts[-1].value) if entry.facts else {}
    match entry.name:
        case "communication":
            who = f"{value.get('from', '')} {sign('→')} {value.get('to', '')}"
            kind = str(value.get("type", ""))
            return Told(who, by=_SAID.get(kind, kind), detail=preview(value.get("content") or "", WORDS))
        case "remark":
            return Told("told", by=str(value.get("why", "")), detail=preview(value.get("text") or "", WORDS))
        case "grant":
            who = ", ".join(map(str, items(value.get("by"))))
            said = f"{value.get('tool', '')} {told_arguments(value.get('subject'))}"
            return Told("granted", by=f"by {who}", detail=f"for this {value.get('scope', '')}: {said}")
        case _:
            who = ", ".join(map(str, items(value.get("by"))))
            return Told(entry.name, by=f"by {who}" if who else "", detail=preview(value.get("changes") or "", WORDS))


def doings(track: Track) -> list[tuple[Part, ...]]:
    """What the agents of a step are doing now, a line for each: calls, requests that nothing has come of yet."""
    if track.works is None or not (found := track.works.found()):
        return []
    doing: list[tuple[Part, ...]] = []
    for entry in entries(found[-1].root):
        if entry.what in ("turn", "call") and entry.began and not entry.settled and not entry.inside:
            said = told(entry)
            about = said.given if entry.what == "call" else f"is asked {entry.model}"
            doing.append(((f"{sign('●')} ", "running"), (inert(said.name), "accent"), (f" {inert(about)}", "dim")))
    return doing or [((sign("…"), "dim"),)]


# ---------------------------------------------------------------- values


def entry_values(entry: Entry) -> list[Held]:
    """What there is to see of an entry: what came of it before how it was asked for."""
    match entry.what:
        case "turn":
            return _turn_values(entry)
        case "call":
            return _call_values(entry)
        case _:
            found = [Held(fact.kind, _without_aside(fact), fact.blob) for fact in entry.facts]
            return [*found, *_decision(entry)]


def _turn_values(entry: Entry) -> list[Held]:
    answers: list[Held] = []
    requests: list[Held] = []
    for fact in entry.facts:
        value = _without_aside(fact)
        event = fact.kind.rpartition(".")[2]
        if event == "started":
            requests.append(Held("request", value, fact.blob))
        elif event == "failed":
            requests.append(Held("failed", value, fact.blob))
        elif fact.blob is not None:
            answers.append(Held("answer", value, fact.blob))
        else:
            calls = [_as_called(mapping(call)) for call in items(value.get("calls"))]
            said = {"answer": value.get("text") or value.get("output"), "calls": calls}
            said["reasoning"] = value.get("reasoning")
            answers += [Held(name, each) for name, each in said.items() if each]
            answers.append(Held("used", {key: each for key, each in value.items() if key not in _ANSWER}))
    return [*answers, *requests]


def _as_called(call: dict[str, Any]) -> dict[str, Any]:
    """A call as it can be read: its arguments as a value, where they are one."""
    try:
        return call | {"arguments": msgspec.json.decode(str(call.get("arguments", "")))}
    except msgspec.DecodeError:
        return call


def _call_values(entry: Entry) -> list[Held]:
    found: list[Held] = []
    started, proposed = entry.note("tool.started"), entry.note("tool.proposed")
    made = started or proposed
    if made is not None:
        value = mapping(made.value)
        found.append(Held("arguments", value.get("arguments"), made.blob if "arguments" not in value else None))
    for fact in entry.facts:
        if fact.kind == "child.finished":
            found.append(Held("run", _without_aside(fact), fact.blob))
        elif fact.kind in SETTLED:
            value = _without_aside(fact)
            name = "error" if value.get("error") else "result"
            found.append(Held(name, value.get("error") or value.get("output", value.get("reason")), fact.blob))
    found += _decision(entry)
    if proposed is not None:
        value = {key: each for key, each in _without_aside(proposed).items() if key not in ("arguments", "preview")}
        preview = mapping(mapping(proposed.value).get("preview"))
        if preview.get("show") is not None:
            found.append(Held(f"shown: {preview.get('kind', 'json')}", preview["show"]))
        if preview.get("bound") is not None:
            value["bound"] = preview["bound"]
        found.append(Held("allowed", value))
    return found


def _decision(entry: Entry) -> list[Held]:
    asked, decided = entry.asked, entry.decided
    if asked is None:
        return []
    told: dict[str, Any] = {"id": asked.id, "digest": asked.digest, "message": asked.message}
    if decided is not None:
        said = msgspec.to_builtins(decided)
        told |= {key: said[key] for key in ("decision", "by", "reason", "comment", "values", "grant") if said.get(key)}
    return [Held("approval", told)]


def _without_aside(fact: StepNoted) -> dict[str, Any]:
    value = mapping(fact.value)
    return {key: each for key, each in value.items() if key not in _ASIDE}
