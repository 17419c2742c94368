"""Commands about workflows: asked about where several are meant or something would stop, and told what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetprompt.client.forms import Field, input_fields
from fleetprompt.client.protocol import QUEUED, StartRun, why_queued
from fleetprompt.client.wording import count, glyph, short
from fleetprompt.engine.core.errors import FleetError
from fleetprompt.engine.core.inert import inert
from fleetprompt.tui.acting import LISTED
from fleetprompt.tui.editing import edit
from fleetprompt.tui.errors import explained
from fleetprompt.tui.screens.dialog import Confirm
from fleetprompt.tui.screens.form import FormDialog
from fleetprompt.tui.sending import under_way
from fleetprompt.tui.state.form import Filled
from fleetprompt.tui.state.lines import Part
from fleetprompt.tui.state.workflow_details import DIGEST
from fleetprompt.tui.state.workflows import Entry

if TYPE_CHECKING:
    from fleetprompt.client.files import WorkflowFile
    from fleetprompt.client.protocol import Console
    from fleetprompt.client.workflow_files import FileState
    from fleetprompt.engine.core.plan import Plan
    from fleetprompt.tui.app import FleetConsole


class Setting(Struct, frozen=True, kw_only=True):
    """A status that workflows can be given."""

    verb: str
    doing: str
    status: str
    asks: bool = False
    """It is asked about even for one."""
    said: str = ""
    """What it means for what is there."""
    registers: bool = False
    """A file that was never registered is."""

    def fits(self, entry: Entry) -> bool:
        """Whether it would change something."""
        if entry.workflow is None:
            return self.registers and _usable(entry)
        return entry.workflow.status != self.status


def _usable(entry: Entry) -> bool:
    """Whether its file can be registered under its name."""
    return entry.state is not None and entry.state.file is not None and not entry.rival


PAUSE = Setting(
    verb="pause",
    doing="pausing",
    status="paused",
    said="nothing starts them until they are activated; their runs go on",
)
ACTIVATE = Setting(
    verb="activate", doing="activating", status="active", said="their triggers start runs", registers=True
)
ARCHIVE = Setting(
    verb="archive",
    doing="archiving",
    status="archived",
    asks=True,
    said="nothing starts it any more; its runs go on and are kept",
)


def set_status(app: FleetConsole, setting: Setting, entries: Sequence[Entry]) -> None:
    """Give workflows a status: one at once where nothing is lost, else after the operator has said yes."""
    fitting = [entry for entry in entries if setting.fits(entry)]
    if not fitting:
        app.say("warning", _unfit(setting, entries))
        return
    if len(fitting) == 1 and not setting.asks:
        _set_soon(app, setting, fitting)
        return
    lines: list[Sequence[Part]] = [
        ((f"{glyph(entry.status)} ", entry.status), (inert(entry.name), "strong"), (f"  is {entry.status}", "dim"))
        for entry in fitting[:LISTED]
    ]
    if len(fitting) > LISTED:
        lines.append(((f"… and {len(fitting) - LISTED:,} more", "dim"),))
    if len(entries) > len(fitting):
        lines.append(((f"{count(len(entries) - len(fitting), 'more workflow')} stay as they are", "dim"),))
    lines.append(((setting.said, "dim"),))

    def answered(yes: bool | None) -> None:
        if yes:
            _set_soon(app, setting, fitting)

    title = f"{setting.verb} {count(len(fitting), 'workflow')}?"
    app.push_screen(Confirm(title, lines, setting.verb, danger=setting.asks), answered)


def _unfit(setting: Setting, entries: Sequence[Entry]) -> str:
    if not entries:
        return f"there is no workflow to {setting.verb}"
    if len(entries) > 1:
        return f"of {count(len(entries), 'workflow')} there is none to {setting.verb}"
    entry = entries[0]
    if entry.workflow is None:
        if not setting.registers:
            return f"{entry.name} is only a file yet: nothing starts it before it is activated (P)"
        if entry.state is None:
            return f"{entry.name} came from no file that is here"
        if entry.rival:
            return f"{entry.name} is the name of the workflow in {entry.rival}: give this one another name (E)"
        return f"{entry.name} cannot be activated before what is wrong with its file is mended (E)"
    return f"{entry.name} is {entry.status} already"


def _set_soon(app: FleetConsole, setting: Setting, entries: Sequence[Entry]) -> None:
    if app.may_change(setting.verb):
        app.run_worker(partial(_set, app, setting, entries), group="commands")


async def _set(app: FleetConsole, setting: Setting, entries: Sequence[Entry]) -> None:
    console = app.client
    assert console is not None
    done: list[Entry] = []
    queued = ""
    for entry in entries:
        try:
            with under_way(app, setting.doing, entry.name):
                if entry.workflow is None:
                    await _register(app, console, entry)
                    done.append(entry)
                    continue
                result = await console.set_workflow(entry.name, setting.status, by=app.who)
        except FleetError as error:
            app.say("error", f"{entry.name} is not {setting.status}: {error.message}")
            continue
        if result.status == "refused":
            app.say("error", f"{entry.name} is not {setting.status}: {result.reason}")
            continue
        queued = why_queued(result) or queued
        done.append(entry)
    app.tell_done([entry.key for entry in done])
    if done:
        named = done[0].name if len(done) == 1 else count(len(done), "workflow")
        app.say("warning" if queued else "info", f"{setting.status}: {named}{' — ' + queued if queued else ''}")


async def _register(app: FleetConsole, console: Console, entry: Entry) -> None:
    """Register a file that the store does not know, which makes it active, after the workflows that it starts. Raises
    `FleetError`."""
    assert entry.state is not None
    assert app.files is not None
    for file in reversed(await asyncio.to_thread(app.files.load, entry.state.path)):
        await console.register(file)


# ------------------------------------------------------------ starting

LABELS = "with labels"
PRIORITY = "with priority"
"""Fields of the form beside the inputs: no input has a space in its name."""
_LABELS = Field(
    name=LABELS,
    type="string",
    pattern=r"(\s*[^=,\s][^=,]*=[^,]*,?)*",
    description="such as env=prod, team=core",
)
_PRIORITY = Field(name=PRIORITY, type="integer", description="runs with a higher one get a place first")


class _Wish(Struct, frozen=True):
    """What is started, as it was when the form was opened."""

    plan: Plan
    digest: str
    files: tuple[WorkflowFile, ...] = ()
    """Empty: what the store keeps is started."""


async def start(app: FleetConsole, entry: Entry) -> None:
    """Ask for inputs and start a run; then show it."""
    if entry.status in ("paused", "archived"):
        app.say("warning", f"{entry.name} is {entry.status}: activate it first (P)")
        return
    try:
        wish = _wish(app, entry)
    except FleetError as error:
        app.say("error", f"{entry.name}: {error.message}")
        return
    plan = wish.plan
    lines: list[Sequence[Part]] = [((inert(line), ""),) for line in plan.description.strip().splitlines()[:3]]
    said = f"from {entry.file}" if wish.files else "as it was registered: its file cannot be used"
    lines.append(((inert(said), "dim"), (f"  plan {wish.digest[:DIGEST]}", "dim")))
    fields = (*input_fields(plan.inputs), _LABELS, _PRIORITY)

    async def filled(given: Filled | None) -> None:
        if given is not None and app.may_change("start"):
            await _start(app, wish, given.values)

    app.push_screen(FormDialog(f"start {inert(plan.name)}", lines, fields, "start"), filled)


def _wish(app: FleetConsole, entry: Entry) -> _Wish:
    """What a start means: the file, with those of the workflows that it starts; else what the store keeps."""
    state = entry.state
    if state is not None and state.file is not None and app.files is not None:
        return _Wish(state.file.plan, state.file.digest, app.files.load(state.path))
    if entry.workflow is not None and entry.plan is not None:
        return _Wish(entry.plan, entry.workflow.plan)
    raise FleetError("it cannot be started before what is wrong with its file is mended")


async def _start(app: FleetConsole, wish: _Wish, values: dict[str, Any]) -> None:
    console = app.client
    assert console is not None
    inputs = {name: value for name, value in values.items() if name not in (LABELS, PRIORITY)}
    request = StartRun(
        workflow="" if wish.files else wish.plan.name,
        files=wish.files,
        inputs=inputs,
        labels=labels_of(values.get(LABELS, "")),
        priority=values.get(PRIORITY, 0),
        by=app.who,
    )
    try:
        with under_way(app, "starting", wish.plan.name):
            run = await console.start(request)
    except FleetError as error:
        app.say("error", f"{wish.plan.name} is not started: {error.message}")
        return
    if console.where == "none":
        app.say("warning", f"{wish.plan.name}: {QUEUED}")
        return
    app.say("info", f"started: {wish.plan.name}, run {short(run)}")
    await app.go_to(f"run {run}")


def labels_of(text: str) -> dict[str, str]:
    """`env=prod, team=core` as labels."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


