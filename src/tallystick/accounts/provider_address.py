"""Where customers may have their own provider key sent: https addresses of the public internet, and nowhere else.

Looked at when it is saved. A name can lead elsewhere a moment later: whoever connects asks the fence again, and
connects to the very address that it vetted.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from tallystick.base.errors import InvalidInput
from tallystick.notices.fence import Fence

_CHARS_MAX: Final = 300
# At least two labels, the last one of letters: no number in whatever notation is a name.
_NAME: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]{0,58}[a-z0-9])")
# Names that mean something else in every network, whatever they lead to from here.
_INSIDE: Final = frozenset(
    {"localhost", "local", "internal", "intranet", "lan", "home", "corp", "private", "arpa", "onion", "test", "invalid"}
)


async def check_base_url(text: str, field: str, *, own_host: str, fence: Fence) -> str:
    """The address as it is kept, without a slash at the end. Raises InvalidInput for every one that is fenced off."""
    host = _host(text, field)
    if host == own_host.lower() or host.rpartition(".")[2] in _INSIDE:
        raise InvalidInput(field, "must be an address of the public internet")
    try:
        await fence.vet(text)
    except InvalidInput as error:
        # The fence speaks of its `url`; here it is another field.
        raise InvalidInput(field, error.message.removeprefix(f"{error.field} ")) from None
    return text.rstrip("/")


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
