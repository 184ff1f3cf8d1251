import asyncpg
import pytest

from tallystick.reservations.lanes import Lanes


@pytest.fixture
async def connection(pool: asyncpg.Pool):
    async with pool.acquire() as acquired:
        yield acquired


@pytest.fixture
async def lanes(dsn: str):
    opened = Lanes(dsn)
    await opened.start()
    yield opened
    await opened.stop()
