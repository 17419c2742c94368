"""What can be wrong with a place: its store, its engine, its secrets, its plugins."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from fleetprompt.client.database import store_of
from fleetprompt.client.files import discover_steps
from fleetprompt.client.opening import Place, open_store
from fleetprompt.client.wording import count, duration, short
from fleetprompt.engine.core.errors import FleetError, InvalidInput, StoreUnavailable
from fleetprompt.engine.ports import EngineHealth, Store
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.lock import engine_holder
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.runtime.wire import LONGEST_PATH, ask_health
from fleetprompt.engine.store.remains import require_whole

BUSY_SECONDS = 5.0
LEAST_FREE = 200 * 1024 * 1024
"""Bytes on the disk below which a store is in danger."""


class Finding(Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    status: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


async def diagnose(place: Place) -> list[Finding]:
    """Everything about a place, in the order in which it should be put right."""
    found = [_state(place), _disk(place)]
    file = place.file
    if file is not None and not file.exists():
        found.append(_absent(file))
    else:
        found += await _store(place)
    found += [await _engine(place), _secrets(place), *_plugins()]
    return found


def _state(place: Place) -> Finding:
    state = place.state
    if not state.exists():
        return Finding("state", "ok", f"{state} does not exist yet")
    if not os.access(state, os.W_OK | os.X_OK):
        return Finding("state", "fail", f"{state} cannot be written", f"chown or chmod {state}")
    mode = state.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("state", "warn", f"{state} can be read by others ({mode:04o})", f"chmod 700 {state}")
    return Finding("state", "ok", f"{state} ({mode:04o})")


def _disk(place: Place) -> Finding:
    folder = next(path for path in (place.state, *place.state.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free // 1024**2:,} MiB free on the disk of {folder}"
    if free < LEAST_FREE:
        return Finding("disk", "warn", text, "make room, or `fleet db prune --older-than 30d`")
    return Finding("disk", "ok", text)


def _absent(file: Path) -> Finding:
    try:
        require_whole(file)
    except StoreUnavailable as error:
        return Finding("store", "fail", error.message, error.hint)
    return Finding("store", "ok", f"{file} does not exist yet: the first run makes it")


async def _store(place: Place) -> list[Finding]:
    try:
        async with store_of(place) as store:
            return [_written(place, store), await _interrupted(place, store)]
    except FleetError as error:
        where = f"{error.where}: " if error.where else ""
        return [Finding("store", "fail", where + error.message, error.hint)]


def _written(place: Place, store: Store) -> Finding:
    if place.file is None:
        return Finding("store", "ok", f"{store.where} answers")
    try:
        with closing(sqlite3.connect(place.file, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return Finding("store", "fail", f"{place.file} cannot be written: {error}", "see who holds it: fuser -v FILE")
    return Finding("store", "ok", f"{place.file} can be written ({place.file.stat().st_size // 1024:,} KiB)")


async def _interrupted(place: Place, store: Store) -> Finding:
    import time

    heads = await store.runs.unfinished(now=time.time())
    if not heads:
        return Finding("runs", "ok", "none is interrupted")
    if engine_holder(place.lock) is not None or await _elsewhere(place) is not None:
        return Finding("runs", "ok", f"{count(len(heads), 'run')} under way")
    return Finding("runs", "warn", f"{count(len(heads), 'run')} interrupted", "`fleet recover`, or start `fleet serve`")


async def _engine(place: Place) -> Finding:
    lock, socket = place.lock, place.socket
    holder = engine_holder(lock)
    elsewhere = await _elsewhere(place) if holder is None else None
    if elsewhere is not None:
        who = f"pid {elsewhere.get('pid', '?')} on {elsewhere.get('host') or 'another machine'}"
        return Finding("engine", "ok", f"{who} ({elsewhere.get('what', 'fleet')}) drives the runs")
    if holder is None:
        return Finding("engine", "ok", "no engine runs; `fleet run` and `fleet recover` bring their own")
    who = f"pid {holder.get('pid', '?')} ({holder.get('what', 'fleet')}) drives the runs"
    if len(bytes(socket)) > LONGEST_PATH:
        return Finding("engine", "warn", f"{who}; the path of its socket is too long: others poll", "a shorter path")
    health = await ask_health(socket)
    if health is None:
        return Finding(
            "engine", "warn", f"{who}, but does not answer at {socket}", "others poll; restart it if it hangs"
        )
    return _answering(health, f"{who} and answers")


async def _elsewhere(place: Place) -> Mapping[str, Any] | None:
    """Who drives the runs of a store on a server, from whatever machine."""
    try:
        lease = open_store(place).lease()
        return await lease.holder() if lease is not None else None
    except StoreUnavailable:
        return None


def _answering(health: EngineHealth, who: str) -> Finding:
    text = f"{who}: up {duration(health.uptime)}, {count(health.live_runs, 'live run')}"
    if health.holds:
        run, why = next(iter(health.holds.items()))
        text += f", {count(len(health.holds), 'run')} held, such as {short(run)}: {why}"
        return Finding("engine", "warn", text, "`fleet db check` reads the whole store")
    if health.troubles:
        last = health.troubles[-1]
        text += f"; last trouble {duration(health.at - last.at)} ago: {last.where}: {last.what}"
        return Finding("engine", "warn", text, "see .fleet/engine.log")
    return Finding("engine", "ok", text)


def _secrets(place: Place) -> Finding:
    file: Path = place.state / "secrets.toml"
    if not file.exists():
        return Finding("secrets", "ok", f"from the environment (FLEET_SECRET_NAME); {file} does not exist")
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        return Finding("secrets", "fail", f"{file} can be read by others ({mode:04o})", f"chmod 600 {file}")
    try:
        Secrets(file).require_readable()
    except InvalidInput as error:
        return Finding("secrets", "fail", error.message, error.hint)
    return Finding("secrets", "ok", f"{file} ({mode:04o})")


def _plugins() -> list[Finding]:
    discover_steps()
    failed = [Finding("plugin", "fail", error.message, error.hint) for error in STEPS.failed.values()]
    return failed or [Finding("plugins", "ok", f"{len(STEPS.names())} step types: {', '.join(STEPS.names())}")]
