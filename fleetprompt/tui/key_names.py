"""Names of keys: as Textual has them, as they are shown, and as people write them."""

from __future__ import annotations

import unicodedata

from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual.keys import KEY_NAME_REPLACEMENTS, REPLACED_KEYS, Keys, key_to_character

from fleetprompt.engine.core.errors import InvalidInput

SIGNS = {
    "enter": "↵",
    "escape": "esc",
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "full_stop": ".",
    "apostrophe": "'",
    "asterisk": "*",
    "minus": "-",
    "plus": "+",
    "backspace": "⌫",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}
"""Keys as people know them."""
MODIFIERS = ("alt", "ctrl", "hyper", "meta", "shift", "super")
"""In the order in which Textual puts them."""
SAME = {
    "ctrl+h": "backspace",
    "ctrl+i": "tab",
    "ctrl+left_square_bracket": "escape",
    "ctrl+m": "enter",
}
"""What terminals cannot tell from another key."""
NAMED = frozenset(
    {key.value.rpartition("+")[2] for key in Keys if key.value.replace("+", "").isalnum()} | {*FUNCTIONAL_KEYS.values()}
) - {*"0123456789abcdefghijklmnopqrstuvwxyz", "backslash", "underscore", "return"}
"""Keys that are not characters."""
_NAMES = {sign: key for key, sign in SIGNS.items()}
_FAR = {*map(str, range(13, 36))}
"""Numbers of function keys that keyboards do not have."""
_WRITTEN = "keys are written like x, X, /, ctrl+x, alt+x, f5, pgup, enter"


def sign(key: str) -> str:
    """A key as it is shown: `ctrl+d` as `^d`."""
    if key.startswith("ctrl+"):
        return "^" + sign(key.removeprefix("ctrl+"))
    return SIGNS.get(key) or _character(key) or key


def read_key(text: str) -> str:
    """The name that Textual has for a key, for what people write. Raises `InvalidInput`."""
    if len(text) > 1 and "," in text:
        keys = ", ".join(f'"{key.strip()}"' for key in text.split(",") if key.strip())
        raise InvalidInput(f"`{text}` is not one key", hint=f"several are a list: [{keys}]")
    written = f"ctrl+{text[1:]}" if len(text) > 1 and text.startswith("^") else text
    before, _, last = written[:-1].rpartition("+")
    modifiers = {modifier.lower() for modifier in before.split("+") if modifier}
    base = _base(last + written[-1:])
    if base is None or not modifiers <= {*MODIFIERS}:
        raise InvalidInput(f"`{text}` is not a key", hint=_meant(text))
    if len(base) == 1 and base.isalpha():
        base = _cased(base, modifiers)
    elif modifiers == {"shift"} and _character(base):
        raise InvalidInput(f"`{text}` is not a key", hint="write the character that comes of it")
    key = "+".join([*sorted(modifiers), base])
    if key in SAME:
        raise InvalidInput(
            f"terminals send the same for `{text}` and `{SAME[key]}`",
            hint=f"write {SAME[key]}, or choose another key",
        )
    return key


def _base(name: str) -> str | None:
    """A key without modifiers; None where there is none of that name."""
    name = _NAMES.get(name.lower(), name)
    if len(name) == 1:
        return _of_character(name) if name.isprintable() and name != " " else None
    name = name.lower()
    character = _character(name)
    return name if name in NAMED else _of_character(character) if character else None


def _character(name: str) -> str:
    """The character of a key that has a name; empty for one that is none."""
    if name in NAMED or not name.replace("_", "").isalnum():
        return ""
    character = key_to_character(REPLACED_KEYS.get(name, name)) or ""
    return character if character.isprintable() else ""


def _of_character(character: str) -> str:
    if character.isalnum():
        return character
    name = unicodedata.name(character, character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


def _cased(letter: str, modifiers: set[str]) -> str:
    """Terminals send `X` for shift and x, and the same for ctrl+x and ctrl+X; takes shift out of the modifiers."""
    if modifiers <= {"shift"}:
        shifted = letter.isupper() or "shift" in modifiers
        modifiers.discard("shift")
        return letter.upper() if shifted else letter
    if letter.isupper() and "ctrl" not in modifiers:
        modifiers.add("shift")
    return letter.lower()


def _meant(text: str) -> str:
    from fleetprompt.engine.core.closest import did_you_mean

    before, _, name = text.rpartition("+")
    if before and not {part.lower() for part in before.split("+")} <= {*MODIFIERS}:
        return did_you_mean(before, MODIFIERS) or f"modifiers are {', '.join(MODIFIERS)}"
    names = [*(sign for sign in _NAMES if len(sign) > 1), *sorted(name for name in NAMED if name[1:] not in _FAR)]
    return did_you_mean(name, names) or _WRITTEN
