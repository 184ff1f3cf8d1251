"""Do to an order what its payment says, when the payment is this order's in every field."""

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.payments.customer import find_customer
from tallystick.payments.ending import Ending
from tallystick.payments.orders.change import change
from tallystick.payments.orders.credit import Proof, credit
from tallystick.payments.orders.end_unpaid import end_unpaid
from tallystick.payments.orders.life import may_become
from tallystick.payments.orders.match import misfit, stranger
from tallystick.payments.orders.order import Order, lock
from tallystick.payments.orders.payment import Payment
from tallystick.payments.orders.take_coupon import take_again
from tallystick.payments.stripe.payment_intent import StripePayment

queries = load_queries(__file__, "settle.sql")


async def settle(
    connection: asyncpg.Connection, payment: Payment, order_id: str, *, livemode: bool, by_event: bool = False
) -> Ending:
    """In the caller's transaction, which keeps the order locked. Told twice, the second changes nothing.

    `by_event` says that a stored event is the proof; else what was read at Stripe is kept as one."""
    order = await lock(connection, order_id)
    if order is None:
        return "quarantined", f"there is no order {order_id}"
    customer = await find_customer(connection, order.organization, livemode=order.livemode)
    if (reason := stranger(payment, order, customer, livemode=livemode)) is not None:
        return "quarantined", reason
    if order.operation is None and order.state == "refunded" and order.stripe_payment_intent == payment.payment_intent:
        return "ignored", "it was set aside, and all of it went back"
    if (reason := misfit(payment, order)) is not None:
        await _set_aside(connection, order, payment, reason)
        return "quarantined", reason
    if payment.outcome == "paid":
        return await _pay(connection, order, payment, by_event=by_event)
    # A top-up that was declined is ended by who charges it, with all that belongs to it.
    if payment.outcome != "pending" and order.kind != "top_up":
        # What failed within an open session may be tried again there; the end of the session is the end.
        final = payment.outcome == "expired" or payment.session is not None
        await end_unpaid(connection, order, payment.outcome, by="stripe", final=final)
    return "processed", None


async def settle_seen(connection: asyncpg.Connection, seen: StripePayment, order_id: str) -> Ending:
    """As `settle`, by a payment that has succeeded, as it was read at Stripe."""
    payment = Payment(
        outcome="paid",
        order_id=seen.metadata.get("order_id"),
        organization=seen.metadata.get("organization"),
        user_id=seen.metadata.get("user_id"),
        payment_intent=seen.id,
        session=None,
        customer=seen.customer,
        asked_minor=seen.amount,
        received_minor=seen.amount_received,
        currency=seen.currency,
    )
    return await settle(connection, payment, order_id, livemode=seen.livemode)


async def _pay(connection: asyncpg.Connection, order: Order, payment: Payment, *, by_event: bool) -> Ending:
    try:
        async with connection.transaction():
            if order.operation is None and order.refunded_minor + order.disputed_minor:
                return "quarantined", "it came again after it went back"
            if order.operation is None and not await take_again(connection, order):
                reason = f"its coupon {order.coupon} was given back when it was not paid, and is used up now"
                await _set_aside(connection, order, payment, reason)
                return "quarantined", reason
            proof = Proof(payment_intent=payment.payment_intent)
            if await credit(connection, order, proof, by="stripe") and not by_event:
                await _keep_seen(connection, order, payment)
    except (Conflict, asyncpg.UniqueViolationError) as error:
        # The order's operation is in the books with other content, or this payment credited another order.
        return "quarantined", f"the books refuse it: {error}"
    return "processed", None


async def _keep_seen(connection: asyncpg.Connection, order: Order, payment: Payment) -> None:
    await queries.keep_seen(
        connection,
        payment_intent=payment.payment_intent,
        order_id=order.id,
        amount_minor=payment.received_minor,
        currency=payment.currency,
        livemode=order.livemode,
    )


async def _set_aside(connection: asyncpg.Connection, order: Order, payment: Payment, reason: str) -> None:
    """The money came for this order and something does not fit: nothing is credited until a person says so."""
    if payment.outcome != "paid" or payment.payment_intent is None or not may_become(order.state, "paid"):
        return
    if order.operation is not None or order.stripe_payment_intent is not None:
        return
    if await queries.payment_is_known(connection, payment_intent=payment.payment_intent):
        return
    await change(
        connection,
        order,
        "paid",
        by="stripe",
        reason=reason,
        stripe_payment_intent=payment.payment_intent,
        received_minor=payment.received_minor,
        received_currency=payment.currency,
    )
