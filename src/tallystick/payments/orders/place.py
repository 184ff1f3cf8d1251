"""Place an order: stored, with the coupon it takes, before anybody is asked for money."""

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.base.ids import text_id
from tallystick.catalog.document import Coupon
from tallystick.ledger import audit
from tallystick.payments.orders.change import change, shown, tell
from tallystick.payments.orders.life import OrderKind
from tallystick.payments.orders.order import Buyer, Order, as_order
from tallystick.payments.orders.purchase_terms import Purchase
from tallystick.payments.orders.take_coupon import take_coupon

queries = load_queries(__file__, "place.sql")


async def place(
    pool: asyncpg.Pool,
    buyer: Buyer,
    purchase: Purchase,
    *,
    request_id: str | None,
    livemode: bool,
    coupon: Coupon | None = None,
    kind: OrderKind = "checkout",
    reference: str | None = None,
) -> Order:
    """The order for this request: a new one, or the one the same request made before. `reference` is what a transfer
    that pays it is to name, of an order that is settled by hand; by default the order's id.

    Raises Conflict when the request id was used for another purchase, and what `take_coupon` raises."""
    async with pool.acquire() as connection, connection.transaction():
        order = await insert(
            connection, buyer, purchase, kind=kind, request_id=request_id, livemode=livemode, reference=reference
        )
        if order is not None:
            # After the order: whoever has a coupon's turn must never wait for a twin of this very request.
            if coupon is not None:
                await take_coupon(connection, coupon, buyer.organization, by=buyer.user_id, order_id=order.id)
            if kind == "manual":
                # Nothing more is needed to pay it.
                order = await change(connection, order, "awaiting_payment", by=buyer.user_id)
            return order
        row = await queries.find_by_request(connection, organization=buyer.organization, request_id=request_id)
    order = as_order(row)
    if order.kind != kind or order.bought != purchase or order.livemode != livemode:
        raise Conflict("This Idempotency-Key was used for another purchase. Use a new one.")
    return order


async def insert(
    connection: asyncpg.Connection,
    buyer: Buyer,
    purchase: Purchase,
    *,
    kind: OrderKind,
    livemode: bool,
    request_id: str | None = None,
    reference: str | None = None,
    payment_method: str | None = None,
    ceiling_minor: int | None = None,
) -> Order | None:
    """A new order, with its audit record and notice; None when this request made one before."""
    order_id = text_id("ord")
    row = await queries.insert_order(
        connection,
        id=order_id,
        organization=buyer.organization,
        account=buyer.account,
        request_id=request_id or order_id,
        kind=kind,
        pack=purchase.pack,
        coupon=purchase.coupon,
        amount_minor=purchase.amount_minor,
        discount_minor=purchase.discount_minor,
        currency=purchase.currency,
        credits=purchase.credits,
        save_card=purchase.save_card,
        livemode=livemode,
        reference=reference or (order_id if kind == "manual" else None),
        payment_method=payment_method,
        ceiling_minor=ceiling_minor,
        created_by=buyer.user_id,
    )
    if row is None:
        return None
    order = as_order(row)
    await audit.record(
        connection,
        "order.created",
        by=buyer.user_id,
        subject=order.id,
        organization=order.organization,
        after=shown(order) | {"coupon": order.coupon, "pack": order.pack, "reference": order.reference},
    )
    await tell(connection, order, "order.created")
    return order
