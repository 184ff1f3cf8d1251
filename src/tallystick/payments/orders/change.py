"""Change an order's state: the one door, where the change, its audit record and its notice are one transaction."""

from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.base.money import to_decimal
from tallystick.ledger import audit
from tallystick.notices.emit import emit
from tallystick.payments.orders.life import UNPAID, OrderState, may_become, state_of_money
from tallystick.payments.orders.order import Order, as_order, lock_known
from tallystick.payments.stripe.checkout import CheckoutSession

queries = load_queries(__file__, "change.sql")

# What a change may set besides the state; what it does not name stays as it is.
_FIELDS: Final = (
    "stripe_session",
    "checkout_url",
    "stripe_payment_intent",
    "operation",
    "amount_minor",
    "credits",
    "paid_credits",
    "first_approved_by",
    "approved_by",
    "rejected_by",
    "proof",
    "received_minor",
    "received_currency",
    "refunded_minor",
    "disputed_minor",
)


async def change(
    connection: asyncpg.Connection,
    order: Order,
    state: OrderState,
    *,
    by: str,
    reason: str | None = None,
    **set_: object,
) -> Order:
    """Bring a locked order into `state`, and tell of it. `reason` says why it is there, where that is not plain.

    Raises Conflict where its life does not go that way."""
    if not may_become(order.state, state):
        raise Conflict(f"Order {order.id} is {order.state}: it cannot become {state}.")
    after = await write(connection, order, state, by=by, act=f"order.{state}", reason=reason, **set_)
    await tell(connection, after, f"order.{state}")
    return after


async def write(
    connection: asyncpg.Connection,
    order: Order,
    state: OrderState,
    *,
    by: str,
    act: str,
    reason: str | None = None,
    **set_: object,
) -> Order:
    """Write fields of a locked order, with the audit record of it."""
    if unknown := set_.keys() - set(_FIELDS):
        raise TypeError(f"an order's change cannot set {', '.join(unknown)}")
    row = await queries.change(
        connection, id=order.id, state=state, reason=reason, **{name: set_.get(name) for name in _FIELDS}
    )
    after = as_order(row)
    changed = [name for name in ("state", "reason", *_FIELDS) if getattr(order, name) != getattr(after, name)]
    await audit.record(
        connection,
        act,
        by=by,
        subject=order.id,
        organization=order.organization,
        before={name: getattr(order, name) for name in changed},
        after={name: getattr(after, name) for name in changed},
    )
    return after


async def tell(connection: asyncpg.Connection, order: Order, type_: str) -> None:
    """A notice with where the order stands."""
    await emit(connection, order.organization, type_, shown(order))


def shown(order: Order) -> dict[str, object]:
    """What a notice says of an order: flat, credits as a decimal number."""
    return {
        "order_id": order.id,
        "kind": order.kind,
        "state": order.state,
        "reason": order.reason,
        "credits": to_decimal(order.credits),
        "amount_minor": order.amount_minor,
        "currency": order.currency,
        "checkout_url": order.checkout_url if order.state == "awaiting_payment" else None,
        "refunded_minor": order.refunded_minor,
        "disputed_minor": order.disputed_minor,
    }


async def await_payment(pool: asyncpg.Pool, order: Order, session: CheckoutSession) -> None:
    """Keep where the order can be paid. It may have been paid meanwhile, or a twin of this request was faster."""
    async with pool.acquire() as connection, connection.transaction():
        current = await lock_known(connection, order.id)
        if current.stripe_session is not None:
            return
        state: OrderState = "awaiting_payment" if current.state == "created" else current.state
        after = await write(
            connection,
            current,
            state,
            by=order.created_by,
            act="order.awaiting_payment",
            reason=current.reason,
            stripe_session=session.id,
            checkout_url=session.url,
        )
        if state != current.state:
            await tell(connection, after, "order.awaiting_payment")


async def mark_refunded(
    connection: asyncpg.Connection, order_id: str, *, refunded_minor: int, disputed_minor: int, by: str = "stripe"
) -> Order:
    """Write what went back of an order's payment: refunds that did not fail, and disputes that are open or lost.

    The state follows from these two numbers. In the caller's transaction; told the same twice, nothing changes.
    Raises NotFound, and Conflict for an order that was never paid or for more than was paid."""
    order = await lock_known(connection, order_id)
    if (order.refunded_minor, order.disputed_minor) == (refunded_minor, disputed_minor):
        return order
    if order.state in UNPAID or order.state in {"expired", "failed"}:
        raise Conflict(f"Order {order.id} is {order.state}: nothing was paid that could go back.")
    if refunded_minor + disputed_minor > order.came_minor:
        raise Conflict(f"Of order {order.id} no more can go back than {order.came_minor} {order.currency}.")
    state = state_of_money(order.came_minor, refunded_minor, disputed_minor, credited=order.operation is not None)
    # What comes back, by a refund that failed or a dispute that was won, has a name of its own: who reads only names
    # must not take it for another one.
    types = [
        name if now > before else "order.restored"
        for name, before, now in (
            ("order.refunded", order.refunded_minor, refunded_minor),
            ("order.disputed", order.disputed_minor, disputed_minor),
        )
        if before != now
    ]
    after = await write(
        connection,
        order,
        state,
        by=by,
        act=types[0],
        reason=order.reason,
        refunded_minor=refunded_minor,
        disputed_minor=disputed_minor,
    )
    for type_ in types:
        await tell(connection, after, type_)
    return after
