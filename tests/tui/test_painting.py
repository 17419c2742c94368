"""What Textual is told about painting before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SAYS = """
from fleetprompt.tui.painting import prepare_painting
prepare_painting()
import sys
assert "textual" not in sys.modules
from textual import constants
print(constants.MAX_FPS, constants.TEXTUAL_ANIMATIONS)
"""
VARIABLES = ("SSH_CONNECTION", "FLEET_SSH_PEER", "TEXTUAL_FPS", "TEXTUAL_ANIMATIONS")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "120 full"),
        ({"SSH_CONNECTION": "10.0.0.1 50000 10.0.0.2 22"}, "30 none"),
        ({"FLEET_SSH_PEER": "10.0.0.1"}, "30 none"),
        ({"SSH_CONNECTION": "x", "TEXTUAL_FPS": "15", "TEXTUAL_ANIMATIONS": "basic"}, "15 basic"),
    ],
)
def test_over_a_network_nothing_is_animated_and_less_is_painted(given: dict[str, str], said: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", SAYS], env=kept | given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said
