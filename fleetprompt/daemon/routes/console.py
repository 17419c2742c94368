"""The whole `Console` protocol, for consoles and commands of other machines: `POST /api/console/{method}`.

Not part of the API that is described: both ends are FleetPrompt, and say at first which version of it they speak. Who
asks is told by the same tokens, and what they may do by the same table, as everywhere else.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, cast, get_args

import msgspec
from fastapi import Request, Response
from msgspec import structs
from starlette.routing import Route

from fleetprompt import __version__
from fleetprompt.client.files import WorkflowFile
from fleetprompt.client.http.messages import FACE, MEDIA_TYPE, PATH, PROTOCOL, Hello, SentFile, SentStart, Told
from fleetprompt.client.http.methods import Method, Valued, method
from fleetprompt.client.identity import Face, Identity
from fleetprompt.client.protocol import Console, Progress, Published, StartRun
from fleetprompt.daemon.service import Service, caller, service_of
from fleetprompt.daemon.telling import Telling
from fleetprompt.engine.core.errors import NotFound
from fleetprompt.engine.ports import Stored, Workflow

_json = "application/json"


async def hello(request: Request) -> Response:
    """Who answers, and as whom it lets one act."""
    service = service_of(request)
    who, console = await _asking(request)
    said = Hello(
        protocol=PROTOCOL,
        version=__version__,
        project=service.about.project,
        pid=os.getpid(),
        position=await console.position(),
        name=who.name,
        role=who.role,
        tenant=who.tenant,
        groups=service.about.groups_of(who.name),
    )
    return Response(msgspec.json.encode(said), media_type=_json)


async def call(request: Request) -> Response:
    """Call a method, and answer with its result or with what it goes on telling."""
    name: str = request.path_params["name"]
    (_, console), found = await _asking(request), method(name)
    if found is None:
        hint = "this daemon is of another version: it says which at the beginning"
        raise NotFound(f"consoles have no method `{name[:80]}` here", hint=hint)
    arguments = found.unpack(await request.body())
    if found.streams:
        return _telling(request, found, console, arguments)
    own = _OWN.get(found.name)
    result = await (own(console, arguments) if own is not None else getattr(console, found.name)(**arguments))
    return Response(found.write(result), media_type=_json)


routes = [Route(PATH, hello, methods=["GET"]), Route(f"{PATH}/{{name}}", call, methods=["POST"])]
"""Not the framework's: what they take and give is no part of its description, and many consoles ask all the time."""


async def _asking(request: Request) -> tuple[Identity, Console]:
    """Who asks, in front of what they say they have in front of them, and the console in their hands."""
    asking = await caller(request)
    face = request.headers.get(FACE, "")
    if face not in get_args(Face):
        return asking.identity, asking.console
    identity = structs.replace(asking.identity, via=cast("Face", face))
    return identity, service_of(request).console_for(identity)


# ---------------------------------------------------------------- what is sent otherwise than it is given


async def _start(console: Console, arguments: dict[str, Any]) -> str:
    sent: SentStart = arguments["request"]
    files = [await console.read_workflow(each.text, each.named) for each in sent.files]
    given: dict[str, Any] = {name: getattr(sent, name) for name in SentStart.__struct_fields__ if name != "files"}
    if files and all([await _is_known(console, each) for each in files]):
        given["workflow"], files = files[0].plan.name, []
    return await console.start(StartRun(files=tuple(files), **given))


async def _register(console: Console, arguments: dict[str, Any]) -> str:
    sent: SentFile = arguments["file"]
    file = await console.read_workflow(sent.text, sent.named)
    return file.digest if await _is_known(console, file) else await console.register(file)


async def _register_all(console: Console, arguments: dict[str, Any]) -> None:
    files = [await console.read_workflow(each.text, each.named) for each in arguments["files"]]
    await console.register_all([each for each in files if not await _is_known(console, each)])


async def _is_known(console: Console, file: WorkflowFile) -> bool:
    """Whether a workflow is so already: to register it as a text would make it forget the file that it is from."""
    try:
        return (await console.workflow(file.plan.name)).plan == file.digest
    except NotFound:
        return False


async def _keep_workflow(console: Console, arguments: dict[str, Any]) -> Workflow:
    file: SentFile = arguments["file"]
    return await console.keep_workflow(await console.read_workflow(file.text, file.named), arguments.get("known"))


async def _value(console: Console, arguments: dict[str, Any]) -> Any:
    sent: Valued = arguments["fact"]
    return await console.value(sent.what)


_OWN: dict[str, Callable[[Console, dict[str, Any]], Any]] = {
    "start": _start,
    "register": _register,
    "register_all": _register_all,
    "keep_workflow": _keep_workflow,
    "value": _value,
}


# ---------------------------------------------------------------- streams


def _telling(request: Request, found: Method, console: Console, arguments: dict[str, Any]) -> Telling:
    # Asked for before anything is answered: a refusal has its status.
    goes_on = getattr(console, found.name)(**arguments)
    service: Service = service_of(request)

    async def lines() -> AsyncGenerator[bytes]:
        async with aclosing(goes_on) as each:
            async for told in each:
                yield msgspec.json.encode(_told(found.name, told)) + b"\n"

    async def still() -> None:
        """Refuse whoever is not let in any more. Raises `HttpProblem`."""
        await service.access.identity(request)

    return Telling(lines(), still, service.closing, media_type=MEDIA_TYPE)


def _told(name: str, told: Any) -> Told:
    match told:
        case Stored():
            return Told(fact=told)
        case Progress():
            return Told(progress=told)
        case Published():
            return Told(published=told)
        case _:
            return Told(change=told) if name == "changes" else Told(pieces=told)
