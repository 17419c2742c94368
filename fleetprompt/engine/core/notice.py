"""Notices: what of the journal people are told of who are not looking, and in which words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from fleetprompt.engine.core.evolve_work import OWN_CALL
from fleetprompt.engine.core.facts import AnyFact, ApprovalRequested, RunFinished, StepInDoubt, StepWaiting
from fleetprompt.engine.core.gate import whom
from fleetprompt.engine.core.inert import inert

NoticeKind = Literal["approval", "failed", "budget", "in_doubt", "stuck"]
KINDS: Final[tuple[NoticeKind, ...]] = get_args(NoticeKind)
MOST_SHOWN: Final = 10
"""Notices that one message tells word for word; the rest is counted."""
LONGEST: Final = 300
"""Characters of what somebody else has written."""
_ABOUT: Final[dict[str, NoticeKind]] = {"budget": "budget", "stuck": "stuck"}


class Notice(Struct, frozen=True, kw_only=True):
    """Something people are told."""

    kind: NoticeKind
    run: str
    workflow: str
    tenant: str
    at: float
    text: str
    """What has happened, in one line."""
    command: str
    """How it is answered, or looked at."""
    approval: str = ""
    link: str = ""


def notice_of(fact: AnyFact, run: str, workflow: str, tenant: str, *, child: bool) -> Notice | None:
    """The notice of a fact; None for one that nobody is told of. `child`: another run waits for this one, and tells
    what becomes of it."""
    of: dict[str, Any] = {"run": run, "workflow": workflow, "tenant": tenant, "at": fact.at}
    option = "" if tenant == "default" else f" --tenant {tenant}"
    show = f"fleet show {run}{option}"
    match fact:
        case ApprovalRequested():
            kind = _ABOUT.get(fact.about, "approval")
            asked = _line(fact.message) or f"step {fact.path} asks for a decision"
            who = whom(fact.approvers, fact.barred)
            by = f" (for {who})" if who else ""
            command = f"fleet approve {fact.id}{option}"
            return Notice(kind=kind, text=asked + by, command=command, approval=fact.id, **of)
        case RunFinished(status="failed" | "timeout") if not child:
            error = fact.error
            said = f"{error.code}: {_line(error.message)}" if error is not None else fact.status
            kind = "budget" if error is not None and error.code == "BUDGET_EXCEEDED" else "failed"
            return Notice(kind=kind, text=f"the run {_ENDED[fact.status]}: {said}", command=show, **of)
        case StepInDoubt():
            what = (
                f"a call of step {fact.path}"
                if fact.call and not fact.call.startswith(OWN_CALL)
                else f"step {fact.path}"
            )
            text = f"nobody knows whether {what} has happened: {_line(fact.reason)}"
            return Notice(kind="in_doubt", text=text, command=f"fleet resolve {run} {_word(fact.path)}{option}", **of)
        case StepWaiting(on="budget"):
            return Notice(kind="budget", text=f"step {fact.path} waits for budget", command=show, **of)
        case _:
            return None


_ENDED: Final = {"failed": "failed", "timeout": "ran out of time"}


_PLAIN: Final = re.compile(r"[\w.:/-]+")


def _word(path: str) -> str:
    """A path as a word of a command: shells take brackets for patterns."""
    return path if _PLAIN.fullmatch(path) else f"'{path}'"


def _line(text: str) -> str:
    """What others have written as one line that changes nothing about how it is shown."""
    words = " ".join(inert(text).split())
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def wanted(notice: Notice, kinds: Sequence[str], workflows: Sequence[str], tenant: str) -> bool:
    """Whether somebody wants to be told. An empty tenant: of all of them; no workflows: any."""
    if notice.kind not in kinds or (tenant and notice.tenant != tenant):
        return False
    return not workflows or any(fnmatchcase(notice.workflow, pattern) for pattern in workflows)


def linked(template: str, notice: Notice) -> str:
    """A link made for a notice; empty without a template."""
    for name, value in (("run", notice.run), ("approval", notice.approval), ("workflow", notice.workflow)):
        template = template.replace("{" + name + "}", value)
    return template


def message(notices: Sequence[Notice]) -> tuple[str, str]:
    """Title and text of a message that tells several at once."""
    if len(notices) == 1:
        title = f"{TITLES[notices[0].kind]}: {notices[0].workflow}"
    else:
        counts = {kind: sum(each.kind == kind for each in notices) for kind in KINDS}
        title = ", ".join(f"{number} × {TITLES[kind]}" for kind, number in counts.items() if number)
    lines = [line for each in notices[:MOST_SHOWN] for line in _told(each)]
    if len(notices) > MOST_SHOWN:
        lines.append(f"and {len(notices) - MOST_SHOWN} more: `fleet runs`, `fleet approvals`")
    return f"[fleet] {title}", "\n".join(lines)


TITLES: Final[Mapping[str, str]] = {
    "approval": "approval pending",
    "failed": "run failed",
    "budget": "budget reached",
    "in_doubt": "in doubt",
    "stuck": "stuck",
}


def _told(notice: Notice) -> list[str]:
    lines = [f"• {TITLES[notice.kind]}, {notice.workflow} (run {notice.run}): {notice.text}", f"  {notice.command}"]
    return [*lines, f"  {notice.link}"] if notice.link else lines
