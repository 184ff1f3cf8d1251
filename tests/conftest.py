"""Every test that touches data gets its own PostgreSQL database, copied from one migrated template."""

import os
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from tallystick.base.migrate import migrate


@pytest.fixture(scope="session")
def server_dsn() -> str:
    return os.environ["TALLYSTICK_TEST_DATABASE_URL"]


@pytest.fixture
async def dsn(server_dsn: str) -> AsyncIterator[str]:
    name = f"t_{uuid4().hex}"
    admin = await asyncpg.connect(server_dsn)
    template = "tallystick_template_" + os.environ.get("PYTEST_XDIST_WORKER", "main") + f"_{os.getpid()}"
    if not await admin.fetchval("select 1 from pg_database where datname = $1", template):
        await admin.execute(f'create database "{template}"')
        await migrate(server_dsn.rsplit("/", 1)[0] + "/" + template)
    await admin.execute(f'create database "{name}" template "{template}"')
    yield server_dsn.rsplit("/", 1)[0] + "/" + name
    await admin.execute(f'drop database "{name}" with (force)')
    await admin.close()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=10) as opened:
        yield opened
