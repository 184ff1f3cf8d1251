"""Read a request's body: no more than is allowed, no longer than is allowed, and nothing packed."""

from tallystick.base.errors import TallystickError, TooLarge
from tallystick.gateway.client import Receive
from tallystick.gateway.deadline import Deadline


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


async def read_body(
    receive: Receive, headers: list[tuple[bytes, bytes]], *, bytes_max: int, seconds_max: float
) -> bytes:
    """Raises TooLarge as soon as that is known, without holding more than the limit."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value[:19]) > bytes_max:
            raise _too_large(bytes_max)
        if name == b"content-encoding" and value.lower() != b"identity":
            raise UnsupportedEncoding("Send the body as it is, without a content-encoding.")
    try:
        with Deadline().within(seconds_max):
            return await _collect(receive, bytes_max)
    except TimeoutError:
        raise BodyTimeout(f"The body did not arrive within {seconds_max:g} seconds.") from None


async def _collect(receive: Receive, bytes_max: int) -> bytes:
    blocks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        block = message.get("body", b"")
        size += len(block)
        if size > bytes_max:
            raise _too_large(bytes_max)
        blocks.append(block)
        if not message.get("more_body", False):
            return blocks[0] if len(blocks) == 1 else b"".join(blocks)


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"The body is larger than {bytes_max} bytes.")
