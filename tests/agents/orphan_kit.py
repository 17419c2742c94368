"""An engine that is there to be killed: `python orphan_kit.py FOLDER BASE` drives the run of `FLOW` as long as it may.

The model is a stub server's. What the agent calls is a program that says that it is there, and stays.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "llm"), str(ROOT / "tests" / "agents")]

from agent_kit import StubModels, engine_at, start  # noqa: E402
from stub_server import Stub  # noqa: E402

PROGRAM = "import os, time; open(f'here-{os.getpid()}', 'x').close(); time.sleep(600)"
SCRIPT = [
    {"when": "nobody knows", "text": "done"},
    {"calls": [{"name": "shell_run", "arguments": {"argv": [Path(sys.executable).name, "stay.py"]}}]},
]
FLOW = """
name: orphan
agents:
  a: {tools: [shell.run]}
steps:
  - {id: work, type: agent, agent: a, prompt: go}
"""
SETTINGS: dict[str, Any] = {
    "tools": {"shell": {"path": str(Path(sys.executable).parent)}},
    "policy": {"allow": ["shell.run"]},
}


async def main(folder: Path, base: str) -> None:
    (folder / "stay.py").write_text(PROGRAM)
    async with engine_at(folder, StubModels(Stub(base, folder / "unused")), **SETTINGS) as engine:
        await start(engine, FLOW)
        await engine.wait("r1")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
