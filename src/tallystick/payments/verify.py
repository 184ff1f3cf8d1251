"""Law 6 on the live database: every paid payment is credited once, and every credit has its payment or its grant."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.ledger.check import PROBLEMS_MAX, Check
from tallystick.payments.billing import verify as billing
from tallystick.payments.errors import UnreadableEvent
from tallystick.payments.inbox.event import TYPES, read_payment
from tallystick.payments.meters import verify as meters
from tallystick.payments.orders.payment import Payment
from tallystick.payments.refunds import verify as refunds

_queries = load_queries(__file__, "verify.sql")

_CHUNK: Final = 1_000


def _check(name: str, query: Callable[[asyncpg.Connection], AsyncIterator[asyncpg.Record]]) -> Check:
    async def run(connection: asyncpg.Connection) -> list[str]:
        return [row["problem"] async for row in query(connection)]

    return Check(law=6, name=name, run=run)


async def orders_as_paid(connection: asyncpg.Connection) -> list[str]:
    """Each event that says that money came against its order; and no order credited without one,
    without Stripe's own word when it was asked, or without the approval of a named operator."""
    problems: list[str] = []
    proven: set[str] = set()
    events = await connection.cursor(_queries.acted_on.sql, list(TYPES))
    while rows := await events.fetch(_CHUNK):
        paid = [(row, payment) for row in rows if (payment := _paid(row, problems)) is not None]
        ids = [payment.order_id for _event, payment in paid]
        orders = {order["id"]: order async for order in _queries.orders(connection, ids=ids)}
        for event, payment in paid:
            order = orders.get(payment.order_id)
            differences = _differences(event, payment, order)
            problems += differences
            if order is not None and not differences:
                proven.add(order["id"])
    async for order in connection.cursor(_queries.credited.sql, prefetch=_CHUNK):
        by_hand = order["kind"] == "manual"
        if not order["approved"] and (by_hand or not (order["seen"] or order["id"] in proven)):
            lacks = "nobody approved it" if by_hand else "no stored event says that it was paid"
            problems.append(f"order {order['id']} is credited, and {lacks}")
    return problems[:PROBLEMS_MAX]


def _paid(event: asyncpg.Record, problems: list[str]) -> Payment | None:
    try:
        payment = read_payment(event["type"], bytes(event["body"]))
    except UnreadableEvent as error:
        problems.append(f"event {event['id']} was acted on and cannot be read: {error}")
        return None
    return payment if payment is not None and payment.outcome == "paid" else None


def _differences(event: asyncpg.Record, payment: Payment, order: asyncpg.Record | None) -> list[str]:
    if order is None:
        return [f"event {event['id']} was acted on, and its order {payment.order_id} does not exist"]
    compared = (
        ("credit", True, order["credited"]),
        ("amount", payment.received_minor, order["amount_minor"]),
        ("currency", payment.currency, order["currency"]),
        ("payment", payment.payment_intent, order["stripe_payment_intent"]),
        ("livemode", event["livemode"], order["livemode"]),
    )
    return [
        f"order {order['id']} has the {name} {stored}, its event {event['id']} says {said}"
        for name, said, stored in compared
        if said != stored
    ]


checks: Final = [
    _check("every credited order has one purchase in the books, with its amount and account", _queries.order_posting),
    Check(law=6, name="every credited order is as its stored event says that it was paid", run=orders_as_paid),
    _check("every purchase in the books has a credited order", _queries.posting_order),
    _check("what purchases put into Stripe's clearing account equals the credited orders", _queries.clearing),
    _check("what was paid for an order counts at its value", _queries.worth),
    _check("an order is where what came and what went back of it put it", _queries.order_state),
    _check("no coupon is redeemed more often than it may be", _queries.coupons),
    _check("top-ups stay within their month's ceiling", _queries.top_ups),
    _check("every grant is in the books, and every grant in the books has a source", _queries.grants),
    _check("every lot has a payment or a grant as its source, with its amount and account", _queries.lots),
    *billing.checks,
    *refunds.checks,
    *meters.checks,
]
