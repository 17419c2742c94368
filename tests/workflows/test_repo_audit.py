"""The functions of repo-audit, on real repositories: ordinary ones, odd ones, and ones made to do harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflows"))

import repo_audit as audit
import repo_git
import repo_report

from fleetprompt.engine.steps.python import Permanent

HOSTILE = [
    "new\nline.txt",
    "quo\"te's and `ticks`.txt",
    "Grüße ☕.txt",
    "-rf.txt",
    ":(top)magic.txt",
    "tab\tand\\back.txt",
    "\x1b[31mred|table|.txt",
    "1\t2\tnumstat.txt",
]
FAKE = {
    "private-key": "-----BEGIN RSA PRIVATE "
    + "KEY-----\nMIIEowIBAAKCAQEA7bq0Zx9kfH2sQ1\n-----END RSA PRIVATE KEY-----",
    "aws-access-key": "AKIA" + "Q3EGRZ7TVN2XKP4L",
    "github-token": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "gitlab-token": "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "slack-token": "xoxb-" + "123456789012-abcdefABCDEF",
    "stripe-key": "sk_live_" + "a1B2c3D4e5F6g7H8i9J0",
    "google-key": "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "model-key": "sk-ant-" + "api03-a1B2c3D4e5F6g7H8i9J0",
    "package-token": "npm_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "url-password": "postgres://app:" + "s3cr3tPaa55@db.internal/shop",
    "assignment": 'API_KEY = "' + 'q7Zx2Lm9Vb4Nt8Rk5Wp1"',
}
"""Put together here, so that no scanner takes this file for a leak."""


class Repo:
    """A repository under the test's directory."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", *options)

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        command = ["git", "-c", "core.quotepath=off", *arguments]
        done = subprocess.run(command, cwd=self.path, input=stdin, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def commit(self, files: dict[str, str | bytes | None], message: str = "change") -> str:
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.unlink()
            else:
                target.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_DIR", raising=False)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


PARTS: tuple[Callable[..., dict[str, Any]], ...] = (
    audit.inspect,
    audit.churn,
    audit.large_files,
    audit.secrets,
    audit.lockfiles,
)


def audit_all(path: Path, target: Path) -> dict[str, Any]:
    """Every part and the report; all of it is JSON and comes out the same twice."""
    parts = {part.__name__: part(str(path)) for part in PARTS}
    assert json.loads(json.dumps(parts)) == parts == {part.__name__: part(str(path)) for part in PARTS}
    parts["report"] = repo_report.report(path=str(target), repo=parts.pop("inspect"), **parts)
    assert json.loads(json.dumps(parts["report"])) == parts["report"]
    return parts


def test_inspect(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit({"a": "1"})
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "bruno@example.org")
    head = repo.commit({"b": "2"}, "say \x1b[31mred")
    (repo.path / "deep").mkdir()
    seen = audit.inspect(str(repo.path / "deep"))
    assert (seen["path"], seen["head"], seen["branch"]) == (str(repo.path), head, "main")
    assert (seen["commits"], seen["authors"], seen["bare"], seen["shallow"]) == (2, 2, False, False)
    assert seen["last"]["subject"].isprintable()
    repo.git("checkout", "-q", "--detach")
    assert audit.inspect(str(repo.path))["branch"] is None


def test_what_is_no_repository_is_refused_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for part in PARTS:
        with pytest.raises(Permanent, match="is not a git repository"):
            part(str(tmp_path))
        for name in ("file", "missing"):
            with pytest.raises(Permanent, match="there is no directory"):
                part(str(tmp_path / name))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Permanent, match="git is not installed"):
        audit.inspect(str(tmp_path))


