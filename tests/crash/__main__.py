"""Kill a real engine (SIGKILL) in the middle of its runs, again and again, and count what was repeated,
lost or left in doubt.

What runs is tests/crash/sample/workflows/order.yaml. Its effects write lines to a file beside the journal,
so what the journal says can be held against what really happened. The runs are started in equal shares,
one before each kill; every engine takes up what the one before it left. An operator approves, and answers
truthfully where a step is in doubt and has no check of its own.

Exits 0 when every promise was kept, 1 when one was broken, 2 when nothing could be found out.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.crash.engines import Useless
from tests.crash.ordeal import suffer
from tests.crash.project import Project
from tests.crash.verdict import Verdict


def main() -> int:
    """Read the arguments, do it, print the table."""
    parser = argparse.ArgumentParser(
        "python -m tests.crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="runs in all (50)")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="engines to kill, no more than runs (10)")
    parser.add_argument("--seed", type=int, metavar="S", help="draw the same moments again (any)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="work in this new folder, and leave it to be looked at"
    )
    parser.add_argument("--json", action="store_true", help="print the figures for machines")
    chosen = parser.parse_args()
    if not 0 < chosen.kills <= chosen.runs:
        parser.error("there have to be at least as many runs as kills, and one kill")
    if chosen.keep is not None and chosen.keep.exists():
        parser.error(f"{chosen.keep} is there already")
    seed = random.randrange(10_000) if chosen.seed is None else chosen.seed
    with tempfile.TemporaryDirectory(prefix="fleet-crash-") as temporary:
        project = Project.make(chosen.keep or Path(temporary))
        _say(f"{chosen.runs} runs, {chosen.kills} kills, seed {seed}, in {project.folder}")
        try:
            verdict = asyncio.run(suffer(project, runs=chosen.runs, kills=chosen.kills, seed=seed, say=_say))
        except Useless as error:
            _say(f"nothing can be said: {error}")
            return 2
        except KeyboardInterrupt:
            return 130
    if chosen.keep is not None:
        _say(f"look around: fleet -C {project.folder} runs")
    print(json.dumps(dataclasses.asdict(verdict)) if chosen.json else table(verdict))
    return 1 if verdict.broken else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(verdict: Verdict) -> str:
    """The verdict for people."""
    rows: list[tuple[str, int | str, str]] = [
        ("engines killed", verdict.kills, f"seed {verdict.seed}{_missed(verdict)}"),
        ("runs", verdict.runs, ", ".join(f"{n} {status}" for status, n in sorted(verdict.statuses.items()))),
        ("recorded steps", verdict.recorded, ""),
        ("  performed again", verdict.recorded_repeated, "must be 0"),
        ("  lost", verdict.lost, "must be 0"),
        ("`repeat: never` effects", verdict.never, ""),
        ("  happened more than once", verdict.never_repeated, "must be 0"),
        ("`repeat: safe` effects", verdict.safe, ""),
        ("  happened more than once", verdict.safe_repeated, "allowed: the idempotency key is the same"),
        ("steps in doubt", verdict.in_doubt, ""),
        ("  settled by their reconcile check", verdict.by_reconcile, ""),
        ("  settled by the operator", verdict.by_operator, ""),
        ("  left in doubt", verdict.left_in_doubt, ""),
    ]
    lines = [f"{what:<36}{count:>6}   {note}".rstrip() for what, count, note in rows]
    lines += ["", *(f"BROKEN: {line}" for line in verdict.broken)]
    if not verdict.broken:
        lines.append("every promise was kept")
    return "\n".join(lines)


def _missed(verdict: Verdict) -> str:
    return f"; {verdict.missed} more were done before their kill came" if verdict.missed else ""


if __name__ == "__main__":
    sys.exit(main())
