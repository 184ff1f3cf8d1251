"""Apply what is due: ends of trials and of grace, plan changes that waited for the period's end, cancellations.

May run at any time, twice, on several hosts at once: each subscription is advanced by whoever gets its turn, and every
other verb does the same before its own work.
"""

from datetime import datetime

import asyncpg

from tallystick.base.database import load_queries
from tallystick.subscriptions.each import PAGE, each
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.turn import take_turn

queries = load_queries(__file__, "advance.sql")


async def advance(pool: asyncpg.Pool, now: datetime | None = None) -> int:
    """Advance every subscription with something due by `now`, and by the database's clock; returns how many were."""
    return await each(
        pool,
        lambda connection, after: queries.due(connection, now=now, after=after, row_limit=PAGE),
        lambda connection, organization: advance_one(connection, organization, now),
    )


async def advance_one(connection: asyncpg.Connection, organization: str, now: datetime | None = None) -> bool:
    """Apply what is due for one organization, in the order it was due; False where nothing is. Raises NotFound."""
    async with connection.transaction():
        turn = await take_turn(connection, organization, now)
        if turn.advanced:
            await publish_constraints(connection, organization)
    return turn.advanced