@pytest.mark.parametrize("options", [(), ("--bare",)])
def test_repository_without_commits(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = Repo(tmp_path / "empty", *options).path
    parts = audit_all(path, tmp_path / "out.md")
    assert parts["report"]["grade"] == "A"
    assert (parts["churn"]["files"], parts["secrets"]["scanned"], parts["lockfiles"]["head"]) == (0, 0, None)
    assert "There are no commits yet." in (tmp_path / "out.md").read_text()


def test_damaged_repository_is_not_taken_for_one_without_commits(repo: Repo) -> None:
    head = repo.commit({"a": "1"})
    (repo.path / ".git/objects" / head[:2] / head[2:]).unlink()
    with pytest.raises(Permanent, match=f"is damaged: its HEAD {head[:12]} cannot be read"):
        audit.inspect(str(repo.path))


def test_partial_clone_is_refused_with_the_way_out(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": "1"})
    repo.commit({"a": "2"})
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.git("clone", "-q", "--filter=blob:none", repo.path.as_uri(), str(tmp_path / "partial"))
    with pytest.raises(Permanent, match=r"is a partial clone.*git fetch --refetch --no-filter"):
        audit.churn(str(tmp_path / "partial"))
    subprocess.run(["git", "fetch", "-q", "--refetch", "--no-filter"], cwd=tmp_path / "partial", check=True)
    assert audit.churn(str(tmp_path / "partial"))["commits"] == 2


def test_bare_and_shallow_clones_read_the_same(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a.py": FAKE["assignment"], "uv.lock": ""})
    repo.commit({"b.py": "x"})
    repo.git("clone", "-q", "--bare", str(repo.path), str(tmp_path / "bare"))
    repo.git("clone", "-q", "--depth=1", repo.path.as_uri(), str(tmp_path / "shallow"))
    for name in ("bare", "shallow"):
        parts = audit_all(tmp_path / name, tmp_path / "out.md")
        assert (parts["secrets"]["count"], parts["lockfiles"]["tracked"]) == (1, 1)
    assert audit.inspect(str(tmp_path / "bare"))["bare"]
    assert audit.inspect(str(tmp_path / "shallow"))["shallow"]
    assert "on branch main, 1 commit by 1 author. The clone is shallow: " in (tmp_path / "out.md").read_text()


def test_hostile_names_submodules_and_links(repo: Repo, tmp_path: Path) -> None:
    """Every name comes back as it is, and no name breaks a row of the report."""
    first = repo.commit(dict.fromkeys(HOSTILE, f"{FAKE['assignment']}\n" + "x" * 2048))
    (repo.path / os.fsdecode(b"latin-\xe9.txt")).write_text("y" * 2048)
    (repo.path / "link").symlink_to("/etc/passwd")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{first},module")
    repo.commit({f"{name}/uv.lock": 'package = [{name = "a", version = "1"}]' for name in ("sub\nfolder", "-x")})
    parts = audit_all(repo.path, tmp_path / "out.md")
    assert {one["path"] for one in parts["secrets"]["findings"]} == set(HOSTILE)
    assert set(HOSTILE) <= {one["path"] for one in parts["churn"]["top"]}
    large = audit.large_files(str(repo.path), min_kb=1)
    assert {one["path"] for one in large["tracked"]} == {*HOSTILE, "latin-\\xe9.txt"}
    assert [one["path"] for one in parts["lockfiles"]["files"]] == ["-x/uv.lock", "sub\nfolder/uv.lock"]
    assert all(len(one["commits"]) == 1 for one in parts["lockfiles"]["files"])
    text = (tmp_path / "out.md").read_text()
    assert "\x1b" not in text
    rows = [line for line in text.split("\n") if "numstat" in line or "\\x0a" in line or "table" in line]
    assert all(row.startswith("| ") and row.endswith(" |") for row in rows)


def test_churn_ranks_by_commits(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit({"hot.py": "1\n", "cold.py": "1\n2\n", "image": b"\0\1"})
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "bruno@example.org")
    repo.commit({"hot.py": "2\n3\n"})
    seen = audit.churn(str(repo.path), top=2)
    assert (seen["commits"], seen["authors"], seen["files"], seen["added"], seen["deleted"]) == (2, 2, 3, 5, 1)
    hot, cold = seen["top"]
    assert (hot["path"], hot["commits"], hot["added"], hot["deleted"], hot["authors"]) == ("hot.py", 2, 3, 1, 2)
    assert cold["path"] == "cold.py"
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")
    repo.git("commit", "-q", "--amend", "--no-edit")
    assert audit.churn(str(repo.path), since="90 days; rm -rf /")["commits"] == 0


def test_large_blobs_are_found_in_the_history(repo: Repo) -> None:
    repo.commit({"video.bin": os.urandom(40_000), "small.txt": "s"})
    repo.commit({"video.bin": None, "photo.bin": os.urandom(30_000)})
    seen = audit.large_files(str(repo.path), min_kb=20)
    assert [(one["path"], one["kb"]) for one in seen["tracked"]] == [("photo.bin", 29.3)]
    assert [(one["path"], one["in_head"]) for one in seen["history"]] == [("video.bin", False), ("photo.bin", True)]
    assert (seen["tracked_files"], seen["large_tracked"], seen["large_history"]) == (2, 1, 2)
    assert len(audit.large_files(str(repo.path), min_kb=0, top=1)["history"]) == 1


def test_every_rule_finds_its_secret_and_shows_it_masked(repo: Repo, tmp_path: Path) -> None:
    repo.commit({f"{rule}.txt": f"one\nuse {text}\n" for rule, text in FAKE.items()})
    parts = audit_all(repo.path, tmp_path / "out.md")
    found = {one["path"]: one for one in parts["secrets"]["findings"]}
    assert {path: (one["rule"], one["line"]) for path, one in found.items()} == {
        f"{rule}.txt": (rule, 2) for rule in FAKE
    }
    assert found["aws-access-key.txt"]["masked"] == "AKIA… (20 characters)"
    shown = json.dumps(parts, ensure_ascii=False) + (tmp_path / "out.md").read_text()
    for text in FAKE.values():
        assert not any(part in shown for part in text.replace('"', "\n").split() if len(part) > 12)
    assert parts["report"]["grade"] == "F"
    again = repo_report.report(
        str(tmp_path / "2.md"),
        audit.inspect(str(repo.path)),
        secrets=parts["secrets"],
        audits=parts["report"]["audits"],
    )
    assert (parts["report"]["new"], again["new"]) == (len(FAKE), 0)


def test_secrets_in_names_branches_people_and_versions_are_masked_too(repo: Repo, tmp_path: Path) -> None:
    """Wherever a secret stood, no answer has it; answers are what the journal, the logs and `--json` show."""
    token, key, address = FAKE["github-token"], FAKE["stripe-key"], FAKE["url-password"]
    repo.commit({"package-lock.json": npm(**{f"n-{token}": "1", "evil": f"git+{address}"})})
    repo.git("config", "user.name", "Ada")
    repo.git("checkout", "-q", "-b", f"feature/{FAKE['aws-access-key']}")
    repo.commit({f"{token}/uv.lock": uv(a=key), "package-lock.json": npm(evil="x" * 190 + address), key: "x"})
    repo.git("commit", "-q", "--amend", "--author", f"Ada {token} <{token}@example.org>", "-m", f"use {key} {address}")
    parts = audit_all(repo.path, tmp_path / "out.md")
    parts["large"] = audit.large_files(str(repo.path), min_kb=0)
    parts["inspect"] = audit.inspect(str(repo.path))
    shown = json.dumps(parts, ensure_ascii=False) + (tmp_path / "out.md").read_text().replace("\\_", "_")
    for part in (token[:20], key[:20], FAKE["aws-access-key"][:12], "s3cr3tPaa55"):
        assert part not in shown
    assert (parts["inspect"]["branch"], parts["inspect"]["last"]["author"]) == (
        "feature/AKIA… (20 characters)",
        "Ada ghp_… (40 characters)",
    )


def test_an_audit_of_another_repository_in_between_is_not_mixed_up(tmp_path: Path) -> None:
    """What was known is known by repository, and the oldest of many is forgotten."""
    audits: dict[str, Any] = {}
    fresh = []
    for name in ("one", "two", "one", *map(str, range(repo_report.MOST_REPOSITORIES - 1))):
        repo = Repo(tmp_path / name) if not (tmp_path / name).exists() else None
        if repo is not None:
            repo.commit({"a.env": FAKE["assignment"]})
        path = str(tmp_path / name)
        seen = audit.secrets(path)
        written = repo_report.report(str(tmp_path / "out.md"), audit.inspect(path), secrets=seen, audits=audits)
        audits = written["audits"]
        fresh.append(written["new"])
    assert fresh[:4] == [1, 1, 0, 1]
    assert [Path(path).name for path in audits][:2] == ["one", "0"]
    assert len(audits) == repo_report.MOST_REPOSITORIES


def test_a_report_that_cannot_be_written_leaves_nothing(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    about = audit.inspect(str(repo.path))
    for name, why in (("folder", "is a directory"), ("folder/x\0y", "null"), ("out.md/x.md", "file exists")):
        (tmp_path / "out.md").touch()
        with pytest.raises(Permanent, match=f"cannot be written: .*{why}"):
            repo_report.report(str(tmp_path / name), about)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "out.md", "repo"]


def test_allowed_copied_and_harmless_values(repo: Repo) -> None:
    token = FAKE["github-token"]
    repo.commit(
        {
            "allowed.py": f'TOKEN = "{token}"  # fleet:allow-secret\n',
            "one.env": f"GITHUB_TOKEN={token}\r\n",
            "two.env": f"GITHUB_TOKEN={token}\r\n",
            f"{token}.txt": token,
            "binary": b"\0" + token.encode(),
            "big.txt": token + "x" * 600_000,
            "harmless.py": "\n".join(
                [
                    'password = "changeme-changeme-1"',
                    "token = os.environ['SERVICE_TOKEN_2024']",
                    'api_key = "${SERVICE_API_KEY_1}"',
                    'secret = "aaaaaaaaaaaaaaaaaaaaaa1"',
                    'token_url = "https://example.org/oauth2/token"',
                    "access_key = settings.access_key_v2",
                    'secret_name = "a-plain-old-english-name"',
                    "postgres://user:${PASSWORD}@host/db",
                    'HEADERS = ["-----BEGIN PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----", "and more"]',
                ]
            ),
        }
    )
    seen = audit.secrets(str(repo.path))
    assert [one["path"] for one in seen["findings"]] == ["ghp_… (40 characters).txt", "one.env", "two.env"]
    assert (seen["count"], seen["allowed"], seen["skipped"], len(seen["fingerprints"])) == (3, 1, 2, 1)
    assert {one["rule"] for one in seen["findings"]} == {"github-token"}


@pytest.mark.parametrize("word", ["eyJ", "token=", "a://", "-----BEGIN PRIVATE KEY-----", "eyJaaaaaaaaaa.", "a://b:c"])
def test_scanning_takes_linear_time(repo: Repo, word: str) -> None:
    repo.commit({"hostile.txt": word * (500_000 // len(word))})
    assert audit.secrets(str(repo.path))["scanned"] == 1


def uv(**versions: str) -> str:
    return "version = 1\n" + "".join(f'[[package]]\nname = "{name}"\nversion = "{v}"\n' for name, v in versions.items())


def npm(**versions: str) -> str:
    return json.dumps({"packages": {"": {}} | {f"node_modules/{name}": {"version": v} for name, v in versions.items()}})


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("uv.lock", uv(keep="1", old="1", move="1"), uv(keep="1", move="2", new="3")),
        ("poetry.lock", uv(keep="1", old="1", move="1"), uv(keep="1", move="2", new="3")),
        ("Cargo.lock", uv(keep="1", old="1", move="1"), uv(keep="1", move="2", new="3")),
        ("package-lock.json", npm(keep="1", old="1", move="1"), npm(keep="1", move="2", new="3")),
        (
            "npm-shrinkwrap.json",
            json.dumps(
                {
                    "dependencies": {
                        "keep": {"version": "1", "dependencies": {"old": {"version": "1"}}},
                        "move": {"version": "1"},
                    }
                }
            ),
            json.dumps(
                {
                    "dependencies": {
                        "keep": {"version": "1", "dependencies": {"new": {"version": "3"}}},
                        "move": {"version": "2"},
                    }
                }
            ),
        ),
        (
            "go.sum",
            "keep 1 h1:x\nold 1 h1:x\nmove 1 h1:x\n",
            "keep 1 h1:x\nmove 2 h1:x\nnew 3 h1:x\nnew 3/go.mod h1:x\n",
        ),
        (
            "Gemfile.lock",
            "GEM\n    keep (1)\n    old (1)\n    move (1)\n",
            "GEM\n    keep (1)\n    move (2)\n      sub (9)\n    new (3)\n",
        ),
    ],
)
def test_lock_file_changes_since_the_last_audit(repo: Repo, name: str, before: str, after: str) -> None:
    base = repo.commit({f"app/{name}": before})
    assert audit.lockfiles(str(repo.path))["packages"] == {"added": 3, "removed": 0, "changed": 0}
    assert audit.lockfiles(str(repo.path), last_commit=base)["changed"] == 0
    repo.commit({f"app/{name}": after}, "bump")
    seen = audit.lockfiles(str(repo.path), last_commit=base)
    (file,) = seen["files"]
    assert (file["path"], file["status"], file["parsed"]) == (f"app/{name}", "changed", True)
    assert file["added"] == [{"name": "new", "version": "3"}]
    assert file["removed"] == [{"name": "old", "version": "1"}]
    assert file["changed"] == [{"name": "move", "from": "1", "to": "2"}]
    assert [commit["subject"] for commit in file["commits"]] == ["bump"]


def test_lock_files_that_vanish_or_cannot_be_read(repo: Repo, tmp_path: Path) -> None:
    base = repo.commit({"uv.lock": uv(a="1"), "yarn.lock": "1", "Cargo.lock": uv(b="1"), "package-lock.json": "{}"})
    repo.commit({"uv.lock": None, "yarn.lock": "2", "Cargo.lock": "[" * 5000, "package-lock.json": '{"packages": 7}'})
    seen = audit.lockfiles(str(repo.path), last_commit=base[:10])
    assert [(one["path"], one["status"], one["parsed"]) for one in seen["files"]] == [
        ("Cargo.lock", "changed", False),
        ("package-lock.json", "changed", False),
        ("uv.lock", "removed", True),
        ("yarn.lock", "changed", False),
    ]
    written = repo_report.report(str(tmp_path / "out.md"), audit.inspect(str(repo.path)), lockfiles=seen)
    assert [one["title"] for one in written["findings"]] == ["lock file uv.lock was removed"]


def test_last_commit_may_be_gone_but_must_be_a_commit(repo: Repo) -> None:
    repo.commit({"uv.lock": uv(a="1")})
    seen = audit.lockfiles(str(repo.path), last_commit="0123456789abcdef")
    assert (seen["base_gone"], seen["base"], seen["changed"]) == (True, None, 1)
    for bad in ("--output=/tmp/x", "HEAD~1", "main", "$(id)"):
        with pytest.raises(Permanent, match="must be a commit id"):
            audit.lockfiles(str(repo.path), last_commit=bad)


def test_repository_cannot_run_programs_or_send_git_elsewhere(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that the repository's own configuration names are not run; GIT_DIR of a hook is not followed."""
    repo.commit({".gitattributes": "*.txt diff=evil filter=evil\n", "a.txt": "a"})
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\ncat\n")
    program.chmod(0o755)
    for key in (
        "core.fsmonitor",
        "core.pager",
        "diff.external",
        "diff.evil.command",
        "diff.evil.textconv",
        "gpg.program",
    ):
        repo.git("config", key, str(program))
    repo.git("config", "log.showSignature", "true")
    repo.git("config", "core.pager", str(program))
    repo.git("config", "alias.log", f"!{program}")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    audit_all(repo.path, tmp_path / "out.md")
    assert not (tmp_path / "was-run").exists()


def test_fifty_thousand_files(repo: Repo, tmp_path: Path) -> None:
    lines = ["commit refs/heads/main", "committer A <a@b> 1700000000 +0000", "data 1", "m"]
    for number in range(50_000):
        lines += [f"M 644 inline d{number % 100}/f{number}", "data 2", f"{number % 7}\n"]
    repo.git("fast-import", "--quiet", stdin="\n".join([*lines, ""]).encode())
    parts = {part.__name__: part(str(repo.path)) for part in PARTS}
    assert (parts["large_files"]["tracked_files"], parts["secrets"]["scanned"]) == (50_000, 50_000)
    assert len(json.dumps(parts)) < 20_000


def test_slow_git_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(repo_git, "SECONDS", 0.2)
    with pytest.raises(TimeoutError, match="rev-parse took longer"):
        audit.inspect(str(tmp_path))
    with pytest.raises(TimeoutError, match="cat-file took longer"), repo_git.stream(".", "cat-file") as output:
        output.read()
