"""`fleet serve`: the daemon. Engine, triggers, and everything over HTTP."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

if TYPE_CHECKING:
    from fleetprompt.cli.front import Front
    from fleetprompt.client.embedded import EmbeddedConsole
    from fleetprompt.client.identity import Identity
    from fleetprompt.client.observing import Observed
    from fleetprompt.client.reloading import Reloaded
    from fleetprompt.client.tokens import Authenticator
    from fleetprompt.daemon.access import Authenticate, Rules
    from fleetprompt.daemon.daemon import Daemon
    from fleetprompt.daemon.serving import Address

app = typer.Typer(rich_markup_mode=None)
SOCKET = "fleet.sock"
LogFormat = Literal["text", "json"]


@app.command("serve")
def serve(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "",
    port: Annotated[int, typer.Option("--port", "-p", min=-1, max=65535, help="0: any free one.")] = -1,
    certificate: Annotated[str, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.")] = "",
    key: Annotated[str, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")] = "",
    recover: Annotated[
        bool, typer.Option("--recover/--no-recover", help="Go on with what was interrupted, or leave it alone.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Say what happens in lines of JSON.")] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", help="json: lines of JSON on standard error, also of what happens to runs."),
    ] = "text",
) -> int:
    """Hold the engine, start what is due, and answer over HTTP until SIGTERM or Ctrl-C."""
    front: Front = ctx.obj
    # Until it listens next to nothing becomes garbage, and what is there then stays: it is not looked through again.
    gc.disable()
    try:
        address = _address(front, host, port, certificate, key)
        return front.run(_serve(front, address, recover=recover, json=json, log_format=log_format))
    finally:
        gc.enable()


def _address(front: Front, host: str, port: int, certificate: str, key: str) -> Address:
    from fleetprompt.daemon.serving import Address

    settings = front.project.settings.serve

    def path(given: str, set_: str) -> Path | None:
        return (front.here / given) if given else (front.project.root / set_) if set_ else None

    return Address(
        host=host or settings.host,
        port=port if port >= 0 else settings.port,
        socket=front.project.state / SOCKET,
        certificate=path(certificate, settings.tls_cert),
        key=path(key, settings.tls_key),
    )


def _rules(front: Front) -> Rules:
    from fleetprompt.daemon.access import Rules

    settings = front.project.settings.serve
    return Rules(
        operator=front.me,
        local_role=settings.local_role if settings.local_role != "none" else None,
        hosts=frozenset(settings.hosts),
        origins=frozenset(settings.origins),
    )


async def _serve(front: Front, address: Address, *, recover: bool, json: bool, log_format: LogFormat) -> int:
    from fleetprompt.client.observing import observed, target_of

    settings = front.project.settings.telemetry
    target = target_of(settings.otlp_endpoint, settings.otlp_headers, settings.service)
    say = _teller(front, "json" if json else "log" if log_format == "json" else "text")
    async with observed(front.project.state, logs=log_format == "json", target=target) as told:
        return await _served(front, address, told, say, recover=recover)


async def _served(front: Front, address: Address, told: Observed, say: Say, *, recover: bool) -> int:
    from fleetprompt.cli.engine import leave_at_once_when_told_again, stop_event
    from fleetprompt.client.embedded import EmbeddedConsole
    from fleetprompt.client.guarded import guarded
    from fleetprompt.client.measuring import measuring
    from fleetprompt.client.notifying import start_notifying
    from fleetprompt.client.opening import open_console
    from fleetprompt.client.tokens import Authenticator
    from fleetprompt.daemon.daemon import daemon
    from fleetprompt.engine.telemetry.metrics import Metrics

    stop = stop_event()
    metrics = Metrics()
    console = await open_console(
        front.place, "engine", what="fleet serve", recover=recover, fires=True, observers=[metrics, *told.observers]
    )
    assert isinstance(console, EmbeddedConsole)
    told.redact_by(console.engine.secrets.redact)
    known = Authenticator(console.store, console.clock, console.engine.secrets.learn)
    settings = front.project.settings
    try:
        start_notifying(console, settings.notifications, settings.telemetry.stuck_after)
        async with daemon(
            console,
            front.project.root,
            front.project.workflows,
            address,
            _rules(front),
            console_for=lambda identity: guarded(console, identity),
            authenticate=_authenticating(known),
            has_tokens=lambda: console.store.tokens.any_counts(console.clock.now()),
            counts=known.counts,
            told=lambda files: _tell_files(say, files),
            measure=measuring(console, metrics, settings.telemetry.stuck_after),
        ) as served:
            gc.freeze()
            gc.enable()
            _tell_ready(say, console, served, address)
            await stop.wait()
            say("closing", "finishing what is in flight; again: leave at once")
            leave_at_once_when_told_again()
    finally:
        await console.close()
    say("closed", "closed")
    return 0


def _authenticating(known: Authenticator) -> Authenticate:
    from fleetprompt.client.tokens import Unauthenticated

    async def authenticate(shown: str) -> Identity | None:
        try:
            return await known.authenticate(shown)
        except Unauthenticated:
            return None

    return authenticate


def _tell_ready(say: Say, console: EmbeddedConsole, served: Daemon, address: Address) -> None:
    from fleetprompt.client.wording import count

    taken, files = console.taken_up, served.files
    parts = [f"{count(len(files.taken), 'workflow file')} taken"] if files.taken else []
    parts += [f"{count(len(taken.runs), 'run')} {'goes' if len(taken.runs) == 1 else 'go'} on"] if taken.runs else []
    socket = str(address.socket)
    say("listening", f"listening on {served.url} and {socket}", url=served.url, socket=socket)
    for part in parts:
        say("found", part)
    _tell_broken(say, files)


def _tell_files(say: Say, files: Reloaded) -> None:
    for name in files.taken:
        say("taken", f"workflow {name} is taken as it is now", workflow=name)
    for name in files.mended:
        say("mended", f"{name} can be used again", file=name)
    _tell_broken(say, files)


def _tell_broken(say: Say, files: Reloaded) -> None:
    for name, broken in files.broken.items():
        first = broken.first
        said = f"{name}:{first.line}:{first.column}: {broken.said}; {broken.means}"
        say("broken", said, file=name)
    for name, other in files.doubled.items():
        say("doubled", f"{name} is left out: {other} has a workflow of the same name", file=name)
    for name, workflow in files.gone.items():
        said = f"{name} is gone; workflow {workflow} goes on as it was (fleet workflows archive {workflow} ends it)"
        say("gone", said, file=name, workflow=workflow)


class Say(Protocol):
    """Says what the daemon does."""

    def __call__(self, event: str, text: str, **more: str) -> None:
        """An event, in a word and for people, and what it is about."""
        ...


def _teller(front: Front, how: Literal["text", "json", "log"]) -> Say:
    """`json`: in lines on standard output. `log`: among the lines of the log, which all are JSON then."""
    if how == "log":
        from fleetprompt.client.observing import logged

        return logged

    def say(event: str, text: str, **more: str) -> None:
        try:
            if how == "json":
                front.terminal.json_line({"event": event, "text": text, **more})
            else:
                front.terminal.say(text)
        except OSError:
            # Whoever read it is gone, or has no room for it: that is no reason to serve nobody any more. What is still
            # said, also by Python itself at its end, goes nowhere.
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), (sys.stdout if how == "json" else sys.stderr).fileno())

    return say
