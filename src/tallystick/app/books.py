"""Open the books: find or start PostgreSQL, and bring it to this version's schema."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tallystick.base.embedded_postgres import find_postgres
from tallystick.base.migrate import migrate
from tallystick.settings import Settings


@asynccontextmanager
async def open_books(settings: Settings) -> AsyncIterator[str]:
    """The DSN of a database that is up and has this version's schema, for as long as the block lasts."""
    async with find_postgres(settings.database_url, settings.data_dir) as server:
        await migrate(server.dsn)
        yield server.dsn
