"""Taking over: a console whose engine is gone becomes the engine itself, unless somebody else was faster."""

from __future__ import annotations

from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.opening import Place, open_console


async def take_over(
    console: AttachedConsole, place: Place, *, what: str = "fleet", recover: bool = True
) -> EmbeddedConsole | AttachedConsole:
    """A console with the engine in this process, and the given one closed; the given one where others hold the engine.

    What was recorded while no engine ran is carried out, with `recover` all that was interrupted goes on, and schedules
    fire. Raises `StoreUnavailable`, and then the given console is as it was.
    """
    if console.where != "none":
        return console
    opened = await open_console(place, "prefer", what=what, recover=recover, fires=True)
    if isinstance(opened, AttachedConsole):
        await opened.close()
        return console
    await console.close()
    return opened
