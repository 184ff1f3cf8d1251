"""Bring the books of one order up to its refunds and disputes: what went back is taken back once, what came back is
given back once. Told again, nothing changes, whatever was told in between."""

from collections.abc import Sequence
from typing import Literal

import asyncpg

from tallystick.base.errors import Unavailable
from tallystick.ledger import audit
from tallystick.payments.debts.collect import collect
from tallystick.payments.orders import take_coupon
from tallystick.payments.orders.change import mark_refunded
from tallystick.payments.orders.order import Order
from tallystick.payments.orders.top_up import stop_after_money_back
from tallystick.payments.refunds.cause import Cause, causes_of
from tallystick.payments.refunds.clawback import give_back, in_force, queries, take_back
from tallystick.payments.refunds.dispute import disputes_of
from tallystick.payments.refunds.origin import of_order
from tallystick.payments.refunds.refund import Refund, refunds_of


class UnderWay(Unavailable):
    """What is to be done depends on what Stripe answers to a refund of ours."""


async def bring(connection: asyncpg.Connection, order: Order, *, by: str) -> str | None:
    """In the caller's transaction, which keeps the order locked and has the organization's turn, and does nothing
    more. Why something could not be done, in words; None where all is.

    Raises UnderWay as long as it depends on what Stripe answers to a refund of ours."""
    refunds = await refunds_of(connection, of_order(order))
    causes = causes_of(refunds, await disputes_of(connection, of_order(order)))
    problem = None
    if order.operation is None:
        # Its money was never credited: there is nothing to take back. No more than came counts.
        given = sum(cause.amount_minor for cause in causes if cause.refund)
        asked = any(refund.state == "asked" for refund in refunds)
        if given > order.came_minor and asked:
            raise UnderWay(f"A refund of order {order.id} is under way; what else goes back depends on it.")
        refunded = min(order.came_minor, given)
        disputed = min(order.came_minor - refunded, sum(cause.amount_minor for cause in causes if cause.dispute))
        # Not before Stripe has answered: what it refuses is all to be done still.
        if refunded == order.came_minor and not asked:
            await _see_to_events(connection, order, by=by)
            await take_coupon.give_back(connection, order)
    else:
        problem = await _bring_clawbacks(connection, order, causes, refunds)
        found = await in_force(connection, order)
        refunded = sum(one.amount_minor for one in found if one.refund is not None)
        disputed = sum(one.amount_minor for one in found if one.dispute is not None)
    await mark_refunded(connection, order.id, refunded_minor=refunded, disputed_minor=disputed, by=by)
    # What came back may pay older debts, and what is owed or is not owed any more changes what may be done.
    await collect(connection, order.organization, by=by)
    return problem


async def _see_to_events(connection: asyncpg.Connection, order: Order, *, by: str) -> None:
    """All of what was set aside is on its way back: the events that told of it wait for nobody any more."""
    reason = f"all of what came for order {order.id} went back"
    async for row in queries.see_to_events(connection, payment_intent=order.stripe_payment_intent, reason=reason):
        await audit.record(connection, "event.dismissed", by=by, subject=row["id"], after={"reason": reason})


async def _bring_clawbacks(
    connection: asyncpg.Connection, order: Order, causes: Sequence[Cause], refunds: Sequence[Refund]
) -> str | None:
    wanted = {cause.operation for cause in causes}
    found = await in_force(connection, order)
    left = order.amount_minor - sum(one.amount_minor for one in found if one.cause in wanted)
    # What went beyond the payment is taken anew once more of it is left: as if that had been so from the beginning.
    again = {one.cause for one in found if one.cause in wanted and one.excess and left > 0}
    for clawback in found:
        if clawback.cause not in wanted or clawback.cause in again:
            await give_back(connection, order, clawback)
    problem = None
    for cause in causes:
        attempts = await queries.attempts(connection, cause=cause.operation)
        if attempts["taken"] > attempts["over"]:
            continue
        left = order.amount_minor - sum(one.amount_minor for one in await in_force(connection, order))
        if cause.amount_minor > left and any(refund.state == "asked" for refund in refunds):
            raise UnderWay(f"A refund of order {order.id} is under way; what else goes back depends on it.")
        if attempts["taken"] and cause.operation not in again:
            problem = f"{cause.name} was over, and its money had come back: it cannot go again"
        elif cause.amount_minor > left and cause.refund is not None:
            problem = f"{cause.name} takes {cause.amount_minor} of a payment of which {left} is left"
        else:
            await take_back(connection, order, cause)
            reason: Literal["disputed", "refunded"] = "refunded" if cause.dispute is None else "disputed"
            await stop_after_money_back(connection, order.organization, reason)
    return problem
