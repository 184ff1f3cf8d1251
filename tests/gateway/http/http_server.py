"""A server of bare sockets: it says exactly the bytes that a test gives it, when the test says."""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

from tallystick.gateway.upstream import Upstream, UpstreamLimits
from tests.patience import PATIENCE_S

Play = Callable[["Peer"], Awaitable[None]]

LIMITS = UpstreamLimits(connect_s=30, first_byte_s=30, between_s=30, total_s=PATIENCE_S, connections_max=8)


def whole(body: bytes = b"hello", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


def chunked(*chunks: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    parts = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (parts, trailers)


def says(*blocks: bytes | float) -> Play:
    """Answer one request with these blocks; a number is a pause."""

    async def play(peer: "Peer") -> None:
        await peer.request()
        for block in blocks:
            if isinstance(block, bytes):
                await peer.say(block)
            else:
                await asyncio.sleep(block)

    return play


class Over(Exception):
    """This connection plays no more."""


class Peer:
    """One accepted connection."""

    def __init__(self, server: "RawServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._server = server

    async def request(self) -> bytes:
        """Read one request to its end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found = head + await self.reader.readexactly(length)
        self._server.requests.append(found)
        return found

    async def say(self, block: bytes) -> None:
        self.writer.write(block)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()
        raise Over


class RawServer:
    """Each accepted connection plays what is queued, in order, and closes when nothing is left to play."""

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.plays: deque[Play] = deque()
        self.requests: list[bytes] = []
        self.accepted = 0
        # Connections that were seen to end.
        self.ended = 0
        self._tls = tls
        self._host = host
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        scheme = "http" if self._tls is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{scheme}://{host}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def then(self, *plays: Play) -> None:
        self.plays.extend(plays)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        peer = Peer(self, reader, writer)
        try:
            # The client may go at any moment; that is what many tests are about.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, Over):
                while self.plays:
                    await self.plays.popleft()(peer)
        finally:
            self._tasks.discard(task)
            self.ended += 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def gone(peer: Peer) -> None:
    """Until the client closes."""
    await peer.reader.read()
    raise Over


async def close(_peer: Peer) -> None:
    raise Over


@contextlib.asynccontextmanager
async def upstream(limits: UpstreamLimits = LIMITS, trust: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    made = Upstream(limits, trust)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def ask(caller: Upstream, server: RawServer, body: bytes = b"{}") -> tuple[int, bytes]:
    """One call read to its end."""
    reply = await caller.post(server.url, "/v1/x", body, "secret")
    try:
        return reply.status, await reply.whole(10_000_000)
    finally:
        reply.close()
