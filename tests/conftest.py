"""What holds for all tests: how they draw examples, on a machine of any speed, and that they are found quickly."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# The same examples every time, so that a change is judged by what it changed; FLEET_EXPLORE=1 looks for new ones.
EXPLORE = bool(os.environ.get("FLEET_EXPLORE"))

# How long an example takes, or drawing it, says something about the machine and nothing about what is tested. Who names
# health checks of its own in `@settings` has to name this one, too: that list is in place of this one.
settings.register_profile(
    "fleet",
    derandomize=not EXPLORE,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("fleet")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and found stays to the end: to look for garbage among it took a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
