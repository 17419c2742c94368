"""Keys taken out of what libraries and providers say about a failed request. PURE."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

MASK: Final = "•••"
SHORTEST: Final = 4
_KEYS: Final = re.compile(
    r"""\b(?:sk|pk|rk|gsk|xai|hf|nvapi)[-_][A-Za-z0-9_\-*]{8,}|\bAIza[\w-]{20,}|\bAKIA[A-Z0-9]{12,}|\bya29\.[\w-]+
    |\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*|(?<=[Bb]earer\ )[^\s"',;]+|(?<=[?&]key=)[^\s&"']+|(?<=api[-_]key=)[^\s&"']+""",
    re.X,
)

Redact = Callable[[str], str]


def redactor(credential: str, redact: Redact) -> Redact:
    """Takes out a credential in the forms it can turn up in, whatever looks like a key, and what `redact` knows."""
    forms = _forms(credential) if len(credential) >= SHORTEST else []
    pattern = re.compile("|".join(map(re.escape, forms))) if forms else None

    def clean(text: str) -> str:
        text = pattern.sub(MASK, text) if pattern is not None else text
        return redact(_KEYS.sub(MASK, text))

    return clean


def _forms(value: str) -> list[str]:
    forms = {value, quote(value, safe=""), json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()}
    return sorted(forms, key=len, reverse=True)
