"""Organizations and users to test with, and key rings that hear of changes like those of two processes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from tallystick.accounts import organization, user
from tallystick.accounts.authenticate import KeyRing
from tallystick.accounts.organization import Organization
from tallystick.accounts.user import Welcome
from tallystick.base.changes import Changes
from tests.patience import NEVER_S, PATIENCE_S

PASSWORD = "correct horse"


@pytest.fixture
async def acme(pool: asyncpg.Pool) -> Organization:
    async with pool.acquire() as connection:
        return await organization.create(connection, name="Acme")


@pytest.fixture
async def other(pool: asyncpg.Pool) -> Organization:
    async with pool.acquire() as connection:
        return await organization.create(connection, name="Other")


@pytest.fixture
async def ada(pool: asyncpg.Pool) -> Welcome:
    return await user.sign_up(pool, email="ada@example.com", password=PASSWORD, name="Ada")


@pytest.fixture
async def key_ring(dsn: str, pool: asyncpg.Pool) -> AsyncIterator[Callable[..., Awaitable[KeyRing]]]:
    """Make a key ring with a watch of its own, as every process has one."""
    async with AsyncExitStack() as stack:

        async def make(poll_interval_s: float = 0.05, **options: Any) -> KeyRing:
            changes = Changes(dsn, poll_interval_s)
            # A machine that stalls is neither deaf nor without a database, unless a test says so.
            ring = KeyRing(pool, changes, **{"deaf_s_max": NEVER_S, "read_s_max": PATIENCE_S, **options})
            await changes.start()
            stack.push_async_callback(changes.stop)
            return ring

        yield make