# ------------------------------------------------------------ editing


async def edit_file(app: FleetConsole, entry: Entry) -> FileState | None:
    """Open a workflow's file in the operator's editor, check it, and register what it says if that is valid and new.

    Returns the file as it is then; None where nothing was edited. What happened is told.
    """
    files, console = app.files, app.client
    if files is None or console is None or entry.state is None:
        app.say("warning", f"{entry.name} came from no file that is here")
        return None
    try:
        try:
            await edit(app, entry.state.path)
        except FleetError as error:
            # An editor that ends badly may have saved the file. It is shown as it is then, and not registered.
            app.say("error", f"{explained(error)}; nothing was registered")
            return await asyncio.to_thread(files.look, entry.state.path, anew=True)
        state = await asyncio.to_thread(files.look, entry.state.path, anew=True)
        if state.file is None:
            wrong = "it is gone" if state.missing else count(state.errors, "error")
            app.say("error", f"{state.named}: {wrong}; nothing was registered")
            return state
        known = {workflow.name: workflow.plan for workflow in await console.workflows()}
        if known.get(state.name) == state.file.digest:
            app.say("info", f"{state.name} is as it was")
        else:
            with under_way(app, "registering", state.name):
                digest = await console.register(state.file)
            new = "" if state.name in known else "; it is active"
            app.say("info", f"registered: {state.name}, plan {digest[:DIGEST]}{new}")
        return state
    except FleetError as error:
        app.say("error", explained(error))
        return None
