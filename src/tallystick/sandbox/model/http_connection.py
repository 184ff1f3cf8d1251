"""A bare HTTP/1.1 server connection on asyncio and httptools: the lightest honest way to answer a request.

No framework, because a provider that is slower than the gateway in front of it would measure itself.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import httptools

_BODY_MAX: Final = 256 * 1024 * 1024
_REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Content Too Large"}


@dataclass(slots=True)
class Request:
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True


def _ignore(_: bool) -> None:
    """Nobody wants to know how it ended."""


@dataclass(slots=True)
class Answer:
    """Bytes to send in parts: the first after `first_s` seconds, the others `between_s` apart. `ended` is told
    whether all of them left."""

    parts: Sequence[bytes]
    first_s: float = 0.0
    between_s: float = 0.0
    ended: Callable[[bool], None] = _ignore


Answerer: TypeAlias = Callable[[Request], Answer]


def whole(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    """A complete response with a body of known length."""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_END: Final = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    """One part of a response with chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class Connection(asyncio.Protocol):
    """Requests of one connection, answered in order; a paced answer makes the next request wait."""

    def __init__(self, answer: Answerer) -> None:
        self._answer = answer
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._body: list[bytes] = []
        self._size = 0
        self._waiting: deque[Request] = deque()
        self._pacing: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._writable.set()
        if self._pacing is not None:
            self._pacing.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.write(whole(400, b'{"error":{"message":"This is not HTTP."}}'))
            self._transport.close()

    def on_message_begin(self) -> None:
        self._request = Request()
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._request.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > _BODY_MAX:
            self._transport.write(whole(413, b'{"error":{"message":"The request is too large."}}'))
            self._transport.close()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode()
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request.keep_alive = self._parser.should_keep_alive()
        if self._pacing is None:
            self._begin(request)
        else:
            self._waiting.append(request)

    def _begin(self, request: Request) -> None:
        answer = self._answer(request)
        if answer.first_s or answer.between_s:
            self._pacing = asyncio.get_running_loop().create_task(self._send_paced(request, answer))
            return
        gone = self._transport.is_closing()
        self._transport.write(answer.parts[0] if len(answer.parts) == 1 else b"".join(answer.parts))
        answer.ended(not gone)
        if not request.keep_alive:
            self._transport.close()

    async def _send_paced(self, request: Request, answer: Answer) -> None:
        complete = False
        try:
            await asyncio.sleep(answer.first_s)
            for position, part in enumerate(answer.parts):
                if position and answer.between_s:
                    await asyncio.sleep(answer.between_s)
                await self._writable.wait()
                self._transport.write(part)
            complete = not self._transport.is_closing()
        finally:
            answer.ended(complete)
        self._pacing = None
        if not request.keep_alive:
            self._transport.close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
