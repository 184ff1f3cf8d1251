"""The upkeep of subscriptions: what is due happens, documents follow the catalog, floors come back."""

import asyncpg

from tallystick.subscriptions.advance import advance
from tallystick.subscriptions.publish import publish_old, raise_floors


async def keep_current(pool: asyncpg.Pool) -> None:
    """May run at any time, twice, on several hosts at once."""
    await advance(pool)
    await publish_old(pool)
    await raise_floors(pool)
