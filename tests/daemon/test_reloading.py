"""Files of a daemon that change: it goes on serving, whatever keeps them from being taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from daemon_kit import QUICK, Served, served

from fleetprompt.client.workflow_files import WorkflowFiles
from fleetprompt.engine.core.errors import StoreUnavailable
from fleetprompt.engine.store.catalog import SqlCatalog


def said(daemon: Served) -> list[str]:
    return [what for _, where, what in daemon.console.engine.troubles if where == "workflow files"]


async def until(test: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        # The daemon looks at files in a thread of its own.
        while not test():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("where", "error", "told"),
    [
        ((SqlCatalog, "put"), StoreUnavailable("the disk is gone"), "the disk is gone"),
        ((WorkflowFiles, "look"), ValueError("a mistake of ours"), "ValueError: a mistake of ours"),
    ],
)
async def test_a_daemon_outlives_what_keeps_a_changed_file_from_being_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: tuple[type, str], error: Exception, told: str
) -> None:
    tries = 0

    def broken(*_: object, **__: object) -> Any:
        nonlocal tries
        tries += 1
        raise error

    async with served(tmp_path) as daemon:
        with monkeypatch.context() as patched:
            patched.setattr(*where, broken)
            (tmp_path / "workflows/quick.yaml").write_text(QUICK.replace("output: 1", "output: 2"))
            await until(lambda: tries >= 3)
            assert said(daemon) == [told], "it was tried again, and told once"
        await until(lambda: any("quick" in each.taken for each in daemon.reloaded))
        assert (await daemon.until(await daemon.execute("quick"), "completed"))["result"] == 2
