"""End an order that nobody paid: expired or failed. Its coupon goes back once that is sure."""

from datetime import timedelta
from typing import Final, Literal

import asyncpg

from tallystick.base.database import load_queries
from tallystick.payments.orders.change import change
from tallystick.payments.orders.life import may_become
from tallystick.payments.orders.order import Order, lock
from tallystick.payments.orders.take_coupon import give_back

queries = load_queries(__file__, "end_unpaid.sql")

# Stripe ends a session that nobody paid on after a day and tells of it. What never got a session hears of nothing.
_CHECKOUT_FOR: Final = timedelta(hours=25)
MANUAL_FOR: Final = timedelta(days=30)
_BATCH: Final = 100


async def end_unpaid(
    connection: asyncpg.Connection,
    order: Order,
    state: Literal["expired", "failed"],
    *,
    by: str,
    reason: str | None = None,
    final: bool = True,
    rejected_by: str | None = None,
) -> bool:
    """Note on a locked order that it was not paid so far; False where it was, or where that is known already.

    `final` says that it cannot be paid any more on the way it was to be paid on."""
    ended = may_become(order.state, state)
    if ended:
        await change(connection, order, state, by=by, reason=reason, rejected_by=rejected_by)
    if final and (ended or order.state in {"expired", "failed"}):
        await give_back(connection, order)
    return ended


async def expire_unpaid(pool: asyncpg.Pool) -> int:
    """Expire orders that nobody can pay any more, or that nobody approved for a month; how many."""
    found = [
        row["id"]
        async for row in queries.stale(pool, checkout_for=_CHECKOUT_FOR, manual_for=MANUAL_FOR, row_limit=_BATCH)
    ]
    ended = 0
    for order_id in found:
        async with pool.acquire() as connection, connection.transaction():
            order = await lock(connection, order_id)
            if order is not None and order.state in {"created", "awaiting_payment"} and not order.stripe_session:
                ended += await end_unpaid(connection, order, "expired", by="clock", reason="nobody paid it in time")
    return ended
