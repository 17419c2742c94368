"""`fleet doctor`: whether everything is in order here, and what to do where it is not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from pathlib import Path

    from fleetprompt.cli.front import Front
    from fleetprompt.client.diagnosis import Finding

app = typer.Typer(rich_markup_mode=None)
OLDEST_SQLITE = (3, 35, 0)
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@app.command("doctor")
def doctor(
    ctx: typer.Context,
    bundle: Annotated[
        str, typer.Option("--bundle", metavar="FILE", help="Write a support bundle, a .zip without secrets, too.")
    ] = "",
    json: Json = False,
) -> int:
    """Check that everything is in order here, and say what to do where it is not.

    Models at addresses of this machine are asked to call a tool, once each, and told which: where such a server passes
    requests on, this may cost money. No other model is asked; `fleet models --ask` asks all of them. MCP servers are
    started.
    """
    front: Front = ctx.obj
    found = _examine(front)
    if json:
        front.terminal.json(
            [{"what": one.what, "status": one.status, "text": one.text, "remedy": one.remedy} for one in found]
        )
    else:
        _print(front, found)
    if bundle:
        _bundle(front, found, front.here / bundle)
    return int(any(one.status == "fail" for one in found))


def _examine(front: Front) -> list[Finding]:
    from fleetprompt.client.diagnosis import Finding, diagnose
    from fleetprompt.engine.core.errors import FleetError

    found = [_python(), _sqlite(), _git(), _terminal()]
    try:
        project = front.tolerate()
    except FleetError as error:
        where = f"{error.where}: " if error.where else ""
        return [*found, Finding("settings", "fail", where + error.message, error.hint)]
    from fleetprompt.cli.models import announcing
    from fleetprompt.client.equipment import examine, of_problem

    found += map(of_problem, project.problems) if project.problems else [_settings(front, project)]
    if project.unread:
        return found

    found += front.run(diagnose(front.place)) + front.run(_daemon(front))
    return found + front.run(examine(front.place, announcing(front)))


async def _daemon(front: Front) -> list[Finding]:
    from fleetprompt.client.daemon_diagnosis import DaemonSetUp, diagnose_daemon

    project = front.tolerate()
    serve, telemetry = project.settings.serve, project.settings.telemetry
    setup = DaemonSetUp(
        host=serve.host,
        port=serve.port,
        socket=project.state / "fleet.sock",
        certificate=project.root / serve.tls_cert if serve.tls_cert else None,
        key=project.root / serve.tls_key if serve.tls_key else None,
        traces=bool(telemetry.otlp_endpoint),
        trace_headers=telemetry.otlp_headers,
        notifications=project.settings.notifications,
    )
    return await diagnose_daemon(front.place, setup)


def _bundle(front: Front, found: list[Finding], target: Path) -> None:
    import msgspec

    from fleetprompt.client.bundle import CONTENTS, write_bundle
    from fleetprompt.client.wording import size

    settings = msgspec.to_builtins(front.tolerate().settings)
    written = front.run(write_bundle(front.place, settings, found, target))
    front.terminal.say(f"{target}: {size(written)}. It holds, with secrets masked:")
    for name, what in CONTENTS.items():
        front.terminal.say(f"  {name:<15} {what}")
    front.terminal.say("look through it before you send it")


def _python() -> Finding:
    from fleetprompt import __version__
    from fleetprompt.client.diagnosis import Finding

    text = f"fleet {__version__}, Python {sys.version.split()[0]} ({sys.executable})"
    if sys.version_info < (3, 11):  # noqa: UP036 whoever runs it with an older one is told so
        return Finding("python", "fail", text, "install Python 3.11 or newer")
    return Finding("python", "ok", text)


def _sqlite() -> Finding:
    import sqlite3

    from fleetprompt.client.diagnosis import Finding

    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return Finding("sqlite", "fail", sqlite3.sqlite_version, "a Python with SQLite 3.35 or newer")
    return Finding("sqlite", "ok", sqlite3.sqlite_version)


def _git() -> Finding:
    import subprocess

    from fleetprompt.client.diagnosis import Finding

    try:
        shown = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return Finding("git", "warn", "not found: runs do not record the commit of their file", "install git")
    return Finding("git", "ok", shown.strip())


def _terminal() -> Finding:
    from fleetprompt.client.diagnosis import Finding

    encoding = (sys.stdout.encoding or "").lower()
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty():
        return Finding("terminal", "ok", f"none: output goes elsewhere ({encoding})")
    size = os.get_terminal_size(sys.stdout.fileno())
    text = f"{term or 'TERM is not set'}, {size.columns}×{size.lines}, {encoding}"
    if not encoding.startswith("utf"):
        return Finding("terminal", "warn", text, "a UTF-8 locale, such as LANG=C.UTF-8")
    if term in ("", "dumb"):
        return Finding("terminal", "warn", text, "set TERM, such as xterm-256color, to see runs live")
    if size.columns < 60:
        return Finding("terminal", "warn", text, "60 columns or more")
    return Finding("terminal", "ok", text)


def _settings(front: Front, project: Any) -> Finding:
    from fleetprompt.client.diagnosis import Finding
    from fleetprompt.settings import FILE

    file = project.root / FILE
    pools = ", ".join(f"{name} {places}" for name, places in project.settings.pools.items()) or "defaults"
    text = f"{project.root}, {'' if file.is_file() else 'no '}{FILE}, pools: {pools}, you are {front.me}"
    return Finding("settings", "ok", text)


def _print(front: Front, found: list[Finding]) -> None:
    from rich.text import Text

    from fleetprompt.cli.render import plain
    from fleetprompt.cli.table import wrapped

    terminal = front.terminal
    for one in found:
        line = Text(f"{one.status:<4} ", style=STYLES[one.status]).append(f"{one.what:<9} ", style="bold")
        lines = [line.append_text(plain(one.text))]
        if one.remedy:
            lines.append(Text("     remedy:   ", style="cyan").append_text(plain(one.remedy)))
        for line in lines:
            terminal.print(*(wrapped(line, terminal.out) if terminal.width else [line]))
