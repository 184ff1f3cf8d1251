"""Where customers may have their own provider key sent: https addresses of the public internet, and nowhere else.

Looked at when it is saved. Names can lead elsewhere a moment later: whoever connects asks `refuse_address` again, about
the very address that it connects to.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from tallystick.base.errors import InvalidInput

Resolve = Callable[[str], Awaitable[Sequence[str]]]

_CHARS_MAX: Final = 300
_RESOLVED_IN_S: Final = 5.0
# At least two labels, the last one of letters: no number in whatever notation is a name.
_NAME: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])")
_INSIDE: Final = frozenset(
    {"localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa", "onion", "test", "invalid"}
)
# IPv6 addresses that carry one of IPv4 to which something on the way translates them.
_TRANSLATED: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"), IPv6Network("2002::/16"))


async def check_base_url(text: str, field: str, *, own_host: str, resolve: Resolve) -> str:
    """The address as it is kept, without a slash at the end. Raises InvalidInput for every one that is fenced off."""
    host = _host(text, field)
    if host == own_host.lower() or host.rpartition(".")[2] in _INSIDE:
        raise InvalidInput(field, "must be an address of the public internet")
    try:
        async with asyncio.timeout(_RESOLVED_IN_S):
            found = await resolve(host)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise InvalidInput(field, "names a host that cannot be found") from error
    if not found or any(refuse_address(address) for address in found):
        raise InvalidInput(field, "must be an address of the public internet")
    return text.rstrip("/")


def refuse_address(text: str) -> bool:
    """Whether nothing may be sent there: loopback, private, link-local, metadata, multicast, or a disguise of one."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return True
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped is not None or any(address in network for network in _TRANSLATED)
    ):
        return True
    if isinstance(address, IPv6Address) and address.is_site_local:
        return True
    return not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified


async def resolve_host(host: str) -> Sequence[str]:
    """Every address of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _host(text: str, field: str) -> str:
    # Before it is parsed: what two parsers could read differently is no address.
    plain = len(text) <= _CHARS_MAX and text.isascii() and text.isprintable() and not re.search(r"[\s\\?#@%]", text)
    if not plain or not text.startswith("https://"):
        raise InvalidInput(field, "must be an https address without user name, query or fragment")
    host, colon, port = urlsplit(text).netloc.partition(":")
    if colon and port != "443":
        raise InvalidInput(field, "must be on the https port, 443")
    host = host.lower()
    if not _NAME.fullmatch(host):
        raise InvalidInput(field, "must name a host of the public internet, not a number")
    return host
