"""Structured logs: one JSON object a line, for whatever collects them. They say who, where and how it ended, and never
what was given to a step or came out of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, TextIO

import msgspec

from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalDecided,
    ApprovalRequested,
    BudgetRaised,
    RunCancelRequested,
    RunCreated,
    RunFinished,
    RunPaused,
    RunResumed,
    StepFailed,
    StepInDoubt,
    StepResolved,
)
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Store
from fleetprompt.engine.telemetry.observing import new_facts

LOGGERS: Final = ("fleetprompt", "asyncio", "uvicorn")
"""Those that are heard from `info` on; others, which are libraries, from `warning` on."""
FIELDS: Final = "fleet"
"""Attribute of a log record that holds fields of ours."""
_facts = logging.getLogger("fleetprompt.runs")
_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    """A record as one line of JSON: `time`, `level`, `logger`, `message`, and what it is about."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self.redact = redact
        """Applied to the finished line: whatever found its way into it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self.redact(_encode(line).decode())


class RunLog:
    """Logs what happens to runs: those who look for a run in their logs find it there."""

    traces: ClassVar[bool] = False

    async def begin(self, store: Store) -> None:
        """See `Observer`: nothing is needed."""

    def committed(self, run: Run, entry: Append) -> None:
        """See `Observer`."""
        if not _facts.isEnabledFor(logging.INFO):
            return
        head = entry.head
        about = {"run": entry.run, "workflow": head.workflow, "tenant": entry.tenant}
        about |= {"correlation": head.correlation} if head.correlation else {}
        for fact in new_facts(entry):
            told = _told(fact)
            if told is not None:
                level, message, more = told
                fields = about | {"fact": type(fact).__name__} | {name: value for name, value in more.items() if value}
                _facts.log(level, message, extra={FIELDS: fields})


def _told(fact: AnyFact) -> tuple[int, str, dict[str, Any]] | None:
    """The level, the message and the fields of a fact; None for one that is only seen in the journal."""
    match fact:
        case RunCreated():
            more = {"owner": fact.owner, "parent": fact.parent, "retry_of": fact.retry_of, "session": fact.session}
            return logging.INFO, "run created", more
        case RunFinished():
            level = logging.INFO if fact.status in ("completed", "cancelled") else logging.ERROR
            return level, f"run {fact.status}", {"status": fact.status} | _error(fact.error)
        case RunPaused() | RunResumed():
            what = "paused" if isinstance(fact, RunPaused) else "resumed"
            return logging.INFO, f"run {what}", {"by": fact.by}
        case RunCancelRequested():
            return logging.INFO, "run is to end", {"by": fact.by, "reason": fact.reason, "status": fact.status}
        case StepFailed():
            more = {"step": fact.path, "attempt": fact.attempt, "retry_at": fact.retry_at} | _error(fact.error)
            return logging.WARNING, "step failed", more
        case StepInDoubt():
            more = {"step": fact.path, "attempt": fact.attempt, "call": fact.call, "reason": fact.reason}
            return logging.WARNING, "step in doubt", more
        case StepResolved():
            return logging.INFO, "step resolved", {"step": fact.path, "by": fact.by, "answer": fact.answer}
        case ApprovalRequested():
            return logging.INFO, "approval requested", {"step": fact.path, "approval": fact.id, "about": fact.about}
        case ApprovalDecided():
            more = {"step": fact.path, "approval": fact.id, "decision": fact.decision, "by": ", ".join(fact.by)}
            return logging.INFO, f"approval {fact.decision}", more
        case BudgetRaised():
            return logging.INFO, "budget raised", {"scope": fact.scope, "limit": fact.limit, "by": fact.by}
        case _:
            return None


def _error(error: Failure | None) -> dict[str, Any]:
    return {"code": error.code, "error": error.message} if error is not None else {}


@contextmanager
def json_lines(stream: TextIO | None = None, redact: Callable[[str], str] = str) -> Generator[JsonLines]:
    """While this lasts, all that is logged goes to a stream (standard error) as lines of JSON, whoever logs it: what
    libraries say would stand there as text otherwise."""
    lines = JsonLines(redact)
    ours, others = _to(stream or sys.stderr, lines), _to(stream or sys.stderr, lines)
    # Ours need not reach the root, and must not come twice where they do.
    others.addFilter(lambda record: record.name.partition(".")[0] not in LOGGERS)
    root = logging.getLogger()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    root.addHandler(others)
    logging.captureWarnings(True)
    for logger in loggers:
        logger.addHandler(ours)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(others)
        logging.captureWarnings(False)
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(ours)
            logger.setLevel(level)


def _to(stream: TextIO, lines: JsonLines) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(lines)
    return handler
