"""What an operator can do, each thing once: keys, footer, menu and palette are all made from this table.

An id is permanent, for users name it in their keymap. A `where` is a place that knows how to do it: a screen, every
list, or the whole console; each has a method `do_` and the id with underscores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from msgspec import Struct

Where = Literal[
    "console", "list", "runs", "run", "approvals", "signals", "workflows", "cost", "health", "messages", "log", "tree"
]


class Action(Struct, frozen=True, kw_only=True):
    """One thing that can be done."""

    id: str
    label: str
    """A word or two for the footer."""
    doc: str
    """A sentence for the menu, without a full stop."""
    keys: tuple[str, ...]
    """As Textual names them; the first one is shown."""
    where: tuple[Where, ...]
    group: str
    footer: int = 0
    """Place in the footer, the smallest first and the last to be left out; 0 for none."""
    changes: bool = False
    """It changes something beyond this console: refused where one may only look."""
    verb: str = ""
    """How it is said in the palette; empty for what makes sense only as a key."""


_LISTED: tuple[Where, ...] = ("runs", "approvals", "signals", "workflows", "cost", "messages")


def _move(id_: str, doc: str, *keys: str) -> Action:
    where: tuple[Where, ...] = ("list", "log")
    return Action(id=f"list.{id_}", label=id_.replace("_", " "), doc=doc, keys=keys, where=where, group="Move")


def _range(name: str, doc: str, key: str) -> Action:
    return Action(id=f"log.{name}", label=name, doc=doc, keys=(key,), where=("log",), group="Log", verb=f"log {name}")


def _go(id_: str, doc: str, key: str) -> Action:
    keys = (key,) if key else ()
    return Action(id=f"go.{id_}", label=id_, doc=doc, keys=keys, where=("console",), group="Go to", verb=id_)


ACTIONS: tuple[Action, ...] = (
    # The order of the menu.
    Action(
        id="list.open",
        label="open",
        doc="open what the cursor is on",
        keys=("enter",),
        where=("list",),
        group="Move",
        footer=1,
    ),
    _move("up", "one line up", "up", "k"),
    _move("down", "one line down", "down", "j"),
    _move("page_up", "a page up", "pageup", "ctrl+u"),
    _move("page_down", "a page down", "pagedown", "ctrl+d"),
    _move("top", "to the top", "home"),
    _move("bottom", "to the bottom", "end", "G"),
    _move("left", "scroll to the left, or close a branch", "left", "h"),
    _move("right", "scroll to the right, or open a branch", "right", "l"),
    Action(
        id="list.jump",
        label="jump",
        doc="jump to a visible line by its letter",
        keys=("apostrophe",),
        where=("list",),
        group="Move",
        footer=30,
    ),
    Action(
        id="list.mark",
        label="mark",
        doc="mark or unmark the line",
        keys=("space",),
        where=("list",),
        group="Marks",
        footer=20,
    ),
    Action(
        id="list.range",
        label="range",
        doc="begin a range of marks, or end it",
        keys=("V",),
        where=("list",),
        group="Marks",
    ),
    Action(
        id="list.mark_all",
        label="mark all",
        doc="mark everything that matches the filter",
        keys=("asterisk",),
        where=("list",),
        group="Marks",
        verb="mark all",
    ),
    Action(
        id="list.unmark_all",
        label="unmark",
        doc="take all marks away",
        keys=("U",),
        where=("list",),
        group="Marks",
        verb="unmark all",
    ),
    Action(
        id="list.copy",
        label="copy",
        doc="copy the id, or the ids that are marked",
        keys=("y",),
        where=("list",),
        group="Copy",
        footer=60,
        verb="copy",
    ),
    Action(
        id="list.copy_line",
        label="copy line",
        doc="copy the whole line",
        keys=("Y",),
        where=("list",),
        group="Copy",
        verb="copy line",
    ),
    Action(
        id="filter.edit",
        label="filter",
        doc="filter the list",
        keys=("slash",),
        where=("runs", "approvals", "signals", "workflows"),
        group="Filter",
        footer=10,
        verb="filter",
    ),
    Action(
        id="filter.clear",
        label="no filter",
        doc="show everything again",
        keys=("backspace",),
        where=("runs", "approvals", "signals", "workflows"),
        group="Filter",
        verb="clear filter",
    ),
    Action(
        id="sort.next",
        label="sort",
        doc="sort by the next column",
        keys=("o",),
        where=("runs", "workflows"),
        group="Filter",
        footer=50,
        verb="sort",
    ),
    Action(
        id="sort.reverse",
        label="reverse",
        doc="reverse the order",
        keys=("O",),
        where=("runs", "workflows"),
        group="Filter",
        verb="reverse",
    ),
    Action(
        id="list.follow",
        label="follow",
        doc="keep to what is newest, or stop that",
        keys=("F",),
        where=("runs", "signals", "log"),
        group="Filter",
        footer=55,
        verb="follow",
    ),
    Action(
        id="log.find",
        label="find",
        doc="find a text, or a /regular expression/",
        keys=("slash",),
        where=("log",),
        group="Log",
        footer=10,
        verb="find",
    ),
    Action(id="log.next", label="next match", doc="go to the next match", keys=("n",), where=("log",), group="Log"),
    Action(
        id="log.previous",
        label="previous match",
        doc="go to the match before",
        keys=("N",),
        where=("log",),
        group="Log",
    ),
    Action(
        id="log.only",
        label="matches only",
        doc="leave out all lines that do not match, or show them again",
        keys=("ampersand",),
        where=("log",),
        group="Log",
        verb="only matches",
    ),
    Action(
        id="log.levels",
        label="levels",
        doc="show all lines, problems, errors, output or messages alone",
        keys=("v",),
        where=("log",),
        group="Log",
        footer=20,
        verb="levels",
    ),
    Action(
        id="log.time",
        label="time",
        doc="go to a time",
        keys=("at",),
        where=("log",),
        group="Log",
        footer=30,
        verb="time",
    ),
    Action(
        id="log.wrap",
        label="wrap",
        doc="let long lines take several rows, or cut them",
        keys=("w",),
        where=("log",),
        group="Log",
        footer=25,
        verb="wrap",
    ),
    _range("tail", "show the log from its end", "0"),
    _range("head", "show the log from its beginning", "1"),
    _range("1m", "show the last minute of the log", "2"),
    _range("5m", "show the last 5 minutes of the log", "3"),
    _range("15m", "show the last 15 minutes of the log", "4"),
    _range("30m", "show the last 30 minutes of the log", "5"),
    _range("1h", "show the last hour of the log", "6"),
    Action(
        id="list.show_new",
        label="show new",
        doc="show what has come since",
        keys=("full_stop",),
        where=("runs", "signals", "approvals"),
        group="Filter",
        verb="show new",
    ),
    Action(
        id="approval.approve",
        label="approve",
        doc="approve what is shown, or what is marked",
        keys=("a",),
        where=("runs", "run", "approvals"),
        group="Approvals",
        footer=2,
        changes=True,
        verb="approve",
    ),
    Action(
        id="approval.reject",
        label="reject",
        doc="reject it, with a reason",
        keys=("r",),
        where=("runs", "run", "approvals"),
        group="Approvals",
        footer=3,
        changes=True,
        verb="reject",
    ),
    Action(
        id="approval.edit",
        label="edit",
        doc="edit the values of the form, and approve with them",
        keys=("e",),
        where=("run", "approvals"),
        group="Approvals",
        footer=4,
        changes=True,
        verb="edit values",
    ),
    Action(
        id="approval.comment",
        label="comment",
        doc="approve with a comment",
        keys=("c",),
        where=("run", "approvals"),
        group="Approvals",
        footer=5,
        changes=True,
        verb="comment",
    ),
    Action(
        id="approval.run",
        label="run",
        doc="open the run that asks",
        keys=(),
        where=("approvals",),
        group="Approvals",
        verb="open run",
    ),
    Action(
        id="approval.read",
        label="read",
        doc="into what is decided about, to scroll in it, and back",
        keys=("tab",),
        where=("approvals",),
        group="Approvals",
        footer=11,
    ),
    Action(
        id="approval.down",
        label="scroll down",
        doc="scroll what is decided about",
        keys=("right_square_bracket",),
        where=("approvals",),
        group="Approvals",
    ),
    Action(
        id="approval.up",
        label="scroll up",
        doc="scroll it back",
        keys=("left_square_bracket",),
        where=("approvals",),
        group="Approvals",
    ),
    Action(
        id="run.log",
        label="log",
        doc="show the log",
        keys=("L",),
        where=("runs", "run"),
        group="Runs",
        footer=8,
        verb="log",
    ),
    Action(
        id="run.cancel",
        label="cancel",
        doc="end the run early, or every run that is marked",
        keys=("x",),
        where=("runs", "run"),
        group="Runs",
        footer=6,
        changes=True,
        verb="cancel",
    ),
    Action(
        id="run.pause",
        label="pause",
        doc="start nothing new in it until it is resumed",
        keys=("p",),
        where=("runs", "run"),
        group="Runs",
        footer=12,
        changes=True,
        verb="pause",
    ),
    Action(
        id="run.resume",
        label="resume",
        doc="let it go on",
        keys=("P",),
        where=("runs", "run"),
        group="Runs",
        footer=13,
        changes=True,
        verb="resume",
    ),
    Action(
        id="run.retry",
        label="retry",
        doc="do it again, from what went wrong or from a step",
        keys=("R",),
        where=("runs", "run"),
        group="Runs",
        footer=7,
        changes=True,
        verb="retry",
    ),
    Action(
        id="run.resolve",
        label="answer",
        doc="answer for a step of which nobody knows whether it happened",
        keys=("d",),
        where=("runs", "run"),
        group="Runs",
        footer=9,
        changes=True,
        verb="answer in doubt",
    ),
    Action(
        id="run.retry_from",
        label="from here",
        doc="do the run again from the step at the cursor",
        keys=("B",),
        where=("run",),
        group="Run",
        footer=11,
        changes=True,
        verb="retry from here",
    ),
    Action(
        id="run.timeline",
        label="timeline",
        doc="show when each step was active, or why it is as it is",
        keys=("t",),
        where=("run",),
        group="Run",
        footer=14,
        verb="timeline",
    ),
    Action(
        id="run.failure",
        label="failure",
        doc="go to the next step that failed",
        keys=("f",),
        where=("run",),
        group="Run",
        footer=15,
        verb="next failure",
    ),
    Action(
        id="run.active",
        label="active",
        doc="go to what is active now, or to what waits",
        keys=("w",),
        where=("run",),
        group="Run",
        footer=16,
        verb="what is active",
    ),
    Action(
        id="run.values",
        label="values",
        doc="show what went into the step and what came out",
        keys=("i",),
        where=("run",),
        group="Run",
        footer=17,
        verb="values",
    ),
    Action(
        id="run.facts",
        label="facts",
        doc="show what was recorded",
        keys=("E",),
        where=("run",),
        group="Run",
        footer=18,
        verb="facts",
    ),
    Action(
        id="run.source",
        label="source",
        doc="show the file, with the step marked",
        keys=("s",),
        where=("run",),
        group="Run",
        footer=19,
        verb="source",
    ),
    Action(
        id="run.find",
        label="find",
        doc="find a text in what is shown beside the steps",
        keys=("slash",),
        where=("run",),
        group="Run",
        footer=21,
        verb="find",
    ),
    Action(
        id="run.find_next",
        label="next",
        doc="find it once more",
        keys=("n",),
        where=("run",),
        group="Run",
        verb="find next",
    ),
    Action(
        id="run.zoom",
        label="zoom",
        doc="give the part with the cursor the whole screen, or less again",
        keys=("z",),
        where=("run",),
        group="Run",
        footer=22,
        verb="zoom",
    ),
    Action(
        id="run.preview",
        label="preview",
        doc="show or hide what the run at the cursor does",
        keys=("v",),
        where=("runs",),
        group="Runs",
        footer=40,
        verb="preview",
    ),
    Action(
        id="cost.by",
        label="by",
        doc="add up by workflow, step, model or day",
        keys=("b",),
        where=("cost",),
        group="Cost",
        footer=2,
        verb="by",
    ),
    Action(
        id="cost.longer",
        label="longer",
        doc="look further back",
        keys=("right_square_bracket",),
        where=("cost",),
        group="Cost",
        footer=3,
        verb="longer",
    ),
    Action(
        id="cost.shorter",
        label="shorter",
        doc="look less far back",
        keys=("left_square_bracket",),
        where=("cost",),
        group="Cost",
        footer=4,
        verb="shorter",
    ),
    Action(
        id="workflow.start",
        label="start",
        doc="start a run, with the inputs that it takes",
        keys=("S",),
        where=("workflows",),
        group="Workflows",
        footer=2,
        changes=True,
        verb="start",
    ),
    Action(
        id="workflow.edit",
        label="edit",
        doc="open its file in $VISUAL or $EDITOR, and register what it says then",
        keys=("E",),
        where=("workflows",),
        group="Workflows",
        footer=3,
        changes=True,
        verb="edit file",
    ),
    Action(
        id="workflow.source",
        label="source",
        doc="show its file, or what was registered of it",
        keys=("v",),
        where=("workflows",),
        group="Workflows",
        footer=4,
        verb="source",
    ),
    Action(
        id="workflow.pause",
        label="pause",
        doc="let nothing start it until it is activated; its runs go on",
        keys=("p",),
        where=("workflows",),
        group="Workflows",
        footer=5,
        changes=True,
        verb="pause",
    ),
    Action(
        id="workflow.activate",
        label="activate",
        doc="let it be started again, by hand and by its triggers",
        keys=("P",),
        where=("workflows",),
        group="Workflows",
        footer=6,
        changes=True,
        verb="activate",
    ),
    Action(
        id="workflow.archive",
        label="archive",
        doc="put it away: nothing starts it any more",
        keys=("A",),
        where=("workflows",),
        group="Workflows",
        footer=7,
        changes=True,
        verb="archive",
    ),
    Action(
        id="signal.publish",
        label="publish",
        doc="write a signal and publish it",
        keys=("n",),
        where=("signals",),
        group="Signals",
        footer=2,
        changes=True,
        verb="publish",
    ),
    Action(
        id="signal.replay",
        label="replay",
        doc="publish a copy of it, or of every signal that is marked",
        keys=("R",),
        where=("signals",),
        group="Signals",
        footer=3,
        changes=True,
        verb="replay",
    ),
    Action(
        id="signal.copy",
        label="copy data",
        doc="copy what it carries, as JSON",
        keys=(),
        where=("signals",),
        group="Signals",
        verb="copy data",
    ),
    Action(
        id="details.read",
        label="read",
        doc="into the details, to scroll in them, and back",
        keys=("tab",),
        where=("workflows", "signals"),
        group="Move",
        footer=11,
    ),
    Action(
        id="details.down",
        label="scroll down",
        doc="scroll the details down",
        keys=("right_square_bracket",),
        where=("workflows", "signals"),
        group="Move",
    ),
    Action(
        id="details.up",
        label="scroll up",
        doc="scroll the details back",
        keys=("left_square_bracket",),
        where=("workflows", "signals"),
        group="Move",
    ),
    _go("runs", "every run", ""),
    _go("approvals", "everything that waits for a decision", ""),
    _go("signals", "the stream of signals", ""),
    _go("workflows", "workflows, and what became of their runs", ""),
    _go("cost", "what was spent, and on what", ""),
    _go("health", "the engine and its store", ""),
    _go("messages", "what this console has said", ""),
    _go("help", "how the console is used", ""),
    Action(
        id="go.menu",
        label="go to",
        doc="choose a screen by its letter",
        keys=("g",),
        where=("console",),
        group="Go to",
        footer=70,
    ),
    Action(
        id="go.back",
        label="back",
        doc="back to where you came from",
        keys=("escape",),
        where=("console",),
        group="Go to",
        verb="back",
    ),
    Action(
        id="go.last",
        label="last",
        doc="back to the screen before, and forth again",
        keys=("minus",),
        where=("console",),
        group="Go to",
        verb="last",
    ),
    Action(
        id="console.palette",
        label="command",
        doc="type a command, or where to go",
        keys=("colon",),
        where=("console",),
        group="Console",
        footer=80,
    ),
    Action(
        id="console.menu",
        label="keys",
        doc="everything that can be done here",
        keys=("question_mark",),
        where=("console",),
        group="Console",
        footer=90,
    ),
    Action(
        id="console.theme",
        label="theme",
        doc="light or dark",
        keys=("T",),
        where=("console",),
        group="Console",
        verb="theme",
    ),
    Action(
        id="console.reload",
        label="reload",
        doc="read everything again",
        keys=("ctrl+r",),
        where=("console",),
        group="Console",
        verb="reload",
    ),
    Action(
        id="console.engine",
        label="engine",
        doc="run an engine here, where none runs",
        keys=("ctrl+e",),
        where=("console",),
        group="Console",
        changes=True,
        verb="start engine",
    ),
    Action(
        id="console.suspend",
        label="suspend",
        doc="back to the shell for a while; `fg` returns",
        keys=("ctrl+z",),
        where=("console",),
        group="Console",
    ),
    Action(
        id="console.quit",
        label="quit",
        doc="leave the console",
        keys=("q", "ctrl+q"),
        where=("console",),
        group="Console",
        footer=100,
        verb="quit",
    ),
)

BY_ID = {action.id: action for action in ACTIONS}


def at(places: Collection[str]) -> list[Action]:
    """What can be done at these places, in the order of the table."""
    return [action for action in ACTIONS if any(where in places for where in action.where)]


def method(id_: str) -> str:
    """The name of the method that does it."""
    return "do_" + id_.replace(".", "_")


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
