"""Do to an order what its payment says, when the payment is this order's in every field."""

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.base.ids import is_text_id
from tallystick.payments.ending import Ending
from tallystick.payments.orders.credit import credit
from tallystick.payments.orders.match import mismatch
from tallystick.payments.orders.order import Order, lock, mark_unpaid
from tallystick.payments.orders.payment import Payment

_queries = load_queries(__file__, "checkout.sql")


async def settle(connection: asyncpg.Connection, payment: Payment, order_id: str, *, livemode: bool) -> Ending:
    """In the caller's transaction, which keeps the order locked. Told twice, the second changes nothing."""
    order = await lock(connection, order_id) if is_text_id(order_id) else None
    if order is None:
        return "quarantined", f"there is no order {order_id}"
    customer = await _queries.find_customer(connection, organization=order.organization, livemode=order.livemode)
    if (reason := mismatch(payment, order, customer, livemode=livemode)) is not None:
        return "quarantined", reason
    return await _apply(connection, order, payment)


async def _apply(connection: asyncpg.Connection, order: Order, payment: Payment) -> Ending:
    """What a matched payment does to its locked order."""
    match payment.outcome:
        case "paid" if payment.payment_intent is not None:
            try:
                async with connection.transaction():
                    await credit(connection, order, payment.payment_intent)
            except (Conflict, asyncpg.UniqueViolationError) as error:
                # The order's operation is in the books with other content, or this payment credited another order.
                return "quarantined", f"the books refuse it: {error}"
        case "expired" | "failed":
            await mark_unpaid(connection, order, payment.outcome)
    return "processed", None
