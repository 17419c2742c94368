"""The project that engines are killed in: a folder with one workflow, and a file to which every effect adds a line."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleetprompt.client.opening import Place

ORIGINAL = Path(__file__).parent / "sample"
NEVER = ("stock", "pack[0].stamp", "pack[1].stamp", "pack[2].stamp", "papers.label", "pay", "send")
SAFE = ("pack[0].wrap", "pack[1].wrap", "pack[2].wrap", "papers.invoice")
UNDONE = ("stock@compensate", "pay@compensate")
NEVER_AGAIN = frozenset((*NEVER, "pay@compensate"))
"""Paths of the effects that must happen at most once, whatever else happens."""


@dataclass(frozen=True)
class Effect:
    """A line of the file: what an effect did."""

    what: str
    """`begun` or `happened`."""
    run: str
    path: str
    key: str
    value: Any


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Project:
        """Copy it to a folder that holds nothing yet."""
        shutil.copytree(ORIGINAL, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(folder.resolve())

    @property
    def workflow(self) -> Path:
        return self.folder / "workflows" / "order.yaml"

    @property
    def place(self) -> Place:
        """The project as `fleet` finds it."""
        state = self.folder / ".fleet"
        return Place(root=self.folder, state=state, database=str(state / "fleet.db"))

    @property
    def lines(self) -> int:
        """How many lines the effects have left so far."""
        return self._text().count("\n")

    def effects(self) -> list[Effect]:
        """What has happened out there so far, in its order; a last line that is not whole is left out."""
        return [Effect(**json.loads(line)) for line in self._text().splitlines(keepends=True) if line.endswith("\n")]

    def _text(self) -> str:
        file = self.folder / "effects.jsonl"
        return file.read_text() if file.exists() else ""


def fails(number: int) -> bool:
    """Whether an order cannot be sent, so that what was done for it is undone."""
    return number % 5 == 0


def wanted(number: int) -> frozenset[str]:
    """Paths of the effects that must have happened when an order is over: these and no others."""
    done = (*NEVER, *SAFE)
    return frozenset((*done, *UNDONE)) - {"send"} if fails(number) else frozenset(done)


def output(number: int) -> Any:
    """What a run comes to, whatever happened on the way."""
    if fails(number):
        return None
    return {
        "stock": f"stock-{number}",
        "stamps": [10, 20, 30],
        "label": f"label-{number}",
        "invoice": f"invoice-{number}",
        "pay": f"pay-{number}",
        "send": f"send-{number}",
    }
