"""Fixtures of the step types: a context ready to perform, and a server on loopback."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from steplab import Recorder, Server

from fleetprompt.engine.definition.step import step_type
from fleetprompt.engine.ports import Effect

Make = Callable[..., Recorder]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make("shell", {"argv": [...]}, secrets={"/env/TOKEN": "text"}, attempt=2)`: a context ready to perform.

    The input is validated as in a file first, so that no test uses a field the language does not have.
    """

    def build(
        type: str, config: dict[str, Any], /, *, secrets: dict[str, str] | None = None, **fields: Any
    ) -> Recorder:
        __import__(f"fleetprompt.engine.steps.{type}")
        model = step_type(type).model_validate({"type": type, **config})
        effect = Effect(
            **{
                "run": "r1",
                "tenant": "default",
                "path": "audit[3].deps",
                "attempt": 1,
                "type": type,
                "input": model.config(),
                "secrets": {pointer: [{"secret": "NAME"}] for pointer in secrets or {}},
                "key": "key-1",
                "pool": type,
                "repeat": model.repeats(),
                "directory": str(tmp_path),
                **fields,
            }
        )
        return Recorder(effect, secrets or {})

    return build


@pytest.fixture
def call(make: Any, tmp_path: Path) -> Any:
    """`await call(source, "f", x=1)`: the outcome of calling `f` of a module with that source."""
    count = 0

    async def go(source: str, name: str = "f", /, **arguments: Any) -> Any:
        nonlocal count
        count += 1
        (tmp_path / f"mod{count}.py").write_text(textwrap.dedent(source))
        return await make("python", {"call": f"mod{count}:{name}", "with": arguments}).perform()

    return go


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    mine = Server()
    listener = await asyncio.start_server(mine.connection, "127.0.0.1", 0)
    mine.port = listener.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    mine.url = f"http://127.0.0.1:{mine.port}"  # type: ignore[attr-defined]
    yield mine
    listener.close()
    mine.close()
    await asyncio.sleep(0)
