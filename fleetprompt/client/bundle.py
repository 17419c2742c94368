"""A support bundle: what somebody elsewhere needs to see what is wrong here, and nothing that is nobody's business.

No input, output, prompt, log of a step or text of a workflow is in it. Every known secret is masked by its value, what
looks like one by its shape, and what a run was given where the message of its error repeats it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
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
from fleetprompt.engine.core.facts import RunCreated
from fleetprompt.engine.core.query import parse
from fleetprompt.engine.core.query_fields import RUN_FIELDS
from fleetprompt.engine.core.secret_shapes import MASK, mask_shapes
from fleetprompt.engine.ports import Page, RunHead, Store, Stored
from fleetprompt.engine.runtime.secrets import SHORTEST, Secrets
from fleetprompt.engine.runtime.wire import ask_health

CONTENTS: Final = {
    "about.json": "versions of FleetPrompt, Python, the system and the libraries",
    "doctor.json": "what `fleet doctor` has found",
    "settings.json": "fleet.toml, without values of keys that look secret",
    "engine.json": "the engine's health: queues, pools, troubles, held runs",
    "store.json": "size, schema, and rows by table",
    "workflows.json": "names, states and digests of workflows, no text of them",
    "runs.json": "the newest runs: states, times, codes and messages of errors, without what runs were given",
    "engine.log": "the end of the engine's log",
}
"""What is in it, by file."""
RUNS: Final = 200
LONG: Final = 8
"""Characters from which a text that one run was given is masked in what became of the others, too."""
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
    texts = {
        name: json.dumps(_masked(msgspec.to_builtins(value)), indent=1, ensure_ascii=False)
        for name, value in files.items()
    }
    texts["engine.log"] = mask_shapes(_log(place.state / "engine.log"))
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
        "runs.json": await _runs(store, heads),
    }


async def _runs(store: Store, heads: Sequence[RunHead]) -> list[dict[str, Any]]:
    """Runs, without what they were given: programs repeat it when they complain."""
    given = {head.id: await _given(store, head) for head in heads if head.error_message}
    # What a child was given stands in the error of its parent, too.
    long = {text for texts in given.values() for text in texts or () if len(text) >= LONG}
    return [_run(head, _without(head.error_message, given.get(head.id, set()), long)) for head in heads]


async def _given(store: Store, head: RunHead) -> set[str] | None:
    """Texts that a run was given; None where nobody knows all of them."""
    first = next(iter(await store.journal.facts(head.id, upto=1)), None)
    created = first.fact if isinstance(first, Stored) else None
    if not isinstance(created, RunCreated) or created.blob is not None:
        return None
    told = mapping(created.trigger).get("data")
    return {text for text in _texts([created.inputs, told, created.labels]) if len(text) >= SHORTEST}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in mapping(value).values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in items(value):
            yield from _texts(inner)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield str(value)


def _without(message: str, own: set[str] | None, others: set[str]) -> str:
    """A message without texts; all of it where it is not known what must not be in it."""
    if own is None:
        return MASK
    texts = sorted(own | others, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, texts)), MASK, message) if texts else message


def _masked(value: Any) -> Any:
    """A value in whose texts nothing looks like a secret."""
    if isinstance(value, str):
        return mask_shapes(value)
    if isinstance(value, Mapping):
        return {mask_shapes(str(key)): _masked(inner) for key, inner in mapping(value).items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in items(value)]
    return value


def _run(head: RunHead, message: str) -> dict[str, Any]:
    names = (
        "id", "workflow", "tenant", "status", "waiting_on", "created_at", "started_at", "finished_at", "updated_at",
        "wake_at", "step", "steps_done", "attempt", "error_code", "error_message", "error_step", "n", "retry_of",
        "parent", "trigger", "host", "tokens", "cost_nano", "models", "tools",
    )  # fmt: skip
    return {name: getattr(head, name) for name in names} | {"error_message": message}


def _log(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
