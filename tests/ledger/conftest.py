import asyncpg
import pytest


@pytest.fixture
async def connection(pool: asyncpg.Pool):
    async with pool.acquire() as acquired:
        yield acquired
