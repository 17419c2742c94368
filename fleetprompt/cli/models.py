"""`fleet models`: what the names of models stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprompt.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetprompt.cli.front import Front
    from fleetprompt.client.equipment import KnownModel

app = typer.Typer(rich_markup_mode=None)
NANO = 1_000_000_000
MILLION = 1_000_000


@app.command("models")
def models(
    ctx: typer.Context,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask each of them to call a tool, once: this may cost money.")
    ] = False,
    json: Json = False,
) -> int:
    """List what the names of models stand for: those of fleet.toml, and `default`.

    Prices are US dollars per million tokens. Exits with 1 where one of them cannot be used.
    """
    from fleetprompt.client.equipment import ASKED, models_of

    front: Front = ctx.obj
    found = front.run(models_of(front.place, ask=ASKED if ask else (), asking=announcing(front)))
    if json:
        front.terminal.json([model_object(each) for each in found])
    else:
        _print(front, found)
    return int(any(each.problem for each in found))


def announcing(front: Front) -> Callable[[Sequence[KnownModel]], None]:
    """What tells a person, on standard error, which models are about to be asked."""

    def asking(models: Sequence[KnownModel]) -> None:
        from fleetprompt.client.wording import count

        named = ", ".join(_at(known) for known in models)
        said = f"asking {count(len(models), 'model')} to call a tool, once each; this may cost money: {named}"
        front.terminal.say(said)

    return asking


def _at(known: KnownModel) -> str:
    assert known.target is not None
    base = known.target.api_base
    return f"{known.name} ({known.target.model}{f' at {base}' if base else ''})"


def _print(front: Front, found: list[KnownModel]) -> None:
    from fleetprompt.cli.render import marked
    from fleetprompt.cli.table import Column

    columns = [
        Column("NAME"),
        Column("MODEL", flexible=True),
        Column("MODE"),
        Column("KEY", drop=1),
        Column("IN", right=True, drop=2),
        Column("OUT", right=True, drop=2),
        Column("ELSE", flexible=True, drop=3),
    ]
    rows = [
        [
            marked("failed" if each.problem else "completed").append(f" {each.name}", style="cyan"),
            each.target.model if each.target is not None else "–",
            _mode(each),
            each.target.credential.removeprefix("env:") if each.target is not None else "",
            *_prices(each),
            ", ".join(each.fallback),
        ]
        for each in found
    ]
    front.terminal.table(columns, rows)
    for each in found:
        if each.problem:
            front.terminal.print(f"\n{each.name}: {each.problem}", *([f"  {each.remedy}"] if each.remedy else []))


def _mode(known: KnownModel) -> str:
    if known.target is None:
        return "–"
    from fleetprompt.client.wording import mode_label

    told = mode_label(known.target.mode) or known.target.mode
    return f"{told}, calls tools" if known.answers else told


def _prices(known: KnownModel) -> tuple[str, str]:
    target = known.target
    if target is None:
        return "–", "–"
    if target.mode in ("simulated", "replay"):
        return "n/a", "n/a"
    if target.price is None:
        return "unknown", "unknown"
    return tuple(f"{per_token * MILLION / NANO:.2f}" for per_token in (target.price.input, target.price.output))  # type: ignore[return-value]


def model_object(known: KnownModel) -> dict[str, Any]:
    """A model for machines: always the same keys."""
    target = known.target
    price = target.price if target is not None else None
    return {
        "name": known.name,
        "model": target.model if target is not None else None,
        "mode": target.mode if target is not None else None,
        "api_base": target.api_base or None if target is not None else None,
        "key": target.credential.removeprefix("env:") or None if target is not None else None,
        "input_usd_per_mtok": price.input * MILLION / NANO if price is not None else None,
        "output_usd_per_mtok": price.output * MILLION / NANO if price is not None else None,
        "price_source": price.source if price is not None else None,
        "context": target.context or None if target is not None else None,
        "fallback": list(known.fallback),
        "calls_tools": known.answers,
        "problem": known.problem or None,
        "remedy": known.remedy or None,
    }
