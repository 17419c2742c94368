"""Which daemon is asked: options of `fleet` itself, or the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fleetprompt.client.http.address import Address

CONNECT, TOKEN_FILE, CA_FILE = "FLEET_CONNECT", "FLEET_TOKEN_FILE", "FLEET_CA_FILE"
LOCAL = frozenset(
    {"init", "recover", "validate", "import", "schema", "serve", "engine", "db", "models", "tools", "doctor", "demo"}
)
"""Commands about the files, the store and the engine of a project: they work where these are."""


class Connection(NamedTuple):
    """A daemon, as it was given."""

    url: str = ""
    """Empty: the project of this folder."""
    token_file: str = ""
    ca_file: str = ""
    local: bool = False
    """It is about the project of this folder, whoever serves it."""

    def address(self, here: Path) -> Address | None:
        """The daemon; None for the project of this folder. Raises `InvalidInput`."""
        if not self.url:
            return None
        from fleetprompt.client.http.address import address_of

        token, ca = (here / Path(text).expanduser() if text else None for text in (self.token_file, self.ca_file))
        return address_of(self.url, token_file=token, ca_file=ca)


HERE = Connection()
LOCALLY = Connection(local=True)


def connection(
    command: str | None,
    url: str = "",
    token_file: str = "",
    ca_file: str = "",
    *,
    database: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Connection:
    """The daemon that a command asks: what its options say goes before the environment, which commands that work
    where a project is do not heed. Raises `InvalidInput` for options that contradict each other."""
    from fleetprompt.engine.core.errors import InvalidInput

    if url and command in LOCAL:
        hint = f"log in where the daemon is: ssh HOST fleet {command}"
        raise InvalidInput(f"`fleet {command}` works where the project is, not over --connect", hint=hint)
    if url and database:
        raise InvalidInput("--connect and --db are two places to look", hint="give one of them")
    if not url and (token_file or ca_file) and not environment.get(CONNECT):
        raise InvalidInput("--token-file and --ca-file are for --connect", hint="--connect https://HOST:8377")
    if not url and (command in LOCAL or database):
        return LOCALLY
    url = url or environment.get(CONNECT, "")
    if not url:
        return HERE
    return Connection(url, token_file or environment.get(TOKEN_FILE, ""), ca_file or environment.get(CA_FILE, ""))
