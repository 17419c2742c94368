"""Compiled modules for the processes that tests start, so that the second one is up as soon as a user's is."""

from __future__ import annotations

import os
import sys


def bytecode() -> dict[str, str]:
    """Environment variables for them: they share what this process compiles, or keep their own where it keeps nothing.

    `PYTHONDONTWRITEBYTECODE` has to be left out beside them.
    """
    return {"PYTHONPYCACHEPREFIX": f"/tmp/fleet-test-pyc-{os.getuid()}"} if sys.dont_write_bytecode else {}
