"""Files that no tool touches, whatever a policy says: keys and passwords, the engine's own state, Git's machinery."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fnmatch import fnmatchcase

SECRET_NAMES = (
    ".env*", "*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "id_*", ".ssh", ".netrc", ".pgpass",
    ".git-credentials", ".aws", ".gnupg", ".fleet",
)  # fmt: skip
"""Names of files and folders, at any depth; nothing below such a folder is touched either."""
GIT_READ = ("config*", "hooks", "credentials*")
"""What is not even read of a `.git` folder: tokens stand in it, and programs that Git starts."""
WRITE_NAMES = ("fleet.toml", "policy.toml", ".git", ".gitmodules")
"""What is read but never written: an agent does not change its own rules, nor what Git starts."""


def private(parts: Sequence[str], *, writing: bool = False, more: Sequence[str] = ()) -> str:
    """The rule that keeps a path from being touched; empty: there is none."""
    plain = [_plain(part) for part in parts]
    patterns = (*SECRET_NAMES, *more, *(WRITE_NAMES if writing else ()))
    for part in plain:
        for pattern in patterns:
            if fnmatchcase(part, pattern.casefold()):
                return pattern
    for i, part in enumerate(plain):
        if part == ".git":
            for below in plain[i + 1 :]:
                for pattern in GIT_READ:
                    if fnmatchcase(below, pattern):
                        return f".git/{pattern}"
    return ""


def git_excludes() -> list[str]:
    """The same as pathspecs of Git, for what it prints of other files."""
    return [f":(top,exclude,glob,icase)**/{name}{end}" for name in SECRET_NAMES for end in ("", "/**")]


def _plain(part: str) -> str:
    """A name as file systems that ignore case or composition see it."""
    return unicodedata.normalize("NFKC", part).casefold()
