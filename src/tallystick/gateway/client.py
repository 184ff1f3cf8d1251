"""The customer at the other end of one call: what it asks, what it was sent, and whether it is still there."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tallystick.gateway.body import Body
from tallystick.gateway.deadline import Deadline
from tallystick.gateway.wire import CLOSE, Headers

_EVENT_STREAM: Final[Headers] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
]
_CHUNKED: Final = (b"transfer-encoding", b"chunked")
_LAST_CHUNK: Final = b"0\r\n\r\n"
_STATUS_LINES: Final = {one.value: b"HTTP/1.1 %d %b\r\n" % (one.value, one.phrase.encode()) for one in HTTPStatus}
# Whatever could end a line, or hide what stands in it.
_CONTROLS: Final = bytes(byte for byte in (*range(32), 127) if byte != 9)


class Client:
    """Sending to one who has left does nothing: the call goes on without it, to be paid for.

    It writes straight to the connection, the head of an answer together with what follows it: the messages that ASGI
    puts in between cost more than the writing. To uvicorn it is one of its own cycles of request and response, of
    which it looks at `keep_alive` and `response_complete`.
    """

    def __init__(self, connection: HttpToolsProtocol, *, keep_alive: bool, chunks: bool, write_s: float) -> None:
        self.headers: Headers = connection.headers
        self.body = Body(
            connection.headers, connection.flow, connection.transport if connection.expect_100_continue else None
        )
        self.keep_alive = keep_alive
        self.response_complete = False
        self.gone = False
        # The HTTP status it was told; 0 while it was told none.
        self.status = 0
        self._connection = connection
        self._chunks = chunks
        self._write_s = write_s
        self._head = b""
        self._leave: Callable[[], None] | None = None

    def on_leave(self, callback: Callable[[], None] | None) -> None:
        self._leave = callback

    def left(self) -> None:
        if not self.gone:
            self.gone = True
            self.body.left()
            if self._leave is not None:
                self._leave()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response at once: by now it is settled, and nothing waits for it to be taken."""
        if not self.gone:
            self.status = status
            head = self._framed(status, [*headers, (b"content-length", b"%d" % len(body))])
            self._connection.transport.write(head + body)
            self._complete()

    def begin(self, headers: Headers) -> None:
        """The head of a stream: from here on it is too late for another status. It leaves with the first block."""
        if not self.gone:
            self.status = 200
            framing = [_CHUNKED] if self._chunks else []
            self._head = self._framed(200, [*_EVENT_STREAM, *headers, *framing])

    async def write(self, block: bytes) -> None:
        await self._taken()
        if not self.gone:
            self._write(block, b"")

    async def finish(self, block: bytes) -> None:
        await self._taken()
        if not self.gone:
            self._write(block, _LAST_CHUNK if self._chunks else b"")
            self._complete()

    def drop(self) -> None:
        """Nothing more will be sent: the connection cannot be used again where that was not all."""
        if not self.response_complete:
            self._connection.transport.close()

    async def _taken(self) -> None:
        """Until what was written before is mostly taken. Who takes nothing for that long has left."""
        if self.gone or not self._connection.flow.write_paused:
            return
        try:
            with Deadline().within(self._write_s):
                await self._connection.flow.drain()
        except TimeoutError:
            self.left()
            self._connection.transport.abort()

    def _write(self, block: bytes, end: bytes) -> None:
        head, self._head = self._head, b""
        if block and self._chunks:
            block = b"%x\r\n%b\r\n" % (len(block), block)
        self._connection.transport.write(b"%b%b%b" % (head, block, end))

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()

    def _framed(self, status: int, headers: Headers) -> bytes:
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)
        lines = [*self._connection.server_state.default_headers, *headers]
        text = b"\r\n".join(map(b": ".join, lines))
        # Some values come from a catalog, and none may become a line of its own.
        if len(text) - len(text.translate(None, _CONTROLS)) != 2 * (len(lines) - 1):
            raise ValueError("a header holds a control character")
        return b"%b%b\r\n\r\n" % (_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, text)
