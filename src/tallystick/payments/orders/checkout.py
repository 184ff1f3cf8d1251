"""Start a payment: our order first, then Stripe's customer and session under ids that make every retry the same."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec

from tallystick.base.errors import Conflict
from tallystick.catalog.document import Coupon
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.orders.change import await_payment
from tallystick.payments.orders.end_unpaid import end_unpaid
from tallystick.payments.orders.order import Buyer, Order, lock_known
from tallystick.payments.orders.place import place
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.provision import customer_of
from tallystick.payments.stripe.checkout import CheckoutOrder, CheckoutSession, create_checkout_session
from tallystick.payments.stripe.client import StripeClient

# Stripe forgets an idempotency key after a day. Past that, asking again would make a second payable session.
RETRY_FOR: Final = timedelta(hours=23)


class StartedCheckout(msgspec.Struct, frozen=True, kw_only=True):
    order_id: str
    session_id: str
    checkout_url: str


async def start_checkout(
    pool: asyncpg.Pool,
    stripe: StripeClient,
    terms: PurchaseTerms,
    buyer: Buyer,
    purchase: Purchase,
    *,
    request_id: str | None,
    now: datetime,
    coupon: Coupon | None = None,
) -> StartedCheckout:
    """Where the buyer can pay; `purchase` has the coupon's price already. The same `request_id` gives the same order
    and the same session.

    Raises PaymentPending when Stripe's answer is unknown: the order is kept, and the same request goes on with it.
    """
    order = await place(pool, buyer, purchase, request_id=request_id, livemode=stripe.livemode, coupon=coupon)
    if order.stripe_session is None or order.checkout_url is None:
        _refuse_dead(order, now)
        session = await _session(pool, stripe, terms, order, purchase)
        await await_payment(pool, order, session)
    else:
        session = CheckoutSession(id=order.stripe_session, url=order.checkout_url)
    return StartedCheckout(order_id=order.id, session_id=session.id, checkout_url=session.url)


def _refuse_dead(order: Order, now: datetime) -> None:
    if order.state != "created" or now - order.created_at > RETRY_FOR:
        raise Conflict("This purchase can no longer be paid. Start a new one with another Idempotency-Key.")


async def _session(
    pool: asyncpg.Pool, stripe: StripeClient, terms: PurchaseTerms, order: Order, purchase: Purchase
) -> CheckoutSession:
    try:
        return await create_checkout_session(
            stripe,
            CheckoutOrder(
                id=order.id,
                organization=order.organization,
                user_id=order.created_by,
                customer=await customer_of(pool, stripe, order.organization),
                title=purchase.title,
                amount_minor=order.amount_minor,
                currency=order.currency,
                success_url=f"{terms.public_url}/api/credits/purchase/paid",
                save_card=order.save_card,
                cancel_url=f"{terms.public_url}/api/credits/purchase/cancelled",
            ),
        )
    except PaymentPending as error:
        # A caller without an idempotency key of its own can go on with this order, too.
        error.details["idempotency_key"] = order.request_id
        raise
    except PaymentRefused:
        async with pool.acquire() as connection, connection.transaction():
            current = await lock_known(connection, order.id)
            # A twin of this request that got its session from the same key has one that can be paid.
            if current.stripe_session is None:
                await end_unpaid(connection, current, "failed", by="stripe", reason="the provider refused the checkout")
        raise
