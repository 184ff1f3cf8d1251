"""Databases of the run's server: made, copied and dropped."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

import asyncpg

RUN_VARIABLE: Final = "TALLYSTICK_TEST_RUN"


def name_of(dsn: str) -> str:
    return dsn.rpartition("/")[2]


def beside(dsn: str, name: str) -> str:
    """The address of another database of the same server."""
    return f"{dsn.rpartition('/')[0]}/{name}"


async def create(admin: asyncpg.Connection, template: str | None = None) -> str:
    """The name of a new database: empty, or a copy of one that nobody is connected to.

    It begins with the run's, so that those of a killed run are found."""
    name = f"tally_{os.environ[RUN_VARIABLE]}_{uuid4().hex}"
    # Copying files needs checkpoints, which are cheap only where nothing is synced.
    strategy = "wal_log" if "TALLYSTICK_TEST_DATABASE_URL" in os.environ else "file_copy"
    await admin.execute(
        f'create database "{name}"' + (f' template "{template}" strategy {strategy}' if template else "")
    )
    return name


async def copy(admin: asyncpg.Connection, dsn: str) -> str:
    return await create(admin, name_of(dsn))


async def drop(admin: asyncpg.Connection, name: str) -> None:
    await admin.execute(f'drop database "{name}" with (force)')


@asynccontextmanager
async def administered(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the server of `dsn` that keeps none of its databases from being copied."""
    admin = await asyncpg.connect(beside(dsn, "postgres"))
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def copied(dsn: str) -> AsyncIterator[tuple[str, asyncpg.Pool]]:
    """A copy of a database that nobody is connected to, and a pool of connections to it."""
    async with administered(dsn) as admin:
        name = await copy(admin, dsn)
        try:
            async with asyncpg.create_pool(beside(dsn, name), min_size=1, max_size=6) as pool:
                yield beside(dsn, name), pool
        finally:
            await drop(admin, name)
