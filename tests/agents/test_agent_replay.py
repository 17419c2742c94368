"""A run that is answered as another one was: from that one's journal, and for runs of its tenant only."""

from __future__ import annotations

from pathlib import Path

from agent_kit import engine_at, notes, over, start
from stub_server import start_stub

from fleetprompt.engine.core import signal as types
from fleetprompt.engine.core.signal import Signal
from fleetprompt.engine.definition.load import load_text
from fleetprompt.engine.llm.settings import ModelSettings
from fleetprompt.engine.runtime.agency import Agency, AgencySettings
from fleetprompt.engine.runtime.engine import Engine
from fleetprompt.engine.runtime.recordings import recording_of
from fleetprompt.engine.runtime.secrets import Secrets
from fleetprompt.engine.store.database import SqlStore

LIVE = "01a21b03-e811-7787-a1c5-000000000001"
AGAIN = "01a21b03-e811-7787-a1c5-000000000002"
OTHER = "01a21b03-e811-7787-a1c5-000000000003"
FLOW = """
name: looks
agents: {{a: {{system: "I am a.", tools: ["fs.list"], model: "{model}"}}}}
steps: [{{id: look, type: agent, agent: a, prompt: "{prompt}"}}]
"""


async def test_a_run_is_answered_as_another_one_was(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    look = {"calls": [{"name": "fs_list", "arguments": {"path": "files"}}]}
    long = " ".join(map(str, range(20_000)))
    script = [{"mode": "500"}, look, {"text": long}]
    with start_stub(tmp_path, script) as stub:
        live = ModelSettings(model="openai/stub", api_base=stub.base)
        secrets = Secrets()
        agency = Agency(secrets, AgencySettings(models={"live": live}), root=tmp_path)
        store = SqlStore(tmp_path / "fleet.db")
        async with Engine(store, secrets=secrets, directory=tmp_path, agency=agency) as engine:
            await start(engine, FLOW.format(model="live", prompt="look"), run=LIVE)
            status, output = await over(engine, LIVE)
            assert status == "completed", output
            asked = len(stub.requests())
            await start(engine, FLOW.format(model=f"replay/{LIVE[-8:]}", prompt="look"), run=AGAIN)
            assert await over(engine, AGAIN) == await over(engine, LIVE)
            failed = [note.value["code"] for note in await notes(engine, "llm.failed", AGAIN)]
            assert failed == ["AGENT_ERROR"], "what failed fails again, at its attempt"
            answered = [note.value for note in await notes(engine, "llm.completed", AGAIN)]
            assert [(each["mode"], each["cost_nano"]) for each in answered] == [("replay", None)] * 2
            await start(engine, FLOW.format(model=f"replay/{LIVE}", prompt="look elsewhere"), run=OTHER)
            status, why = await over(engine, OTHER)
            assert (status, "was asked something else at" in why.message) == ("failed", True), why
            assert len(stub.requests()) == asked
    assert asked == 3


async def test_runs_of_other_tenants_are_no_recordings(tmp_path: Path) -> None:
    text = "name: ends\nsteps: [{id: end, type: stop}]\n"
    async with engine_at(tmp_path, None) as engine:
        await start(engine, text, run=LIVE)
        await over(engine, LIVE)
        plan = load_text(text, "flow.yaml").plan
        digest = await engine.store.catalog.put(plan, source=text, tenant="other")
        data = {"run": OTHER, "workflow": "ends", "plan": digest, "inputs": {}}
        signal = Signal(
            id=OTHER, type=types.START, source="test", at=1.0, subject=OTHER, by="eve", data=data, tenant="other"
        )
        assert (await engine.bus.submit(signal)).status == "accepted"
        await over(engine, OTHER)
        assert await recording_of(engine, LIVE, LIVE) == []
        for name in (LIVE, LIVE[-8:]):
            assert await recording_of(engine, name, OTHER) is None
        assert await recording_of(engine, LIVE, "nobody") is None
        assert await recording_of(engine, LIVE, "") is None
