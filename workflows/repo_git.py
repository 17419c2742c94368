"""Reading a git repository that nobody vouches for: how repo_audit runs git, and nothing else runs it.

No shell, no hooks, no programs named by the repository's configuration, no network, no locks; every process has a
time limit. File names are any bytes: what is no UTF-8 comes out escaped.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from fleetprompt.engine.steps.python import Permanent

SECONDS = 120
"""Time limit of one git process."""
SETTINGS = (
    "core.quotepath=off",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "log.showSignature=false",
    "protocol.allow=never",
)
COMMAND = ("git", "--no-pager", "--literal-pathspecs", *(part for setting in SETTINGS for part in ("-c", setting)))
QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
ELSEWHERE = {
    *("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_EXTERNAL_DIFF", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS"),
    *("GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
}
"""Variables that would point git at another repository, as they do inside a hook, or change what it prints."""


class Blob(NamedTuple):
    """A tracked file of a commit."""

    path: str
    oid: str
    size: int
    regular: bool
    """False for a symbolic link."""


def run(root: str, *arguments: str) -> bytes:
    """What git prints; Permanent with its complaint when it fails, TimeoutError when it takes too long."""
    try:
        done = subprocess.run(
            [*COMMAND, "-C", root, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(),
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise Permanent("git is not installed") from None
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"git {arguments[0]} took longer than {SECONDS} s in {root}") from error
    if done.returncode:
        if b"promisor" in done.stderr:
            hint = "`git fetch --refetch --no-filter` gets them"
            raise Permanent(f"{root} is a partial clone, and objects that this needs are missing: {hint}")
        said = text(done.stderr).strip().removeprefix("fatal: ") or f"exit code {done.returncode}"
        raise Permanent(f"git {arguments[0]} failed in {root}: {said[:500]}")
    return done.stdout


def ask(root: str, *arguments: str) -> bytes | None:
    """What git prints, without the line's end; None when it has no answer."""
    try:
        return run(root, *arguments).removesuffix(b"\n")
    except Permanent:
        return None


@contextmanager
def stream(root: str, *arguments: str, stdin: IO[bytes] | None = None) -> Iterator[IO[bytes]]:
    """What git prints, as it prints it; to be read to its end."""
    process = subprocess.Popen(
        [*COMMAND, "-C", root, *arguments],
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    late = threading.Event()

    def expire() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(SECONDS, expire)
    timer.daemon = True
    timer.start()
    assert process.stdout is not None
    try:
        yield process.stdout
    except BaseException:
        process.kill()
        if not late.is_set():
            raise
    finally:
        timer.cancel()
        process.stdout.close()
        process.wait()
    if late.is_set():
        raise TimeoutError(f"git {arguments[0]} took longer than {SECONDS} s in {root}")
    if process.returncode:
        raise Permanent(f"git {arguments[0]} failed in {root}: exit code {process.returncode}")


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ELSEWHERE} | QUIET


def root_of(repo: str) -> str:
    """The repository's top directory; of a bare one, the repository itself. Permanent when there is none."""
    if not Path(repo).is_dir():
        raise Permanent(f"there is no directory {repo}")
    try:
        run(repo, "rev-parse", "--git-dir")
    except Permanent as error:
        if "not a git repository" in str(error):
            raise Permanent(f"{repo} is not a git repository") from None
        raise
    found = ask(repo, "rev-parse", "--show-toplevel") or run(repo, "rev-parse", "--absolute-git-dir").removesuffix(
        b"\n"
    )
    return os.fsdecode(found)


def head_of(root: str) -> str | None:
    """The current commit; None before the first one. `Permanent` when it is damaged."""
    if found := ask(root, "rev-parse", "--verify", "-q", "HEAD^{commit}"):
        return found.decode()
    if named := ask(root, "rev-parse", "--verify", "-q", "HEAD"):
        raise Permanent(f"{root} is damaged: its HEAD {named.decode()[:12]} cannot be read, see `git fsck`")
    return None


def tree(root: str, commit: str | None) -> Iterator[Blob]:
    """The tracked files of a commit. Submodules are not among them: they are other repositories."""
    listing = run(root, "ls-tree", "-r", "-z", "-l", "--full-tree", commit) if commit else b""
    for row in listing.split(b"\0"):
        about, _, name = row.partition(b"\t")
        if len(fields := about.split()) == 4 and fields[1] == b"blob":
            yield Blob(path(name), fields[2].decode(), int(fields[3]), fields[0] != b"120000")


def contents(root: str, oids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """The contents of these objects, in their order, through one process; missing ones are left out."""
    with tempfile.TemporaryFile() as wanted:
        wanted.writelines(f"{oid}\n".encode() for oid in oids)
        wanted.seek(0)
        with stream(root, "cat-file", "--batch", "--buffer", stdin=wanted) as answers:
            while header := answers.readline():
                oid, _, *size = header.split()
                if size:
                    yield oid.decode(), answers.read(int(size[0]) + 1)[:-1]


def commits(root: str, *arguments: str) -> list[dict[str, Any]]:
    """The commits that `git log` finds, newest first."""
    log = run(root, "log", "-z", "--format=%h%x1f%aI%x1f%an%x1f%s", *arguments)
    names = ("commit", "at", "author", "subject")
    rows = (row.split(b"\x1f", 3) for row in log.split(b"\0") if row)
    return [dict(zip(names, (text(part) for part in row), strict=True)) for row in rows]


def path(raw: bytes) -> str:
    """A file name, exactly where it is UTF-8 and with `\\x..` where it is not."""
    return raw.decode("utf-8", "backslashreplace")


def text(raw: bytes) -> str:
    """Text to show: nothing in it acts on a terminal."""
    return "".join(char if char.isprintable() else " " for char in path(raw))
