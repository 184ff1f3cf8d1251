"""Refund an order: an operator's act. The credits are taken back at once, so that nobody spends what is on its way
back; then Stripe is asked, under our refund's own id."""

import asyncpg
import structlog

from tallystick.base.errors import Conflict, InvalidInput
from tallystick.base.ids import id_for_request, is_text_id, text_id
from tallystick.payments.errors import PaymentPending
from tallystick.payments.orders.order import Order, lock_known
from tallystick.payments.refunds import refund
from tallystick.payments.refunds.ask import ask
from tallystick.payments.refunds.bring import bring
from tallystick.payments.refunds.clawback import unspent_minor
from tallystick.payments.refunds.origin import of_order
from tallystick.payments.refunds.refund import Refund
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.words import words
from tallystick.subscriptions.turn import wait_for_turn

_log = structlog.get_logger()


async def create(
    pool: asyncpg.Pool,
    stripe: StripeClient | None,
    order_id: str,
    *,
    amount_minor: int | None = None,
    beyond_unspent: bool = False,
    reason: str,
    by: str,
    proof: str | None = None,
    request_id: str | None = None,
) -> Refund:
    """Give back `amount_minor` of an order's payment, or all that is unspent of it; `beyond_unspent` also what was
    spent, which is owed then. Of money that was set aside all that came can go back, be it more than was asked for. A
    manual order was paid to the bank: `proof` says how it went back. Asked again with the same `request_id`, it is the
    same refund.

    What Stripe did not answer yet is returned as it stands, 'asked': a job asks again. Raises NotFound, InvalidInput,
    Conflict, and PaymentRefused, with all as it was before."""
    reason = words(reason, "reason")
    id_ = _id(order_id, request_id)
    async with pool.acquire() as connection, connection.transaction():
        order = await lock_known(connection, order_id)
        await wait_for_turn(connection, order.organization)
        known = [one for one in await refund.refunds_of(connection, of_order(order)) if one.id == id_]
        if known:
            made = known[0]
            if amount_minor not in {None, made.amount_minor}:
                raise Conflict(f"This request id was used for a refund of {_money(made.amount_minor, order)}.")
        else:
            _check(order, stripe, proof)
            amount = await _amount(connection, order, amount_minor, beyond_unspent=beyond_unspent)
            made = await refund.add(connection, of_order(order), amount, id=id_, reason=reason, by=by, proof=proof)
            await bring(connection, order, by=by)
    if made.state == "asked" and stripe is not None:
        try:
            await ask(pool, stripe, made)
        except PaymentPending as error:
            _log.warning("refund_not_answered", refund=made.id, problem=error.message)
    return await refund.find(pool, made.id)


def _id(order_id: str, request_id: str | None) -> str:
    if request_id is None:
        return text_id("ref")
    if not is_text_id(request_id):
        raise InvalidInput("request_id", "must be printable ASCII text of at most 64 characters")
    return f"ref_{id_for_request('refund request', f'{order_id} {request_id}').hex}"


def _check(order: Order, stripe: StripeClient | None, proof: str | None) -> None:
    if order.kind == "manual":
        if proof is None or not proof.strip():
            raise InvalidInput("proof", "must say how the money went back: this order was not paid through Stripe")
    elif proof is not None:
        raise InvalidInput("proof", "is for orders that were settled by hand: this one is refunded through Stripe")
    elif stripe is None:
        raise Conflict("This order was paid through Stripe, and this installation has no STRIPE_API_KEY to refund it.")
    elif stripe.livemode != order.livemode:
        raise Conflict("This order was paid in Stripe's other mode: test and live keys refund their own payments only.")
    if order.state == "disputed":
        raise Conflict("This order is disputed: what is in dispute cannot be refunded. Answer or close the dispute.")
    if order.stripe_payment_intent is None and order.kind != "manual":
        raise Conflict(f"This order is {order.state}: nothing was paid that could go back.")
    if order.kind == "manual" and order.operation is None:
        raise Conflict(f"This order is {order.state}: nothing was paid that could go back.")


async def _amount(
    connection: asyncpg.Connection, order: Order, amount_minor: int | None, *, beyond_unspent: bool
) -> int:
    left = order.came_minor - order.refunded_minor - order.disputed_minor
    if left <= 0:
        raise Conflict("All of this order's payment went back already.")
    unspent = left if order.operation is None else min(left, await unspent_minor(connection, order))
    limit = left if beyond_unspent else unspent
    if amount_minor is None:
        if limit == 0:
            raise Conflict("All that this order's payment bought was spent. --beyond-unspent refunds it all the same.")
        return limit
    if amount_minor < 1:
        raise InvalidInput("amount", "must be greater than zero")
    if amount_minor > left:
        raise Conflict(f"Of this order's payment {_money(left, order)} is left, not {_money(amount_minor, order)}.")
    if amount_minor > limit:
        raise Conflict(
            f"Only {_money(unspent, order)} of this order is unspent. --beyond-unspent refunds more, and what was spent"
            " of it is owed."
        )
    return amount_minor


def _money(minor: int, order: Order) -> str:
    # What was set aside may have come in another currency than was asked for.
    currency = order.currency if order.operation is not None else order.received_currency or order.currency
    return f"{minor // 100}.{minor % 100:02d} {currency.upper()}"
