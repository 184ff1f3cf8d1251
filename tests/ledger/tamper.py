"""Break the books as only the owner of the database can: past the triggers and the grants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

GUARDED = ("transfer", "usage_record", "ledger_block", "operation", "audit_event")


@asynccontextmanager
async def unguarded(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Everything may be written inside; afterwards the guards are up again, as if nothing had been."""
    await connection.execute(f"grant all on {', '.join(GUARDED)} to current_user")
    for table in GUARDED:
        await connection.execute(f"alter table {table} disable trigger user")
    yield
    for table in GUARDED:
        await connection.execute(f"alter table {table} enable trigger user")
    await connection.execute(f"revoke update, delete, truncate on {', '.join(GUARDED)} from current_user")
