"""A project with agents whose models are a stub server's, an engine on it, and what people do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from stub_server import Stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.facts import AnyFact, StepNoted
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.llm.provider_litellm import LiteLLM
from fleetprompt.engine.ports import RunHead
from fleetprompt.engine.ports.model import ModelTarget, Price, Provider
from fleetprompt.engine.registry import STEPS
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore

PRICE = Price(input=1000, output=2000, source="test")
"""Nano-USD per token."""


class StubModels:
    """Every name is a model of the stub server; `fallback` are asked where one fails."""

    def __init__(self, stub: Stub, price: Price | None = PRICE, fallback: Sequence[str] = ()) -> None:
        self._stub = stub
        self._price = price
        self._fallback = tuple(fallback)
        self._provider = LiteLLM()

    async def find(self, name: str) -> ModelTarget:
        model = "openai/stub" if name == "default" else f"openai/{name}"
        return ModelTarget(name=name, model=model, api_base=self._stub.base, price=self._price, idle=60.0, first=60.0)

    def fallbacks(self, name: str) -> Sequence[str]:
        return self._fallback

    def provider(self, target: ModelTarget) -> Provider:
        return self._provider

    def reveal(self, target: ModelTarget) -> str:
        return "none"


@asynccontextmanager
async def engine_at(folder: Path, models: Any, **settings: Any) -> AsyncIterator[Engine]:
    """An engine of a project."""
    secrets = Secrets()
    agency = Agency(secrets, AgencySettings(**settings), root=folder, models=models)
    engine = Engine(SqlStore(folder / "fleet.db"), secrets=secrets, directory=folder, agency=agency)
    async with engine:
        yield engine


async def start(engine: Engine, text: str, inputs: Any = None, run: str = "r1", by: str = "ana", **more: Any) -> str:
    """Start a run of a workflow that is given as text. `more`: what else the signal says."""
    STEPS.discover("fleetprompt.engine.steps", "fleetprompt.steps")
    loaded = load_text(text, "flow.yaml", Path(engine.directory))
    await engine.store.catalog.put(loaded.plan, source=text)
    signal = Signal(
        id=run,
        type=types.START,
        source="test",
        at=engine.now(),
        subject=run,
        by=by,
        data={"run": run, "workflow": loaded.plan.name, "plan": loaded.digest, "inputs": inputs or {}, **more},
    )
    result = await engine.bus.submit(signal)
    assert result.status == "accepted", result
    return run


async def until(test: Callable[[], Any], seconds: float = 300.0) -> Any:
    """Until something holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = test()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, "it did not come true"
        await asyncio.sleep(0.01)


async def head(engine: Engine, run: str = "r1") -> RunHead:
    found = await engine.store.runs.get(run)
    assert found is not None
    return found


async def waits(engine: Engine, on: str, run: str = "r1") -> RunHead:
    """Until a run waits for something."""

    async def there() -> RunHead | None:
        found = await head(engine, run)
        assert found.finished_at is None, (found.status, found.error_message)
        return found if (found.status, found.waiting_on) == ("waiting", on) else None

    return await until(there)


async def over(engine: Engine, run: str = "r1") -> tuple[str, Any]:
    """How a run ended, and its output or error."""
    async with asyncio.timeout(300):
        ended = await engine.wait(run)
    state = await engine.load(run)
    assert state is not None
    return ended.status, state.output if state.error is None else state.error


async def facts(engine: Engine, run: str = "r1") -> list[AnyFact]:
    return await engine.history(run)


async def notes(engine: Engine, kind: str = "", run: str = "r1") -> list[StepNoted]:
    """The notes of a run, of a kind."""
    found = [fact for fact in await facts(engine, run) if isinstance(fact, StepNoted)]
    return [fact for fact in found if not kind or fact.kind == kind]


async def command(engine: Engine, type_: str, run: str = "r1", by: str = "ana", **data: Any) -> None:
    """What an operator asks for."""
    signal = Signal(
        id=f"{type_}-{engine.now()}", type=type_, source="test", at=engine.now(), subject=run, by=by, data=data
    )
    result = await engine.bus.submit(signal)
    assert result.status == "accepted", result.reason


async def vote(engine: Engine, decision: str = "approved", run: str = "r1", call: str = "", **data: Any) -> None:
    """Decide about what a run asks, or about one call of it."""
    state = await engine.load(run)
    assert state is not None
    gates = [gate for step in state.steps.values() for gate in step.open_gates if not call or gate.call == call]
    await command(engine, types.VOTE, run, approval=gates[0].id, decision=decision, **data)
