"""What starts a workflow, as foreign files say it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from fleetprompt.engine.core.duration import MAX_DURATION, format_duration
from fleetprompt.engine.core.signal import MAX_PATTERN, PATTERN
from fleetprompt.engine.definition.importers._draft import EVERYTHING, Draft
from fleetprompt.engine.definition.importers._given import Given
from fleetprompt.engine.definition.importers._name import slug, workflow_name
from fleetprompt.engine.definition.importers._paths import chain
from fleetprompt.engine.definition.importers._terms import Name
from fleetprompt.engine.definition.problems import Pointer, ProblemCode
from fleetprompt.engine.definition.triggers import ScheduleTrigger

_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_STATUSES: Final = {
    "completed": "completed", "complete": "completed", "success": "completed", "succeeded": "completed",
    "failed": "failed", "failure": "failed", "error": "failed", "cancelled": "cancelled", "canceled": "cancelled",
    "timeout": "timeout", "timed_out": "timeout",
}  # fmt: skip


def add_trigger(draft: Draft, given: Given, kind: str, name: str, place: Pointer) -> None:
    """Add what starts the workflow. `place` is where the kind stands; `name` is the workflow's."""
    match kind.strip().lower().replace("-", "_"):
        case "manual" | "api" | "":
            _add(draft, {"type": "manual"})
        case "chat" | "message":
            _add(draft, {"type": "chat"})
        case "schedule" | "cron" | "scheduled":
            _schedule(draft, given, place)
        case "webhook":
            _webhook(draft, given, name, place)
        case "event" | "signal":
            _event(draft, given, place)
        case "agent_completion" | "completion" | "workflow_completion":
            _completion(draft, given, place)
        case other:
            hint = "manual, schedule, webhook, signal and completion start workflows"
            draft.report.lost(place, f"there is no trigger `{other[:40]}` here", hint, on="value")
            given.rest()
    given.leave("a trigger")


def _add(draft: Draft, trigger: dict[str, Any]) -> None:
    if trigger not in draft.triggers:
        draft.triggers.append(trigger)


def fill_in(draft: Draft) -> None:
    """Say where the inputs of runs come from that a trigger starts, now that it is known which are read."""
    for trigger in draft.triggers:
        inputs = _INPUTS[trigger["type"]](draft.inputs_at) if trigger["type"] in _INPUTS else {}
        if inputs:
            trigger["inputs"] = inputs
    unknown = ", ".join(f"`{theirs}`" for theirs in draft.inputs_at if theirs not in _OF_COMPLETIONS)
    for place in draft.completions if unknown else ():
        message = f"what has ended tells how, and not what came of it: {unknown.replace(EVERYTHING, 'input')}"
        draft.report.differs(place, message, "read it there, or have that workflow start this one with a step")


_OF_COMPLETIONS: Final = frozenset({"run", "workflow", "status", "error", "agent", "path", "key"})
"""What is told of the end of a run, or of an agent's work."""


def _of_message(at: Mapping[str, str]) -> dict[str, str]:
    # Others are given by their names.
    meant = {theirs: f"data.{member}" for theirs, member in _MESSAGE.items()}
    meant |= {theirs: _member("data", theirs) for theirs, ours in at.items() if theirs not in meant and theirs != ours}
    return {ours: f"${{{{ {meant[theirs]} }}}}" for theirs, ours in at.items() if theirs in meant}


def _of_request(at: Mapping[str, str]) -> dict[str, str]:
    whole = ("body", "payload")
    return {ours: f"${{{{ {'body' if theirs in whole else _member('body', theirs)} }}}}" for theirs, ours in at.items()}


def _of_event(at: Mapping[str, str]) -> dict[str, str]:
    if all(theirs == ours for theirs, ours in at.items()):
        return {}
    return {ours: f"${{{{ {_member('data', theirs)} }}}}" for theirs, ours in at.items()}


def _member(root: str, name: str) -> str:
    """What a trigger has of a name, or all that it has; null where it has none."""
    if name == EVERYTHING:
        return root if root == "body" else f"{root} | default({{}}, true)"
    return f"{chain(root, [Name(name)]).text} | default(none)"


_MESSAGE: Final = {"current_message": "message", "history": "history", "session_id": "session"}
_INPUTS: Final[dict[str, Callable[[Mapping[str, str]], dict[str, str]]]] = {
    "chat": _of_message, "webhook": _of_request, "signal": _of_event, "completion": _of_event,
}  # fmt: skip


