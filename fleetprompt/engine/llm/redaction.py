"""Keys taken out of what libraries and providers say about a failed request. PURE."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from fleetprompt.engine.core.secret_shapes import MASK, mask_keys

SHORTEST: Final = 4
Redact = Callable[[str], str]


def redactor(credential: str, redact: Redact) -> Redact:
    """Takes out a credential in the forms it can turn up in, whatever looks like a key, and what `redact` knows."""
    forms = _forms(credential) if len(credential) >= SHORTEST else []
    pattern = re.compile("|".join(map(re.escape, forms))) if forms else None

    def clean(text: str) -> str:
        text = pattern.sub(MASK, text) if pattern is not None else text
        return redact(mask_keys(text))

    return clean


def _forms(value: str) -> list[str]:
    forms = {value, quote(value, safe=""), json.dumps(value)[1:-1], base64.b64encode(value.encode()).decode()}
    return sorted(forms, key=len, reverse=True)
