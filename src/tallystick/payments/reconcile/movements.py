"""Keep every movement of Stripe's balance, and book what no order, invoice, refund or dispute has booked by itself."""

from collections.abc import AsyncIterable
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.ids import id_for_request
from tallystick.base.money import from_minor
from tallystick.ledger.account import platform_account
from tallystick.ledger.post import Transfer, post
from tallystick.payments.reconcile.booking import CAUSED, entries, kind_of
from tallystick.payments.stripe.balance import Movement

queries = load_queries(__file__, "movements.sql")

_CHUNK: Final = 200
# They come too seldom to need a lane of their own for each of them.
_LANE: Final = 0


async def keep(pool: asyncpg.Pool, movements: AsyncIterable[Movement], *, livemode: bool) -> int:
    """Keep the movements that are not kept yet; returns how many there were."""
    new = 0
    chunk: list[Movement] = []
    async for movement in movements:
        chunk.append(movement)
        if len(chunk) == _CHUNK:
            new += await _keep(pool, chunk, livemode=livemode)
            chunk = []
    return new + await _keep(pool, chunk, livemode=livemode)


async def _keep(pool: asyncpg.Pool, chunk: list[Movement], *, livemode: bool) -> int:
    fields = {name: [getattr(movement, name) for movement in chunk] for name in Movement.__struct_fields__}
    kept: str = await queries.keep(pool, livemode=livemode, **fields)
    return int(kept.rpartition(" ")[2])


async def book(pool: asyncpg.Pool, *, livemode: bool) -> int:
    """Book every movement of which it is known by now whether it is ours; returns how many were. What belongs to a
    payment that nobody has explained yet stays as it is, and is a difference."""
    booked, after = 0, ""
    while True:
        async with pool.acquire() as connection:
            rows = [row async for row in queries.unbooked(connection, livemode=livemode, after=after, most=_CHUNK)]
            for row in rows:
                after = row["id"]
                belongs = (
                    "ours" if row["category"] not in CAUSED or row["ours"] else "other" if row["foreign"] else None
                )
                if belongs is not None:
                    booked += await _book(connection, row, ours=belongs == "ours")
        if len(rows) < _CHUNK:
            return booked


async def _book(connection: asyncpg.Connection, row: asyncpg.Record, *, ours: bool) -> bool:
    transfers = [
        Transfer(
            debit=platform_account(entry.debit, _LANE),
            credit=platform_account(entry.credit, _LANE),
            amount=from_minor(entry.minor),
        )
        for entry in entries(row["category"], row["amount_minor"], row["fee_minor"], ours=ours)
    ]
    operation = id_for_request("stripe_movement", row["id"]) if transfers else None
    async with connection.transaction():
        if not await queries.lock_unbooked(connection, id=row["id"]):
            return False
        if operation is not None:
            await post(
                connection,
                operation=operation,
                kind=kind_of(row["category"], ours=ours),
                transfers=transfers,
                fingerprint=row["id"],
            )
        await queries.mark_booked(connection, id=row["id"], belongs="ours" if ours else "other", operation=operation)
    return True
