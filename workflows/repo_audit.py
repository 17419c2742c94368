"""What repo-audit does without a model: churn, large files, leaked secrets and changed dependencies of a repository.

Nothing is read from the working tree, only from commits. A secret that is found leaves this file only masked and as a
fingerprint, wherever it stood.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

import repo_git as git
from repo_secrets import mask, masked, scan

from fleetprompt.engine.steps.python import Permanent

Json = dict[str, Any]

WINDOW = 50
"""So many commits are looked at when there was no audit before."""
MOST = 100
"""No list in an answer is longer; the counts beside it are complete."""

ALLOWED = b"fleet:allow-secret"
MAX_FILE_KB = 512
"""Larger files are not searched for secrets."""
MAX_LOCK = 32 * 1024 * 1024


def inspect(repo: str = ".") -> Json:
    """What repository this is; Permanent with a clear message when it is none."""
    root = git.root_of(repo)
    head = git.head_of(root)
    bare, shallow = git.run(root, "rev-parse", "--is-bare-repository", "--is-shallow-repository").split()
    branch = git.ask(root, "symbolic-ref", "--short", "-q", "HEAD")
    about: Json = {"path": git.path(os.fsencode(root)), "head": head, "branch": git.text(branch) if branch else None}
    about |= {"bare": bare == b"true", "shallow": shallow == b"true"}
    if head is None:
        return masked({**about, "commits": 0, "authors": 0, "last": None})
    authors = set(git.run(root, "log", "--format=%aE", head, "--").split(b"\n")) - {b""}
    commits = int(git.run(root, "rev-list", "--count", head, "--"))
    about |= {"commits": commits, "authors": len(authors), "last": git.commits(root, "-n1", head, "--")[0]}
    return masked(about)


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
    answer = {
        "since": since,
        "commits": commits,
        "authors": len(authors),
        "files": len(files),
        "added": sum(file["added"] for file in files.values()),
        "deleted": sum(file["deleted"] for file in files.values()),
        "top": [{"path": git.path(path), **file, "authors": len(file["authors"])} for path, file in ranked[:top]],
    }
    return masked(answer)


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
            kind, oid, size, *rest = (*line.rstrip(b"\n").split(b" ", 3), b"0")
            if kind != b"blob" or int(size) < min_kb * 1024:
                continue
            total += 1
            heapq.heappush(found, (int(size), oid.decode(), git.path(rest[0])))
            if len(found) > top:
                heapq.heappop(found)
    answer = {
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
    return masked(answer)


def secrets(repo: str = ".", max_file_kb: float = MAX_FILE_KB) -> Json:
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
        for one in scan(data):
            if ALLOWED in data[data.rfind(b"\n", 0, one.at) + 1 : data.find(b"\n", one.at) + 1 or len(data)]:
                allowed += 1
                continue
            shown = mask(one.secret)
            about = {"line": data.count(b"\n", 0, one.at) + 1, "rule": one.rule, "severity": one.severity}
            about |= {"masked": shown, "fingerprint": hashlib.sha256(one.secret).hexdigest()[:12]}
            findings += ({"path": path.replace(git.text(one.secret), shown), **about} for path in places[oid])
    findings.sort(key=lambda one: (one["severity"], one["path"], one["line"]))
    answer = {
        "count": len(findings),
        "high": sum(one["severity"] == "high" for one in findings),
        "scanned": scanned,
        "skipped": skipped,
        "allowed": allowed,
        "findings": findings[:MOST],
        "fingerprints": sorted({one["fingerprint"] for one in findings}),
    }
    return masked(answer)


def lockfiles(repo: str = ".", last_commit: str | None = None) -> Json:
    """What changed in lock files since the commit of the last audit, or within the last commits when there was none."""
    root = git.root_of(repo)
    head = git.head_of(root)
    if last_commit and not re.fullmatch(r"[0-9a-fA-F]{7,64}", last_commit):
        raise Permanent(f"last_commit must be a commit id, not {last_commit[:80]!r}")
    base = git.ask(root, "rev-parse", "--verify", "-q", f"{last_commit}^{{commit}}") if last_commit else None
    gone = bool(last_commit) and base is None
    if base is None and head:
        base = git.run(root, "rev-list", "--first-parent", f"--skip={WINDOW}", "-n1", head, "--")
    start = (base or b"").decode().strip() or None
    then, now = (
        {blob.path: blob for blob in git.tree(root, commit) if kind_of(blob.path) in LOCK_FILES}
        for commit in (start, head)
    )
    span = f"{start}..{head}" if start else str(head)
    changed = [name for name in sorted(then | now) if _oid(then, name) != _oid(now, name)]
    files = []
    for name in changed[:MOST]:
        change = _packages(root, name, then.get(name), now.get(name))
        files.append({**change, "commits": git.commits(root, "-n20", span, "--", name)})
    totals = {kind: sum(file["counts"][kind] for file in files) for kind in ("added", "removed", "changed")}
    since = "the last audit" if last_commit and not gone else f"{WINDOW} commits ago" if start else "the first commit"
    answer = {"since": since, "base": start, "head": head, "base_gone": gone, "tracked": len(now)}
    return {**answer, "changed": len(changed), "packages": totals, "files": masked(files)}


def _kb(size: int) -> float:
    return round(size / 1024, 1)


def kind_of(path: str) -> str:
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
        "added": [{"name": _cut(name), "version": _cut(now[name])} for name in sorted(now.keys() - then.keys())],
        "removed": [{"name": _cut(name), "version": _cut(then[name])} for name in sorted(then.keys() - now.keys())],
        "changed": [
            {"name": _cut(name), "from": _cut(then[name]), "to": _cut(now[name])}
            for name in sorted(then.keys() & now.keys())
            if then[name] != now[name]
        ],
    }
    counts = {kind: len(packages) for kind, packages in lists.items()}
    return {**change, "counts": counts, **{kind: packages[:MOST] for kind, packages in lists.items()}}


def _cut(text: str) -> str:
    """Short, and without half a secret at its end."""
    return masked(text[:5000])[:200]


def _versions(root: str, blob: git.Blob) -> dict[str, str] | None:
    """Package names and their versions; None when this kind of lock file, or this one, cannot be read."""
    read = LOCK_FILES[kind_of(blob.path)]
    if read is None or blob.size > MAX_LOCK:
        return None
    found: dict[str, set[str]] = {}
    try:
        for _, data in git.contents(root, [blob.oid]):
            for name, version in read(data.decode()):
                found.setdefault(str(name), set()).add(str(version))
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
