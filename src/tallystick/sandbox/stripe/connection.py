"""A connection cut in the middle, as a network does it: the answer never comes, and no orderly close either."""

import socket
import struct
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT: Final = "tallystick.sandbox.transport"
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class ResettableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, showing its transport to the application: ASGI alone has no way to cut a connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions = self.scope.setdefault("extensions", {})
        if extensions is not None:
            extensions[_TRANSPORT] = {"transport": self.transport}


class _Cut(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends nothing: the connection is gone."""


def reset(request: Request) -> Response:
    """Cuts the connection of a request with a TCP reset. Answers nothing."""
    transport = request.scope["extensions"][_TRANSPORT]["transport"]
    raw: socket.socket = transport.get_extra_info("socket")
    # With a linger time of zero, closing sends RST instead of FIN.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()
    return _Cut()
