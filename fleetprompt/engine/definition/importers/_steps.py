"""What steps of foreign files become: one function per kind, for every format."""

from __future__ import annotations

from typing import Final

from fleetprompt.engine.definition.importers._making import Maker
from fleetprompt.engine.definition.importers._steps_agents import agent
from fleetprompt.engine.definition.importers._steps_loops import loop
from fleetprompt.engine.definition.importers._steps_outside import http, tool, unknown
from fleetprompt.engine.definition.importers._steps_people import approval, decide
from fleetprompt.engine.definition.importers._steps_time import delay
from fleetprompt.engine.definition.importers._steps_values import transform

MAKERS: Final[dict[str, Maker]] = {
    "agent": agent,
    "tool": tool,
    "http": http,
    "transform": transform,
    "delay": delay,
    "approval": approval,
    "condition": decide,
    "loop": loop,
    "parallel": lambda step: {},
    "unknown": unknown,
}
"""What each kind of step becomes, as fields of its own."""
TYPES: Final = {kind: kind for kind in MAKERS} | {"unknown": "tool"}
"""The `type` of each kind here."""
