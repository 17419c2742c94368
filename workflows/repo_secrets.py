"""Secrets in bytes that nobody vouches for: found by rules, shown masked."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any, NamedTuple

MOST = 100
"""More are not looked for in one file."""
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


class Found(NamedTuple):
    """A secret, and where it is."""

    rule: str
    severity: str
    secret: bytes
    at: int
    """Where that begins by which it was found, such as the name of what is assigned."""
    start: int
    end: int


def scan(data: bytes, most: int = MOST) -> list[Found]:
    """The secrets in a text, at most so many; what two rules find counts once."""
    found: list[Found] = []
    folded = data.lower()
    for rule, severity, hints, _ in RULES:
        if not any(hint in (folded if hints is KEYWORDS else data) for hint in hints):
            continue
        for match in PATTERNS[rule].finditer(data):
            start, end = match.span(match.lastindex or 0)
            secret = data[start:end].strip()
            if severity == "medium" and not _random(secret, rule):
                continue
            if any(start < other.end and other.start < end for other in found):
                continue
            found.append(Found(rule, severity, secret, match.start(), start, end))
            if len(found) >= most:
                return found
    return found


def mask(secret: bytes) -> str:
    """Enough of a secret to find it again, and not enough to use it."""
    shown = secret[: min(4, len(secret) // 4)].decode("utf-8", "replace")
    return f"{shown if shown.isprintable() else ''}… ({len(secret)} characters)"


def masked(value: Any) -> Any:
    """The same JSON with the secrets in its texts masked: names of files, branches and people can hold some, too."""
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if not isinstance(value, str):
        return value
    data = value.encode("utf-8", "backslashreplace")
    for found in sorted(scan(data, len(data)), key=lambda one: one.start, reverse=True):
        data = data[: found.start] + mask(found.secret).encode() + data[found.end :]
    return data.decode()


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
