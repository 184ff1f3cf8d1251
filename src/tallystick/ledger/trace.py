"""Follow one operation into the books: the transfers it made, with the kinds of the accounts they moved between."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries

queries = load_queries(__file__, "trace.sql")


class TracedTransfer(msgspec.Struct, frozen=True, gc=False):
    """`debit` and `credit` are kinds of accounts, such as "customer" and "revenue"; `amount` is nanocredits."""

    seq: int
    at: datetime
    kind: str
    debit: str
    credit: str
    amount: int


async def transfers_of(connection: asyncpg.Connection, operation: UUID) -> Sequence[TracedTransfer]:
    """In the order they were posted; empty where the operation moved nothing or is not known."""
    return [TracedTransfer(*row) async for row in queries.transfers_of(connection, operation=operation)]
