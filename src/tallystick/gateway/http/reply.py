"""A provider's answer as it comes: written by the connection it arrives on, read by one call."""

import asyncio
from typing import Final, Protocol

from tallystick.base.errors import UpstreamFailed

Headers = list[tuple[bytes, bytes]]

_FINISH_S: Final = 1.0


class Source(Protocol):
    """What an answer that is still coming comes from."""

    def resume(self) -> None:
        """The reader has caught up."""

    def give_up(self) -> None:
        """Nobody reads on."""


class Reply:
    """Reading raises UpstreamFailed, or UpstreamTimeout, but only after all that had come before is read. Close it
    always: what is not read to its end takes its connection along."""

    __slots__ = ("_blocks", "_failure", "_headers", "_loop", "_source", "_waiter", "complete", "size", "status")

    def __init__(self, source: Source, loop: asyncio.AbstractEventLoop) -> None:
        self._source: Source | None = source
        self._loop = loop
        self._headers: Headers = []
        self._blocks: list[bytes] = []
        self._failure: UpstreamFailed | None = None
        self._waiter: asyncio.Future[None] | None = None
        # 0 until the head is there.
        self.status = 0
        # Bytes of the body that have come and were not read yet.
        self.size = 0
        # All of it has come, read or not.
        self.complete = False

    # For the connection.

    def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        self._headers = headers
        self._wake()

    def add(self, block: bytes) -> None:
        self._blocks.append(block)
        self.size += len(block)
        self._wake()

    def end(self) -> None:
        self.complete = True
        self._source = None
        self._wake()

    def fail(self, failure: UpstreamFailed) -> None:
        self._failure = failure
        self._source = None
        self._wake()

    # For the call.

    async def begun(self) -> None:
        """Until the head is there."""
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._news()
        if (self.header("content-encoding") or "identity").lower() != "identity":
            # We ask for none: to unpack what a stranger packed is to hold memory for as much as it likes.
            raise UpstreamFailed("The provider packed its answer, which it was asked not to do.")

    def header(self, name: str) -> str | None:
        """`name` in lower case."""
        wanted = name.encode("ascii")
        for found, value in self._headers:
            if found.lower() == wanted:
                return value.decode("latin-1").strip()
        return None

    @property
    def content_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    async def block(self) -> bytes:
        """The next bytes, as many as there are; empty at the end."""
        while not self._blocks:
            if self.complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._news()
        found = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        self.size = 0
        if self._source is not None:
            self._source.resume()
        return found

    async def whole(self, bytes_max: int) -> bytes:
        """All of it. Raises UpstreamFailed beyond `bytes_max`."""
        blocks, size = [], 0
        while not self.complete or self._blocks:
            block = await self.block()
            size += len(block)
            if size > bytes_max:
                raise UpstreamFailed("The provider's answer is larger than this server takes.")
            blocks.append(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def close(self) -> None:
        """Drop the connection where the answer is not complete."""
        source, self._source = self._source, None
        if source is not None:
            source.give_up()

    async def finish(self) -> None:
        """Read the few bytes that follow the last word of a stream, so that its connection can be used again."""
        if self.complete:
            return
        try:
            async with asyncio.timeout(_FINISH_S):
                while await self.block():
                    pass
        except (TimeoutError, UpstreamFailed):
            pass  # the answer was whole; only the connection is lost
        finally:
            self.close()

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