def _schedule(draft: Draft, given: Given, place: Pointer) -> None:
    report = draft.report
    nested = given.body.get("schedule")
    inner = given.mapping("schedule") if isinstance(nested, dict) else given
    assert inner is not None
    mode = inner.text("mode").lower()
    if inner.flag("enabled") is False:
        hint = "write it under `triggers:` when it is to start runs"
        report.lost(inner.find("enabled").pointer, "the schedule is switched off: it is left out", hint)
        inner.rest()
        return
    trigger: dict[str, Any] = {"type": "schedule"}
    cron = inner.find("cron", "cron_expression", "expression", "schedule")
    every = inner.number("interval_seconds", "every_seconds", "interval")
    if cron:
        written = _cron(str(cron.value))
        if not written:
            report.lost(
                cron.pointer, "this is no cron expression here: the trigger is left out", "five fields", on="value"
            )
            inner.rest()
            return
        if written != str(cron.value).strip():
            report.differs(cron.pointer, f"the cron expression is written `{written}` here")
        trigger["cron"] = written
    elif every is not None and 1 <= every <= MAX_DURATION:
        trigger["every"] = format_duration(every)
    else:
        report.wrong(place, ProblemCode.MISSING_KEY, "a schedule needs `cron`, such as `0 9 * * 1-5`")
        return
    if mode and mode not in ("cron", "interval", "recurring"):
        report.lost(inner.find("mode").pointer, f"`mode: {mode[:40]}` has no counterpart here")
    zone = inner.find("timezone", "time_zone", "tz")
    if zone and _is_zone(str(zone.value)):
        trigger["timezone"] = str(zone.value)
    elif zone:
        report.lost(zone.pointer, "there is no such time zone: the schedule is read in UTC", on="value")
    jitter = inner.number("jitter_seconds", "jitter")
    if jitter is not None and 0 < jitter <= MAX_DURATION:
        trigger["jitter"] = format_duration(jitter)
    if inner is not given:
        inner.leave("a schedule")
    _add(draft, trigger)


def _cron(text: str) -> str:
    """A cron expression as it is written here; empty where there is none."""
    fields = text.split()
    if len(fields) == 6 and fields[0] == "0":
        fields = fields[1:]
    fields = ["*" if field == "?" else field for field in fields]
    written = " ".join(fields)
    try:
        ScheduleTrigger.model_validate({"type": "schedule", "cron": written})
    except ValueError:
        return ""
    return written


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _webhook(draft: Draft, given: Given, name: str, place: Pointer) -> None:
    found = given.find("webhook_path", "path", "endpoint", "url")
    path = given.text("webhook_path", "path", "endpoint", "url").strip("/")
    if not found:
        path = name
        draft.report.assumed(place, f"the webhook has no path: it is `{name}`")
    if not _PATH.fullmatch(path) or len(path) > 200:
        path = slug(path, "-", 200, "hook")
        draft.report.differs(found.pointer, f"the path of the webhook is `{path}` here")
    secret = given.find("secret", "webhook_secret", "signing_secret")
    trigger = {"type": "webhook", "path": path}
    if secret:
        reference = slug(name, "_", 60, "hook").upper() + "_WEBHOOK"
        trigger["secret"] = f"${{{{ secrets.{reference} }}}}"
        hint = f"set the secret {reference}"
        draft.report.differs(secret.pointer, "secrets do not stand in files here: this one is referred to", hint)
    _add(draft, trigger)


def _event(draft: Draft, given: Given, place: Pointer) -> None:
    found = given.find("event", "event_type", "event_name", "pattern", "match", "signal")
    theirs = given.text("event", "event_type", "event_name", "pattern", "match", "signal")
    if not theirs:
        draft.report.wrong(
            place, ProblemCode.MISSING_KEY, "the trigger does not name its event", "such as `event: order.placed`"
        )
        return
    pattern = theirs
    if not re.fullmatch(PATTERN, theirs) or len(theirs) > MAX_PATTERN:
        pattern = (
            ".".join(slug(word, "_", 60, "event") for word in re.split(r"[.:/\s]+", theirs)[:8] if word) or "event"
        )
        draft.report.differs(found.pointer, f"the event `{theirs[:60]}` is called `{pattern}` here")
    _add(draft, {"type": "signal", "match": pattern})


def _completion(draft: Draft, given: Given, place: Pointer) -> None:
    report = draft.report
    workflow = given.text("workflow", "workflow_name", "workflow_id")
    agent = given.text("agent", "agent_name", "agent_id")
    statuses: list[str] = []
    for each in given.items("status", "statuses", "on_status"):
        status = _STATUSES.get(str(each.value).lower())
        if status is None:
            report.lost(each.pointer, "there is no such status here: completed, failed, cancelled, timeout", on="value")
        elif status not in statuses:
            statuses.append(status)
    trigger: dict[str, Any] = {"type": "completion"}
    if workflow:
        trigger["workflow"] = workflow_name(workflow)
    elif agent:
        trigger["agent"] = slug(agent, "-", 64, "agent")
    else:
        report.wrong(place, ProblemCode.MISSING_KEY, "the trigger does not name what has to complete")
        return
    if statuses:
        trigger["status"] = statuses
    draft.completions.append(place)
    _add(draft, trigger)
