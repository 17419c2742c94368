"""What a call would be and do with other arguments: looked at by the engine, which has the files, or here where none
runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from fleetprompt.engine.core.codec import mapping
from fleetprompt.engine.core.edited import edited_digest
from fleetprompt.engine.core.errors import Refused
from fleetprompt.engine.ports import Approval, Store
from fleetprompt.engine.ports.tool import EditedCall
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.edits import look_at
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.runtime.wire import Looked

SILENT = "the engine does not answer"
OF_A_SERVER = "the server of this tool is started by engines only"
ELSEWHERE = "it can be looked at only where an engine runs"


class Equipment(Struct, frozen=True):
    """What a project has at hand, for a look without an engine."""

    root: Path
    agency: AgencySettings
    secrets: Path


def seen(looked: Looked) -> EditedCall | None:
    """What an engine has seen. Raises `Refused`."""
    if looked.problem:
        raise Refused(looked.problem, hint=looked.hint)
    return looked.call


async def seen_here(
    store: Store, equipment: Equipment, approval: Approval, executed: Any, values: Mapping[str, Any]
) -> EditedCall | None:
    """What is seen from this process, as an engine of the project would see it. Raises `Refused`."""
    if tool_of(approval, executed).partition(".")[0] in equipment.agency.mcp:
        return unseen(approval, executed, values, OF_A_SERVER)
    secrets = Secrets(equipment.secrets)
    agency = Agency(secrets, structs.replace(equipment.agency, mcp={}), root=equipment.root)
    # It is never opened: it does nothing, and holds nothing.
    engine = Engine(store, secrets=secrets, agency=agency, directory=equipment.root, recover=False)
    try:
        return await look_at(engine, approval.run, approval.id, values)
    finally:
        await agency.close()
        engine.threads.shutdown()


def unseen(approval: Approval, executed: Any, values: Mapping[str, Any], why: str) -> EditedCall | None:
    """The changed call as far as it is known without a look: its arguments. None where nothing is changed. `executed`
    is what the approval would release."""
    before = mapping(mapping(executed).get("arguments"))
    arguments = before | {name: value for name, value in values.items() if value is not None}
    if approval.about != "tool" or arguments == before:
        return None
    digest = edited_digest(tool_of(approval, executed), arguments)
    return EditedCall(arguments=arguments, edited=digest, unseen=why)


def tool_of(approval: Approval, executed: Any) -> str:
    """The tool that an approval is about."""
    return str(mapping(executed).get("tool") or mapping(approval.show).get("tool", ""))
