"""What models are just saying: shown while it comes, dropped when it is recorded or said anew, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from deciding_kit import client_of, console, ended, start, until

from fleetprompt.engine.core.facts import StepNoted
from fleetprompt.engine.ports.live import Piece
from fleetprompt.engine.runtime.pieces import EVERYTHING
from fleetprompt.tui.screens.run import RunScreen
from fleetprompt.tui.state.speech import LONGEST, Speech, lines, told
from fleetprompt.tui.widgets.speech import SpeechBox
from tests.held_speech import HeldSpeech

KEY = "sre/llm/0"


def piece(text: str, kind: str = "text", key: str = KEY, call: int = 0) -> Piece:
    return Piece(path="look", key=key, kind=kind, text=text, call=call)


def end(key: str = KEY) -> Piece:
    return Piece(path="look", key=key, kind="end")


def reset(key: str = KEY) -> Piece:
    return Piece(path="look", key=key, kind="reset")


def answered(key: str = KEY, kind: str = "llm.completed") -> StepNoted:
    return StepNoted(at=0.0, path="look", kind=kind, key=key, value={})


def heard(speech: Speech, path: str = "look", key: str = "") -> list[str]:
    found = speech.of(path, key)
    return ["".join(text for text, _ in line) for line in lines(found[1])] if found is not None else []


def test_words_are_joined_and_stay_until_they_have_ended_and_are_recorded() -> None:
    speech = Speech()
    speech.apply([reset(), piece("I lo"), piece("Errors?", "reasoning"), piece("ok at\nit\x1b[2J")])
    assert heard(speech) == ["Errors?", "I look at", "it\\x1b[2J"]
    speech.apply([piece("fs_read", "tool_name", call=1), piece('{"path": "a', "tool_args", call=1), end()])
    assert heard(speech)[-1] == '→ fs_read {"path": "a'
    speech.note(answered())
    assert heard(speech) == []


def test_what_is_done_before_a_model_is_asked_is_shown_until_it_is_over() -> None:
    speech = Speech()
    speech.apply([piece("loading the model layer", "status")])
    assert heard(speech) == ["loading the model layer"]
    speech.apply([reset()])
    assert heard(speech) == []
    assert (told(KEY), told("picture")) == ("sre, turn 1", "at work")


def test_what_is_recorded_first_is_dropped_when_it_ends_also_when_all_of_it_comes_late() -> None:
    speech = Speech()
    speech.apply([piece("a")])
    speech.note(answered())
    assert heard(speech) == ["a"]
    speech.apply([end()])
    assert heard(speech) == []
    speech.apply([piece("late"), end()])
    assert heard(speech) == []


def test_what_is_asked_again_is_said_anew() -> None:
    speech = Speech()
    speech.apply([piece("void")])
    speech.note(answered(kind="llm.failed"))
    speech.apply([end(), reset(), piece("again"), end()])
    assert heard(speech) == ["again"], "its own answer is not recorded yet"
    speech.apply([EVERYTHING])
    assert heard(speech) == []


def test_the_latest_is_shown_and_of_a_row_only_what_is_said_there() -> None:
    speech = Speech()
    inner = "sre/tool/0.1/dba/llm/0"
    speech.apply([piece("one"), piece("two", key=inner), piece(" more")])
    assert heard(speech) == ["one more"]
    assert heard(speech, key="sre/tool/0.1") == ["two"]
    assert heard(speech, key="sre/tool/0.2") == heard(speech, "other") == []
    assert told(inner) == "dba, turn 1"


def test_no_more_is_kept_than_can_be_shown() -> None:
    speech = Speech()
    speech.apply([piece("x" * 900) for _ in range(100)])
    found = speech.of("look")
    assert found is not None
    assert len(found[1].texts["text", 0]) == LONGEST
    for number in range(1_000):
        speech.note(answered(f"sre/llm/{number}"))
    assert len(speech._answered) < 300


SAYS = """
name: says
agents: {sre: {system: You look.}}
steps:
  - {id: look, type: agent, agent: sre, prompt: look}
"""
WORDS = f"pace: 60\nrules: [{{agent: sre, say: '{' '.join(['word'] * 60)} end'}}]\n"


async def test_words_stream_while_keys_are_heard_and_go_when_the_answer_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = HeldSpeech(monkeypatch, 8)
    (tmp_path / "simulations").mkdir()
    (tmp_path / "simulations" / "says.yaml").write_text(WORDS)
    async with console(tmp_path, link="runs") as (app, pilot, _):
        run = await start(app, tmp_path, SAYS)
        await app.go_to(f"run {run}")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and bool(app.screen.query("SpeechBox.-speaks")))
        box = app.screen.query_one(SpeechBox)
        await until(pilot, lambda: "word" in str(box.render()))
        before = str(box.render()).count("word")
        await pilot.press("i", "E")
        speech.go_on(16)
        await until(pilot, lambda: str(box.render()).count("word") > before + 3)
        assert app.screen.query_one("#facts").has_focus or app.screen.beside.tab == "facts"  # type: ignore[attr-defined]
        speech.go_on()
        assert await ended(client_of(app), run) == ["completed"]
        await until(pilot, lambda: not app.screen.query("SpeechBox.-speaks"))
