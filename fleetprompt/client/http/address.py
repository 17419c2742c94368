"""Where a daemon is, and what is shown to it: an address, a file with a token, certificates that are trusted."""

from __future__ import annotations

import ipaddress
import os
import ssl
import stat
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from fleetprompt.engine.core.errors import InvalidInput, NotFound

LONGEST_TOKEN = 4_096
UNIX = "unix:"


class Address(Struct, frozen=True, kw_only=True):
    """A daemon. Made by `address_of`."""

    url: str
    """`http://…` or `https://…`, without a path."""
    socket: str = ""
    """Path of its Unix socket; empty where it is on the network."""
    token_file: Path | None = None
    ca_file: Path | None = None
    """Certificates (PEM) that are trusted besides those of the system."""

    @property
    def shown(self) -> str:
        """For people."""
        return f"{UNIX}{self.socket}" if self.socket else self.url

    @property
    def host(self) -> str:
        """The machine, for people; empty for a socket on this one."""
        return "" if self.socket else urlsplit(self.url).netloc

    def token(self) -> str:
        """What it is shown; empty where that is nothing. Read anew each time, as tokens are exchanged.

        Raises `NotFound`, and `InvalidInput` for a file that others can read or that holds no token.
        """
        return read_token(self.token_file) if self.token_file is not None else ""

    def trust(self) -> ssl.SSLContext:
        """What certificates are held against: the system's authorities. Raises `InvalidInput`."""
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except (OSError, ssl.SSLError) as error:
                hint = "it has to hold certificates in PEM form"
                raise InvalidInput(f"--ca-file cannot be used: {error}", where=str(self.ca_file), hint=hint) from None
        return context


def address_of(text: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> Address:
    """The daemon that is meant by `https://host:port`, `http://127.0.0.1:8377` or `unix:/path/of/fleet.sock`.

    Raises `InvalidInput`, also where a token would travel in the clear.
    """
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX).removeprefix("//")
        if not path:
            raise InvalidInput("`unix:` is followed by the path of a socket", hint="unix:.fleet/fleet.sock")
        return Address(url="http://fleet", socket=path, token_file=token_file)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if (
        parts.scheme not in ("http", "https")
        or not host
        or parts.path not in ("", "/")
        or parts.query
        or parts.username
    ):
        hint = "for example https://ops.example.com:8377, or unix:/srv/project/.fleet/fleet.sock"
        raise InvalidInput(f"`{text}` is no address of a daemon", hint=hint)
    if parts.scheme == "http" and token_file is not None and not _is_here(host):
        raise InvalidInput(
            f"a token would travel to {host} in the clear",
            hint="use https://, or a tunnel: ssh -L 8377:127.0.0.1:8377 HOST, and --connect http://127.0.0.1:8377",
        )
    netloc = f"[{host}]" if ":" in host else host
    return Address(
        url=f"{parts.scheme}://{netloc}{f':{port}' if port is not None else ''}", token_file=token_file, ca_file=ca_file
    )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """The token in a file. Raises `NotFound`, and `InvalidInput` for a file that others can read (as OpenSSH does with
    private keys) or that holds no token."""
    try:
        with path.open("rb") as file:
            held = os.fstat(file.fileno())
            if held.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidInput(
                    f"others can read this token (mode {stat.S_IMODE(held.st_mode):04o}): it is not used",
                    where=str(path),
                    hint=f"chmod 600 {path}; if somebody may have read it: fleet token revoke, and a new one",
                )
            text = file.read(LONGEST_TOKEN + 1)
    except FileNotFoundError:
        hint = "`fleet token create NAME` makes a token where the daemon is"
        raise NotFound("there is no such token file", where=str(path), hint=hint) from None
    except OSError as error:
        raise InvalidInput(f"the token cannot be read: {(error.strerror or '').lower()}", where=str(path)) from None
    token = text.decode("ascii", "replace").strip()
    if not token or len(text) > LONGEST_TOKEN or not token.isprintable() or not token.isascii() or " " in token:
        raise InvalidInput(
            "this file holds no token", where=str(path), hint="it has to hold the token and nothing else"
        )
    return token
