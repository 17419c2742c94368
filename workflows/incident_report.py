"""The report of incident-triage, as Markdown: what was found, what it cost, and what was done about it."""

from __future__ import annotations

import json
import re
from typing import Any

from incident_triage import Json, clean, iso, moment_of, state_of
from report_file import write_report

from fleetprompt.engine.steps.python import StepContext


def report(
    path: str,
    service: str = "checkout",
    errors: Json | None = None,
    health: Json | None = None,
    orders: Json | None = None,
    diagnosis: Json | None = None,
    approval: Any = None,
    rejection: str | None = None,
    restart: Any = None,
    verification: Any = None,
    run: str = "",
    note: str = "",
    mode: str = "",
    now: str | None = None,
    context: StepContext | None = None,
) -> Json:
    """Write the incident report as Markdown; whatever is None was not done, and the report says so. `mode`: how
    models answered, such as `simulated`."""
    found, state = diagnosis or {}, state_of(health)
    action, when = str(found.get("action") or "none"), iso(moment_of(now))
    title = f"Incident report: {service}, {when[:16].replace('T', ' ')} UTC"
    after = state_of(verification)[0] if verification is not None else "not checked"
    summary = f"{service} was {state[0]}; action: {action}"
    summary += f" ({'done' if restart else 'not done'}); afterwards: {after}." if action == "restart" else "."
    text = [f"# {_md(title)}", "", f"**{_md(summary)}**", ""]
    text += (
        [f"**{_md(mode.upper())}: no model was asked for this diagnosis.**", ""]
        if mode in ("simulated", "replay")
        else []
    )
    text += [f"Note: {_md(note)}", ""] if note else []
    text += ["## Diagnosis", "", _md(found.get("cause") or "No diagnosis was made."), ""]
    if found:
        text += [f"Confidence: {_md(found.get('confidence', 'unknown'))}.", ""]
        text += [*(f"- {_md(line)}" for line in found.get("evidence") or []), ""]
    text += ["## What happened to customers", ""]
    if orders:
        text += [f"{orders['failed']} of {orders['placed'] + orders['failed']} orders failed between"]
        text[-1] += f" {orders['window']['from']} and {orders['window']['to']}: {orders['revenue_lost']:.2f} lost."
        text += ["", *(f"- {one['count']} x {_md(one['error'])}" for one in orders.get("causes") or []), ""]
    else:
        text += ["The orders were not looked at.", ""]
    text += ["## Errors", ""]
    if errors and errors.get("top"):
        text += [f"{errors['total']} errors in {errors['clusters']} clusters, {errors['new']} of them new.", ""]
        text += ["| count | new | first | last | where | error |", "|---:|---|---|---|---|---|"]
        text += [
            f"| {one['count']} | {'yes' if one['new'] else 'no'} | {one['first'] or ''} | {one['last'] or ''} "
            f"| {_md(one['frame'])} | {_md(one['signature'])} |"
            for one in errors["top"]
        ]
    else:
        text += ["No errors in the window."]
    text += ["", "## What was done", ""]
    text += [f"- approval: {_md(rejection) if rejection else _approval(approval)}"]
    text += [f"- {name}: {_answer(value)}" for name, value in (("restart", restart), ("verification", verification))]
    text += ["", f"Written by run `{_code(run)}`." if run else "Written by hand.", ""]
    written = write_report(path, "\n".join(text), context)
    return {"path": written, "title": title, "lines": len(text), "summary": summary}


def _approval(output: Any) -> str:
    """Who decided what, and why."""
    if not isinstance(output, dict):
        return "not asked for"
    people = ", ".join(str(person) for person in output.get("by") or []) or "nobody"
    why = output.get("comment") or output.get("reason")
    return _md(f"{output.get('decision')} by {people}" + (f": {why}" if why else ""))


def _answer(output: Any) -> str:
    """What an HTTP step came back with, without what only machines read."""
    if not isinstance(output, dict):
        return "not done"
    body = next((output[name] for name in ("json", "body", "data") if output.get(name)), None)
    return f"HTTP {_md(output.get('status'))}" + (f", `{_code(body)}`" if body is not None else "")


def _md(text: Any) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", clean(str(text), 1000).replace("\n", " "))


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return clean(text, 600).replace("`", "'").replace("\n", " ")
