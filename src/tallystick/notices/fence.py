"""Where webhooks may go: addresses of the public internet, by https. Nothing inside, nothing of this machine.

A customer chooses the URL, and our server calls it: without a fence it would call what only our server can reach.
Every address of the host is vetted when the URL is saved, and again before each call, which then goes to the vetted
address and to no other, whatever the name means a moment later.
"""

import asyncio
import functools
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tallystick.base.errors import InvalidInput

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

# Threads of their own: a question to a name server that is slow on purpose cannot be taken back, and must not hold up
# what else this process does in threads.
_resolvers: Final = ThreadPoolExecutor(32, thread_name_prefix="resolve")
_CHARS_MAX: Final = 2000
_RESOLVE_S: Final = 5.0
_PORT: Final = {"https": 443, "http": 80}
_UNPRIVILEGED: Final = 1024
# Nothing that two readers of URLs could take for different things: no user, no backslash, no blanks.
_URL: Final = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?([/?][\x21-\x5b\x5d-\x7e]*)?", re.IGNORECASE
)
_PUBLIC_V6: Final = ip_network("2000::/3")
# Numbers that pass for public and lead inside: 6to4, which wraps any IPv4 address, and what clouds keep for their own
# services.
_INSIDE: Final = (ip_network("2002::/16"), ip_network("168.63.129.16/32"), ip_network("192.0.0.0/24"))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A URL with the addresses of its host, each of which may be called."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]


class Fence:
    """`loopback` allows this machine, by http too: for development, where the server itself listens there only."""

    def __init__(self, *, loopback: bool = False, resolve: Resolve | None = None) -> None:
        self._loopback = loopback
        self._resolve = resolve or _resolve

    async def vet(self, url: str) -> Target:
        """Raises InvalidInput for a URL that may not be called."""
        scheme, host, port = self._parse(url)
        try:
            async with asyncio.timeout(_RESOLVE_S):
                addresses = tuple(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, TimeoutError, UnicodeError):
            raise InvalidInput("url", "has a host that cannot be found") from None
        if not addresses:
            raise InvalidInput("url", "has a host that cannot be found")
        inside = self._loopback and all(_is_loopback(address) for address in addresses)
        if not inside and (scheme != "https" or not all(is_public(address) for address in addresses)):
            problem = "must be an https address" if scheme != "https" else "must lead to the public internet"
            raise InvalidInput("url", problem)
        return Target(url=url, host=host, port=port, addresses=addresses)

    def _parse(self, url: str) -> tuple[str, str, int]:
        if len(url) > _CHARS_MAX or not _URL.fullmatch(url):
            raise InvalidInput("url", f"must be a plain https address of at most {_CHARS_MAX} characters")
        try:
            parts = urlsplit(url)
            port = _PORT[parts.scheme] if parts.port is None else parts.port
        except ValueError:
            raise InvalidInput("url", "has no such port or host") from None
        if not self._loopback and (parts.scheme != "https" or (port < _UNPRIVILEGED and port != _PORT["https"])):
            raise InvalidInput("url", "must be an https address, on port 443 or one above 1023")
        if parts.hostname is None:
            raise InvalidInput("url", "must name a host")
        return parts.scheme, parts.hostname, port


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, and to nobody's inside."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return _is_global(found.ipv4_mapped)
        # The rest of the numbers are links, sites, groups, and wrappings of IPv4 addresses such as 64:ff9b::/96.
        return found in _PUBLIC_V6 and found.teredo is None and _is_global(found)
    return _is_global(found)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    outside = address.is_global and not (address.is_multicast or address.is_reserved or address.is_private)
    return outside and not any(address in network for network in _INSIDE)


def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


async def _resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().run_in_executor(
        _resolvers, functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    )
    # A link-local address comes with the name of its link.
    return [str(place[0]).partition("%")[0] for *_, place in found]
