"""A payment order: stored before the payment provider hears of it, credited at most once."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.base.ids import id_for_request, text_id
from tallystick.payments.orders.purchase_terms import Purchase
from tallystick.payments.stripe.checkout import CheckoutSession

_queries = load_queries(__file__, "order.sql")

OrderState = Literal["created", "awaiting_payment", "credited", "expired", "failed"]


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays, into which account, and who of them pressed the button."""

    organization: str
    account: int
    user_id: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A row of payment_order; `credits` in nanocredits, `amount_minor` in cents of `currency`."""

    id: str
    organization: str
    account: int
    request_id: str
    state: OrderState
    pack: str | None
    amount_minor: int
    currency: str
    credits: int
    livemode: bool
    stripe_session: str | None
    checkout_url: str | None
    stripe_payment_intent: str | None
    operation: UUID | None
    created_by: str
    created_at: datetime
    credited_at: datetime | None

    @property
    def crediting(self) -> UUID:
        """The one operation that can credit this order."""
        return id_for_request("payment_order", self.id)

    @property
    def source(self) -> str:
        """How the lot it bought names it."""
        return f"order:{self.id}"


async def place(
    pool: asyncpg.Pool, buyer: Buyer, purchase: Purchase, *, request_id: str | None, livemode: bool
) -> Order:
    """The order for this request: a new one, or the one the same request made before.

    Raises Conflict when the request id was used for another purchase."""
    order_id = text_id("ord")
    row = await _queries.place(
        pool,
        id=order_id,
        organization=buyer.organization,
        account=buyer.account,
        request_id=request_id or order_id,
        pack=purchase.pack,
        amount_minor=purchase.amount_minor,
        currency=purchase.currency,
        credits=purchase.credits,
        livemode=livemode,
        created_by=buyer.user_id,
    )
    if row is None:
        row = await _queries.find_by_request(pool, organization=buyer.organization, request_id=request_id)
    order = _order(row)
    bought = Purchase(amount_minor=order.amount_minor, currency=order.currency, credits=order.credits, pack=order.pack)
    if bought != purchase or order.livemode != livemode:
        raise Conflict("This Idempotency-Key was used for another purchase. Use a new one.")
    return order


async def await_payment(connection: asyncpg.Connection | asyncpg.Pool, order: Order, session: CheckoutSession) -> None:
    """Keep where the order can be paid."""
    await _queries.await_payment(connection, id=order.id, session=session.id, url=session.url)


async def lock(connection: asyncpg.Connection, order_id: str) -> Order | None:
    """The order, locked until the transaction ends; None when there is none of this id."""
    row = await _queries.lock(connection, id=order_id)
    return None if row is None else _order(row)


async def mark_credited(connection: asyncpg.Connection, order: Order, payment_intent: str) -> None:
    await _queries.mark_credited(connection, id=order.id, payment_intent=payment_intent, operation=order.crediting)


async def mark_unpaid(
    connection: asyncpg.Connection | asyncpg.Pool, order: Order, state: Literal["expired", "failed"]
) -> None:
    """Note that it was not paid so far. An order that is credited stays so: the money has come."""
    await _queries.mark_unpaid(connection, id=order.id, state=state)


def _order(row: asyncpg.Record) -> Order:
    return msgspec.convert(dict(row), Order)
