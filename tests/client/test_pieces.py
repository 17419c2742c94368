"""What models are just saying, as consoles are told it: with the engine here, in another process, and nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from client_kit import attached, embedded, place_at, start_of, until

from fleetprompt.client import overhearing
from fleetprompt.client.attached import AttachedConsole
from fleetprompt.client.embedded import EmbeddedConsole
from fleetprompt.client.opening import AgencySettings, Place
from fleetprompt.engine.core.facts import RunFinished, StepNoted
from fleetprompt.engine.ports import Stored
from tests.held_speech import HeldSpeech

WORDS = " ".join(f"word{i}" for i in range(40))
FLOW = """
name: talk
steps: [{id: say, type: chat, prompt: Speak}]
"""
SCRIPT = f"""
pace: 200
rules: [{{think: hm, say: "{WORDS}"}}]
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhearing, "LOOK_SECONDS", 0.02)


@pytest.fixture(autouse=True)
async def speech(monkeypatch: pytest.MonkeyPatch) -> HeldSpeech:
    """It stops in the middle of the words."""
    return HeldSpeech(monkeypatch, 20)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "talk.yaml").write_text(FLOW.replace("type: chat", "type: chat, model: simulated/script"))
    (tmp_path / "simulations").mkdir()
    (tmp_path / "simulations" / "talk.yaml").write_text(SCRIPT)
    return place_at(tmp_path, agency=AgencySettings(workflows=(tmp_path,)))


@pytest.fixture
async def beside(place: Place) -> AsyncIterator[AttachedConsole]:
    console = await attached(place)
    yield console
    await console.close()


class Listener:
    """Keeps the texts as the protocol says it."""

    def __init__(self, console: AttachedConsole | EmbeddedConsole, run: str) -> None:
        self.texts: dict[tuple[str, str, str], str] = {}
        self.ended: list[str] = []
        self.resets = 0
        self._task = asyncio.get_running_loop().create_task(self._listen(console, run))

    async def _listen(self, console: AttachedConsole | EmbeddedConsole, run: str) -> None:
        async for some in console.pieces(run, 0.01):
            for each in some:
                if each.kind == "reset":
                    self.resets += 1
                    self.texts = {
                        place: text
                        for place, text in self.texts.items()
                        if each.path and place[:2] != (each.path, each.key)
                    }
                elif each.kind == "end":
                    self.ended.append(each.key)
                else:
                    place = (each.path, each.key, each.kind)
                    self.texts[place] = self.texts.get(place, "") + each.text

    @property
    def text(self) -> str:
        return self.texts.get(("say", "chat/llm/0", "text"), "")

    @property
    def over(self) -> bool:
        return self._task.done()

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def finished(console: EmbeddedConsole, run: str) -> str:
    """The recorded answer, once the run is over."""
    answer = ""
    async for entry in console.watch(run):
        assert isinstance(entry, Stored)
        if isinstance(entry.fact, StepNoted) and entry.fact.kind == "llm.completed":
            answer = entry.fact.value["text"]
        if isinstance(entry.fact, RunFinished):
            break
    return answer


async def test_words_are_told_as_they_come_in_this_process_and_in_others(
    place: Place, beside: AttachedConsole, speech: HeldSpeech
) -> None:
    engine = await embedded(place)
    run = await engine.start(start_of(place.root / "talk.yaml"))
    listeners = [Listener(engine, run), Listener(beside, run)]
    await until(lambda: all(0 < len(each.text) < len(WORDS) for each in listeners))
    late = Listener(beside, run)
    speech.go_on()
    assert await finished(engine, run) == WORDS
    await until(lambda: all(each.ended == ["chat/llm/0"] for each in (*listeners, late)))
    for each in (*listeners, late):
        assert each.text == WORDS
        assert each.texts["say", "chat/llm/0", "reasoning"] == "hm"
        assert each.resets == 0
        await each.end()
    await engine.close()
    assert engine.engine.pieces._watchers == {}


async def test_what_an_engine_said_that_is_gone_is_void(
    place: Place, beside: AttachedConsole, speech: HeldSpeech
) -> None:
    engine = await embedded(place)
    run = await engine.start(start_of(place.root / "talk.yaml"))
    heard = Listener(beside, run)
    await until(lambda: bool(heard.text))
    await engine.close()
    await until(lambda: heard.resets == 1)
    assert heard.texts == {}
    speech.go_on()
    again = await embedded(place)
    await until(lambda: bool(heard.text))
    assert await finished(again, run) == WORDS
    await until(lambda: heard.text == WORDS)
    await heard.end()
    await again.close()


async def test_where_no_engine_runs_nothing_is_said_until_the_console_is_closed(place: Place) -> None:
    console = await attached(place)
    heard = Listener(console, "r1")
    await until(lambda: len(console.listening) == 1)
    await console.close()
    await until(lambda: heard.over)
    assert (heard.texts, heard.resets, console.listening) == ({}, 0, set())


async def test_who_listens_when_the_console_is_closed_hears_no_more(place: Place, beside: AttachedConsole) -> None:
    engine = await embedded(place)
    run = await engine.start(start_of(place.root / "talk.yaml"))
    heard, here = Listener(beside, run), Listener(engine, run)
    await until(lambda: bool(heard.text))
    await beside.close()
    await until(lambda: heard.over)
    await engine.close()
    await until(lambda: here.over)
