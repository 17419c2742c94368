"""A support bundle: what somebody elsewhere needs to see what is wrong here, and nothing that is nobody's business.

No input, output, prompt, log of a step or text of a workflow is in it, and every known secret is masked.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import msgspec

from fleetprompt import __version__
from fleetprompt.client.database import store_of
from fleetprompt.client.diagnosis import Finding
from fleetprompt.client.opening import Place
from fleetprompt.engine.core.codec import items, mapping
from fleetprompt.engine.core.errors import FleetError, Refused
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.ports import Page, RunHead, Store
from fleetprompt.engine.runtime.secrets import MASK, Secrets
from fleetprompt.engine.runtime.wire import ask_health

CONTENTS: Final = {
    "about.json": "versions of FleetPrompt, Python, the system and the libraries",
    "doctor.json": "what `fleet doctor` has found",
    "settings.json": "fleet.toml, without values of keys that look secret",
    "engine.json": "the engine's health: queues, pools, troubles, held runs",
    "store.json": "size, schema, and rows by table",
    "workflows.json": "names, states and digests of workflows, no text of them",
    "runs.json": "the newest runs: states, times, codes and messages of errors; no inputs or outputs",
    "engine.log": "the end of the engine's log",
}
"""What is in it, by file."""
RUNS: Final = 200
LOG_BYTES: Final = 500_000
PACKAGES: Final = (
    "aiosqlite", "apprise", "apscheduler", "asyncpg", "fastapi", "httpx", "litellm", "mcp", "msgspec",
    "opentelemetry-sdk", "pydantic", "sqlalchemy", "textual", "uvicorn",
)  # fmt: skip
_SECRET_KEYS: Final = ("secret", "token", "password", "passwd", "key", "authorization", "cookie", "credential", "env")
_ADDRESSES: Final = ("url", "webhook", "apprise", "endpoint", "database", "headers", "argv", "command")
"""Keys whose values may hold a password among other things."""


async def write_bundle(place: Place, settings: Mapping[str, Any], found: Sequence[Finding], target: Path) -> int:
    """Write it to a new file; its size in bytes. Raises `Refused` where there is one."""
    secrets = Secrets(place.state / "secrets.toml")
    files: dict[str, Any] = {
        "about.json": _about(),
        "doctor.json": [msgspec.structs.asdict(one) for one in found],
        "settings.json": _settings(settings),
        "engine.json": await _engine(place),
        **await _stored(place),
    }
    texts = {name: json.dumps(value, indent=1, ensure_ascii=False, default=str) for name, value in files.items()}
    texts["engine.log"] = _log(place.state / "engine.log")
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name in CONTENTS:
            bundle.writestr(name, secrets.redact(texts[name]))
    content = packed.getvalue()
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError:
        raise Refused(f"{target} exists already", hint="give another name") from None
    except OSError as error:
        raise Refused(f"{target} cannot be written: {(error.strerror or str(error)).lower()}") from None
    return len(content)


def _about() -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "at": time.time(),
        "fleetprompt": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "libraries": versions,
    }


def _settings(value: Any, key: str = "") -> Any:
    """Settings in which nothing stands that looks secret: who sends a bundle has not read each line of it."""
    name = key.lower()
    if isinstance(value, (bool, int, float)):
        return value
    if name.startswith(_ADDRESSES) or any(part in name for part in _SECRET_KEYS):
        return MASK if value not in ("", None, {}, []) else value
    if isinstance(value, Mapping):
        return {str(each): _settings(inner, str(each)) for each, inner in mapping(value).items()}
    if isinstance(value, (list, tuple)):
        return [_settings(each) for each in items(value)]
    return value


async def _engine(place: Place) -> Any:
    health = await ask_health(place.socket)
    return msgspec.to_builtins(health) if health is not None else {"state": "none, or it does not answer"}


async def _stored(place: Place) -> dict[str, Any]:
    if place.file is not None and not place.file.exists():
        return dict.fromkeys(("store.json", "workflows.json", "runs.json"), "there is no store")
    try:
        async with store_of(place) as store:
            return await _of_store(store)
    except FleetError as error:
        return dict.fromkeys(("store.json", "workflows.json", "runs.json"), str(error))


async def _of_store(store: Store) -> dict[str, Any]:
    health = await store.check()
    heads, _ = await store.runs.list(parse("", RUN_FIELDS), Page(limit=RUNS), now=time.time())
    return {
        "store.json": {
            "schema": health.schema,
            "bytes": health.bytes,
            "rows": dict(health.counts),
            "problems": list(health.problems),
        },
        "workflows.json": [
            {"name": each.name, "tenant": each.tenant, "status": each.status, "plan": each.plan, "file": each.file}
            for each in await store.catalog.every()
        ],
        "runs.json": [_run(head) for head in heads],
    }


def _run(head: RunHead) -> dict[str, Any]:
    names = (
        "id", "workflow", "tenant", "status", "waiting_on", "created_at", "started_at", "finished_at", "updated_at",
        "wake_at", "step", "steps_done", "attempt", "error_code", "error_message", "error_step", "n", "retry_of",
        "parent", "trigger", "host", "tokens", "cost_nano", "models", "tools",
    )  # fmt: skip
    return {name: getattr(head, name) for name in names}


def _log(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
