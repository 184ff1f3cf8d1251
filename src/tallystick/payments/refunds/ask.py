"""Ask Stripe for refunds of ours, again and again until it has answered, and never for two in place of one."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.payments.errors import PaymentPending, PaymentRefused
from tallystick.payments.orders.order import Order, find, lock_known
from tallystick.payments.refunds import refund
from tallystick.payments.refunds.bring import bring
from tallystick.payments.refunds.origin import of_order
from tallystick.payments.refunds.refund import Refund
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.refund import StripeRefund, create_refund, refunds_of
from tallystick.subscriptions.turn import wait_for_turn

queries = load_queries(__file__, "ask.sql")

# Stripe keeps an idempotency key for a day at least. Past that, the same key could make a second refund.
_KEY_LASTS: Final = timedelta(hours=23)
# Longer than any call: who asks under the old key has its answer before another asks under the next.
_BETWEEN_KEYS: Final = timedelta(minutes=5)
# Under its key Stripe keeps a failure of its own, too, and may still make the refund long after it. Of one that does
# not fit into its payment twice Stripe itself never makes two, whatever the key: that one need not wait for a day.
_ANOTHER_KEY_AFTER: Final = timedelta(minutes=10)
# Who asks later than this asks again, and looks first: somebody may have made it by hand, under our id.
_FIRST_ASKED_FOR: Final = timedelta(minutes=1)
_BATCH: Final = 20

log = structlog.get_logger()


async def ask(pool: asyncpg.Pool, stripe: StripeClient, asked: Refund, *, now: datetime | None = None) -> None:
    """Ask for one refund, and bring our books up to the answer. Raises PaymentPending, with nothing changed, and
    PaymentRefused, with the credits given back."""
    order = await find(pool, asked.payment_order or "", organization=None)
    if order.stripe_payment_intent is None:
        raise ValueError(f"order {order.id} has no payment at Stripe to refund")
    moment = await queries.moment(pool, now=now)
    try:
        seen = await _ask(stripe, asked, order, order.stripe_payment_intent, moment)
    except PaymentRefused as error:
        failure = error.reason or error.message
        await _refuse(pool, order, asked, failure)
        message = f"Stripe will not make this refund ({failure}): all is as it was before."
        raise PaymentRefused(message, reason=error.reason) from error
    async with pool.acquire() as connection, connection.transaction():
        locked = await lock_known(connection, order.id)
        await wait_for_turn(connection, locked.organization)
        await refund.note(connection, of_order(locked), seen)
        await bring(connection, locked, by="stripe")


async def ask_open(pool: asyncpg.Pool, stripe: StripeClient) -> int:
    """Ask again for those that Stripe has not answered; returns how many it has now. May run twice at once."""
    answered = 0
    for row in [row async for row in queries.due(pool, livemode=stripe.livemode, most=_BATCH)]:
        try:
            await ask(pool, stripe, await refund.find(pool, row["id"]))
        except PaymentPending as error:
            log.warning("refund_not_answered", refund=row["id"], problem=error.message)
            await queries.postpone(pool, id=row["id"])
        except PaymentRefused as error:
            log.error("refund_refused", refund=row["id"], reason=error.reason)  # noqa: TRY400 - an answer, no defect
            answered += 1
        else:
            answered += 1
    return answered


async def _ask(stripe: StripeClient, asked: Refund, order: Order, payment_intent: str, now: datetime) -> StripeRefund:
    fits_twice = 2 * asked.amount_minor <= order.came_minor
    since = now - asked.created_at
    number = since // (_KEY_LASTS if fits_twice else _ANOTHER_KEY_AFTER)
    if since >= _FIRST_ASKED_FOR and (made := await _made(stripe, asked, payment_intent)) is not None:
        return made
    if fits_twice and (since + _BETWEEN_KEYS) // _KEY_LASTS > number:
        raise PaymentPending("The key of this refund runs out: it is asked for under another one in some minutes.")
    try:
        return await create_refund(
            stripe,
            payment_intent,
            asked.amount_minor,
            ours=asked.id,
            order=order.id,
            idempotency_key=f"{asked.id}-{number}" if number else asked.id,
        )
    except PaymentRefused:
        # Perhaps for the one that another key asked for was made meanwhile, and leaves no room for this one.
        if (made := await _made(stripe, asked, payment_intent)) is not None:
            return made
        raise


async def _made(stripe: StripeClient, asked: Refund, payment_intent: str) -> StripeRefund | None:
    """The refund as it is at Stripe, by the id of ours that it names. Raises PaymentPending for one that cannot be."""
    for seen in await refunds_of(stripe, payment_intent):
        if seen.ours == asked.id and seen.amount != asked.amount_minor:
            raise PaymentPending(
                f"{seen.id} at Stripe has the id of this refund, and another amount. Nothing is asked for while it "
                "has: take refund_id out of its metadata there."
            )
        if seen.ours == asked.id:
            return seen
    return None


async def _refuse(pool: asyncpg.Pool, order: Order, asked: Refund, failure: str) -> None:
    async with pool.acquire() as connection, connection.transaction():
        locked = await lock_known(connection, order.id)
        await wait_for_turn(connection, locked.organization)
        # An event may have told of it meanwhile: then it is not refused.
        current = await refund.find(connection, asked.id)
        if current.state == "asked":
            await refund.move(connection, of_order(locked), current, "refused", failure=failure)
            await bring(connection, locked, by="stripe")
