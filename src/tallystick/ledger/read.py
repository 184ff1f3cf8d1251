"""Read the books: an account's balance and history, and the trial balance of all accounts."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.ledger.account import Balance

queries = load_queries(__file__, "read.sql")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One transfer as the account sees it: credits positive, debits negative; `kind` is what it is to the account."""

    seq: int
    at: datetime
    kind: str
    amount: int
    operation: UUID


class TrialBalanceLine(msgspec.Struct, frozen=True, gc=False):
    """The sum of all accounts of one kind; the lines of a unit sum to zero."""

    unit: str
    kind: str
    accounts: int
    posted: int
    held: int


async def balance(connection: asyncpg.Connection, account: int) -> Balance:
    """What the account has now; lots that are due expire first. Raises NotFound."""
    row = await queries.balance(connection, account=account)
    if row is not None and row["due"]:
        await queries.expire_lots(connection, account=account)
        row = await queries.balance(connection, account=account)
    if row is None:
        raise NotFound(f"there is no account {account}")
    return Balance(row["posted"], row["held"], row["available"])


async def history(
    connection: asyncpg.Connection,
    account: int,
    *,
    before: int | None = None,
    limit: int,
    kinds: Collection[str] | None = None,
) -> Sequence[Entry]:
    """The account's last `limit` entries, newest first; `before` is the `seq` of the last one already seen."""
    rows = queries.history(
        connection, account=account, before=before, limit=limit, kinds=None if kinds is None else list(kinds)
    )
    return [Entry(*row) async for row in rows]


async def trial_balance(connection: asyncpg.Connection) -> Sequence[TrialBalanceLine]:
    """One line per kind of account."""
    return [
        TrialBalanceLine(unit, kind, accounts, int(posted), int(held))
        async for unit, kind, accounts, posted, held in queries.trial_balance(connection)
    ]
