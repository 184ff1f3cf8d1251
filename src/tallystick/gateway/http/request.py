"""The head of a request, as it goes over the wire (pure)."""

import re
from collections.abc import Mapping
from typing import Final

from tallystick.gateway.http.address import Address

# Neither may hold a line end: what follows one would be a header, or a request, that nobody wrote here.
_TARGET: Final = re.compile(r"/[!-~]*")
_NAME: Final = re.compile(r"[a-z0-9-]+")
_VALUE: Final = re.compile(r"[!-~](?:[ !-~]*[!-~])?")


def post_head(address: Address, path: str, headers: Mapping[str, str]) -> bytes:
    """All but the length of the body, which follows it. Raises ValueError for what would not stay in its place."""
    lines = {"host": address.authority, **headers}
    if not _TARGET.fullmatch(path):
        raise ValueError("a path starts with a slash and has no spaces or control characters")
    for name, value in lines.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name!r} cannot be sent")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{text}content-length: ".encode("ascii")
