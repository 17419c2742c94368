"""What incident-triage does without a model: read the log, ask the shop.

Every function is deterministic: the same files, arguments and `now` (an ISO time; the clock when left out) give the
same answer. Logs are hostile: reading is bounded, and what comes back is short, printable text.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from project_path import in_project

from fleetprompt.engine.steps.python import Permanent, StepContext

Json = dict[str, Any]

MAX_BYTES = 32 * 1024 * 1024
"""Of a larger log, only the end is read."""
MAX_LINE = 64 * 1024
"""What is longer than this is cut."""
MAX_TEXT = 300
ERROR_LEVELS = {"ERROR", "ERR", "CRITICAL", "CRIT", "FATAL", "SEVERE", "ALERT", "EMERG", "PANIC"}

STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\d*(?:Z|[+-]\d\d:?\d\d)?")
LEVEL = re.compile(r"\b(DEBUG|INFO|NOTICE|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL|SEVERE|ALERT|EMERG|PANIC)\b")
FRAME = re.compile(r'File "([^"\n]{1,400})", line (\d{1,9}), in ([^\n]{1,100})')
RAISED = re.compile(r"([A-Za-z_][\w.]{0,100}(?:Error|Exception|Timeout|Exhausted|Interrupt|Failed))(?:: |:?$)")
"""An exception's name at the start of a message."""
ENDS = re.compile(r"([A-Za-z_][\w.]{0,100})(?:: |:?$)")
"""The line that ends a traceback, where any name is an exception's."""
BEGINS = "Traceback (most recent call last)"
CHAINS = ("During handling of the above exception", "The above exception was the direct cause")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
PLACEHOLDERS = (
    (re.compile(r"'[^'\n]{0,200}'|\"[^\"\n]{0,200}\"|`[^`\n]{0,200}`"), "<str>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+"), "<email>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,64}\b"), "<n>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<addr>"),
    (re.compile(r"(?<![A-Za-z_<])\d+(?:[.,]\d+)*"), "<n>"),
)


@dataclass
class Entry:
    """One event of a log."""

    at: datetime | None
    level: str
    message: str
    exception: str = ""
    trace: str = ""

    @property
    def frame(self) -> str:
        """Where it was raised: the innermost frame of the last traceback, as `shop.py:120 in price`."""
        frames = FRAME.findall(self.trace)
        if not frames:
            return ""
        file, line, function = frames[-1]
        return clean(f"{file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{line} in {function}")

    @property
    def signature(self) -> str:
        """What makes two errors the same: exception, message without its particulars, file and function."""
        place = re.sub(r":\d+ in ", ":", self.frame)
        parts = (self.exception or self.level, normalise(self.message))
        return ": ".join(parts) + (f" @ {place}" if place else "")


def cluster_errors(
    path: str,
    since_minutes: float = 60,
    top: int = 5,
    now: str | None = None,
    context: StepContext | None = None,
) -> Json:
    """Cluster the errors of a log (JSON lines or plain text with tracebacks) within the last `since_minutes`.

    A cluster is `new` when the part of the log before the window does not have it. Lines without a time belong to the
    line before them. Times without a zone are local.
    """
    until = moment_of(now)
    since = until - timedelta(minutes=since_minutes)
    clusters: dict[str, Json] = {}
    known: set[str] = set()
    total = lines = 0
    data, truncated = _tail(in_project(path, context), path)
    for entry in entries(data):
        lines += 1
        if entry.level not in ERROR_LEVELS:
            continue
        signature = entry.signature
        if entry.at and entry.at < since:
            known.add(signature)
            continue
        if entry.at and entry.at > until:
            continue
        total += 1
        seen = entry.at and iso(entry.at)
        about = {"id": hashlib.sha256(signature.encode()).hexdigest()[:12], "signature": signature, "count": 0}
        about |= {"first": seen, "last": seen, "level": entry.level, "exception": entry.exception}
        about |= {"frame": entry.frame, "example": clean(entry.message)}
        cluster = clusters.setdefault(signature, about)
        cluster["count"] += 1
        if seen:
            cluster["first"] = min(cluster["first"] or seen, seen)
            cluster["last"] = max(cluster["last"] or seen, seen)
    for signature, cluster in clusters.items():
        cluster["new"] = signature not in known
    ranked = sorted(clusters.values(), key=lambda one: (-one["count"], one["first"] or "", one["signature"]))
    return {
        "total": total,
        "window": {"from": iso(since), "to": iso(until), "minutes": since_minutes},
        "top": ranked[: max(0, top)],
        "clusters": len(ranked),
        "new": sum(cluster["new"] for cluster in ranked),
        "entries": lines,
        "truncated": truncated,
    }


def order_health(db: str, minutes: float = 15, now: str | None = None, context: StepContext | None = None) -> Json:
    """What the shop's database (opened read-only) says of the last `minutes`, with the revenue that was lost."""
    until = moment_of(now)
    window = (iso(until - timedelta(minutes=minutes)), iso(until))
    path = in_project(db, context)
    if not path.is_file():
        raise Permanent(f"there is no database {db}")
    where = "FROM orders WHERE created_at BETWEEN ? AND ?"
    sums = "coalesce(sum(status = 'placed'), 0), coalesce(sum(status = 'failed'), 0)"
    sums += ", coalesce(sum(CASE status WHEN 'failed' THEN amount_cents END), 0)"
    causes_sql = f"SELECT error, count(*) {where} AND status = 'failed' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as shop:
            placed, failed, lost = shop.execute(f"SELECT {sums} {where}", window).fetchone()
            causes = shop.execute(causes_sql, window).fetchall()
    except sqlite3.Error as error:
        raise Permanent(f"{db} cannot be read as the shop's database: {error}") from None
    total = placed + failed
    return {
        "window": {"from": window[0], "to": window[1], "minutes": minutes},
        "placed": placed,
        "failed": failed,
        "failure_rate": round(failed / total, 4) if total else 0.0,
        "revenue_lost": round(lost / 100, 2),
        "causes": [{"error": clean(str(error or "unknown")), "count": count} for error, count in causes],
    }


