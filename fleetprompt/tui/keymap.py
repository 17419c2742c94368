"""Which keys do what: the table of actions, and what the user has said otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy

from fleetprompt.tui.actions import ACTIONS, BY_ID, Action, Where, at
from fleetprompt.tui.key_names import sign
from fleetprompt.tui.keys import never


class Keymap:
    """The keys of every action. A key means one thing at a time: what the user has chosen takes it from what it meant,
    and of two choices the first one has it."""

    def __init__(self, chosen: Mapping[str, Sequence[str]] | None = None) -> None:
        """`chosen` by the ids of actions; no keys at all takes those away that an action has."""
        self._keys = {action.id: action.keys for action in ACTIONS}
        self._problems: list[str] = []
        for id_, keys in (chosen or {}).items():
            if id_ in BY_ID:
                self._keys[id_] = tuple(dict.fromkeys(keys))
            else:
                self._problems.append(f"there is no action `{id_}` — {_meant(id_)}")
        self._chosen = [id_ for id_ in chosen or {} if id_ in BY_ID]
        for id_ in self._chosen:
            self._take(id_)

    def keys(self, action: Action) -> tuple[str, ...]:
        """The keys of an action."""
        return self._keys[action.id]

    def shown(self, action: Action) -> str:
        """Its first key, for people; empty when it has none."""
        return next((sign(key) for key in self.keys(action)), "")

    def under(self, place: Where) -> Keymap:
        """The keys where a place comes before all others: no action that is done elsewhere has a key of its actions."""
        taken = {key for action in at([place]) for key in self.keys(action)}
        found = copy(self)
        found._keys = {
            id_: keys if place in BY_ID[id_].where else tuple(key for key in keys if key not in taken)
            for id_, keys in self._keys.items()
        }
        return found

    def problems(self) -> list[str]:
        """What is wrong with what the user has said: actions that do not exist, keys that meant something else."""
        return self._problems

    def changed(self) -> dict[str, str]:
        """What differs from the table, as Textual takes it."""
        return {
            action.id: ",".join(self.keys(action)) or never(action)
            for action in ACTIONS
            if self.keys(action) != action.keys
        }

    def _take(self, id_: str) -> None:
        """Take the keys of an action away from all others that could be meant at the same place."""
        for key in self._keys[id_]:
            for other in self._others(BY_ID[id_], key):
                self._drop(other.id, key)
                if other.id in self._chosen:
                    self._problems.append(f"`{sign(key)}` is chosen for `{id_}` and `{other.id}` — only `{id_}` has it")
                    continue
                left = " ".join(sign(key) for key in self._keys[other.id])
                has = f"has {left} now" if left else "has no key now: choose one for it"
                self._problems.append(f"`{sign(key)}` is for `{id_}` now — `{other.id}` {has}")

    def _drop(self, id_: str, key: str) -> None:
        self._keys[id_] = tuple(each for each in self._keys[id_] if each != key)

    def _others(self, action: Action, key: str) -> Iterator[Action]:
        for other in ACTIONS:
            together = {*other.where} & {*action.where} or {"console", "list"} & {*other.where, *action.where}
            if other.id != action.id and together and key in self._keys[other.id]:
                yield other


def _meant(id_: str) -> str:
    from fleetprompt.engine.core.closest import did_you_mean

    return did_you_mean(id_, BY_ID) or "the help screen lists their ids"
