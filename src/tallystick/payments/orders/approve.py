"""Approve an order by a person's word: a transfer that was seen to come, or a payment that did not fit its order."""

import asyncpg
import msgspec

from tallystick.base.errors import Conflict, Forbidden
from tallystick.base.money import from_minor
from tallystick.payments.orders.change import write
from tallystick.payments.orders.credit import Proof, credit
from tallystick.payments.orders.end_unpaid import end_unpaid
from tallystick.payments.orders.order import Order, lock_known
from tallystick.payments.orders.take_coupon import take_again
from tallystick.payments.words import words


class AlreadyCredited(Conflict):
    """The order was approved or paid before; the message says by whom."""

    code = "already_credited"


class AnotherOperator(Forbidden):
    """Two different operators must agree before credits are released, and this one has spoken already."""

    code = "another_operator_needed"


async def approve(pool: asyncpg.Pool, order_id: str, *, proof: str, by: str, four_eyes: bool) -> Order:
    """Let a manual order count as paid, on `proof` of it, and credit it. Of two at once one wins.

    With `four_eyes` whoever made the order or approved it first cannot release it: then the first approval is only
    kept. Raises NotFound, AlreadyCredited, AnotherOperator, and Conflict for an order that cannot be approved."""
    proof = words(proof, "proof")
    async with pool.acquire() as connection, connection.transaction():
        order = await lock_known(connection, order_id)
        _refuse_credited(order)
        if order.kind != "manual":
            raise Conflict(f"Order {order.id} is paid through the payment provider: nobody has to approve it.")
        if order.state == "failed":
            raise Conflict(f"Order {order.id} was {order.reason} ({order.rejected_by}). Make a new one.")
        return await _release(connection, order, proof=proof, by=by, four_eyes=four_eyes)


async def credit_anyway(pool: asyncpg.Pool, order_id: str, *, reason: str, by: str, four_eyes: bool) -> Order:
    """Credit an order whose payment came and did not fit it, by what came. Raises as `approve` does."""
    reason = words(reason, "reason")
    async with pool.acquire() as connection, connection.transaction():
        order = await lock_known(connection, order_id)
        _refuse_credited(order)
        if order.state != "paid":
            raise Conflict(f"Order {order.id} is {order.state}: only one that is paid can be credited by hand.")
        if order.refunded_minor or order.disputed_minor:
            raise Conflict(f"The payment of order {order.id} went back.")
        return await _release(connection, _as_it_came(order), proof=reason, by=by, four_eyes=four_eyes)


async def reject(pool: asyncpg.Pool, order_id: str, *, reason: str, by: str) -> Order:
    """Say that a manual order is not going to be paid. Raises as `approve` does."""
    reason = words(reason, "reason")
    async with pool.acquire() as connection, connection.transaction():
        order = await lock_known(connection, order_id)
        _refuse_credited(order)
        if order.kind != "manual":
            raise Conflict(f"Order {order.id} is paid through the payment provider: refund it instead.")
        # Its customer reads why, and not which of the operators says so.
        if not await end_unpaid(connection, order, "failed", by=by, reason=f"rejected: {reason}", rejected_by=by):
            raise Conflict(f"Order {order.id} is {order.state} already: {order.reason}.")
        return await lock_known(connection, order_id)


async def _release(connection: asyncpg.Connection, order: Order, *, proof: str, by: str, four_eyes: bool) -> Order:
    if four_eyes and by in {order.created_by, order.first_approved_by}:
        did = "made" if by == order.created_by else "approved"
        raise AnotherOperator(f"You {did} order {order.id} yourself: another operator must release it.")
    if four_eyes and order.first_approved_by is None and not order.created_by.startswith("operator:"):
        act = "order.first_approved"
        return await write(
            connection, order, order.state, by=by, act=act, reason=order.reason, first_approved_by=by, proof=proof
        )
    if not await take_again(connection, order):
        raise Conflict(f"The coupon of order {order.id} went to others meanwhile. Make a new order without it.")
    both = proof if order.proof is None or order.proof == proof else f"{order.proof}; {proof}"
    await credit(connection, order, Proof(approved_by=by, text=both), by=by)
    return await lock_known(connection, order.id)


def _as_it_came(order: Order) -> Order:
    """The order by the money that came. Raises Conflict where nobody can say what that is worth."""
    received = order.received_minor
    if order.received_currency != order.currency or not received:
        came = f"{received} {order.received_currency}"
        raise Conflict(f"What came for order {order.id} ({came}) has no value in {order.currency}: refund it.")
    if received == order.amount_minor:
        return order
    return msgspec.structs.replace(order, amount_minor=received, credits=from_minor(received))


def _refuse_credited(order: Order) -> None:
    if order.operation is not None:
        who = f"approved by {order.approved_by}" if order.approved_by else "paid"
        raise AlreadyCredited(f"Order {order.id} was {who} at {order.credited_at:%Y-%m-%d %H:%M:%S} UTC already.")
