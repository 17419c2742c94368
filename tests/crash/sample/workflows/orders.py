"""Effects that leave a trace: each appends a line to `effects.jsonl` when it begins, and one when it has happened.

One `write` of a short line to a file opened with O_APPEND outlives the process that made it, however that ends.
"""

import asyncio
import json
import os
import time
import zlib
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "effects.jsonl"


def _mark(what, context, value):
    line = {"what": what, "run": context.run, "path": context.path, "key": context.key, "value": value}
    file = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def _seconds(context, salt):
    return 0.004 + zlib.crc32(f"{context.key}{salt}".encode()) % 16 / 1000


async def effect(context, value, fails=0):
    """Half of the time it takes goes by before it has happened, the other half before anybody hears of it."""
    _mark("begun", context, value)
    await asyncio.sleep(_seconds(context, "before"))
    if context.attempt <= fails:
        raise RuntimeError("out of order")
    _mark("happened", context, value)
    await asyncio.sleep(_seconds(context, "after"))
    return value


def blocking(context, value, fails=0):
    """The same in a thread."""
    _mark("begun", context, value)
    time.sleep(_seconds(context, "before"))
    if context.attempt <= fails:
        raise RuntimeError("out of order")
    _mark("happened", context, value)
    time.sleep(_seconds(context, "after"))
    return value


def look(key):
    """What the world knows of an idempotency key: it reads the effects, never the journal."""
    lines = [json.loads(line) for line in FILE.read_text().splitlines()] if FILE.exists() else []
    found = [line["value"] for line in lines if line["what"] == "happened" and line["key"] == key]
    return {"happened": bool(found), "value": found[0] if found else None}
