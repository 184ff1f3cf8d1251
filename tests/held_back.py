"""An answer of the database that is on its way while something else happens."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg


class HeldBack:
    """A pool whose connections keep an answer to themselves until `released`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.has_answer = asyncio.Event()
        self.released = asyncio.Event()

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator["SlowConnection"]:
        async with self._pool.acquire() as connection:
            yield SlowConnection(connection, self)


class SlowConnection:
    def __init__(self, connection: asyncpg.Connection, pool: HeldBack) -> None:
        self._connection = connection
        self._pool = pool

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._connection.fetch(sql, *arguments)
        self._pool.has_answer.set()
        await self._pool.released.wait()
        return rows
