"""Pictures that a workflow asks for: each is asked for once, recorded, kept with its run, and written to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from msgspec import Struct

from fleetprompt.engine.agents.asking import Asking, Wanted
from fleetprompt.engine.agents.attempts import NoAnswer
from fleetprompt.engine.agents.limits import more, over_limit, refused_more
from fleetprompt.engine.core.codec import digest
from fleetprompt.engine.core.errors import Failure, FleetError, InvalidInput
from fleetprompt.engine.llm import prices
from fleetprompt.engine.llm.images import media_type, parse_size
from fleetprompt.engine.llm.stream import estimate_tokens
from fleetprompt.engine.ports.budget import Amounts, BudgetRefused
from fleetprompt.engine.ports.model import ImageAnswer, ImageRequest, ModelTarget, Provider
from fleetprompt.engine.ports.work import Note, WorkContext
from fleetprompt.engine.ports.world import Done, Failed, Outcome
from fleetprompt.engine.tools._fs import FsSettings
from fleetprompt.engine.tools._settings import read_section
from fleetprompt.engine.tools._workspace import Parts, Workspace, named

FOLDER = "out/images"
MOST_BYTES = 256 * 1024 * 1024
"""Of a file that is replaced by a picture."""
WRITTEN = "image.written"
"""Kind of the note that all pictures are in their files."""
ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}


class Order(Struct, frozen=True, kw_only=True):
    """What is asked for."""

    prompt: str
    model: str = ""
    size: str = "1024x1024"
    count: int = 1
    file: str = ""
    """Path in the workspace; empty: one that names the run and the step."""


async def paint(ctx: WorkContext, order: Order) -> Outcome:
    """Have the pictures made, or go on with it, and write them to their files."""
    try:
        parse_size(order.size)
        place = await _workspace(ctx)
        for number in range(order.count):
            # Before anything is paid for.
            await ctx.in_thread(_there, place, place.parts(_path(ctx, order, number, ".png"), writing=True))
        asking = Asking(ctx, "image", _going_on(await ctx.notes(), ctx.effect.attempt))
        made = [await asking.ask(f"image/{number}", _wanted(ctx, order, number)) for number in range(order.count)]
        files = [await _written(ctx, place, order, number, each) for number, each in enumerate(made)]
    except BudgetRefused as refused:
        return await _at_limit(ctx, refused)
    except NoAnswer as error:
        return error.outcome(ctx.now())
    except FleetError as error:
        return Failed(Failure(error.code, error.message, hint=error.hint, retryable=False))
    await ctx.record((WRITTEN, "", {"files": files}))
    simulated = made[0]["mode"] in ("simulated", "replay")
    return Done({**files[0], "images": files, "model": made[0]["model"], "simulated": simulated})


def _going_on(notes: Sequence[Note], attempt: int) -> Sequence[Note]:
    """The notes of the work that is going on: where an earlier attempt had a result that was not accepted, what came
    after it."""
    ended = [i for i, note in enumerate(notes) if note.kind == WRITTEN and note.attempt != attempt]
    return notes[ended[-1] + 1 :] if ended else notes


async def _workspace(ctx: WorkContext) -> Workspace:
    # Settings of tools are known once tools are.
    await ctx.tools(["fs.write"])
    return Workspace(ctx.workspace, read_section(("tools", "fs"), FsSettings, ctx.tool_settings("fs.write")).private)


def _path(ctx: WorkContext, order: Order, number: int, ending: str) -> str:
    """Where a picture is written."""
    path = PurePosixPath(order.file or f"{FOLDER}/{ctx.effect.run}/{ctx.effect.path}")
    # The path of a step may hold a dot, which begins no ending.
    known = path.suffix if order.file else ""
    stem = path.name.removesuffix(known) + (f"-{number + 1}" if order.count > 1 else "")
    return str(path.with_name(stem + (known or ending)))


def _wanted(ctx: WorkContext, order: Order, number: int) -> Wanted:
    width, height = parse_size(order.size)
    prompt = estimate_tokens(order.prompt)

    def most(target: ModelTarget) -> Amounts | None:
        found = prices.most_of_picture(target.price, prompt, width * height)
        return Amounts(tokens=found[1], cost_nano=found[0]) if found is not None else None

    async def send(provider: Provider, target: ModelTarget, credential: str, key: str) -> ImageAnswer:
        # Scripts draw from the prompt: the second of several is another picture.
        said = f"{order.prompt}\n{number + 1}" if number and target.mode == "simulated" else order.prompt
        request = ImageRequest(target=target, prompt=said, size=order.size, key=key, about=ctx.names)
        return await provider.image(request, credential)

    async def told(answer: ImageAnswer) -> dict[str, Any]:
        kept = await ctx.keep(answer.data, with_run=True)
        return {
            "blob": kept,
            "bytes": len(answer.data),
            "media_type": answer.media_type,
            "size": order.size,
            "prompt": order.prompt,
            "revised_prompt": answer.revised_prompt,
            "seconds": round(answer.seconds, 4),
        }

    return Wanted(order.model or "default", digest([order.prompt, order.size, order.model, number]), most, send, told)


async def _written(
    ctx: WorkContext, place: Workspace, order: Order, number: int, made: Mapping[str, Any]
) -> dict[str, Any]:
    """The picture as a file; where it is there already, nothing is written. Raises `InvalidInput`."""
    media = str(made["media_type"])
    path = _path(ctx, order, number, ENDINGS.get(media, ".bin"))
    parts = place.parts(path, writing=True)
    content = await ctx.kept(str(made["blob"]))
    await ctx.in_thread(_put, place, parts, content)
    told = {"file": path, "sha256": made["blob"], "bytes": made["bytes"], "media_type": media}
    if made.get("revised_prompt"):
        told["revised_prompt"] = made["revised_prompt"]
    return told


def _put(place: Workspace, parts: Parts, content: bytes) -> None:
    there = _there(place, parts)
    if there != content:
        place.replace(parts, content, sha256(there).hexdigest() if there is not None else None)


def _there(place: Workspace, parts: Parts) -> bytes | None:
    """The picture that a path leads to already; None: nothing. Raises `InvalidInput` for anything else."""
    there = place.content(parts, MOST_BYTES)
    if there and media_type(there) not in ENDINGS:
        message = f"{named('/'.join(parts))} is there already, and no picture"
        raise InvalidInput(message, hint="give another `file`, or move it away")
    return there


async def _at_limit(ctx: WorkContext, refused: BudgetRefused) -> Outcome:
    """A limit is reached: fail, or ask people for more."""
    asked = [each for each in ctx.decisions.values() if each.about == "budget"]
    if ctx.on_limit(refused.scope) == "ask" and not refused_more(ctx):
        await ctx.ask([more(refused, ctx.effect.path, f"image/budget/{len(asked)}")])
    return Failed(over_limit(refused))
