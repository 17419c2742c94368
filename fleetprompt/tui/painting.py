"""How often the console paints: less where every byte goes over a network. Nothing here needs Textual, which reads its
variables when it is imported."""

from __future__ import annotations

import os

FRAMES = "120"
"""Frames a second at most. A key waits for the next frame: with the 60 of Textual answers take twice as long while runs
go on. What has not changed is painted in none of them."""
REMOTE_FRAMES = "30"
"""The same over a network, where the way there and back takes longer than a frame."""


def is_remote() -> bool:
    """The terminal is at the other end of a network."""
    return bool(os.environ.get("SSH_CONNECTION") or os.environ.get("FLEET_SSH_PEER"))


def prepare_painting() -> None:
    """Tell Textual, before it is imported; what the operator has set stays."""
    remote = is_remote()
    os.environ.setdefault("TEXTUAL_FPS", REMOTE_FRAMES if remote else FRAMES)
    if remote:
        os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
