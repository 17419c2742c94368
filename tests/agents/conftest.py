"""Agents are tested through real models' wire: litellm, and a server in its own process; how they wait for each other
is tested in virtual time."""

from __future__ import annotations

import sys
from pathlib import Path

for beside in ("llm", "simulation"):
    sys.path.insert(0, str(Path(__file__).parents[1] / beside))
