"""What became of runs: the exit code, the JSON object, the words at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import msgspec
from rich.text import Text

from fleetprompt.cli.render import failure_lines, head_line, plain, tree_lines
from fleetprompt.cli.tree import Tree, fitted
from fleetprompt.cli.wrapping_up import WrappedUp, all_wrapped_up, wrapped_up_object
from fleetprompt.client.reasons import run_reason
from fleetprompt.client.values import block
from fleetprompt.client.wording import NANO, rfc3339, short
from fleetprompt.engine.core.errors import Failure
from fleetprompt.engine.core.facts import Blob
from fleetprompt.engine.core.state import Run, Step

COMPLETED, FAILED, WAITING, CANCELLED, TIMEOUT = 0, 1, 3, 4, 5
EXIT_CODES = {"completed": COMPLETED, "failed": FAILED, "cancelled": CANCELLED, "timeout": TIMEOUT}
SEVERITY = (COMPLETED, WAITING, CANCELLED, TIMEOUT, FAILED)
"""Exit codes from the best to the worst, where several runs share one."""
OUTPUT_LINES = 20
MOST_GATES = 10
"""Approvals that are named; of more it is said how many there are."""


def exit_code(trees: list[Tree], expected: int) -> int:
    """The worst of several runs; those that nobody has seen count as waiting."""
    codes = [EXIT_CODES.get(tree.run.status, WAITING) for tree in trees]
    if len(codes) < expected:
        codes.append(WAITING)
    return max(codes, key=SEVERITY.index, default=COMPLETED)


def usage_object(run: Run) -> dict[str, Any]:
    """What a run has used, and what it may have spent besides."""
    return {
        "tokens": run.tokens,
        "cost_usd": run.cost_nano / NANO,
        "cost_nano": run.cost_nano,
        "uncertain_usd": run.uncertain_nano / NANO,
        "uncertain_nano": run.uncertain_nano,
    }


def error_object(error: Any) -> dict[str, Any] | None:
    """A failure for machines: always the same keys."""
    if error is None:
        return None
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "step": error.path,
        "data": msgspec.to_builtins(error.data),
    }


def value_object(value: Any, blob: Blob | None, loaded: Any = None) -> Any:
    """A value for machines; what stands for one that is kept elsewhere."""
    if blob is not None:
        return loaded if loaded is not None else {"ref": blob.digest, "size": blob.size}
    return msgspec.to_builtins(value)


def step_object(step: Step, now: float) -> dict[str, Any]:
    """A step of a run, in short."""
    ended = step.finished_at if step.finished_at is not None else now
    return {
        "path": step.path,
        "status": step.status,
        "duration": round(ended - step.started_at, 6) if step.started_at is not None else None,
        "attempts": step.attempt,
    }


def run_object(tree: Tree, output: Any = None, held: str = "", halted: str = "") -> dict[str, Any]:
    """A run as `fleet run --json` prints it: always the same keys. `held` is why the engine does nothing for it,
    `halted` why nothing new starts in it."""
    run = tree.run
    created = tree.created
    now = time.time()
    return {
        "id": tree.id,
        "workflow": created.workflow if created else "",
        "status": tree.status,
        "waiting_on": run.waiting_on if tree.status == "waiting" else None,
        "reason": run_reason(run, halted) or None,
        "output": value_object(run.output, run.output_blob, output),
        "error": error_object(Failure("INTERNAL", held, hint=HELD_HINT) if held else run.error),
        "created_at": rfc3339(created.at if created else None),
        "started_at": rfc3339(run.started_at),
        "finished_at": rfc3339(run.finished_at),
        "duration": round(seconds, 6) if (seconds := tree.seconds(now)) is not None else None,
        "steps": [step_object(step, now) for step in run.steps.values()],
        "usage": usage_object(run),
        "wrapped_up": [wrapped_up_object(each) for each in all_wrapped_up([tree])],
        "mode": run.mode or None,
    }


# ---------------------------------------------------------------- for people


def final_lines(tree: Tree, width: int | None, height: int = 60, halted: str = "") -> list[Text]:
    """The tree as it is when nobody looks at it any more. `halted`: why nothing new starts in the run."""
    now = time.time()
    return [head_line(tree, now, halted=halted), *tree_lines(fitted(tree, now, height), width)]


def result_lines(tree: Tree, output: Any = None) -> list[Text]:
    """What went wrong, or what came out of it."""
    run = tree.run
    lines: list[Text] = []
    if run.error is not None:
        lines += [Text(), *failure_lines(run.error)]
    if found := wrapped_up_lines(all_wrapped_up([tree])):
        lines += [Text(), *found]
    shown = run.output if run.output_blob is None else output if output is not None else run.output_blob
    if run.ended and shown is not None:
        lines += [Text(), Text("output", style="dim"), *(Text(f"  {line}") for line in block(shown, OUTPUT_LINES))]
    return lines


def wrapped_up_lines(found: Iterable[WrappedUp]) -> list[Text]:
    """Which agents finished with what they had, because of which limits."""
    lines = [
        Text("  ").append_text(plain(each.path, "bold")).append_text(plain(f"  {each.agent}: {each.reason}"))
        for each in found
    ]
    return [Text("wrapped up at a limit (on_limit: wrap_up)", style="yellow"), *lines] if lines else []


def next_lines(tree: Tree, *, embedded: bool, shown: bool = False) -> list[Text]:
    """What can be done about a run that is not over, or went wrong; `shown` when somebody looks at it already."""
    run = tree.run
    id_ = short(tree.id)
    if run.ended:
        if run.status == "completed":
            return []
        look = () if shown else (("look", f"fleet show {id_}"),)
        if run.error is not None and _shop_is_closed(tree, run.error.message):
            look = (("open the shop it needs, in another terminal", "fleet demo up"), *look)
        return _commands(*look, ("try again", f"fleet retry {id_} && fleet recover"))
    gates = [(step, gate) for step in tree.asking() for gate in step.open_gates]
    commands = [(f"decide about {step.path}", f"fleet approve {gate.id}") for step, gate in gates[:MOST_GATES]]
    if len(gates) > MOST_GATES:
        commands.append((f"decide about {len(gates) - MOST_GATES} more", "fleet approvals"))
    commands += [(f"answer for {step.path}", f"fleet show {id_}") for step in tree.doubtful()]
    if run.paused:
        commands.append(("resume", f"fleet resume {id_}"))
    if embedded or not shown:
        commands.append(("go on", f"fleet recover {id_}") if embedded else ("look", f"fleet show {id_}"))
    return _commands(*commands)


def _shop_is_closed(tree: Tree, said: str) -> bool:
    from fleetprompt.demo.examples import is_closed

    return tree.created is not None and is_closed(tree.created.workflow, said)


HELD_HINT = "`fleet db check` says what is wrong; restore a backup, or try it again with `fleet recover`"


def held_lines(run: str, why: str) -> list[Text]:
    """What can be done about a run for which the engine does nothing any more."""
    id_ = short(run)
    return [
        plain(f"run {id_} is held: {why}", "red"),
        *_commands(
            ("what is wrong", "fleet db check"), ("look", f"fleet facts {id_}"), ("try again", f"fleet recover {id_}")
        ),
    ]


def _commands(*commands: tuple[str, str]) -> list[Text]:
    widest = max((len(what) for what, _ in commands), default=0)
    return [
        Text("  ").append_text(plain(f"{what:<{widest}}  ", "dim")).append(command, "cyan")
        for what, command in commands
    ]
