"""Where a customer may be sent back to after a page of Stripe's: hosts that are allowed, no look-alikes. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from tallystick.base.errors import InvalidInput

_CHARS_MAX: Final = 2000
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_IMPLIED_PORT: Final = {"https": "443", "http": "80"}

# Browsers and libraries read odd addresses differently. So there is one form, and everything else is refused: no user
# before the host, no backslash, no blank, no letters but ASCII, no escapes in the host.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?#][!#-;=?-\[\]_a-z{}~]*)?"
)


def check_return_url(field: str, url: str, hosts: Iterable[str]) -> str:
    """`url`, where it leads to one of `hosts`: names, or name:port for a port of their own. Raises InvalidInput."""
    if len(url) > _CHARS_MAX:
        raise InvalidInput(field, f"may have {_CHARS_MAX} characters")
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidInput(field, "must be a plain https address, such as https://app.example.com/billing")
    scheme, host, port = found["scheme"], found["host"].lower(), found["port"]
    if scheme == "http" and host not in _LOOPBACK:
        raise InvalidInput(field, "must begin with https://")
    named = host if port in {None, _IMPLIED_PORT[scheme]} else f"{host}:{port}"
    if named not in {allowed.lower() for allowed in hosts}:
        raise InvalidInput(field, f"must lead to a host that this server's operator allows, which {named} is not")
    return url


def host_of(public_url: str) -> str:
    """The host of this server's own pages, as `hosts` wants it."""
    found = _URL.fullmatch(public_url)
    if found is None:
        return ""
    port = found["port"]
    return found["host"].lower() + ("" if port in {None, _IMPLIED_PORT[found["scheme"]]} else f":{port}")
