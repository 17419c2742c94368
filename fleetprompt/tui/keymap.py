"""Which keys do what: the table of actions, and what the user has said otherwise; and how keys are shown."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from fleetprompt.tui.actions import ACTIONS, BY_ID, Action

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


def sign(key: str) -> str:
    """A key as it is shown: `ctrl+d` as `^d`."""
    if key.startswith("ctrl+"):
        return "^" + sign(key.removeprefix("ctrl+"))
    return SIGNS.get(key, key)


class Keymap(Struct, frozen=True):
    """Which keys do what: the table, and what the user has said otherwise."""

    chosen: dict[str, tuple[str, ...]] = {}

    def keys(self, action: Action) -> tuple[str, ...]:
        """The keys of an action."""
        return self.chosen.get(action.id, action.keys)

    def shown(self, action: Action) -> str:
        """Its first key, for people; empty when it has none."""
        return next((sign(key) for key in self.keys(action)), "")

    def problems(self) -> list[str]:
        """What is wrong with what the user has said: actions that do not exist, keys that mean two things at once."""
        found = [f"there is no action `{id_}`" for id_ in self.chosen if id_ not in BY_ID]
        for id_ in self.chosen:
            action = BY_ID.get(id_)
            if action is not None:
                found += self._clashes(action)
        return found

    def _clashes(self, action: Action) -> Iterable[str]:
        for other in ACTIONS:
            together = set(other.where) & set(action.where) or {"console", "list"} & {*other.where, *action.where}
            shared = set(self.keys(other)) & set(self.keys(action))
            if other.id != action.id and together and shared:
                yield f"`{sign(min(shared))}` means both `{action.id}` and `{other.id}`"