def entries(data: bytes) -> Iterator[Entry]:
    """The events of a log. An indented line, a traceback and the exception that ends it belong to the event before."""
    current: Entry | None = None
    last: datetime | None = None
    for raw in io.BytesIO(data):
        line = raw[:MAX_LINE].decode("utf-8", "replace").rstrip()
        if not line.strip():
            continue
        entry = _from_json(line, last) if line.startswith("{") else None
        if entry is None and current is not None and _continues(line, current):
            _extend(current, line)
            continue
        if current is not None:
            yield current
        current = entry or _from_text(line, last)
        last = current.at or last
    if current is not None:
        yield current


def normalise(message: str) -> str:
    """The message without what differs from one event to the next: quoted values, ids, hex, addresses, numbers."""
    text = clean(message.split("\n", 1)[0])
    for pattern, placeholder in PLACEHOLDERS:
        text = pattern.sub(placeholder, text)
    return text


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Short and printable: no control characters, which could act on the terminal that shows them."""
    text = UNPRINTABLE.sub("�", text[: limit * 2])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _continues(line: str, current: Entry) -> bool:
    before = current.trace.rpartition("\n")[2]
    if line.startswith(BEGINS):
        return current.level in ERROR_LEVELS and (not before or before.startswith(CHAINS))
    if line.startswith(CHAINS):
        return bool(before)
    return line.startswith((" ", "\t")) or (before.startswith((" ", "\t")) and ENDS.match(line) is not None)


def _extend(current: Entry, line: str) -> None:
    if not line.startswith((" ", "\t", BEGINS, *CHAINS)):
        current.exception = _name(line)
        current.message = line if current.message.startswith(BEGINS) else current.message
    if len(current.trace) < MAX_LINE:
        current.trace += "\n" + line[:2000]


def _name(raised: str) -> str:
    """The exception's name without its module, in `shop.OutOfStock: no beans`."""
    found = ENDS.match(raised)
    return clean(found[1].rsplit(".", 1)[-1], 100) if found else ""


def _from_json(line: str, last: datetime | None) -> Entry | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    raised = fields.get("exc") or fields.get("exception") or fields.get("error") or {}
    raised = raised if isinstance(raised, dict) else {"type": raised}
    trace = _first(fields, "traceback", "exc_info", "stack_trace", "stack") or _first(raised, "traceback", "stack")
    kind = _first(fields, "exc_type", "error_type", "error.type") or _first(raised, "type", "name")
    kind = _name(kind) or _name(trace.rstrip().rpartition("\n")[2])
    level = _first(fields, "level", "levelname", "severity", "log.level").upper()
    level = {"50": "ERROR", "60": "FATAL"}.get(level, level) or ("ERROR" if trace else "INFO")
    message = _first(fields, "message", "msg", "event") or line
    at = _parse(_first(fields, "ts", "timestamp", "time", "@timestamp")) or last
    return Entry(at, clean(level, 20), message[:MAX_LINE], kind, trace[:MAX_LINE])


def _from_text(line: str, last: datetime | None) -> Entry:
    stamp = STAMP.search(line, 0, 80)
    rest = line[stamp.end() :] if stamp else line
    level = LEVEL.search(rest, 0, 120)
    message = (rest[level.end() :] if level else rest).lstrip(" :-[]|")
    trace = line if line.startswith(BEGINS) else ""
    raised = RAISED.match(message)
    name = level[1] if level else "ERROR" if trace or (raised and not stamp) else "INFO"
    return Entry(_parse(stamp[0]) if stamp else last, name, message, _name(message) if raised else "", trace)


def _first(fields: Json, *names: str) -> str:
    """The first of these fields that is text or a number."""
    return next((str(fields[name]) for name in names if isinstance(fields.get(name), str | int | float)), "")


def _parse(text: str) -> datetime | None:
    try:
        if re.fullmatch(r"\d{9,13}(\.\d+)?", text):
            return datetime.fromtimestamp(float(text) / (1000 if len(text.split(".")[0]) > 11 else 1), UTC)
        return datetime.fromisoformat(text.replace(",", ".")).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def moment_of(now: str | None) -> datetime:
    if now is None:
        return datetime.now(UTC)
    if (moment := _parse(now)) is None:
        raise Permanent(f"now must be an ISO time, not {now!r}")
    return moment


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tail(path: Path, named: str) -> tuple[bytes, bool]:
    """The end of the log, from the start of a line, and whether something before it was left out."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Permanent(f"{named} is not a file")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_BYTES))
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise Permanent(f"the log {named} cannot be read: {(error.strerror or '').lower()}") from None
    return (data, False) if size <= MAX_BYTES else (data.partition(b"\n")[2] or data, True)


def state_of(health: Any) -> tuple[str, str]:
    """State and reason in a health answer, which may be wrapped in the output of an HTTP step."""
    answer: Any = health
    if isinstance(health, dict):
        answer = next((health[name] for name in ("json", "body", "data") if health.get(name)), health)
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except (ValueError, RecursionError):
            answer = {}
    if not isinstance(answer, dict) or not answer:
        return "unreachable", ""
    state = answer.get("status")
    if not isinstance(state, str):
        code = state if isinstance(state, int) else 0
        state = "ok" if 200 <= code < 300 else "degraded" if code else "unreachable"
    state = "ok" if state in ("up", "pass", "healthy") else state
    return clean(state, 40), clean(str(answer.get("reason") or ""))
