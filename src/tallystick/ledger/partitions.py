"""Make the monthly partitions of the append-only tables before their month begins."""

import asyncpg

from tallystick.base.database import load_queries

queries = load_queries(__file__, "partitions.sql")

MONTHS_AHEAD = 3


async def ensure_partitions(connection: asyncpg.Connection, *, months_ahead: int = MONTHS_AHEAD) -> int:
    """Returns how many were made. Gives up rather than let the writers queue behind it: call it again later."""
    async with connection.transaction():
        await queries.short_lock_wait(connection)
        made: int = await queries.ensure_partitions(connection, months_ahead=months_ahead)
    return made
