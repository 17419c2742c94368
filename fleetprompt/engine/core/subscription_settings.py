"""What `fleet.toml` says about who is told: `[subscriptions.NAME]`, a URL and which signals are delivered to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from fleetprompt.engine.core.signal import MAX_PATTERN, PATTERN

_PATTERN: Final = re.compile(PATTERN)
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_URL: Final = re.compile(r"https?://[^\s/?#@\\]+(?:[/?][^\s\\#]*)?")

Text: TypeAlias = Annotated[str, Meta(description='text in quotes, such as "https://ops.example.com/fleet"')]
Types: TypeAlias = Annotated[list[str], Meta(min_length=1, description='a list of types, such as ["deploy.*"]')]
Networks: TypeAlias = Annotated[list[str], Meta(description='a list of networks, such as ["10.0.0.0/8"]')]
Attempts: TypeAlias = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100")]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=300, description="seconds: a number above 0, at most 300")]
Places: TypeAlias = Annotated[int, Meta(ge=1, le=64, description="a whole number from 1 to 64")]


class SubscriptionSettings(Struct, frozen=True, kw_only=True, rename={"when": "if"}):
    """Somebody who is told of signals that leave runs."""

    url: Text
    types: Types
    """Patterns of types. Those of the engine, such as `fleet.run.finished`, are meant only by patterns that begin with
    `fleet.`."""
    secret: Text
    """Name of the secret that deliveries are signed with, in the form of Standard Webhooks: `whsec_` and base64."""
    when: Text = ""
    """Only signals for which this holds: `data.status == 'failed'`."""
    tenant: Text = "default"
    """Whose signals."""
    networks: Networks = []
    """Private networks in which the host may be, `127.0.0.0/8` among them. Elsewhere only public addresses are used."""
    max_attempts: Attempts = 10
    timeout: Seconds = 15.0
    """For an answer, as a whole."""
    concurrency: Places = 4
    """Requests that are under way at a time."""


def subscription_faults(settings: Mapping[str, SubscriptionSettings]) -> Iterator[tuple[list[str], str, str]]:
    """What each value alone does not show: the keys that lead to it, what is wrong, what to do."""
    for name, each in settings.items():
        if not _NAME.fullmatch(name):
            yield [name], f"`{name}` is no name of a subscription", "a-z, 0-9, _ and -, beginning with a letter"
        if not _URL.fullmatch(each.url):
            hint = "such as https://ops.example.com/fleet, without a name or a password"
            yield [name, "url"], f"`{each.url[:100]}` is not the address of a receiver", hint
        for pattern in each.types:
            if len(pattern) > MAX_PATTERN or not _PATTERN.fullmatch(pattern):
                hint = "words and dots, such as deploy.* or fleet.run.finished"
                yield [name, "types"], f"`{pattern[:100]}` matches no type of signals", hint
        for network in each.networks:
            try:
                ip_network(network)
            except ValueError:
                yield [name, "networks"], f"`{network[:100]}` is not a network", "such as 10.0.0.0/8"
        if each.when and (problem := _misread(each.when)):
            yield [name, "if"], problem, "such as data.status == 'failed'; it sees data, type, source and subject"


def _misread(condition: str) -> str:
    from fleetprompt.engine.core.condition import compile_condition
    from fleetprompt.engine.core.expr import ExpressionError

    try:
        unknown = compile_condition(condition).names - NAMES
    except ExpressionError as error:
        return str(error)
    return f"there is no `{min(unknown)}` here" if unknown else ""


NAMES: Final = frozenset({"data", "type", "source", "subject"})
"""What the condition of a subscription sees."""
