"""What looks like a secret though nobody has said that it is one: keys of providers, tokens, passwords in addresses.

By shape only: a password that is a word is not seen. PURE.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "•••"
_KEYS: Final = re.compile(
    r"""\b(?:sk|pk|rk|gsk|xai|hf|nvapi)[-_][A-Za-z0-9_\-*]{8,}|\bAIza[\w-]{20,}|\bA[KS]IA[A-Z0-9]{12,}|\bya29\.[\w-]+
    |\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*|(?<=[Bb]earer\ )[^\s"',;]+|(?<=[Bb]asic\ )[A-Za-z0-9+/]{8,}=*
    |(?<=[?&]key=)[^\s&"']+|(?<=api[-_]key=)[^\s&"']+|\bgh[opsur]_\w{16,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[a-z]-[\w-]{10,}
    |\bnpm_\w{20,}|\bwhsec_[\w+/=-]{8,}|\bfleet_[a-z0-9]{6,}_\w{16,}
    |-----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----(?s:.*?)(?:-----END\ [A-Z\ ]*PRIVATE\ KEY-----|\Z)""",
    re.X,
)
_SPOKEN: Final = re.compile(
    r"""(?P<before>[?&][\w.-]*(?:key|token|secret|sig|signature|passw(?:or)?d|pwd|auth|code)=)[^\s&\#"'<>]+
    |(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@"'<>]+(?=@)
    |(?P<said>\b(?:passw(?:or)?d|passphrase|pwd|secret|(?:access|auth|api)[-_ ]?(?:key|token))["']?\s*[:=]\s*)
     ["']?[^\s"',;&]+""",
    re.X | re.I,
)


def mask_keys(text: str) -> str:
    """The text without what looks like a key or a token."""
    return _KEYS.sub(MASK, text)


def mask_shapes(text: str) -> str:
    """The same, also without passwords and signatures in addresses, and without what is called a password."""
    return _SPOKEN.sub(
        lambda found: f"{found['before'] or found['scheme'] or found['said'] or ''}{MASK}", mask_keys(text)
    )
