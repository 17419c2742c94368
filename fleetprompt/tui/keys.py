"""Bindings, made from the table of actions."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from fleetprompt.tui.actions import Where, at


def bindings(*places: Where) -> list[BindingType]:
    """The bindings of whoever can do what these places can do."""
    return [
        Binding(",".join(action.keys), f"do('{action.id}')", action.label, show=False, id=action.id)
        for action in at(places)
        if action.keys
    ]
