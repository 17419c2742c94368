"""What an operator can do, each thing once: keys, footer, menu and palette are all made from this table.

An id is permanent, for users name it in their keymap. A `where` is a place that knows how to do it: a screen, every
list, or the whole console; each has a method `do_` and the id with underscores.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, cast

from msgspec import Struct
from msgspec.structs import replace

Where = Literal[
    "console",
    "list",
    "runs",
    "run",
    "approvals",
    "signals",
    "workflows",
    "agents",
    "schedules",
    "chat",
    "cost",
    "health",
    "messages",
    "log",
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
    group: str = ""
    footer: int = 0
    """Place in the footer, the smallest first and the last to be left out; from 80 on its room is kept for it; 0 for
    none."""
    changes: bool = False
    """It changes something beyond this console: refused where one may only look."""
    verb: str = ""
    """How it is said in the palette; empty for what makes sense only as a key."""


_FILTERED = "runs approvals signals workflows agents schedules"
_DETAILED = "workflows signals agents schedules"
"""Places with details beside their list."""


def _action(id_: str, keys: str, where: str, label: str, doc: str, footer: int = 0, verb: str = "") -> Action:
    """A line of the table; keys and places are parted by spaces."""
    return Action(
        id=id_,
        label=label,
        doc=doc,
        keys=tuple(keys.split()),
        where=cast("tuple[Where, ...]", tuple(where.split())),
        footer=footer,
        verb=verb,
    )


def _change(id_: str, keys: str, where: str, label: str, doc: str, footer: int = 0, verb: str = "") -> Action:
    """The same for what changes something beyond this console."""
    return replace(_action(id_, keys, where, label, doc, footer, verb), changes=True)


def _move(name: str, keys: str, doc: str, where: str = "list log") -> Action:
    return _action(f"list.{name}", keys, where, name.replace("_", " "), doc)


def _range(name: str, key: str, doc: str) -> Action:
    return _action(f"log.{name}", key, "log", name, doc, verb=f"log {name}")


def _go(name: str, doc: str) -> Action:
    return _action(f"go.{name}", "", "console", name, doc, verb=name)


def _group(name: str, *actions: Action) -> tuple[Action, ...]:
    """What stands together in the menu."""
    return tuple(replace(action, group=name) for action in actions)


ACTIONS: tuple[Action, ...] = (
    # The order of the menu.
    *_group(
        "Move",
        _action("list.open", "enter", "list", "open", "open what the cursor is on", 1),
        _move("up", "up k", "one line up"),
        _move("down", "down j", "one line down"),
        _move("page_up", "pageup ctrl+u", "a page up", "list log chat"),
        _move("page_down", "pagedown ctrl+d", "a page down", "list log chat"),
        _move("top", "home", "to the top"),
        _move("bottom", "end G", "to the bottom"),
        _move("left", "left h", "scroll to the left, or close a branch"),
        _move("right", "right l", "scroll to the right, or open a branch"),
        _action("list.jump", "apostrophe", "list", "jump", "jump to a visible line by its letter", 30),
        _action(
            "details.read",
            "tab",
            _DETAILED,
            "read",
            "into the details, to scroll in them, and back",
            11,
        ),
        _action("details.down", "right_square_bracket", _DETAILED, "scroll down", "scroll the details down"),
        _action("details.up", "left_square_bracket", _DETAILED, "scroll up", "scroll the details back"),
    ),
    *_group(
        "Marks",
        _action("list.mark", "space", "list", "mark", "mark or unmark the line", 20),
        _action("list.range", "V", "list", "range", "begin a range of marks, or end it"),
        _action(
            "list.mark_all", "asterisk", "list", "mark all", "mark everything that matches the filter", verb="mark all"
        ),
        _action("list.unmark_all", "U", "list", "unmark", "take all marks away", verb="unmark all"),
    ),
    *_group(
        "Copy",
        _action("list.copy", "y", "list", "copy", "copy the id, or the ids that are marked", 60, "copy"),
        _action("list.copy_line", "Y", "list", "copy line", "copy the whole line", verb="copy line"),
    ),
    *_group(
        "Filter",
        _action("filter.edit", "slash", _FILTERED, "filter", "filter the list", 80, "filter"),
        _action("filter.clear", "backspace", _FILTERED, "no filter", "show everything again", verb="clear filter"),
        _action("sort.next", "o", "runs workflows", "sort", "sort by the next column", 50, "sort"),
        _action("sort.reverse", "O", "runs workflows", "reverse", "reverse the order", verb="reverse"),
        _action("list.follow", "F", "runs signals log", "follow", "keep to what is newest, or stop that", 55, "follow"),
        _action(
            "list.show_new",
            "full_stop",
            "runs signals",
            "show new",
            "show what has come since",
            verb="show new",
        ),
    ),
    *_group(
        "Log",
        _action("log.find", "slash", "log", "find", "find a text, or a /regular expression/", 10, "find"),
        _action("log.next", "n", "log", "next match", "go to the next match"),
        _action("log.previous", "N", "log", "previous match", "go to the match before"),
        _action(
            "log.only",
            "ampersand",
            "log",
            "matches only",
            "leave out all lines that do not match, or show them again",
            verb="only matches",
        ),
        _action(
            "log.levels",
            "v",
            "log",
            "levels",
            "show all lines, problems, errors, output or messages alone",
            20,
            "levels",
        ),
        _action("log.time", "at", "log", "time", "go to a time", 30, "time"),
        _action("log.wrap", "w", "log", "wrap", "let long lines take several rows, or cut them", 25, "wrap"),
        _range("tail", "0", "show the log from its end"),
        _range("head", "1", "show the log from its beginning"),
        _range("1m", "2", "show the last minute of the log"),
        _range("5m", "3", "show the last 5 minutes of the log"),
        _range("15m", "4", "show the last 15 minutes of the log"),
        _range("30m", "5", "show the last 30 minutes of the log"),
        _range("1h", "6", "show the last hour of the log"),
    ),
    *_group(
        "Approvals",
        _change(
            "approval.approve",
            "a",
            "runs run approvals",
            "approve",
            "approve what is shown, or what is marked",
            2,
            "approve",
        ),
        _change("approval.reject", "r", "runs run approvals", "reject", "reject it, with a reason", 3, "reject"),
        _change(
            "approval.edit",
            "e",
            "run approvals",
            "edit",
            "edit the values of the form, and approve what is shown or marked with them",
            4,
            "edit values",
        ),
        _change(
            "approval.comment",
            "c",
            "run approvals",
            "approve + comment",
            "approve what is shown, or what is marked, with a comment",
            5,
            "approve with a comment",
        ),
        _change(
            "approval.grant_run",
            "A",
            "run approvals",
            "allow in run",
            "approve the call, and every call like it for the rest of the run",
            10,
            "allow in this run",
        ),
        _change(
            "approval.grant_workflow",
            "W",
            "run approvals",
            "allow in workflow",
            "approve the call, and every call like it in every run of the workflow",
            10,
            "allow in this workflow",
        ),
        _change(
            "approval.end",
            "X",
            "run approvals",
            "end agent",
            "reject, and let the agent that asks not go on",
            11,
            "end the agent",
        ),
        _change(
            "approval.escalate",
            "H",
            "run approvals",
            "hand on",
            "hand the question on to whom it names next",
            11,
            "hand on",
        ),
        _action("approval.run", "", "approvals", "run", "open the run that asks", verb="open run"),
        _action(
            "approval.read", "tab", "approvals", "read", "into what is decided about, to scroll in it, and back", 11
        ),
        _action("approval.down", "right_square_bracket", "approvals", "scroll down", "scroll what is decided about"),
        _action("approval.up", "left_square_bracket", "approvals", "scroll up", "scroll it back"),
    ),
    *_group(
        "Runs",
        _action("run.log", "L", "runs run", "log", "show the log", 8, "log"),
        _change("run.cancel", "x", "runs run", "cancel", "end the run early, or every run that is marked", 6, "cancel"),
        _change("run.pause", "p", "runs run", "pause", "start nothing new in it until it is resumed", 12, "pause"),
        _change("run.resume", "P", "runs run", "resume", "let it go on", 13, "resume"),
        _change("run.retry", "R", "runs run", "retry", "do it again, from what went wrong or from a step", 7, "retry"),
        _change(
            "run.resolve",
            "d",
            "runs run",
            "answer",
            "answer for a step of which nobody knows whether it happened",
            9,
            "answer in doubt",
        ),
        _change("run.raise", "b", "runs run", "raise", "let it spend more than its limits say", verb="raise a limit"),
        _action("run.preview", "v", "runs", "preview", "show or hide what the run at the cursor does", 40, "preview"),
    ),
    *_group(
        "Run",
        _change(
            "run.retry_from",
            "B",
            "runs run",
            "retry from",
            "do the run again from the step at the cursor, or every marked run from a step that is named",
            11,
            "retry from a step",
        ),
        _action(
            "run.timeline",
            "t",
            "run",
            "timeline",
            "show when each step was active, or why it is as it is",
            14,
            "timeline",
        ),
        _action("run.failure", "f", "run", "failure", "go to the next step that failed", 15, "next failure"),
        _action("run.active", "w", "run", "active", "go to what is active now, or to what waits", 16, "what is active"),
        _action("run.values", "i", "run", "values", "show what went into the step and what came out", 17, "values"),
        _action("run.facts", "E", "run", "facts", "show what was recorded", 18, "facts"),
        _action("run.source", "s", "run", "source", "show the file, with the step marked", 19, "source"),
        _action("run.find", "slash", "run", "find", "find a text in what is shown beside the steps", 21, "find"),
        _action("run.find_next", "n", "run", "next", "find it once more", verb="find next"),
        _action(
            "run.zoom", "z", "run", "zoom", "give the part with the cursor the whole screen, or less again", 22, "zoom"
        ),
    ),
    *_group(
        "Fleet",
        _change("fleet.pause", "", "console", "pause fleet", "start nothing new anywhere", verb="pause the fleet"),
        _change(
            "fleet.drain",
            "",
            "console",
            "drain fleet",
            "let no run begin; those that have go on",
            verb="drain the fleet",
        ),
        _change("fleet.stop", "", "console", "stop fleet", "stop all that is in flight at once", verb="stop the fleet"),
        _change("fleet.resume", "", "console", "fleet on", "let everything go on", verb="switch the fleet on"),
    ),
    *_group(
        "Cost",
        _action("cost.by", "b", "cost", "by", "add up by workflow, step, model or day", 2, "by"),
        _action("cost.longer", "right_square_bracket", "cost", "longer", "look further back", 3, "longer"),
        _action("cost.shorter", "left_square_bracket", "cost", "shorter", "look less far back", 4, "shorter"),
    ),
    *_group(
        "Workflows",
        _change("workflow.start", "S", "workflows", "start", "start a run, with the inputs that it takes", 2, "start"),
        _change(
            "workflow.edit",
            "E",
            "workflows",
            "edit",
            "open its file in $VISUAL, $EDITOR or vi, and register what it says then",
            3,
            "edit file",
        ),
        _action(
            "workflow.source", "v", "workflows", "source", "show its file, or what was registered of it", 4, "source"
        ),
        _change(
            "workflow.pause",
            "p",
            "workflows",
            "pause",
            "let nothing start it until it is activated; its runs go on",
            5,
            "pause",
        ),
        _change(
            "workflow.activate",
            "P",
            "workflows",
            "activate",
            "let it be started, by hand and by its triggers; a file that is a draft is registered",
            6,
            "activate",
        ),
        _change(
            "workflow.archive", "A", "workflows", "archive", "put it away: nothing starts it any more", 7, "archive"
        ),
    ),
    *_group(
        "Agents",
        _change("agent.chat", "c", "agents workflows", "chat", "talk to it: each message is a run", 2, "chat"),
        _change("chat.stop", "ctrl+t", "chat", "stop", "stop what is answering", 3, "stop the answer"),
        _action("chat.run", "ctrl+o", "chat", "its run", "open the run of the last message", 4, "open its run"),
        _action("chat.new", "ctrl+n", "chat", "new", "begin another conversation", 5, "new conversation"),
    ),
    *_group(
        "Schedules",
        _change("schedule.fire", "S", "schedules", "fire now", "start a run now, whatever the time", 2, "fire now"),
        _change(
            "schedule.pause",
            "p",
            "schedules",
            "pause",
            "let it start nothing until it is resumed; what it lets go by is not made up for",
            3,
            "pause",
        ),
        _change("schedule.resume", "P", "schedules", "resume", "let it come again, from now on", 4, "resume"),
        _action("schedule.runs", "v", "schedules", "its runs", "show the runs that it has started", 5, "its runs"),
    ),
    *_group(
        "Signals",
        _change("signal.publish", "n", "signals", "publish", "write a signal and publish it", 2, "publish"),
        _change(
            "signal.replay",
            "R",
            "signals",
            "replay",
            "publish a copy of it, or of every signal that is marked",
            3,
            "replay",
        ),
        _change(
            "signal.redo",
            "D",
            "signals",
            "try again",
            "try again what it could not start or be delivered to, and nothing else (filter dead:*)",
            4,
            "try again",
        ),
        _change(
            "signal.dismiss",
            "X",
            "signals",
            "dismiss",
            "let be what it could not start or be delivered to",
            5,
            "dismiss",
        ),
        _action("signal.copy", "", "signals", "copy data", "copy what it carries, as JSON", verb="copy data"),
    ),
    *_group(
        "Go to",
        _go("runs", "every run"),
        _go("approvals", "everything that waits for a decision"),
        _go("signals", "the stream of signals"),
        _go("workflows", "workflows, and what became of their runs"),
        _go("agents", "agents, and how they do"),
        _go("schedules", "schedules: when they come, and what became of their times"),
        _go("cost", "what was spent, and on what"),
        _go("health", "the engine and its store"),
        _go("messages", "what this console has said"),
        _go("help", "how the console is used"),
        _action("go.menu", "g", "console", "go to", "choose a screen by its letter", 70),
        _action("go.back", "escape", "console", "back", "back to where you came from", verb="back"),
        _action("go.last", "minus", "console", "last", "back to the screen before, and forth again", verb="last"),
    ),
    *_group(
        "Console",
        _action("console.palette", "colon", "console", "command", "type a command, or where to go", 85),
        _action("console.menu", "question_mark", "console", "keys", "everything that can be done here", 90),
        _action("console.theme", "T", "console", "theme", "light or dark", verb="theme"),
        _action("console.reload", "ctrl+r", "console", "reload", "read everything again", verb="reload"),
        _change(
            "console.engine", "ctrl+e", "console", "engine", "run an engine here, where none runs", verb="start engine"
        ),
        _action(
            "console.stop",
            "",
            "console",
            "stop sending",
            "send nothing more of what is being sent, such as commands to many runs; esc does so, too",
            verb="stop sending",
        ),
        _action("console.suspend", "ctrl+z", "console", "suspend", "back to the shell for a while; `fg` returns"),
        _action("console.quit", "q ctrl+q", "console", "quit", "leave the console", 100, "quit"),
    ),
)

BY_ID = {action.id: action for action in ACTIONS}


def at(places: Collection[str]) -> list[Action]:
    """What can be done at these places, in the order of the table."""
    return [action for action in ACTIONS if any(where in places for where in action.where)]


def method(id_: str) -> str:
    """The name of the method that does it."""
    return "do_" + id_.replace(".", "_")
