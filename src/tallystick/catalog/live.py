"""Keep the Book of a running process current: read again when someone published, keep the last when that fails."""

import asyncio
from typing import Final

import asyncpg
import msgspec
import structlog

from tallystick.base.changes import Changes
from tallystick.base.database import AWAY
from tallystick.base.errors import TallystickError
from tallystick.catalog.book import Book
from tallystick.catalog.read import Credentials, load_book

_RETRY_S: Final = 1.0
_FAILURES: Final = (*AWAY, TallystickError, msgspec.MsgspecError)

log = structlog.get_logger()


class LiveBook:
    """`current` is the newest Book that could be read. Prices with a future date need no reading: the Book has them."""

    def __init__(self, pool: asyncpg.Pool, changes: Changes, credentials: Credentials) -> None:
        self._pool = pool
        self._credentials = credentials
        self._published = asyncio.Event()
        self._book: Book | None = None
        self._following: asyncio.Task[None] | None = None
        changes.subscribe("catalog", lambda _subject: self._published.set())

    @property
    def current(self) -> Book:
        if self._book is None:
            raise RuntimeError("the LiveBook is not started")
        return self._book

    async def start(self) -> None:
        """Return once the first Book is read; raises what that raises."""
        self._book = await self._read()
        self._following = asyncio.create_task(self._follow(), name="tallystick-catalog")

    async def stop(self) -> None:
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await self._published.wait()
            # Cleared before reading: what is published while we read makes us read once more.
            self._published.clear()
            try:
                self._book = await self._read()
            except _FAILURES as error:
                log.error("catalog_not_read", error=repr(error), retry_s=_RETRY_S)  # noqa: TRY400 - the cause is named
                self._published.set()
                await asyncio.sleep(_RETRY_S)
            else:
                log.info("catalog_read")

    async def _read(self) -> Book:
        async with self._pool.acquire() as connection:
            return await load_book(connection, self._credentials)
