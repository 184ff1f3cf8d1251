"""Lots: which credits are left of each grant. Burn order: priority, promotional before others, earliest expiry, oldest.

The hot path knows only an account's total; what was spent is taken out of the lots when someone looks (lots_refresh).
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries

queries = load_queries(__file__, "lot.sql")


class Lot(msgspec.Struct, frozen=True, kw_only=True):
    """One grant of credits and what is left of it."""

    id: UUID
    operation: UUID
    kind: str
    amount: int
    remaining: int
    priority: int
    expires_at: datetime | None
    source: str
    created_at: datetime


async def add_lot(
    connection: asyncpg.Connection,
    *,
    id: UUID,  # noqa: A002 - it is the lot's id, and nothing else here is called so
    account: int,
    kind: str,
    amount: int,
    priority: int = 0,
    expires_at: datetime | None = None,
    source: str,
    operation: UUID | None = None,
) -> None:
    """Say what the credits just posted to `account` are: 'purchased' or 'promotional' (which alone may expire).

    In the transaction of the post that credited them; `operation` is that post's, and defaults to the lot's id.
    """
    added = await queries.add_lot(
        connection,
        id=id,
        account=account,
        operation=operation or id,
        kind=kind,
        amount=amount,
        priority=priority,
        expires_at=expires_at,
        source=source,
    )
    if added != "INSERT 0 1":
        raise ValueError(f"operation {operation or id} did not credit {amount} to account {account}")


async def lots(connection: asyncpg.Connection, account: int) -> Sequence[Lot]:
    """The account's lots with credits left, in burn order, brought up to date first."""
    async with connection.transaction():
        await queries.expire_lots(connection, account=account, now=None)
        return [Lot(**row) async for row in queries.lots_left(connection, account=account)]


async def expire_due(pool: asyncpg.Pool, now: datetime) -> int:
    """Expire every lot that is due by `now` and by the database's clock; returns the nanocredits expired.

    Each account in a transaction of its own, so that no lane waits for all of them.
    """
    expired = 0
    async with pool.acquire() as connection:
        for (account,) in [row async for row in queries.accounts_with_due_lots(connection, now=now)]:
            expired += await queries.expire_lots(connection, account=account, now=now)
    return expired
