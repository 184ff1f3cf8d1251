"""The upkeep of subscriptions: what is due happens, documents follow the catalog, floors come back."""

from typing import Final

import asyncpg
import structlog

from tallystick.subscriptions.advance import advance
from tallystick.subscriptions.publish import publish_old, raise_floors

# What is due must not wait until the documents of a million organizations are compiled again. Meanwhile nobody works
# with an old one: a gateway that reads one compiles it.
_PAGES_MAX: Final = 20

log = structlog.get_logger()


async def keep_current(pool: asyncpg.Pool) -> None:
    """May run at any time, twice, on several hosts at once; what one run leaves is the next one's."""
    await advance(pool)
    compiled = await publish_old(pool, pages_max=_PAGES_MAX)
    if compiled:
        log.info("constraints_compiled_again", documents=compiled)
    await raise_floors(pool)
