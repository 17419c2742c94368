"""Names that are derived, never drawn: idempotency keys, ids of children and signals, jitter.

The same run, path and generation give the same names after any crash, on any machine.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Records of ports are named by it, too, and a console paints its frame before it needs programs.
    from fleetprompt.engine.core.state import Run, Step

_ATTEMPT = re.compile(r"#\d+")
_PLACE = re.compile(r"#\d+|\[\d+\]")


def _hash(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()


def effect_key(run: Run, step: Step) -> str:
    """Idempotency key of a step's effect: root run, path and generation, which is known by the run that began it.

    A composite's automatic retry (`#2` in the path) is the same work again, so it does not change the key.
    """
    path = _ATTEMPT.sub("", step.path) if "#" in step.path else step.path
    generation = step.generation
    began = run.line[generation - 1 : generation] if generation else ()
    return _hash(_root(run), path, str(generation), *began)[:32]


def child_key_root(run: Run, step: Step) -> str:
    """What the keys of the child that a `workflow` step started are derived from: another child is other work."""
    generation = step.generation
    began = "".join(f"@{fork}" for fork in run.line[generation - 1 : generation]) if generation else ""
    return f"{_root(run)}/{step.path}#{step.attempt}{began}"


def _root(run: Run) -> str:
    created = run.created
    assert created is not None
    return created.key_root or created.root or created.run


def child_id(run: Run, step: Step, attempt: int) -> str:
    """Run id of the child that an attempt of a `workflow` step starts, in the shape of a UUID (version 8, RFC 9562)."""
    text = _hash("child", run.id, step.path, str(attempt), str(step.generation))
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def step_of(path: str) -> str:
    """The step that a path belongs to, in whatever iteration and attempt it is: `audit.deps` of `audit#2[3].deps`."""
    return _PLACE.sub("", path) if "[" in path or "#" in path else path


def approval_id(run: Run, path: str, attempt: int) -> str:
    """Id of the approval that a step asks for."""
    return "ap-" + _hash("approval", run.id, path, str(attempt), str(run.generation))[:12]


def call_approval_id(run: Run, path: str, attempt: int, call: str) -> str:
    """Id of the approval that a call inside a step asks for."""
    return "ap-" + _hash("approval", run.id, path, str(attempt), str(run.generation), call)[:12]


def call_key(effect: str, session: int, call: str) -> str:
    """Idempotency key of a call inside a step: the key of the step's effect, the attempt in which its work began, and
    the position of the call. It stays the same however often the work is interrupted and taken up again."""
    return _hash(effect, str(session), call)[:32]


def call_child_id(run: str, path: str, attempt: int, call: str) -> str:
    """Run id of the child that a call inside a step starts, in the shape of a UUID (version 8, RFC 9562)."""
    text = _hash("child", run, path, str(attempt), call)
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def signal_id(*parts: str) -> str:
    """Id of a signal that a run sends."""
    text = _hash("signal", *parts)
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def spread(run: Run, path: str, attempt: int) -> float:
    """A number in [-1, 1) that differs between runs, steps and attempts: jitter without dice."""
    return int(_hash("jitter", run.id, path, str(attempt))[:8], 16) / 2**31 - 1.0
