"""The functions of incident-triage: on the demo's own fault, on ordinary logs, and on logs made to do harm."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflows"))

import incident_report
import incident_triage as triage

from fleetprompt.demo import service, shop
from fleetprompt.engine.steps.python import Permanent

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = NOW.isoformat()
TRACE = 'Traceback (most recent call last):\n  File "/srv/app/{file}", line {line}, in {function}\n    x()\n{end}\n'


def entry(minutes: float, message: str, kind: str = "", file: str = "app.py", **fields: Any) -> str:
    """A line of JSON that was logged `minutes` before now."""
    if kind:
        fields["exc_type"] = kind
        fields["traceback"] = TRACE.format(file=file, line=7, function="work", end=f"{kind}: {message}")
    return service.log_line(NOW - timedelta(minutes=minutes), fields.pop("level", "ERROR"), "app", message, **fields)


def clusters(tmp_path: Path, *lines: str | bytes, **options: Any) -> dict[str, Any]:
    log = tmp_path / "app.log"
    log.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
    found = triage.cluster_errors(str(log), now=AT, **options)
    assert json.loads(json.dumps(found)) == found
    assert found == triage.cluster_errors(str(log), now=AT, **options)
    return found


def test_same_error_with_other_particulars_is_one_cluster(tmp_path: Path) -> None:
    found = clusters(
        tmp_path,
        entry(30, "order 4711 of 'Ada' failed at 0xdeadbeef"),
        entry(20, "order 12 of 'Bruno' failed at 0x1"),
        entry(10, 'order 3 of "x" failed at 0x22'),
        entry(5, "order 3 was lost"),
        entry(5, "all is well", level="INFO"),
    )
    assert (found["total"], found["clusters"], found["new"]) == (4, 2, 2)
    first = found["top"][0]
    assert first["signature"] == "ERROR: order <n> of <str> failed at <n>"
    assert (first["count"], first["first"], first["last"]) == (
        3,
        "2026-03-01T11:30:00.000Z",
        "2026-03-01T11:50:00.000Z",
    )
    assert first["example"] == "order 4711 of 'Ada' failed at 0xdeadbeef"


def test_exception_and_place_tell_errors_apart(tmp_path: Path) -> None:
    found = clusters(
        tmp_path,
        entry(9, "no beans", "ValueError", "shop.py"),
        entry(8, "no beans", "ValueError", "till.py"),
        entry(7, "no beans", "KeyError", "till.py"),
    )
    assert [(one["exception"], one["frame"]) for one in found["top"]] == [
        ("ValueError", "shop.py:7 in work"),
        ("ValueError", "till.py:7 in work"),
        ("KeyError", "till.py:7 in work"),
    ]


def test_an_error_from_before_the_window_is_not_new(tmp_path: Path) -> None:
    found = clusters(
        tmp_path, entry(300, "disk 1 full"), entry(10, "disk 2 full"), entry(9, "fresh"), entry(-9, "future")
    )
    assert [(one["example"], one["new"]) for one in found["top"]] == [("disk 2 full", False), ("fresh", True)]
    assert (found["total"], found["new"]) == (2, 1)
    assert clusters(tmp_path, entry(300, "x"), since_minutes=600)["total"] == 1
    assert clusters(tmp_path, entry(1, "a"), entry(1, "b"), top=1)["clusters"] == 2


def test_plain_text_with_tracebacks(tmp_path: Path) -> None:
    """Frames belong to the line before them; a bare traceback is an error of its own, also after a harmless line."""
    bare = TRACE.format(file="b.py", line=3, function="go", end="shop.OutOfBeans: none of 250 left").rstrip()
    chained = (
        bare
        + "\n\nDuring handling of the above exception, another exception occurred:\n\n"
        + bare.replace("b.py", "c.py")
    )
    found = clusters(
        tmp_path,
        "2026-03-01T11:00:01Z ERROR [shop] order 7 failed",
        TRACE.format(file="a.py", line=9, function="pay", end="decimal.InvalidOperation"),
        "2026-03-01 11:59:00,123+00:00 INFO fine",
        bare,
        bare.replace("250", "1000"),
        "2026-03-01T11:59:30Z WARNING slow",
        chained,
        "2026-03-01T11:59:40Z ERROR last words",
    )
    assert [(one["exception"], one["frame"], one["count"]) for one in found["top"]] == [
        ("OutOfBeans", "b.py:3 in go", 2),
        ("InvalidOperation", "a.py:9 in pay", 1),
        ("OutOfBeans", "c.py:3 in go", 1),
        ("", "", 1),
    ]
    assert found["top"][0]["example"] == "shop.OutOfBeans: none of 250 left"
    assert found["top"][0]["first"] == "2026-03-01T11:59:00.123Z"


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff\xfe\x1b[2J" * 500,
        b'{"level": "ERROR", "message": "' + b"x" * 300_000 + b'"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"level": ["ERROR"], "message": {"a": 1}, "ts": {}, "exc": [1]}',
        b'{"level": 50, "msg": "\\ud800 \\u001b[31m", "time": 1e400}',
        b'{"level": "ERROR", "ts": "9999-12-31T23:59:59-23:59", "message": null}',
        b'{"level": "ERROR", "ts": ' + b"9" * 5000 + b"}",
        b"2026-99-99T99:99:99 ERROR impossible",
        b"ERROR " + b"'\"`" * 20_000,
        b"ERROR " + b"a" * 60_000 + b"@",
        b'  File "' * 10_000,
        b"\r\n\r\r" * 100,
    ],
    ids=range(13),
)
def test_hostile_lines_neither_crash_nor_pass_through(tmp_path: Path, line: bytes) -> None:
    found = clusters(tmp_path, line, entry(1, "real"), line, line)
    assert any(one["example"] == "real" for one in found["top"])
    text = json.dumps(found, ensure_ascii=False)
    assert len(text) < 10_000
    assert text.isprintable()


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage, "MAX_BYTES", 1000)
    found = clusters(tmp_path, *[entry(5, f"number {number}") for number in range(100)])
    assert found["truncated"]
    assert 0 < found["total"] < 12


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe"):
        with pytest.raises(Permanent, match=r"cannot be read|is not a file"):
            triage.cluster_errors(str(tmp_path / name))
    (tmp_path / "empty").touch()
    with pytest.raises(Permanent, match="ISO time"):
        triage.cluster_errors(str(tmp_path / "empty"), now="yesterday")


def test_order_health_counts_what_was_lost(tmp_path: Path) -> None:
    db = tmp_path / "a shop?#%.db"
    shop.create(db, now=NOW)
    orders = triage.order_health(str(db), minutes=360, now=AT)
    assert (orders["placed"], orders["failed"], orders["failure_rate"]) == (495, 5, 0.01)
    assert orders["revenue_lost"] > 0
    assert orders["causes"] == [{"error": "CardDeclined: the bank refused the payment", "count": 5}]
    assert triage.order_health(str(db), now=(NOW + timedelta(days=1)).isoformat())["failure_rate"] == 0.0


def test_order_health_refuses_what_is_no_shop(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one " * 50)
    for name in ("missing", "text"):
        with pytest.raises(Permanent, match=r"no database|cannot be read"):
            triage.order_health(str(tmp_path / name))
    assert not (tmp_path / "missing").exists()


OK = {"status": "ok", "pool": {}}
STUCK = {"status": "degraded", "reason": "connection pool exhausted: 5 of 5 connections in use and stuck"}
FOUND = {"action": "restart", "confidence": 0.9, "cause": "The pool is <empty>.", "evidence": ["5 x `PoolExhausted`"]}


def test_report_shows_everything_and_breaks_on_nothing(tmp_path: Path) -> None:
    db = tmp_path / "shop.db"
    shop.create(db, now=NOW)
    errors = clusters(tmp_path, entry(1, "evil | `code` <script>alert(1)</script>\n# heading", "ValueError"))
    orders = triage.order_health(str(db), minutes=360, now=AT)
    target = tmp_path / "out" / "incident.md"
    written = incident_report.report(
        path=str(target),
        errors=errors,
        health=STUCK,
        orders=orders,
        diagnosis=FOUND,
        approval={"decision": "approved", "by": ["ana", "bo"], "comment": "it *hurts*"},
        restart={"status": 200, "headers": {"server": "secret sauce"}, "body": {"pid": 7}},
        verification={"status": 200, "json": OK},
        run="r1",
        note="done *by hand*",
        mode="simulated",
        now=AT,
    )
    text = target.read_text()
    assert written["path"] == str(target)
    assert written["summary"] == "checkout was degraded; action: restart (done); afterwards: ok."
    assert written["lines"] == len(text.split("\n"))
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert [row.count(" | ") for row in text.splitlines() if row.startswith("| 1 |")] == [5]
    assert "5 of 500 orders failed" in text
    assert text.splitlines()[4] == "**SIMULATED: no model was asked for this diagnosis.**"
    assert r"Note: done \*by hand\*" in text
    assert r"The pool is \<empty\>." in text
    assert r"- 5 x \`PoolExhausted\`" in text
    assert r"- approval: approved by ana, bo: it \*hurts\*" in text
    assert '- restart: HTTP 200, `{"pid": 7}`' in text
    assert "sauce" not in text
    assert [path.name for path in target.parent.iterdir()] == ["incident.md"]


def test_report_of_a_run_that_did_nothing(tmp_path: Path) -> None:
    written = incident_report.report(path=str(tmp_path / "r.md"), now=AT)
    assert written["title"] == "Incident report: checkout, 2026-03-01 12:00 UTC"
    assert "SIMULATED" not in (tmp_path / "r.md").read_text()
    done = (tmp_path / "r.md").read_text().partition("## What was done")[2]
    assert done.splitlines()[2:5] == ["- approval: not asked for", "- restart: not done", "- verification: not done"]
