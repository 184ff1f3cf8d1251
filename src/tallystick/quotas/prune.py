"""Forget uses that have left their windows; any number of processes may do so at once."""

from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.ledger.account import count_lanes

queries = load_queries(__file__, "prune.sql")

_COUNTERS: Final = 200
"""Fewer than would keep a lane from its customers for longer than a batch does."""


async def prune_uses(pool: asyncpg.Pool) -> int:
    """How many uses were forgotten: all that there are, a short transaction at a time."""
    forgotten = 0
    async with pool.acquire() as connection:
        for lane in range(await count_lanes(connection)):
            while found := await queries.prune_uses(connection, lane=lane, counters=_COUNTERS):
                forgotten += found
    return forgotten
