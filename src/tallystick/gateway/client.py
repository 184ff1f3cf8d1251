"""The customer at the other end of one call: what was sent to it, and whether it is still there."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tallystick.gateway.deadline import Deadline
from tallystick.gateway.wire import Headers

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

EVENT_STREAM: Final[Headers] = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class Client:
    """Sending to one who has left does nothing: the call goes on without it, to be paid for."""

    def __init__(self, send: Send, write_s: float) -> None:
        self._send = send
        self._write_s = write_s
        self._leave: Callable[[], None] | None = None
        self.gone = False
        # The HTTP status it was told; 0 while it was told none.
        self.status = 0

    def on_leave(self, callback: Callable[[], None] | None) -> None:
        self._leave = callback

    def left(self) -> None:
        if not self.gone:
            self.gone = True
            if self._leave is not None:
                self._leave()

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response at once: by now it is settled, and nothing waits for it to be taken."""
        if self.gone:
            return
        self.status = status
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"content-length", b"%d" % len(body))],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, headers: Headers) -> None:
        """The head of a stream: from here on it is too late for another status."""
        if not self.gone:
            self.status = 200
            await self._send({"type": "http.response.start", "status": 200, "headers": [*EVENT_STREAM, *headers]})

    async def write(self, block: bytes) -> None:
        await self._write(block, more=True)

    async def finish(self, block: bytes) -> None:
        await self._write(block, more=False)

    async def _write(self, block: bytes, *, more: bool) -> None:
        if self.gone:
            return
        try:
            with Deadline().within(self._write_s):
                await self._send({"type": "http.response.body", "body": block, "more_body": more})
        except (TimeoutError, OSError):
            # It takes nothing any more, or its connection broke: some servers say so by an error.
            self.left()
