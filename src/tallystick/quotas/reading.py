"""A connection to read with, where a database that gives no answer is Unavailable and not a defect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from tallystick.base.errors import Unavailable

_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


@asynccontextmanager
async def reading(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """Raises Unavailable."""
    try:
        async with pool.acquire() as connection:
            yield connection
    except _AWAY as error:
        raise Unavailable("The database does not answer. Send the same request again.") from error
