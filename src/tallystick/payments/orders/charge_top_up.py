"""Charge the cards of those whose credits run low: an order first, then the card, under a key that never charges twice.

An order of this kind is ended here alone. Stripe's events only credit it: whoever asks again under the order's own key
hears of a decline once more, and can then do all that belongs to it in one transaction.
"""

import asyncio
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.base.money import format_amount, from_minor
from tallystick.payments.customer import find_customer
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.orders.checkout import RETRY_FOR, start_checkout
from tallystick.payments.orders.end_unpaid import end_unpaid
from tallystick.payments.orders.mail_to_billing import mail_to_billing
from tallystick.payments.orders.order import Buyer, Order, as_order, lock_known
from tallystick.payments.orders.place import insert
from tallystick.payments.orders.purchase_terms import Purchase, PurchaseTerms
from tallystick.payments.orders.settle import settle_seen
from tallystick.payments.orders.top_up import find_top_up, stop_top_up
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.payment_intent import (
    SavedCardCharge,
    StripePayment,
    charge_saved_card,
    payments_of_order,
)

log = structlog.get_logger()
queries = load_queries(__file__, "charge_top_up.sql")

_AT_A_TIME: Final = 8
_PASS_MAX: Final = 100
_AUTHENTICATION: Final = frozenset({"authentication_required", "requires_action"})


async def top_up_due(pool: asyncpg.Pool, stripe: StripeClient, terms: PurchaseTerms) -> int:
    """Charge every card that is due, and go on with what is not known to have ended; how many orders were looked at.

    Any number of these may run at once."""
    due = [row["organization"] async for row in queries.due(pool, organization=None, row_limit=_PASS_MAX)]
    for organization in due:
        await _order_top_up(pool, organization, livemode=stripe.livemode)
    open_orders = [
        as_order(row) async for row in queries.open_top_ups(pool, livemode=stripe.livemode, row_limit=_PASS_MAX)
    ]
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(order: Order) -> None:
        async with slots:
            await _go_on(pool, stripe, terms, order)

    await asyncio.gather(*(one(order) for order in open_orders))
    return len(open_orders)


async def _order_top_up(pool: asyncpg.Pool, organization: str, *, livemode: bool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await queries.lock_top_up(connection, organization=organization)
        # Asked again under the lock: another host may just have done it, or its owner ended it.
        due = [row async for row in queries.due(connection, organization=organization, row_limit=1)]
        top_up = await find_top_up(connection, organization)
        if not due or top_up is None:
            return
        await insert(
            connection,
            Buyer(organization=organization, account=top_up.account, user_id=top_up.changed_by),
            Purchase(
                amount_minor=top_up.amount_minor, currency=top_up.currency, credits=from_minor(top_up.amount_minor)
            ),
            kind="top_up",
            livemode=livemode,
            payment_method=top_up.payment_method,
            ceiling_minor=top_up.monthly_max_minor,
        )


async def _go_on(pool: asyncpg.Pool, stripe: StripeClient, terms: PurchaseTerms, order: Order) -> None:
    try:
        payment = await _payment(pool, stripe, order)
    except PaymentPending:
        log.warning("top_up_pending", order=order.id)
        return
    except PaymentRefused as error:
        await _refused(pool, stripe, terms, order, error.reason or "refused")
        return
    if payment is None:
        # No answer for a day, and no trace of it at Stripe: nobody declined anything, so the next one may be tried.
        async with pool.acquire() as connection, connection.transaction():
            current = await lock_known(connection, order.id)
            await end_unpaid(connection, current, "failed", by="clock", reason="the provider never heard of it")
    elif payment.status == "succeeded":
        await _paid(pool, order, payment)
    elif payment.status not in {"processing", "requires_capture"}:
        await _refused(pool, stripe, terms, order, payment.status)


async def _payment(pool: asyncpg.Pool, stripe: StripeClient, order: Order) -> StripePayment | None:
    """The order's payment: made now, or found where Stripe may have forgotten the key it was made under.

    None where there is none, and none may be made any more."""
    customer = await find_customer(pool, order.organization, livemode=order.livemode)
    if customer is None or order.payment_method is None:
        return None
    now: datetime = await queries.clock(pool)
    if now - order.created_at > RETRY_FOR:
        found = await payments_of_order(stripe, order.id, customer=customer, since=order.created_at)
        return next((payment for payment in found if payment.status == "succeeded"), next(iter(found), None))
    return await charge_saved_card(
        stripe,
        SavedCardCharge(
            order_id=order.id,
            organization=order.organization,
            user_id=order.created_by,
            customer=customer,
            payment_method=order.payment_method,
            amount_minor=order.amount_minor,
            currency=order.currency,
        ),
    )


async def _paid(pool: asyncpg.Pool, order: Order, seen: StripePayment) -> None:
    async with pool.acquire() as connection, connection.transaction():
        state, reason = await settle_seen(connection, seen, order.id)
    if state == "quarantined":
        log.error("top_up_does_not_fit", order=order.id, reason=reason)


async def _refused(pool: asyncpg.Pool, stripe: StripeClient, terms: PurchaseTerms, order: Order, reason: str) -> None:
    """Nothing was charged: the order ends, and nothing is tried again until a person has seen to it."""
    link = None
    if reason in _AUTHENTICATION:
        try:
            link = await _page_to_pay_on(pool, stripe, terms, order)
        except PaymentPending:
            log.warning("top_up_pending", order=order.id)
            return
        except (PaymentRefused, Conflict) as error:
            # Refused now, or before everything went away: the top-up ends without one.
            log.warning("top_up_has_no_page", order=order.id, problem=error.message)
    async with pool.acquire() as connection, connection.transaction():
        current = await lock_known(connection, order.id)
        if not await end_unpaid(connection, current, "failed", by="stripe", reason=reason):
            return
        await stop_top_up(connection, order.organization, reason)
        subject, body = _mail(order, reason, link)
        await mail_to_billing(
            connection, order.organization, subject=subject, body=body, key=f"top-up stopped {order.id}"
        )


async def _page_to_pay_on(pool: asyncpg.Pool, stripe: StripeClient, terms: PurchaseTerms, order: Order) -> str:
    """The bank wants to see the owner of the card: an order of its own, which they pay on Stripe's page."""
    buyer = Buyer(organization=order.organization, account=order.account, user_id=order.created_by)
    purchase = Purchase(amount_minor=order.amount_minor, currency=order.currency, credits=order.credits, save_card=True)
    now = await queries.clock(pool)
    request_id = f"{order.id}-by-its-owner"
    started = await start_checkout(pool, stripe, terms, buyer, purchase, request_id=request_id, now=now)
    return started.checkout_url


def _mail(order: Order, reason: str, link: str | None) -> tuple[str, str]:
    amount = f"{format_amount(from_minor(order.amount_minor))} {order.currency.upper()}"
    if link is None:
        return "Your automatic top-up was declined", (
            f"Your credits run low, and your card could not be charged {amount}: {reason.replace('_', ' ')}.\n\n"
            "Nothing was charged. Automatic top-ups stand still until you set them again, with this or another card.\n"
        )
    return "Your bank asks you to confirm a top-up", (
        f"Your credits run low, and your bank wants you to confirm the payment of {amount} yourself:\n\n{link}\n\n"
        "Until then nothing is charged. Automatic top-ups stand still: set them again once you have paid.\n"
    )
