"""Open the database for an application that is not ours: what is wrong with it is told in our own errors."""

import asyncpg

from tallystick.base.database import AWAY, open_pool
from tallystick.base.errors import Misconfigured, Unavailable


async def open_database(database_url: str) -> asyncpg.Pool:
    """The caller closes it. Raises Misconfigured for a URL that cannot be one, and Unavailable where nobody answers."""
    try:
        return await open_pool(database_url)
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        raise Misconfigured(f"The database's URL cannot be used: {error}") from error
    except AWAY as error:
        raise Unavailable(f"The database cannot be reached: {error}") from error
