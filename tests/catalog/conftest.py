"""One connection to a database of the test's own."""

from collections.abc import AsyncIterator

import asyncpg
import pytest


@pytest.fixture
async def connection(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    async with pool.acquire() as acquired:
        yield acquired
