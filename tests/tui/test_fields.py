"""Texts from outside in fields that people edit: drawn harmless, kept as they are."""

from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult

from fleetprompt.tui.widgets.fields import SafeInput, SafeTextArea, drawn

HOSTILE = "a\x1b[2J\x07\x7f\u202e\u200db\n\x9b"


def test_every_character_is_drawn_as_one_that_can_be_seen() -> None:
    shown = drawn(HOSTILE)
    assert len(shown) == len(HOSTILE)
    assert shown == "a␛[2J␇␡\ufffd\ufffdb\n\ufffd"
    assert drawn("plain [red]") == "plain [red]"


class Fields(App[None]):
    def compose(self) -> ComposeResult:
        yield SafeInput(HOSTILE.replace("\n", ""))
        yield SafeTextArea(HOSTILE)


async def test_a_terminal_is_never_given_what_stands_in_a_field() -> None:
    app: App[Any] = Fields()
    async with app.run_test(size=(60, 12)) as pilot:
        await pilot.pause()
        painted = app.export_screenshot()
        assert not set("\x1b\x07\x7f\x9b\u202e\u200d") & set(painted)
        assert app.query_one(SafeInput).value == HOSTILE.replace("\n", "")
        assert app.query_one(SafeTextArea).text == HOSTILE
