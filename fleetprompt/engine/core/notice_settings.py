"""What `fleet.toml` says about who is notified: `[notifications.NAME]`, a webhook or an address of apprise."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct, field

from fleetprompt.engine.core.closest import did_you_mean
from fleetprompt.engine.core.notice import KINDS

SECRET: Final = "secret:"
"""How a value begins that is the name of a secret."""
_URL: Final = re.compile(r"https?://[^\s/?#@\\]+(?:[/?][^\s\\#]*)?")

Text: TypeAlias = Annotated[str, Meta(description='text in quotes, such as "https://ops.example.com/fleet"')]
Words: TypeAlias = Annotated[list[str], Meta(description='a list of words, such as ["approval", "failed"]')]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=3600, description="seconds: a number from 0 to 3600")]
Many: TypeAlias = Annotated[int, Meta(ge=1, le=3600, description="a whole number from 1 to 3600")]


class NoticeSettings(Struct, frozen=True, kw_only=True):
    """Somebody who is notified; exactly one of `webhook` and `apprise`."""

    webhook: Text = ""
    """URL to which JSON is posted; its `text` is what chat systems show. May be `secret:NAME`."""
    signed_by: Text = ""
    """Name of a secret in the form of Standard Webhooks (`whsec_` and base64) with which it is signed."""
    apprise: Text = ""
    """An address of apprise, such as `mailto://…`: better `secret:NAME`, for there are passwords in them."""
    on: Words = field(default_factory=lambda: list[str](KINDS))
    """Of what."""
    workflows: Words = []
    """Patterns of the workflows it is about; none: of all."""
    tenant: Text = ""
    """Whose; empty: of all tenants."""
    link: Text = ""
    """What is linked to; `{run}`, `{approval}` and `{workflow}` are filled in."""
    within: Seconds = 5.0
    """What happens in so many seconds is told in one message."""
    per_hour: Many = 60
    """Messages in an hour; what is over waits, and is told together."""


def notice_faults(settings: Mapping[str, NoticeSettings]) -> Iterator[tuple[list[str], str, str]]:
    """What each value alone does not show: the keys that lead to it, what is wrong, what to do."""
    for name, each in settings.items():
        if bool(each.webhook) == bool(each.apprise):
            yield [name], "say where to: exactly one of `webhook` and `apprise`", "docs/operations.md has examples"
        if each.webhook and not each.webhook.startswith(SECRET) and not _URL.fullmatch(each.webhook):
            hint = "such as https://ops.example.com/fleet, or secret:NAME where the address itself is one"
            yield [name, "webhook"], "this is no address of a receiver", hint
        if each.signed_by and not each.webhook:
            yield [name, "signed_by"], "only webhooks are signed", "take it out"
        for kind in each.on:
            if kind not in KINDS:
                hint = did_you_mean(kind, KINDS) or f"there are {', '.join(KINDS)}"
                yield [name, "on"], f"`{kind[:50]}` is nothing that is notified of", hint
