"""What a call of a tool is once somebody has changed it, as digests: of what it is given, of what it would do. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetprompt.engine.core.codec import digest


def edited_digest(tool: str, arguments: Mapping[str, Any]) -> str:
    """SHA-256 of a call as it is changed: its tool and all of its arguments."""
    return digest(["edited", tool, dict(arguments)])


def previewed_digest(tool: str, arguments: Mapping[str, Any], *, kind: str, does: Any, bound: Any) -> str:
    """SHA-256 of what such a call would do, as it is shown: the argv, the diff, the SQL, the request; and what that
    depends on."""
    return digest(["previewed", tool, dict(arguments), kind, does, bound])
