"""What becomes of the pieces of a streamed answer, however they are numbered and cut."""

from __future__ import annotations

import pytest

from fleetprompt.engine.llm.stream import Assembler, CallPiece, estimate_tokens, joined
from fleetprompt.engine.ports.model import Delta, ToolCall


def calls(*pieces: CallPiece) -> list[tuple[str, str, str]]:
    """The calls that pieces make, as (id, name, arguments)."""
    assembler = Assembler()
    for piece in pieces:
        list(assembler.add(calls=[piece]))
    return [(call.id, call.name, call.arguments) for call in assembler.end("tool_calls").calls]


A, B = ("a", "get", '{"x":1}'), ("b", "get", '{"x":2}')


@pytest.mark.parametrize(
    "pieces",
    [
        [(0, "a", "get", ""), (0, "", "", '{"x"'), (0, "", "", ":1}"), (1, "b", "get", ""), (1, "", "", '{"x":2}')],
        [(0, "a", "get", ""), (0, "", "", '{"x":1}'), (0, "b", "get", ""), (0, "", "", '{"x":2}')],
        [(0, "a", "get", '{"x":1}'), (0, "b", "get", '{"x":2}')],
        [(None, "a", "get", ""), (None, "", "", '{"x":1}'), (None, "b", "get", '{"x":'), (None, "", "", "2}")],
        [(0, "a", "get", ""), (1, "b", "get", ""), (0, "", "", '{"x":1'), (1, "", "", '{"x":2}'), (0, "", "", "}")],
        [(0, "a", "get", '{"x"'), (0, "a", "get", ":1}"), (1, "b", "get", '{"x":2}'), (1, "b", "", "")],
        [(0, "", "get", ""), (0, "a", "", '{"x":1}'), (1, "b", "get", '{"x":2}')],
        [(3, "a", "get", '{"x":1}'), (7, "b", "get", '{"x":2}')],
    ],
    ids=["by index", "all index 0", "whole, index 0", "no index", "interleaved", "id repeated", "id late", "gaps"],
)
def test_two_calls_stay_two(pieces: list[tuple[int | None, str, str, str]]) -> None:
    assert calls(*(CallPiece(*piece) for piece in pieces)) == [A, B]


def test_whole_calls_without_ids_are_told_apart_and_get_ids() -> None:
    found = calls(CallPiece(0, "", "get", '{"x":1}'), CallPiece(0, "", "get", '{"x":2}'), CallPiece(0, "", "put", "{}"))
    assert found == [("call_0", "get", '{"x":1}'), ("call_1", "get", '{"x":2}'), ("call_2", "put", "{}")]


def test_a_name_that_is_repeated_with_every_piece_begins_no_call() -> None:
    assert calls(CallPiece(0, "", "get", '{"x"'), CallPiece(0, "", "get", ":1}")) == [("call_0", "get", '{"x":1}')]


def test_the_same_id_at_another_index_is_another_call_with_its_own_id() -> None:
    found = calls(CallPiece(0, "a", "get", "{}"), CallPiece(1, "a", "get", "{}"))
    assert [call[0] for call in found] == ["a", "a_1"]


def test_arguments_that_never_came_are_an_empty_object() -> None:
    assert calls(CallPiece(0, "a", "get", "")) == [("a", "get", "{}")]


def test_text_reasoning_and_calls_are_shown_as_they_come() -> None:
    assembler = Assembler()
    shown = [
        *assembler.add("", "hm"),
        *assembler.add("he"),
        *assembler.add("llo", calls=[CallPiece(0, "a", "get", "{")]),
    ]
    shown += assembler.add(calls=[CallPiece(0, "", "", "}"), CallPiece(1, "b", "put", "")])
    assert shown == [
        Delta("reasoning", "hm"),
        Delta("text", "he"),
        Delta("text", "llo"),
        Delta("tool_name", "get", 0),
        Delta("tool_args", "{", 0),
        Delta("tool_args", "}", 0),
        Delta("tool_name", "put", 1),
    ]
    whole = assembler.end("tool_calls")
    assert (whole.text, whole.reasoning) == ("hello", "hm")
    assert whole.calls == (ToolCall("get", "{}", "a"), ToolCall("put", "{}", "b"))


@pytest.mark.parametrize(
    ("said", "with_call", "kept"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("tool_calls", True, "tool_calls"),
        ("function_call", True, "tool_calls"),
        ("length", True, "length"),
        ("length", False, "length"),
        ("content_filter", True, "content_filter"),
        ("eos", False, "stop"),
    ],
)
def test_the_finish_reason(said: str, with_call: bool, kept: str) -> None:
    assembler = Assembler()
    list(assembler.add("x", calls=[CallPiece(0, "a", "get", "{}")] if with_call else []))
    assert assembler.end(said).finish == kept


def test_a_character_whose_halves_come_apart_is_one_again() -> None:
    assembler = Assembler()
    shown = [delta.text for piece in ("caf\u00e9 \ud83d", "\ude00", "!") for delta in assembler.add(piece)]
    assert shown == ["café ", "😀", "!"]
    assert assembler.end("stop").text == "café 😀!"
    halves = calls(CallPiece(0, "a", "get", '{"x":"\ud83d'), CallPiece(0, "", "", '\ude00"}'))
    assert halves == [("a", "get", '{"x":"😀"}')]


def test_half_a_character_at_the_end_is_replaced_and_never_breaks_the_text() -> None:
    assembler = Assembler()
    list(assembler.add("x\ud83d"))
    text = assembler.end("stop").text
    assert text == "x\ufffd"
    assert joined(["\ude00"]).encode() == "\ufffd".encode()


def test_tokens_are_estimated_from_above() -> None:
    assert estimate_tokens("") == 0
    assert estimate_tokens("four words of text") == 6
    assembler = Assembler()
    assert not assembler.begun
    list(assembler.add("abc", "def", [CallPiece(0, "a", "get", "ghi")]))
    assert assembler.begun
    assert assembler.tokens == 3
