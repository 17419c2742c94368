"""What repo-audit does without a model: churn, large files, leaked secrets and changed dependencies of a repository.

Nothing is read from the working tree, only from commits. A secret that is found leaves this file only masked and as a
fingerprint.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import repo_git as git

Json = dict[str, Any]

WINDOW = 50
"""So many commits are looked at when there was no audit before."""
MOST = 100
"""No list in an answer is longer; the counts beside it are complete."""

ALLOWED = b"fleet:allow-secret"
COSTS = {"high": (20, 60), "medium": (5, 25), "low": (3, 15)}
"""Points that a finding costs, and the most that all findings of its severity cost together."""
GRADES = {"A": 90, "B": 75, "C": 60, "D": 40, "F": 0}
MAX_LOCK = 32 * 1024 * 1024
KEYWORDS = (b"password", b"passwd", b"secret", b"token", b"key", b"credential")
ASSIGNMENT = (
    rb"(?i:passw(?:or)?d|secret|token|(?:api|access|private|auth)[_-]?key|credential)s?[\w.-]{0,20}[\"']?"
    rb"(?::[ ]?(?:str|string|bytes))?[ ]{0,3}(?:=>|:=|=|:)[ ]{0,3}"
    rb"(?:\"([^\"\s]{16,200})\"|'([^'\s]{16,200})'|([\w+/=-]{16,200})[ \t\r]*$)"
)
SLACK = rb"\b(xox[abeoprs]-[A-Za-z0-9-]{10,250})|hooks\.slack\.com/services/([\w/-]{20,100})"
PRIVATE_KEY = (
    rb"-----BEGIN (?:[A-Z]{2,10} ){0,3}PRIVATE KEY[A-Z ]{0,6}-----\s*"
    rb"(?:[A-Za-z-]{3,20}: [^\n]{1,100}\s+){0,5}([\w+/=\s\\]{20,8192})"
)
RULES = (
    ("private-key", "high", (b"PRIVATE KEY",), PRIVATE_KEY),
    ("aws-access-key", "high", (b"AKIA", b"ASIA"), rb"\b((?:AKIA|ASIA)[A-Z0-9]{16})\b"),
    ("github-token", "high", (b"gh",), rb"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{60,255})\b"),
    ("gitlab-token", "high", (b"glpat-",), rb"\b(glpat-[\w-]{20,100})"),
    ("slack-token", "high", (b"xox", b"hooks.slack.com"), SLACK),
    ("stripe-key", "high", (b"k_live_",), rb"\b([rs]k_live_[A-Za-z0-9]{16,200})"),
    ("google-key", "high", (b"AIza",), rb"\b(AIza[\w-]{35})"),
    ("model-key", "high", (b"sk-ant-", b"sk-proj-"), rb"\b(sk-(?:ant|proj)-[\w-]{20,250})"),
    ("package-token", "high", (b"npm_", b"pypi-"), rb"\b(npm_[A-Za-z0-9]{36}|pypi-AgEI[\w-]{50,250})"),
    ("jwt", "high", (b"eyJ",), rb"\b(eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,2000})"),
    ("url-password", "medium", (b"://",), rb"\b[a-z][a-z0-9+]{1,20}://[^\s:@/'\"]{1,100}:([^\s:@/'\"]{6,200})@[\w.-]"),
    ("assignment", "medium", KEYWORDS, ASSIGNMENT),
)
"""Rule, severity, words of which a file must have one to be searched, and the pattern with the secret in a group."""
PATTERNS = {rule: re.compile(pattern, re.MULTILINE) for rule, _, _, pattern in RULES}
PRETEND = re.compile(rb"(?i:example|changeme|placeholder|dummy|redacted|your[_-]|xxxx)|\*\*\*|\$\{|[{<>()]|://|^[./$%]")


def inspect(repo: str = ".") -> Json:
    """What repository this is; ValueError with a clear message when it is none."""
    root = git.root_of(repo)
    head = git.head_of(root)
    bare, shallow = git.run(root, "rev-parse", "--is-bare-repository", "--is-shallow-repository").split()
    branch = git.ask(root, "symbolic-ref", "--short", "-q", "HEAD")
    about: Json = {"path": git.path(os.fsencode(root)), "head": head, "branch": git.text(branch) if branch else None}
    about |= {"bare": bare == b"true", "shallow": shallow == b"true"}
    if head is None:
        return {**about, "commits": 0, "authors": 0, "last": None}
    authors = set(git.run(root, "log", "--format=%aE", head, "--").split(b"\n")) - {b""}
    commits = int(git.run(root, "rev-list", "--count", head, "--"))
    return {**about, "commits": commits, "authors": len(authors), "last": git.commits(root, "-n1", head, "--")[0]}


def churn(repo: str = ".", since: str = "90 days", top: int = 15) -> Json:
    """The files that change most: commits, lines and authors per file, on the current branch."""
    root = git.root_of(repo)
    head = git.head_of(root)
    files: dict[bytes, Json] = {}
    commits, authors, author, at = 0, set[bytes](), b"", b""
    options = ("--numstat", "-z", "--no-renames", "--no-ext-diff", "--no-textconv")
    log = git.run(root, "log", *options, f"--since={since}", "--format=%x01%aI%x02%aE", head, "--") if head else b""
    for token in log.split(b"\0"):
        if token.startswith(b"\x01"):
            at, _, author = token[1:].partition(b"\x02")
            commits += 1
            authors.add(author)
        elif found := re.match(rb"\n?(\d+|-)\t(\d+|-)\t(.+)", token, re.DOTALL):
            file = files.setdefault(
                found[3], {"commits": 0, "added": 0, "deleted": 0, "authors": set(), "last": git.text(at)}
            )
            file["commits"] += 1
            file["added"] += int(found[1].replace(b"-", b"0"))
            file["deleted"] += int(found[2].replace(b"-", b"0"))
            file["authors"].add(author)
    ranked = sorted(files.items(), key=lambda one: (-one[1]["commits"], -one[1]["added"] - one[1]["deleted"], one[0]))
    return {
        "since": since,
        "commits": commits,
        "authors": len(authors),
        "files": len(files),
        "added": sum(file["added"] for file in files.values()),
        "deleted": sum(file["deleted"] for file in files.values()),
        "top": [{"path": git.path(path), **file, "authors": len(file["authors"])} for path, file in ranked[:top]],
    }


def large_files(repo: str = ".", top: int = 15, min_kb: float = 500) -> Json:
    """The largest tracked files, and the largest blobs anywhere in the history, which every clone still carries."""
    root = git.root_of(repo)
    tracked = list(git.tree(root, git.head_of(root)))
    current = {blob.oid for blob in tracked}
    large = sorted((blob for blob in tracked if blob.size >= min_kb * 1024), key=lambda blob: (-blob.size, blob.path))
    form = "--batch-check=%(objecttype) %(objectname) %(objectsize) %(rest)"
    found: list[tuple[int, str, str]] = []
    total = 0
    with (
        git.stream(root, "rev-list", "--objects", "--all", "--missing=allow-any") as walk,
        git.stream(root, "cat-file", "--buffer", form, stdin=walk) as check,
    ):
        for line in check:
            kind, oid, size, *rest = line.rstrip(b"\n").split(b" ", 3)
            if kind != b"blob" or int(size) < min_kb * 1024:
                continue
            total += 1
            heapq.heappush(found, (int(size), oid.decode(), git.path(rest[0]) if rest else ""))
            if len(found) > top:
                heapq.heappop(found)
    return {
        "min_kb": min_kb,
        "tracked_files": len(tracked),
        "tracked_kb": _kb(sum(blob.size for blob in tracked)),
        "large_tracked": len(large),
        "tracked": [{"path": blob.path, "kb": _kb(blob.size)} for blob in large[:top]],
        "large_history": total,
        "history": [
            {"path": path, "kb": _kb(size), "object": oid[:12], "in_head": oid in current}
            for size, oid, path in sorted(found, reverse=True)
        ],
    }


def secrets(repo: str = ".", max_file_kb: float = 512) -> Json:
    """Secrets in the text files of the current commit, masked; a line with `fleet:allow-secret` is let through."""
    root = git.root_of(repo)
    findings: list[Json] = []
    places: dict[str, list[str]] = {}
    scanned = skipped = allowed = 0
    for blob in git.tree(root, git.head_of(root)):
        if blob.regular and blob.size <= max_file_kb * 1024:
            places.setdefault(blob.oid, []).append(blob.path)
        else:
            skipped += 1
    for oid, data in git.contents(root, places):
        if b"\0" in data[:8000]:
            skipped += len(places[oid])
            continue
        scanned += len(places[oid])
        for rule, severity, secret, line, permitted in _scan(data):
            allowed += permitted
            for path in () if permitted else places[oid]:
                finding = {"path": path.replace(git.text(secret), _mask(secret)), "line": line, "rule": rule}
                finding |= {"severity": severity, "masked": _mask(secret)}
                findings.append({**finding, "fingerprint": hashlib.sha256(secret).hexdigest()[:12]})
    findings.sort(key=lambda one: (one["severity"], one["path"], one["line"]))
    return {
        "count": len(findings),
        "high": sum(one["severity"] == "high" for one in findings),
        "scanned": scanned,
        "skipped": skipped,
        "allowed": allowed,
        "findings": findings[:MOST],
        "fingerprints": sorted({one["fingerprint"] for one in findings}),
    }


def lockfiles(repo: str = ".", last_commit: str | None = None) -> Json:
    """What changed in lock files since the commit of the last audit, or within the last commits when there was none."""
    root = git.root_of(repo)
    head = git.head_of(root)
    if last_commit and not re.fullmatch(r"[0-9a-fA-F]{7,64}", last_commit):
        raise ValueError(f"last_commit must be a commit id, not {last_commit[:80]!r}")
    base = git.ask(root, "rev-parse", "--verify", "-q", f"{last_commit}^{{commit}}") if last_commit else None
    gone = bool(last_commit) and base is None
    if base is None and head:
        base = git.run(root, "rev-list", "--first-parent", f"--skip={WINDOW}", "-n1", head, "--")
    start = (base or b"").decode().strip() or None
    then, now = (
        {blob.path: blob for blob in git.tree(root, commit) if _kind(blob.path) in LOCK_FILES}
        for commit in (start, head)
    )
    span = f"{start}..{head}" if start else str(head)
    changed = [name for name in sorted(then | now) if _oid(then, name) != _oid(now, name)]
    files = []
    for name in changed[:MOST]:
        change = _packages(root, name, then.get(name), now.get(name))
        files.append({**change, "commits": git.commits(root, "-n20", span, "--", name)})
    totals = {kind: sum(file["counts"][kind] for file in files) for kind in ("added", "removed", "changed")}
    answer = {"base": start, "head": head, "base_gone": gone, "tracked": len(now), "changed": len(changed)}
    return {**answer, "packages": totals, "files": files}


def report(
    path: str,
    repo: Json,
    churn: Json | None = None,
    large_files: Json | None = None,
    secrets: Json | None = None,
    lockfiles: Json | None = None,
    previous: Json | None = None,
    note: str = "",
    now: str | None = None,
) -> Json:
    """Write the audit as Markdown, with a score out of 100; parts that are None were not audited.

    `previous` is this function's answer of the audit before: what it already knew is not new.
    """
    known = {one["id"] for one in (previous or {}).get("findings") or []}
    leaks, large, locks = secrets or {}, large_files or {}, lockfiles or {}
    findings = [{**one, "new": one["id"] not in known} for one in _findings(leaks, large, locks)]
    counts = Counter(one["severity"] for one in findings)
    score = 100 - sum(min(most, each * counts[severity]) for severity, (each, most) in COSTS.items())
    grade = next(letter for letter, least in GRADES.items() if score >= least)
    name, fresh = Path(repo["path"]).name, sum(one["new"] for one in findings)
    summary = f"{name}: grade {grade}, {score} of 100, {len(findings)} findings, {fresh} of them new."
    when = now or datetime.now(UTC).isoformat(timespec="seconds")
    text = [f"# Repository audit: {_md(name)}", "", f"**{_md(summary)}**", "", *([_md(note), ""] if note else [])]
    text += [f"Commit `{repo['head']}`, {repo['commits']} commits by {repo['authors']} authors; audited {_md(when)}."]
    locked = [{**one, **one["counts"]} for one in locks.get("files", [])]
    versions = [{"path": one["path"], **package} for one in locks.get("files", []) for package in one["changed"]]
    for title, part, rows, columns in (
        ("Secrets", secrets, leaks.get("findings"), "severity rule path line masked fingerprint"),
        ("Changed lock files", lockfiles, locked, "path status added removed changed"),
        ("Changed versions", lockfiles, versions, "path name from to"),
        ("Churn", churn, (churn or {}).get("top"), "path commits added deleted authors last"),
        ("Large files", large_files, large.get("tracked"), "path kb"),
        ("Large blobs in the history", large_files, large.get("history"), "path kb object in_head"),
    ):
        text += ["", f"## {title}", "", *(["Not audited."] if part is None else _table(rows or [], columns.split()))]
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(target.name + ".draft")
    draft.write_text("\n".join([*text, ""]), encoding="utf-8")
    draft.replace(target)
    answer = {"path": str(target), "score": score, "grade": grade, "summary": summary, "findings": findings}
    return {**answer, "new": fresh, "head": repo["head"], "lines": len(text)}


def _findings(leaks: Json, large: Json, locks: Json) -> Iterator[Json]:
    for one in leaks.get("findings", []):
        title = f"{one['rule']} in {one['path']}:{one['line']}"
        yield {"kind": "secret", "severity": one["severity"], "title": title, "id": one["fingerprint"]}
    for one in locks.get("files", []):
        if one["status"] == "removed":
            title = f"lock file {one['path']} was removed"
            yield {"kind": "lock", "severity": "medium", "title": title, "id": title}
    for one in large.get("tracked", []):
        if _kind(one["path"]) not in LOCK_FILES:
            title = f"{one['path']} has {one['kb']:.0f} KB"
            yield {"kind": "size", "severity": "low", "title": title, "id": f"size of {one['path']}"}


def _table(rows: list[Json], columns: list[str]) -> list[str]:
    head = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"] if rows else ["None."]
    return head + [f"| {' | '.join(_md(row[name]) for name in columns)} |" for row in rows]


def _md(value: Any) -> str:
    """A value on one line that Markdown and terminals show as it is."""
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(value)[:500])
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def _scan(data: bytes) -> Iterator[tuple[str, str, bytes, int, bool]]:
    """Rule, severity, secret, line, and whether it is allowed; what two rules find counts once."""
    taken: list[tuple[int, int]] = []
    folded = data.lower()
    for rule, severity, hints, _ in RULES:
        if not any(hint in (folded if hints is KEYWORDS else data) for hint in hints):
            continue
        for match in PATTERNS[rule].finditer(data):
            start, end = match.span(match.lastindex or 0)
            secret = data[start:end].strip()
            if severity == "medium" and not _random(secret, rule):
                continue
            if any(start < until and begin < end for begin, until in taken):
                continue
            taken.append((start, end))
            line = data[data.rfind(b"\n", 0, match.start()) + 1 : (data.find(b"\n", match.start()) + 1) or len(data)]
            yield rule, severity, secret, data.count(b"\n", 0, match.start()) + 1, ALLOWED in line
            if len(taken) >= MOST:
                return


def _random(secret: bytes, rule: str) -> bool:
    """Whether a value looks made by a machine: letters and digits, and the entropy of a random string."""
    if PRETEND.search(secret):
        return False
    if rule == "url-password":
        return secret.lower() not in (b"password", b"secret")
    counts = Counter(secret).values()
    entropy = -sum(count / len(secret) * math.log2(count / len(secret)) for count in counts)
    least = 3.0 if re.fullmatch(rb"[0-9a-fA-F]+", secret) else 3.5
    return entropy >= least and bool(re.search(rb"\d", secret)) and bool(re.search(rb"[A-Za-z]", secret))


def _mask(secret: bytes) -> str:
    return f"{git.text(secret[:4])}… ({len(secret)} characters)"


def _kb(size: int) -> float:
    return round(size / 1024, 1)


def _kind(path: str) -> str:
    return path.rpartition("/")[2]


def _oid(blobs: dict[str, git.Blob], path: str) -> str:
    return blobs[path].oid if path in blobs else ""


def _packages(root: str, path: str, old: git.Blob | None, new: git.Blob | None) -> Json:
    """What became of the packages in one lock file."""
    before, after = (_versions(root, blob) if blob else {} for blob in (old, new))
    change: Json = {"path": path, "status": "changed" if old and new else "added" if new else "removed"}
    change["parsed"] = before is not None and after is not None
    then, now = (before or {}, after or {}) if change["parsed"] else ({}, {})
    lists = {
        "added": [{"name": name, "version": now[name]} for name in sorted(now.keys() - then.keys())],
        "removed": [{"name": name, "version": then[name]} for name in sorted(then.keys() - now.keys())],
        "changed": [
            {"name": name, "from": then[name], "to": now[name]}
            for name in sorted(then.keys() & now.keys())
            if then[name] != now[name]
        ],
    }
    counts = {kind: len(packages) for kind, packages in lists.items()}
    return {**change, "counts": counts, **{kind: packages[:MOST] for kind, packages in lists.items()}}


def _versions(root: str, blob: git.Blob) -> dict[str, str] | None:
    """Package names and their versions; None when this kind of lock file, or this one, cannot be read."""
    read = LOCK_FILES[_kind(blob.path)]
    if read is None or blob.size > MAX_LOCK:
        return None
    found: dict[str, set[str]] = {}
    try:
        for _, data in git.contents(root, [blob.oid]):
            for name, version in read(data.decode()):
                found.setdefault(str(name)[:200], set()).add(str(version)[:100])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _read_toml(text: str) -> Iterator[tuple[Any, Any]]:
    for package in tomllib.loads(text).get("package", []):
        yield package["name"], package.get("version", "")


def _read_npm(text: str) -> Iterator[tuple[Any, Any]]:
    lock = json.loads(text)
    for path, package in lock.get("packages", {}).items():
        if "node_modules/" in path and not package.get("link"):
            yield path.rpartition("node_modules/")[2], package.get("version", "")
    todo = [] if "packages" in lock else [lock.get("dependencies", {})]
    while todo:
        for name, package in todo.pop().items():
            yield name, package.get("version", "")
            todo.append(package.get("dependencies", {}))


def _read_go(text: str) -> Iterator[tuple[Any, Any]]:
    rows = (line.split() for line in text.splitlines())
    return ((row[0], row[1]) for row in rows if len(row) == 3 and not row[1].endswith("/go.mod"))


def _read_gems(text: str) -> Iterator[tuple[Any, Any]]:
    return iter(re.findall(r"^    ([\w.-]+) \(([^)\n]+)\)$", text, re.MULTILINE))


LOCK_FILES: dict[str, Callable[[str], Iterator[tuple[Any, Any]]] | None] = {
    **dict.fromkeys(("uv.lock", "poetry.lock", "pdm.lock", "Cargo.lock"), _read_toml),
    **dict.fromkeys(("package-lock.json", "npm-shrinkwrap.json"), _read_npm),
    "go.sum": _read_go,
    "Gemfile.lock": _read_gems,
    **dict.fromkeys(("yarn.lock", "pnpm-lock.yaml", "bun.lock", "Pipfile.lock", "composer.lock", "flake.lock")),
}
"""How each kind of lock file is read; None for those whose changes are noticed but not read."""
