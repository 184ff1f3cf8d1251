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


class Left(msgspec.Struct, frozen=True, gc=False):
    """What of a lot is neither spent nor set aside by open holds."""

    lot: UUID
    free: int


async def left_of(connection: asyncpg.Connection, account: int, operation: UUID) -> Left:
    """What is left of the lot that `operation` brought to `account`. Nobody spends of it until the caller's READ
    COMMITTED transaction ends, which must be soon. Raises ValueError where it brought none."""
    await queries.refresh_lots(connection, account=account)
    row = await queries.left_of_lot(connection, account=account, operation=operation)
    if row is None:
        raise ValueError(f"operation {operation} brought no lot to account {account}")
    return Left(row["id"], row["free"])


async def free_credits(connection: asyncpg.Connection, account: int) -> int:
    """What an account has that no open hold has set aside, never below zero. Nobody spends of it until the caller's
    READ COMMITTED transaction ends, which must be soon."""
    await queries.refresh_lots(connection, account=account)
    free: int = await queries.free_credits(connection, account=account)
    return free


async def take_from(connection: asyncpg.Connection, lot: UUID, amount: int) -> None:
    """Say that `amount` of what was just posted out of the account came from this lot, of which `left_of` told."""
    await queries.change_lot(connection, id=lot, change=-amount)


async def expire_due(pool: asyncpg.Pool, now: datetime) -> int:
    """Expire every lot that is due by `now` and by the database's clock; returns the nanocredits expired.

    Each account in a transaction of its own, so that no lane waits for all of them.
    """
    expired = 0
    async with pool.acquire() as connection:
        for (account,) in [row async for row in queries.accounts_with_due_lots(connection, now=now)]:
            expired += await queries.expire_lots(connection, account=account, now=now)
    return expired
