"""The three menus that are made from the table of actions: keys (`?`), commands (`:`), screens (`g`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Key
from textual.widgets import Static

from fleetprompt.client.wording import short
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.engine.ports import Page
from fleetprompt.tui.actions import BY_ID, Action
from fleetprompt.tui.commands import NAMED
from fleetprompt.tui.key_names import sign
from fleetprompt.tui.keymap import Keymap
from fleetprompt.tui.links import ALIASES, SCREENS
from fleetprompt.tui.screens.dialog import Dialog
from fleetprompt.tui.screens.picker import MENU_COLUMNS, Item, Picker
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.widgets.definitions import Definitions

if TYPE_CHECKING:
    from fleetprompt.engine.ports import RunHead
    from fleetprompt.tui.app import FleetConsole

PLACES = tuple(place for place in (*SCREENS, *ALIASES) if place != "view")
"""Places that may be followed by what is to be shown there; views stand in the list."""
LISTS = ("runs", "approvals", "signals", "workflows", "agents", "schedules")
RUNS = 8
"""Runs that the palette offers for what was typed."""
LEAST = 3
"""Characters of which runs are found."""


def menu(actions: Sequence[Action], keymap: Keymap, *, read_only: bool) -> Picker:
    """Everything that can be done here, by group, and done when it is chosen."""
    items: list[Item] = []
    groups: dict[str, list[Action]] = {}
    for action in actions:
        groups.setdefault(action.group, []).append(action)
    for group, members in groups.items():
        items.append(Item("", (("", ""), (group, "title"), ("", "")), "", heading=True))
        items += [_action_item(action, keymap, read_only=read_only) for action in members]
    foot: tuple[Part, ...] = (("↵", "accent"), (" does it   ", "dim"), ("esc", "accent"), (" closes", "dim"))
    return Picker("Keys", items, MENU_COLUMNS, placeholder="type a key or a word", foot=foot)


def _action_item(action: Action, keymap: Keymap, *, read_only: bool) -> Item:
    off = action.changes and read_only
    keys = " ".join(filter(None, (keymap.shown(action), *_others(action, keymap))))
    named = " ".join(keymap.keys(action))
    style = "dim" if off else ""
    return Item(
        action.id,
        ((keys, "dim" if off else "accent"), (action.label, style), (action.doc, "dim")),
        # Also by what people call a key that is shown as a sign: `ctrl`, `slash`.
        f"{action.label} {action.doc} {action.verb} {action.group} {keys} {action.id} {named}".lower(),
        action.verb or action.label,
    )


def _others(action: Action, keymap: Keymap) -> list[str]:
    return [sign(key) for key in keymap.keys(action)[1:2]]


def palette(
    app: FleetConsole, actions: Sequence[Action], keymap: Keymap, refused: Callable[[str], str] | None = None
) -> Picker:
    """Commands and views by name, places by link, runs by a part of their id or workflow; `refused` says why what was
    typed is none of these."""
    items = [
        Item(
            f"do {action.id}",
            ((keymap.shown(action), "accent"), (action.verb, ""), (action.doc, "dim")),
            # What changes something is found by its name alone: nobody means it by a word of its description.
            f"{action.verb} {action.label} {'' if action.changes else action.doc}".lower(),
            "" if action.changes else action.verb,
        )
        for action in actions
        if action.verb
    ]

    items += [
        Item(
            f"go view {view.name}",
            ((str(digit), "accent"), (inert(view.name), ""), (f"view: {inert(view.filter) or 'every run'}", "dim")),
            f"view {view.name}".lower(),
            view.name.lower(),
        )
        for digit, view in enumerate(app.views.all(), 1)
    ]

    async def more(text: str) -> list[Item]:
        word, _, rest = text.strip().partition(" ")
        if word in NAMED:
            saved = [view.name for view in app.views.saved if view.name.startswith(rest) and view.name != rest]
            return [_named(word, rest), *(_named(word, name) for name in saved)]
        found: list[Item] = []
        if (rest and word in PLACES) or text.strip() in LISTS:
            found.append(Item(f"go {text.strip()}", (("→", "accent"), (word, ""), (inert(rest), "dim")), ""))
        if word == "run" and rest and rest != "last":
            return [*await _runs(app, rest), *found]
        return [*found, *await _runs(app, text.strip())]

    return Picker(
        "Command",
        items,
        MENU_COLUMNS,
        placeholder="a command, or where to go: runs status:failed",
        more=more,
        free=True,
        refused=refused,
    )


def _named(command: str, name: str) -> Item:
    """A command that is given a name."""
    shown = (inert(name), "") if name else ("NAME", "dim")
    return Item(f"{command} {name}".strip(), (("→", "accent"), (command, ""), shown), "")


async def _runs(app: FleetConsole, typed: str) -> list[Item]:
    """Runs whose id has what was typed in it, then the newest of workflows that have."""
    if app.client is None or len(typed) < LEAST or " " in typed:
        return []
    heads: dict[str, RunHead] = {}
    try:
        for field in ("run", "wf"):
            found, _ = await app.client.runs(f"{field}:*{typed}*", Page(limit=RUNS))
            heads |= {head.id: head for head in found if head.id not in heads}
    except FleetError:
        # What was typed is no part of a filter.
        return []
    return [
        Item(
            f"go run {head.id}",
            (
                ("→", "accent"),
                (f"run {short(head.id)}", "id"),
                (f"{inert(head.workflow)}  {head.status}", "dim"),
            ),
            "",
        )
        for head in [*heads.values()][:RUNS]
    ]


LETTERS = {
    "r": "go.runs",
    "a": "go.approvals",
    "s": "go.signals",
    "w": "go.workflows",
    "e": "go.agents",
    "t": "go.schedules",
    "c": "go.cost",
    "h": "go.health",
    "m": "go.messages",
    "question_mark": "go.help",
    "g": "list.top",
}


class GoMenu(Dialog[str]):
    """One more letter says where to go."""

    DEFAULT_CSS = "GoMenu > .box { width: 56; }"
    KNOWN: ClassVar = LETTERS
    AHEAD = True

    def compose(self) -> ComposeResult:
        box = Vertical(classes="box")
        box.border_title = "Go to"
        with box:
            yield Static(Definitions([self._row(letter, BY_ID[id_]) for letter, id_ in LETTERS.items()], 4, 12))

    def _row(self, letter: str, action: Action) -> tuple[Text, Text, Text]:
        key = self.text(((f" {sign(letter)}", "accent"),))
        return key, Text(action.label), self.text(((action.doc, "dim"),))

    def on_key(self, event: Key) -> None:
        """A letter goes there, everything else closes the menu."""
        event.stop()
        event.prevent_default()
        self.dismiss(LETTERS.get(event.key))
