"""What has just come under the operator's fingers, and what they have chosen. PURE."""

from __future__ import annotations


class Steady:
    """Tells a decision that was meant from a key that hit what had just come under the cursor."""

    def __init__(self) -> None:
        self._identity = b""
        self._slipped: float | None = None

    def show(self, identity: bytes, now: float, *, by_hand: bool) -> None:
        """This is shown from now on; whether the operator has chosen it, or it came."""
        if identity != self._identity:
            self._identity = identity
            self._slipped = None if by_hand else now

    def settled(self, now: float, seconds: float) -> bool:
        """Whether it is the operator's own choice, or has been there for so long."""
        return self._slipped is None or now - self._slipped >= seconds
