"""Keys as people write them: understood, or told what to write instead."""

from __future__ import annotations

import pytest

from fleetprompt.engine.core.errors import InvalidInput
from fleetprompt.tui.actions import ACTIONS
from fleetprompt.tui.key_names import read_key, sign


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("x", "x"),
        ("X", "X"),
        ("shift+x", "X"),
        ("/", "slash"),
        ("slash", "slash"),
        (",", "comma"),
        ("+", "plus"),
        ("ctrl++", "ctrl+plus"),
        ("Ctrl+X", "ctrl+x"),
        ("^x", "ctrl+x"),
        ("^", "circumflex_accent"),
        ("alt+X", "alt+shift+x"),
        ("shift+ctrl+left", "ctrl+shift+left"),
        ("pgdn", "pagedown"),
        ("PageUp", "pageup"),
        ("f5", "f5"),
        ("é", "é"),
    ],
)
def test_a_key_is_understood_as_people_write_it(written: str, key: str) -> None:
    assert read_key(written) == key


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("pgdwn", "did you mean `pgdn`?"),
        ("enterr", "did you mean `enter`?"),
        ("ctlr+x", "did you mean `ctrl`?"),
        ("ctrl+foo", "keys are written like"),
        ("gg", "keys are written like"),
        ("", "keys are written like"),
        ("\x1b", "keys are written like"),
        ("a,b", 'several are a list: ["a", "b"]'),
        ("ctrl+m", "write enter, or choose another key"),
        ("shift+/", "write the character that comes of it"),
    ],
)
def test_what_is_not_a_key_is_told_with_what_to_write(written: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_key(written)
    assert told in caught.value.hint


def test_every_key_of_ours_is_understood_by_its_name_and_as_it_is_shown() -> None:
    for key in {key for action in ACTIONS for key in action.keys}:
        assert read_key(key) == key
        assert read_key(sign(key)) == key
