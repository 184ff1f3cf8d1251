"""How often the database was asked something."""

import asyncio
from collections.abc import Awaitable

import asyncpg


class Questions:
    """Counts the queries that hold `words`."""

    def __init__(self, words: str) -> None:
        self.asked = 0
        self._words = words

    async def watch(self, connection: asyncpg.Connection) -> None:
        connection.add_query_logger(self._count)

    async def _count(self, query: asyncpg.connection.LoggedQuery) -> None:
        self.asked += self._words in query.query

    async def during(self, work: Awaitable[object]) -> int:
        before = self.asked
        await work
        # Query loggers are called by the loop, after the answer.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.asked - before
