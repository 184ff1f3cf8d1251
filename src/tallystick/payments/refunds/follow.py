"""Follow what goes back of payments: every event about a refund or a dispute makes us look at its whole payment again.

So it does not matter which event comes, in which order, or how often: what is seen decides, and it only moves forward.
"""

from typing import Final

import asyncpg
import msgspec

from tallystick.base.errors import Unavailable
from tallystick.payments.customer import is_customer
from tallystick.payments.ending import Ending
from tallystick.payments.errors import UnreadableEvent
from tallystick.payments.follower import Follower
from tallystick.payments.orders.order import lock
from tallystick.payments.orders.settle import settle_seen
from tallystick.payments.refunds import dispute, plan_money, refund
from tallystick.payments.refunds.bring import bring
from tallystick.payments.refunds.origin import Origin, of_order
from tallystick.payments.stripe.changed import invoice_paid_by
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.dispute import StripeDispute, disputes_of
from tallystick.payments.stripe.payment_intent import StripePayment, read_payment_intent
from tallystick.payments.stripe.refund import StripeRefund, refunds_of
from tallystick.subscriptions.turn import wait_for_turn

TYPES: Final = (
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
)


class NotBooked(Unavailable):
    """The invoice that was paid is not in the books yet, and so nothing can go back of it."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A payment, and all that went back of it, as Stripe shows it now. `invoice` is what it paid, if that."""

    payment: StripePayment
    invoice: str | None = None
    refunds: list[StripeRefund]
    disputes: list[StripeDispute]


class _About(msgspec.Struct, frozen=True):
    payment_intent: str | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _About


class _Event(msgspec.Struct, frozen=True):
    data: _Data


_event = msgspec.json.Decoder(_Event)


async def look(stripe: StripeClient, payment_intent: str) -> Seen | None:
    """The payment as it is now; None for one that is for no order of ours."""
    payment = await read_payment_intent(stripe, payment_intent)
    return await _look(stripe, payment, None) if "order_id" in payment.metadata else None


async def look_at_invoice(stripe: StripeClient, payment_intent: str, invoice: str) -> Seen:
    """The payment that paid this invoice, as it is now."""
    return await _look(stripe, await read_payment_intent(stripe, payment_intent), invoice)


async def _look(stripe: StripeClient, payment: StripePayment, invoice: str | None) -> Seen:
    # Disputes first: one that begins makes refunds under way fail, and the other way round both would seem to hold.
    disputes = await disputes_of(stripe, payment.id)
    refunds = await refunds_of(stripe, payment.id)
    return Seen(payment=payment, invoice=invoice, refunds=refunds, disputes=disputes)


async def apply(connection: asyncpg.Connection, seen: Seen) -> Ending:
    """Bring the payment's order or invoice up to what was seen, in the caller's transaction."""
    if seen.invoice is not None:
        return await _apply_to_invoice(connection, seen, seen.invoice)
    payment, order_id = seen.payment, seen.payment.metadata["order_id"]
    order = await lock(connection, order_id)
    if order is None:
        return "quarantined", f"there is no order {order_id}"
    # Before anything is posted: whoever publishes has the turn first, and the lane after it.
    await wait_for_turn(connection, order.organization)
    if order.operation is None and payment.status == "succeeded":
        ending = await settle_seen(connection, payment, order.id)
        order = await lock(connection, order_id) or order
        # What was set aside can be disputed, and the dispute goes on.
        if ending[0] == "quarantined" and order.state not in {"paid", "disputed"}:
            return ending
    if order.stripe_payment_intent not in ({payment.id} if order.operation is not None else {None, payment.id}):
        return "ignored", f"it is about {payment.id}, which credited nothing: order {order.id} was paid by another"
    if order.operation is None and order.state not in {"paid", "refunded", "disputed"}:
        return "ignored", f"order {order.id} was not paid"
    await _note(connection, of_order(order), seen)
    return _ending(await bring(connection, order, by="stripe"))


async def _apply_to_invoice(connection: asyncpg.Connection, seen: Seen, invoice: str) -> Ending:
    row = await plan_money.lock_invoice(connection, invoice)
    if row is None or row["operation"] is None:
        # It is ours, so an event, or reconciling, will tell of it; this one comes again after that.
        raise NotBooked(f"Invoice {invoice} is not in the books yet, and so nothing can go back of it.")
    origin = Origin(organization=row["organization"], invoice=invoice)
    await _note(connection, origin, seen)
    return _ending(await plan_money.bring(connection, origin, row["account"], row["paid_minor"]))


async def _note(connection: asyncpg.Connection, origin: Origin, seen: Seen) -> None:
    for seen_refund in seen.refunds:
        await refund.note(connection, origin, seen_refund)
    for seen_dispute in seen.disputes:
        await dispute.note(connection, origin, seen_dispute)


def _ending(problem: str | None) -> Ending:
    return ("processed", None) if problem is None else ("quarantined", problem)


async def _read(pool: asyncpg.Pool, stripe: StripeClient, body: bytes) -> Seen | None:
    try:
        payment_intent = _event.decode(body).data.object.payment_intent
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableEvent(f"not about a payment: {error}") from error
    if payment_intent is None:
        return None
    seen = await look(stripe, payment_intent)
    if seen is not None:
        return seen
    customer = (await read_payment_intent(stripe, payment_intent)).customer
    if customer is None or not await is_customer(pool, customer):
        return None
    invoice = await invoice_paid_by(stripe, payment_intent)
    return None if invoice is None else await look_at_invoice(stripe, payment_intent, invoice)


follower: Final = Follower[Seen](types=TYPES, read=_read, apply=apply)
