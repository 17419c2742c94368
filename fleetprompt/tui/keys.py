"""Bindings, made from the table of actions."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from fleetprompt.tui.actions import Action, Where, at


def bindings(*places: Where) -> list[BindingType]:
    """The bindings of whoever can do what these places can do."""
    return [
        Binding(",".join(action.keys) or never(action), f"do('{action.id}')", action.label, show=False, id=action.id)
        for action in at(places)
    ]


def never(action: Action) -> str:
    """What stands for a key where an action has none: only for what is bound can Textual be told another key."""
    return f"<no key for {action.id}>"
