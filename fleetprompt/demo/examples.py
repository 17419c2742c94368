"""The example workflows that agents work in, and what each needs of the demo's world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fleetprompt.demo.fixtures import REPOSITORY, WAREHOUSE
from fleetprompt.demo.world import World

DEFAULT = "incident-triage"
CLOSED = ("connection refused", "no such file", "in the workspace", "there is no database")
"""What steps say that look for the shop where it is not open."""


class Example(NamedTuple):
    """A workflow that `fleet demo NAME` runs."""

    name: str
    about: str
    inputs: Callable[[World, Path], dict[str, str]]
    """What it is given in a world, paths as seen from the project's folder."""
    incident: bool = False
    """Whether the world has to be in its incident."""
    people: int = 1
    """How many people it takes to agree."""
    report: str = ""
    """The file that it writes, in the world's folder."""


def _incident(world: World, root: Path) -> dict[str, str]:
    return world.inputs(root)


def _quality(world: World, root: Path) -> dict[str, str]:
    return {"feed_url": world.control_url, "warehouse": world.path(WAREHOUSE, root)}


def _release(world: World, root: Path) -> dict[str, str]:
    return {
        "control_url": world.control_url,
        "repo": world.path(REPOSITORY, root),
        "db": world.path("shop.db", root),
    }


def _support(world: World, root: Path) -> dict[str, str]:
    return {
        "desk_url": world.control_url,
        "db": world.path("shop.db", root),
        "handbook": world.path(f"{REPOSITORY}/docs", root),
        "repo": world.path(REPOSITORY, root),
    }


def _research(world: World, root: Path) -> dict[str, str]:
    return {"sources": world.path(f"{REPOSITORY}/docs", root), "report": world.path("research.md", root)}


EXAMPLES = {
    example.name: example
    for example in (
        Example(
            "incident-triage",
            "a service with a real fault: an agent finds it, you agree to a restart",
            _incident,
            incident=True,
            report="incident.md",
        ),
        Example(
            "data-quality",
            "new orders with faults: an agent proposes the SQL that mends them, you agree to it",
            _quality,
        ),
        Example(
            "release-gate",
            "a release: tests at once, an agent's review, two people agree, and what fails is undone",
            _release,
            people=2,
        ),
        Example(
            "support-reply",
            "a customer's ticket: agents hand it over and ask each other, you change the answer and send it",
            _support,
        ),
        Example(
            "research-fanout",
            "questions about a handbook: agents search side by side within one budget, which is not enough",
            _research,
            report="research.md",
        ),
    )
}


def is_closed(workflow: str, said: str) -> bool:
    """Whether an example has failed because its shop is not open, as far as its error tells."""
    return workflow in EXAMPLES and any(words in said.lower() for words in CLOSED)
