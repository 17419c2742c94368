"""Which hosts may be reached, and at which addresses: by name from a list first, then by what the name resolves to.

A name that is allowed says nothing about its address: whoever owns the name chooses that, and may choose this machine,
a neighbour, or the service that hands out the machine's credentials. PURE but for `system_resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from msgspec import Struct

from fleetprompt.engine.outside.http_request import Unusable

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
DEFAULT_PORTS = {"http": 80, "https": 443}
NEVER = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8", "169.254.0.0/16", "100.100.100.200/32", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4",
            "fe80::/10", "fec0::/10", "ff00::/8", "::/128", "fd00:ec2::/32", "fd20:ce::/32",
        ),
    )
)  # fmt: skip
"""Link-local and metadata services of clouds, multicast, and addresses that mean no host. No setting lifts this."""
NOWHERE = "is link-local, a metadata service, or no host at all"
_NAME = re.compile(r"^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?$")
_NUMBER = re.compile(r"^(?:\d+|0x[0-9a-f]*)$")


class Host(Struct, frozen=True):
    """An entry of the list of allowed hosts."""

    name: str
    """`api.example.com`, an address, or `*.example.com`."""
    port: int | None = None
    """None: the usual port of the scheme."""

    def is_for(self, host: str, port: int, scheme: str) -> bool:
        """Whether it allows that host and port."""
        if self.name.startswith("*."):
            named = host.endswith(self.name[1:]) and host != self.name[2:]
        else:
            named = host == self.name
        return named and port == (DEFAULT_PORTS[scheme] if self.port is None else self.port)


def read_host(text: str) -> Host:
    """An entry as it is written. Raises `ValueError`."""
    found = re.fullmatch(r"(?:https?://)?(\*\.)?(\[[^\]]*\]|[^:/\[\]]+)(?::(\d{1,5}))?/?", text.strip().lower())
    if not found or (found[3] and not 0 < int(found[3]) < 65536):
        raise ValueError(f"`{text}` is no host: write api.example.com, *.example.com or 127.0.0.1:8080")
    try:
        name = checked_host(found[2].strip("[]"))
    except Unusable as error:
        raise ValueError(f"`{text}`: {error.message}") from None
    return Host((found[1] or "") + name, int(found[3]) if found[3] else None)


def checked_host(text: str) -> str:
    """A host in its one spelling: a name in ASCII, or an address. Raises `Unusable` for any other spelling."""
    name = text.lower().removesuffix(".")
    if ":" in name:
        try:
            if "%" in name:
                raise ValueError
            return str(IPv6Address(name))
        except ValueError:
            raise Unusable("the host is not an IPv6 address", "zones such as %eth0 cannot be used") from None
    if not name.isascii():
        raise Unusable("the host is not ASCII", "write it as xn--…")
    if not _NAME.match(name) or len(name) > 253:
        raise Unusable("the host is not a name")
    if _NUMBER.match(name.rpartition(".")[2]):
        # 2130706433, 0x7f.1, 017700000001 and 127.1 are all spellings of 127.0.0.1 for somebody.
        try:
            return str(IPv4Address(name))
        except ValueError:
            raise Unusable("the host is a number", "write an address as 192.0.2.1") from None
    return name


class Hosts:
    """What may be reached."""

    def __init__(self, hosts: Sequence[str], networks: Sequence[str] = ()) -> None:
        """Raises `ValueError` for what is neither a host nor a network."""
        self._hosts = tuple(map(read_host, hosts))
        self._networks = tuple(ip_network(network) for network in networks)

    def entry(self, host: str, port: int, scheme: str) -> Host:
        """The entry that allows a host. Raises `Unusable`."""
        for entry in self._hosts:
            if entry.is_for(host, port, scheme):
                return entry
        shown = f"[{host}]" if ":" in host else host
        if _is_never(host):
            raise Unusable(f"`{shown}` {NOWHERE}", "such addresses are never reached, whatever the operator allows")
        named = shown if port == DEFAULT_PORTS[scheme] else f"{shown}:{port}"
        raise Unusable(
            f"`{named}` is not an allowed host",
            f'the operator allows it with [tools.http] hosts = ["{named}"]; it cannot be reached otherwise',
        )

    def never(self, name: str) -> str:
        """Why a host of the list is not reached wherever one is; empty where that depends on its address."""
        entry = next((entry for entry in self._hosts if entry.name == name), None)
        try:
            address = ip_address("127.0.0.1" if name == "localhost" else name)
        except ValueError:
            return ""
        return self.refusal(entry, address) if entry is not None else ""

    def refusal(self, entry: Host, address: Address) -> str:
        """Why an address must not be reached; empty: it may be."""
        plain = embedded(address)
        if _among(plain, NEVER):
            return NOWHERE
        listed = _among(plain, self._networks)
        if plain.is_loopback:
            itself = entry.name == "localhost" or entry.name == str(plain) or entry.name == str(address)
            if entry.port is not None and (itself or listed):
                return ""
            return "is this machine, which has to be listed with its port, as 127.0.0.1:8080"
        if plain.is_global or listed or entry.name in (str(plain), str(address)):
            return ""
        return "is private, and not in [tools.http] networks"


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_never(host: str) -> bool:
    """Whether it is an address that is never reached."""
    try:
        return _among(embedded(ip_address(host)), NEVER)
    except ValueError:
        return False


def embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    number = int(address)
    if number >> 32 == int(IPv6Address("64:ff9b::")) >> 32 or (number >> 32 == 0 and number > 1):
        return IPv4Address(number & 0xFFFFFFFF)
    return address


class Pinning:
    """Finds the one address that a request goes to, and looks at it before anything is sent there. What it looked at is
    what is connected to: a name that resolves to something else a moment later changes nothing."""

    def __init__(self, hosts: Hosts, resolve: Resolve) -> None:
        self._hosts = hosts
        self._resolve = resolve

    async def __call__(self, url: str) -> str:
        """The address. Raises `Unusable`."""
        import httpx

        try:
            read = httpx.URL(url)
        except httpx.InvalidURL:
            raise Unusable("the address cannot be read") from None
        if read.userinfo:
            raise Unusable("the address holds a name or a password")
        host = checked_host(read.raw_host.decode("ascii", "replace"))
        port = read.port or DEFAULT_PORTS[read.scheme]
        entry = self._hosts.entry(host, port, read.scheme)
        try:
            addresses = [ip_address(host)]
        except ValueError:
            addresses = [ip_address(text.partition("%")[0]) for text in await self._resolve(host, port)]
        if not addresses:
            raise Unusable(f"`{host}` has no address")
        for address in addresses:
            # All of them: a name with a good and a bad address is somebody's attempt.
            if reason := self._hosts.refusal(entry, address):
                raise Unusable(f"`{host}` is at {address}, which {reason}")
        return str(addresses[0])


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the operating system knows them. Raises `Unusable`."""
    import asyncio
    import socket

    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise Unusable(f"the host name `{host}` is not known") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))
