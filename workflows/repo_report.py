"""The report of repo-audit: what was found, as Markdown, with a score."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from repo_audit import LOCK_FILES, MAX_FILE_KB, kind_of
from report_file import write_report

Json = dict[str, Any]

COSTS = {"high": (20, 60), "medium": (5, 25), "low": (3, 15)}
"""Points that a finding costs, and the most that all findings of its severity cost together."""
MOST_REPOSITORIES = 20
"""So many repositories are remembered from one audit to the next."""
GRADES = {"A": 90, "B": 75, "C": 60, "D": 40, "F": 0}


def report(
    path: str,
    repo: Json,
    churn: Json | None = None,
    large_files: Json | None = None,
    secrets: Json | None = None,
    lockfiles: Json | None = None,
    audits: Json | None = None,
    now: str | None = None,
) -> Json:
    """Write the audit as Markdown, with a score out of 100; parts that are None were not audited.

    `audits` is what the audit before came to, of this repository or of another: the commit and the findings that were
    known, by repository. What was known is not new.
    """
    before = (audits or {}).get(repo["path"]) or {}
    leaks, large, locks = secrets or {}, large_files or {}, lockfiles or {}
    known = set(before.get("known") or [])
    findings = [{**one, "new": one["id"] not in known} for one in _findings(leaks, large, locks)]
    counts = Counter(one["severity"] for one in findings)
    score = 100 - sum(min(most, each * counts[severity]) for severity, (each, most) in COSTS.items())
    grade = next(letter for letter, least in GRADES.items() if score >= least)
    name, fresh = Path(repo["path"]).name, sum(one["new"] for one in findings)
    summary = f"{name}: grade {grade}, {score} of 100, {_count(len(findings), 'finding')}, {fresh} of them new."
    when = now or datetime.now(UTC).isoformat(timespec="seconds")
    text = [f"# Repository audit: {_md(name)}", "", f"**{_md(summary)}**", "", f"{_subject(repo)} Audited {_md(when)}."]
    locked = [{**one, **one["counts"]} for one in locks.get("files", [])]
    versions = [{"path": one["path"], **package} for one in locks.get("files", []) for package in one["changed"]]
    for title, words, part, rows, columns in (
        ("Secrets", _of_secrets, secrets, leaks.get("findings"), "severity rule path line masked fingerprint"),
        ("Changed lock files", _of_locks, lockfiles, locked, "path status added removed changed"),
        ("Changed versions", None, lockfiles, versions, "path name from to"),
        ("Churn", _of_churn, churn, (churn or {}).get("top"), "path commits added deleted authors last"),
        ("Large files", _of_files, large_files, large.get("tracked"), "path kb"),
        ("Large blobs in the history", _of_blobs, large_files, large.get("history"), "path kb object in_head"),
    ):
        text += ["", f"## {title}", ""]
        text += ["Not audited."] if part is None else [_md(words(part)), ""] if words else []
        text += [] if part is None else _table(rows or [], columns.split())
    answer = {"path": write_report(path, "\n".join([*text, ""])), "score": score, "grade": grade, "summary": summary}
    answer |= {"findings": findings, "new": fresh, "head": repo["head"], "lines": len(text)}
    others = [(path, one) for path, one in (audits or {}).items() if path != repo["path"]][-MOST_REPOSITORIES + 1 :]
    this = {"head": repo["head"], "known": [one["id"] for one in findings]}
    return {**answer, "audits": {**dict(others), repo["path"]: this}}


def _subject(repo: Json) -> str:
    """What was audited."""
    if repo["head"] is None:
        return "There are no commits yet."
    where = f"on branch {_md(repo['branch'])}" if repo["branch"] else "on no branch"
    text = f"Commit `{repo['head']}` {where}, "
    text += f"{_count(repo['commits'], 'commit')} by {_count(repo['authors'], 'author')}."
    if repo["shallow"]:
        text += " The clone is shallow: what came before is not seen, and its oldest commit seems to add every file."
    return text


def _of_secrets(part: Json) -> str:
    text = f"{_count(part['count'], 'secret')} in {_count(part['scanned'], 'file')} of the current commit."
    if part["count"] > len(part["findings"]):
        text += f" The first {len(part['findings'])} are listed."
    if part["skipped"]:
        text += f" Not searched: {part['skipped']} (binary, a link, or larger than {MAX_FILE_KB} KB)."
    return text + (f" Let through by a comment: {part['allowed']}." if part["allowed"] else "")


def _of_locks(part: Json) -> str:
    if not part["tracked"] and not part["changed"]:
        return "There are no lock files."
    text = f"{part['changed']} of {_count(part['tracked'], 'lock file')} changed since {part['since']}"
    text += f", {part['base'][:12]}." if part["base"] else "."
    return text + (" The commit of the last audit is not there any more." if part["base_gone"] else "")


def _of_churn(part: Json) -> str:
    authors, files = _count(part["authors"], "author"), _count(part["files"], "file")
    return f"{_count(part['commits'], 'commit')} by {authors} to {files}; looked back: {part['since']}."


def _of_files(part: Json) -> str:
    text = f"{_count(part['large_tracked'], 'file')} of {part['tracked_files']}, from {part['min_kb']:g} KB on;"
    return f"{text} all together have {part['tracked_kb']:,.0f} KB."


def _of_blobs(part: Json) -> str:
    blobs = _count(part["large_history"], "blob")
    return f"{blobs} from {part['min_kb']:g} KB on, on all branches; every clone has them."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _findings(leaks: Json, large: Json, locks: Json) -> Iterator[Json]:
    for one in leaks.get("findings", []):
        title = f"{one['rule']} in {one['path']}:{one['line']}"
        yield {"kind": "secret", "severity": one["severity"], "title": title, "id": one["fingerprint"]}
    for one in locks.get("files", []):
        if one["status"] == "removed":
            title = f"lock file {one['path']} was removed"
            yield {"kind": "lock", "severity": "medium", "title": title, "id": title}
    for one in large.get("tracked", []):
        if kind_of(one["path"]) not in LOCK_FILES:
            title = f"{one['path']} has {one['kb']:.0f} KB"
            yield {"kind": "size", "severity": "low", "title": title, "id": f"size of {one['path']}"}


def _table(rows: list[Json], columns: list[str]) -> list[str]:
    head = [f"| {' | '.join(columns).replace('_', ' ')} |", "|---" * len(columns) + "|"] if rows else ["None."]
    return head + [f"| {' | '.join(_md(row[name]) for name in columns)} |" for row in rows]


def _md(value: Any) -> str:
    """A value on one line that Markdown and terminals show as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(value)[:500])
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)
