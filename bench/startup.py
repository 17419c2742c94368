"""Wall time of `fleet --help` and of `fleet validate` on 100 steps; the floor is an interpreter that does nothing."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.task import ROOT, Figures, Task

WARM = 2


def workflow(steps: int = 100) -> str:
    """A file of everyday steps: commands and conditions, references, secrets, retries, needs."""
    lines = ["name: big", "inputs: {log: {type: string, default: x}}", "steps:"]
    for i in range(steps // 2):
        needs = f", needs: [run{i - 3}]" if i > 3 and i % 3 == 0 else ""
        before = f"${{{{ steps.text{i - 1}.output }}}}" if i else "first"
        lines += [
            f"  - id: run{i}",
            "    type: shell",
            f'    argv: [echo, "${{{{ inputs.log }}}}", "{before}"]',
            '    env: {TOKEN: "${{ secrets.TOKEN }}", MODE: fast}',
            "    retry: {max_attempts: 3, backoff: 2s}",
            "    timeout: 5m",
            f"  - {{id: text{i}, type: transform, if: steps.run{i}.output.exit_code == 0{needs}, ",
            f'     output: "${{{{ steps.run{i}.output.stdout | upper }}}}"}}',
        ]
    return "\n".join(lines) + "\n"


def fleet() -> list[str]:
    """The command as it is installed beside this interpreter, or as a module."""
    script = Path(sys.executable).parent / "fleet"
    return [str(script)] if script.exists() else [sys.executable, "-m", "fleetprompt.cli"]


def _wall_ms(command: list[str], folder: Path, times: int) -> tuple[float, list[str]]:
    """The median of several calls after some to warm up, and what to say if they fail."""
    took: list[float] = []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for i in range(WARM + times):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if i >= WARM:
            took.append((time.perf_counter() - began) * 1e3)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:]
            return float("nan"), [f"`{' '.join(command)}` exits {done.returncode}: {' '.join(said)[:200]}"]
    return statistics.median(took), []


def measure(task: Task) -> Figures:
    times = 5 if task.quick else 20
    file = task.path / "big.yaml"
    file.write_text(workflow())
    found: Figures = {"notes": []}
    for name, arguments in (("help_ms", ["--help"]), ("validate_ms", ["validate", str(file)])):
        value, notes = _wall_ms([*fleet(), *arguments], task.path, times)
        found["notes"] += notes
        if not notes:
            found[name] = value
    return found


def floor(task: Task) -> Figures:
    value, _ = _wall_ms([sys.executable, "-c", "pass"], task.path, 5 if task.quick else 20)
    return {"help_ms": value, "validate_ms": value}
