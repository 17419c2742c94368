"""Large values as the store gives them back."""

from __future__ import annotations

from typing import Any

import msgspec

from fleetprompt.engine.core.errors import FleetError


def decoded(digest: str, data: bytes) -> Any:
    """The value of a blob. Raises `FleetError` for one that was damaged."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FleetError(f"the large value {digest[:12]} is damaged: {error}", hint="see `fleet db check`") from error
