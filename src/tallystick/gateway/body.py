"""A request's body as it comes in: no more than is allowed, no longer than is allowed, and nothing packed."""

import asyncio
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

from tallystick.base.errors import TallystickError, TooLarge
from tallystick.gateway.deadline import Deadline
from tallystick.gateway.wire import Headers

# What is held of a body that nobody has asked for yet.
_AHEAD_BYTES_MAX: Final = 65_536
_GO_ON: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyTimeout(TallystickError):
    """The body did not arrive in time."""

    status = 408
    code = "request_timeout"


class UnsupportedEncoding(TallystickError):
    """A packed body could unpack to anything."""

    status = 415
    code = "unsupported_encoding"


class ClientLeft(Exception):
    """The client went away in the middle of its request: there is nobody to answer."""


class Body:
    """Filled by the connection, read once by the call. It is nearly always whole by the time it is read.

    `expectant` is the transport of a client that waits to be told that its body is wanted (RFC 9110, 10.1.1).
    """

    __slots__ = ("_blocks", "_expectant", "_flow", "_headers", "_left", "_news", "_size", "_wanted", "_whole")

    def __init__(self, headers: Headers, flow: FlowControl, expectant: asyncio.WriteTransport | None) -> None:
        self._headers = headers
        self._flow = flow
        self._expectant = expectant
        self._blocks: list[bytes] = []
        self._size = 0
        self._whole = self._left = self._wanted = False
        self._news: asyncio.Future[None] | None = None

    # For the connection.

    def add(self, block: bytes) -> None:
        self._blocks.append(block)
        self._size += len(block)
        if self._wanted:
            self._wake()
        elif self._size > _AHEAD_BYTES_MAX:
            self._flow.pause_reading()

    def end(self) -> None:
        self._whole = True
        self._wake()

    def left(self) -> None:
        self._left = True
        self._wake()

    # For the call.

    async def read(self, *, bytes_max: int, seconds_max: float) -> bytes:
        """Raises TooLarge as soon as that is known, without holding more than the limit."""
        for name, value in self._headers:
            if name == b"content-length" and value.isdigit() and int(value[:19]) > bytes_max:
                raise _too_large(bytes_max)
            if name == b"content-encoding" and value.lower() != b"identity":
                raise UnsupportedEncoding("Send the body as it is, without a content-encoding.")
        if not self._whole:
            try:
                with Deadline().within(seconds_max):
                    await self._rest(bytes_max)
            except TimeoutError:
                raise BodyTimeout(f"The body did not arrive within {seconds_max:g} seconds.") from None
        blocks, self._blocks = self._blocks, []
        if self._size > bytes_max:
            raise _too_large(bytes_max)
        if self._left:
            raise ClientLeft
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    async def _rest(self, bytes_max: int) -> None:
        self._wanted = True
        if self._expectant is not None and not self._expectant.is_closing():
            self._expectant.write(_GO_ON)
        self._flow.resume_reading()
        while not (self._whole or self._left or self._size > bytes_max):
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The body is larger than {bytes_max} bytes.")
