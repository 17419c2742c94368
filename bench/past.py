"""A fleet with a past: many runs of several workflows, most of them over, written to a store as an engine leaves them.

They are folded by the real core and written to the journal in batches: to let an engine run 100,000 of them would
measure the engine. The same number always makes the same fleet, but for the time it is placed in.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from bench.ours import place, write_project
from fleetprompt.client.files import WorkflowFile, load_file
from fleetprompt.client.opening import open_store
from fleetprompt.engine.core.batch import Batch
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import (
    AnyFact,
    ApprovalRequested,
    RunCreated,
    RunFinished,
    RunStarted,
    StepFailed,
    StepStarted,
    StepSucceeded,
    StepWaiting,
)
from fleetprompt.engine.core.program import Program
from fleetprompt.engine.core.state import Run
from fleetprompt.engine.ports import Append, Wait, Workflow
from fleetprompt.engine.runtime.head import head_of

NAMES = ("triage-inbox", "nightly-eval", "deploy-canary", "summarise-pr", "crawl-docs", "release-gate")
OWNERS = ("ada", "ci", "cron", "github", "grace", "oncall")
STEPS = ("fetch", "classify", "act", "verify")
FAULTS = (
    ("TOOL_ERROR", "HTTP 429 Too Many Requests after 3 attempts"),
    ("TIMEOUT", "no answer within 30 s"),
    ("TOOL_ERROR", "make: *** [test] Error 2"),
    ("VALIDATION_ERROR", "output: `severity` must be one of low, high"),
)
WORKFLOW = """
name: {name}
description: A workflow of the bench.
inputs:
  target: {{type: string, default: staging}}
steps:
  - {{id: fetch, type: shell, argv: ["true"]}}
  - {{id: classify, type: shell, argv: ["true"]}}
  - {{id: act, type: shell, argv: ["true"]}}
  - {{id: verify, type: shell, argv: ["true"]}}
"""
ASKING = """
name: deploy-canary
description: Ask before anything is deployed.
inputs:
  target: {type: string, default: staging}
steps:
  - {id: fetch, type: shell, argv: ["true"]}
  - {id: classify, type: shell, argv: ["true"]}
  - {id: act, type: approval, message: "Deploy?", show: "kubectl rollout restart deploy/api --context prod"}
  - {id: verify, type: shell, argv: ["true"]}
"""
LOT = 2_000
SPAN = 14 * 86_400.0
"""Seconds over which the runs are spread."""
SINCE = 300.0
"""Seconds since the youngest began: what is over has ended before the fleet is opened."""


class Past:
    """Makes runs, one after the other, the oldest first."""

    def __init__(self, files: dict[str, WorkflowFile], count: int, now: float) -> None:
        self._programs = {name: Program(file.plan, file.digest) for name, file in files.items()}
        self._random = random.Random(count)
        self._count = count
        self._now = now

    def entries(self) -> Iterator[Append]:
        """Every run as one append."""
        for at in range(self._count):
            age = SPAN * (1 - at / self._count) ** 2 + SINCE
            yield self._entry(self._now - age, at >= self._count - 60)

    def _entry(self, began: float, recent: bool) -> Append:
        chance = self._random
        name = chance.choice(NAMES)
        program = self._programs[name]
        run, batch = Run(program), Batch()
        id_ = _uuid(began, chance)
        created = RunCreated(
            at=began,
            run=id_,
            plan=program.digest,
            workflow=name,
            inputs={"target": chance.choice(("prod", "staging"))},
            trigger={"kind": chance.choice(("manual", "schedule", "webhook"))},
            owner=chance.choice(OWNERS),
            labels={"env": chance.choice(("prod", "staging"))},
        )
        batch.add(run, [created, RunStarted(at=began + 0.01)])
        at = began + 0.02
        ends = chance.random()
        for step in STEPS:
            last = step == "act"
            took = chance.expovariate(1 / 8.0) + 0.05
            if recent and last and name == "deploy-canary":
                batch.add(run, self._asked(at, id_))
                break
            batch.add(run, [StepStarted(at=at, path=step, input={"argv": ["true"]})])
            if recent and last and ends < 0.3:
                break
            at += took
            if last and ends > 0.93:
                code, message = chance.choice(FAULTS)
                error = Failure(code=code, message=message, path=step)
                batch.add(run, [StepFailed(at=at, path=step, error=error)])
                batch.add(run, [RunFinished(at=at, status="failed", error=error)])
                break
            batch.add(run, [StepSucceeded(at=at, path=step, output={"ok": True}, usage=self._usage(step))])
        else:
            batch.add(run, [RunFinished(at=at, status="completed", output={"ok": True})])
        return Append(
            run=id_,
            tenant="default",
            after=0,
            facts=tuple(batch.facts),
            encoded=tuple(batch.encoded),
            head=head_of(run, "bench", at),
            waits=tuple(Wait(*wait) for wait in run.outbox.waits),
        )

    def _asked(self, at: float, id_: str) -> list[AnyFact]:
        return [
            StepStarted(at=at, path="act", input={"message": "Deploy?"}),
            ApprovalRequested(
                at=at,
                path="act",
                id=f"ap-{id_[-10:]}",
                digest="d" * 64,
                message="Deploy release 4.2 to prod?",
                show="kubectl rollout restart deploy/api --context prod",
            ),
            StepWaiting(at=at, path="act", on="approval"),
        ]

    def _usage(self, step: str) -> dict[str, int]:
        if step != "classify":
            return {}
        tokens = self._random.randrange(400, 40_000)
        return {"tokens": tokens, "cost_nano": tokens * 4_000}


def _uuid(at: float, chance: random.Random) -> str:
    """A UUID of version 7 (RFC 9562) for a moment of the past."""
    milliseconds = int(at * 1000) & (1 << 48) - 1
    rest = chance.getrandbits(74)
    high = milliseconds << 16 | 7 << 12 | rest >> 62
    return str(UUID(int=high << 64 | 2 << 62 | rest & (1 << 62) - 1))


async def fill(folder: Path, count: int) -> None:
    """Make a project with so many runs in its store."""
    texts = {name: WORKFLOW.format(name=name) for name in NAMES} | {"deploy-canary": ASKING}
    write_project(folder, "", **texts)
    files = {name: load_file(folder / "workflows" / f"{name}.yaml") for name in NAMES}
    store = open_store(place(folder))
    await store.open()
    try:
        now = time.time()
        for name, file in files.items():
            await store.catalog.put(file.plan, source=file.text)
            known = Workflow(
                name=name, tenant="default", status="active", plan=file.digest, file=f"workflows/{name}.yaml"
            )
            await store.catalog.set_workflow(known)
        lot: list[Append] = []
        for entry in Past(files, count, now).entries():
            lot.append(entry)
            if len(lot) >= LOT:
                await _write(store, lot)
        await _write(store, lot)
    finally:
        await store.close()


async def _write(store: object, lot: list[Append]) -> None:
    await asyncio.gather(*[store.journal.append(entry) for entry in lot])  # type: ignore[attr-defined]
    lot.clear()


def main() -> None:
    """`python -m bench.past FOLDER [RUNS]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=int, nargs="?", default=100_000)
    given = parser.parse_args()
    began = time.perf_counter()
    asyncio.run(fill(given.folder, given.runs))
    print(f"{given.runs:,} runs in {time.perf_counter() - began:.1f} s: {given.folder}")


if __name__ == "__main__":
    main()
