"""While a provider is loaded for its first request, those who watch are told, and nothing of it is recorded."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

from agent_kit import StubModels, engine_at, notes, over, start
from stub_server import Stub, start_stub

from fleetprompt.engine.llm.library import is_imported
from fleetprompt.engine.llm.provider_litellm import LiteLLM
from fleetprompt.engine.ports.model import ModelTarget, Provider

ASKS = """
name: asks
steps: [{id: ask, type: chat, prompt: Hello?}]
"""


class Loading(LiteLLM):
    """One that is loaded when the test says so."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.began = asyncio.Event()
        self._error = error
        self._loaded = False

    @property
    def loaded(self) -> bool:
        return self._loaded

    async def load(self) -> None:
        self.began.set()
        await self.may.wait()
        self._loaded = True
        if self._error is not None:
            raise self._error


class LoadingModels(StubModels):
    def __init__(self, stub: Stub, loading: Loading) -> None:
        super().__init__(stub)
        self.loading = loading

    def provider(self, target: ModelTarget) -> Provider:
        return self.loading


async def test_what_is_loaded_is_shown_while_it_lasts_and_recorded_nowhere(tmp_path: Path) -> None:
    with start_stub(tmp_path, [{"text": "yes"}]) as stub:
        loading = Loading()
        async with engine_at(tmp_path, LoadingModels(stub, loading)) as engine:
            run = await start(engine, ASKS)
            async with asyncio.timeout(120):
                await loading.began.wait()
                async with aclosing(engine.pieces.watch(run, 0.0)) as batches:
                    [said] = await anext(batches)
                    assert (said.path, said.kind, said.text) == ("ask", "status", "loading the model layer")
                    before = await notes(engine)
                    loading.may.set()
                    [over_] = await anext(batches)
                    assert (over_.path, over_.key, over_.kind) == (said.path, said.key, "reset")
            assert await over(engine) == ("completed", "yes")
            assert (await notes(engine))[len(before)].kind == "llm.started"
            assert (await engine.store.logs.read(run))[0] == []


async def test_what_cannot_be_loaded_leaves_it_to_the_request_to_say_why(tmp_path: Path) -> None:
    with start_stub(tmp_path, [{"text": "yes"}]) as stub:
        loading = Loading(ImportError("no such library"))
        loading.may.set()
        async with engine_at(tmp_path, LoadingModels(stub, loading)) as engine:
            await start(engine, ASKS)
            assert await over(engine) == ("completed", "yes")


async def test_the_model_layer_is_loaded_once_for_a_process() -> None:
    provider = LiteLLM()
    await provider.load()
    assert (provider.loaded, is_imported()) == (True, True)
