"""A payment order: stored before the payment provider hears of it, credited at most once."""

from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.base.ids import id_for_request, is_text_id
from tallystick.payments.orders.life import OrderKind, OrderState
from tallystick.payments.orders.purchase_terms import Purchase

queries = load_queries(__file__, "order.sql")


class Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays, into which account, and who of them pressed the button."""

    organization: str
    account: int
    user_id: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A row of payment_order; `credits` in nanocredits, amounts of money in cents of `currency`.

    `amount_minor` is what is paid, `discount_minor` what its coupon took off before. `paid_credits` is how much of
    `credits` that money is worth; None until it is credited, and where the version before did that."""

    id: str
    organization: str
    account: int
    request_id: str
    kind: OrderKind
    state: OrderState
    reason: str | None
    pack: str | None
    coupon: str | None
    amount_minor: int
    discount_minor: int
    currency: str
    credits: int
    paid_credits: int | None
    livemode: bool
    save_card: bool
    payment_method: str | None
    stripe_session: str | None
    checkout_url: str | None
    stripe_payment_intent: str | None
    reference: str | None
    proof: str | None
    first_approved_by: str | None
    approved_by: str | None
    rejected_by: str | None
    received_minor: int | None
    received_currency: str | None
    refunded_minor: int
    disputed_minor: int
    operation: UUID | None
    created_by: str
    created_at: datetime
    paid_at: datetime | None
    credited_at: datetime | None

    @property
    def crediting(self) -> UUID:
        """The one operation that can credit this order."""
        return id_for_request("payment_order", self.id)

    @property
    def came_minor(self) -> int:
        """What can go back: of money that was set aside all that came, be it more or less than was asked for."""
        if self.operation is not None or self.received_minor is None:
            return self.amount_minor
        return self.received_minor

    @property
    def source(self) -> str:
        """How the lot it bought names it."""
        return f"order:{self.id}"

    @property
    def bought(self) -> Purchase:
        return Purchase(
            amount_minor=self.amount_minor,
            currency=self.currency,
            credits=self.credits,
            pack=self.pack,
            coupon=self.coupon,
            discount_minor=self.discount_minor,
            save_card=self.save_card,
        )


async def find(connection: asyncpg.Connection | asyncpg.Pool, order_id: str, *, organization: str | None) -> Order:
    """The order of this id, of this organization where one is named. Raises NotFound, for another's order too."""
    row = None
    if is_text_id(order_id):
        row = await queries.find(connection, id=order_id, organization=organization)
    if row is None:
        raise NotFound("There is no such order.")
    return as_order(row)


async def lock(connection: asyncpg.Connection, order_id: str) -> Order | None:
    """The order, locked until the transaction ends; None when there is none of this id."""
    row = await queries.lock(connection, id=order_id) if is_text_id(order_id) else None
    return None if row is None else as_order(row)


async def lock_known(connection: asyncpg.Connection, order_id: str) -> Order:
    """As `lock`. Raises NotFound."""
    order = await lock(connection, order_id)
    if order is None:
        raise NotFound(f"There is no order {order_id}.")
    return order


async def orders_of(
    connection: asyncpg.Connection | asyncpg.Pool,
    *,
    organization: str | None = None,
    state: str | None = None,
    kind: str | None = None,
    before: str | None = None,
    limit: int = 50,
) -> list[Order]:
    """Orders, the newest first: those behind the id `before`, of this organization, state and kind where named."""
    rows = queries.orders_of(
        connection, organization=organization, state=state, kind=kind, before=before, row_limit=limit
    )
    return [as_order(row) async for row in rows]


def as_order(row: asyncpg.Record) -> Order:
    return msgspec.convert(dict(row), Order)
