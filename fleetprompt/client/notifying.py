"""Who is notified: started beside an engine, listed, and tried out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from fleetprompt.client.database import store_of
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.engine.core.errors import FleetError, NotFound
from fleetprompt.engine.core.notice import Notice
from fleetprompt.engine.core.notice_settings import NoticeSettings
from fleetprompt.engine.outside.notices import require_apprise
from fleetprompt.engine.runtime.notifier import CURSOR, Notifier, send
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.runtime.wire import ask_health

if TYPE_CHECKING:
    from fleetprompt.client.opening import Place


class Tried(Struct, frozen=True):
    """What came of trying a channel."""

    name: str
    problem: str = ""
    """Empty: it was taken."""
    hint: str = ""


def start_notifying(
    console: EmbeddedConsole, channels: Mapping[str, NoticeSettings], stuck_after: float
) -> Notifier | None:
    """Notify for as long as the engine of this console lives; None where nobody is. Raises `InvalidInput` where what a
    channel needs is not installed."""
    if not channels:
        return None
    if any(each.apprise for each in channels.values()):
        require_apprise()
    notifier = Notifier(console.engine, channels, stuck_after)
    console.engine.spawn(notifier.run())
    return notifier


async def behind(place: Place, channels: Mapping[str, NoticeSettings]) -> dict[str, int | None]:
    """How many facts each channel has not looked at yet; None for one that has never begun."""
    async with store_of(place) as store:
        position = await store.journal.position()
        found = {name: await store.operations.cursor(CURSOR + name) for name in channels}
    return {name: None if at is None else max(0, position - at) for name, at in found.items()}


async def unsent(place: Place) -> Mapping[str, str]:
    """Channels whose messages nobody takes just now, and why; none where no engine answers."""
    health = await ask_health(place.socket)
    return health.unsent if health is not None else {}


async def try_out(place: Place, channels: Mapping[str, NoticeSettings], name: str = "", *, by: str) -> list[Tried]:
    """Send a message that says it is a test, to one channel or to all. Raises `NotFound`."""
    if name and name not in channels:
        known = f"there are {', '.join(channels)}" if channels else "fleet.toml has no [notifications.NAME]"
        raise NotFound(f"there is no notification channel `{name}`", hint=known)
    secrets = Secrets(place.state / "secrets.toml")
    found: list[Tried] = []
    for each, settings in channels.items():
        if name in ("", each):
            found.append(await _tried(secrets, each, settings, by))
    return found


async def _tried(secrets: Secrets, name: str, settings: NoticeSettings, by: str) -> Tried:
    at = time.time()
    text = f"this is a test by {by}: whoever reads it is notified by the channel `{name}`"
    notice = Notice(
        kind="approval", run="none", workflow="test", tenant="default", at=at, text=text, command="fleet notify"
    )
    try:
        if settings.apprise:
            require_apprise()
        await send(secrets, settings, f"test-{at:.6f}", [notice], at)
    except FleetError as error:
        return Tried(name, secrets.redact(error.message), error.hint)
    return Tried(name)
