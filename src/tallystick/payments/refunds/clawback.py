"""Clawback: take back the credits that a payment brought when its money goes back, and undo that when it comes back.

From the very lot that the payment funded, as much as is left of it and free. What was spent is owed.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.money import from_minor
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.lot import left_of, take_from
from tallystick.ledger.post import Transfer, post
from tallystick.ledger.reverse import reverse
from tallystick.payments.debts.debt import DISPUTE_POLICY, owe, undo
from tallystick.payments.orders.order import Order
from tallystick.payments.refunds.cause import Cause
from tallystick.payments.refunds.share import NOTHING, Share, part_worth, share_of

queries = load_queries(__file__, "clawback.sql")


class Clawback(msgspec.Struct, frozen=True, kw_only=True):
    """In nanocredits: `taken` of the customer's credits; the rest of `money` and `bonus` is owed, and all of `excess`,
    which went beyond the payment."""

    operation: UUID
    cause: UUID
    refund: str | None
    dispute: str | None
    amount_minor: int
    money: int
    bonus: int
    taken: int
    excess: int

    @property
    def owed(self) -> int:
        return self.money + self.bonus - self.taken + self.excess


async def in_force(connection: asyncpg.Connection, order: Order) -> Sequence[Clawback]:
    """What was taken back of the order and not given back since."""
    return [msgspec.convert(dict(row), Clawback) async for row in queries.in_force(connection, order=order.id)]


async def take_back(connection: asyncpg.Connection, order: Order, cause: Cause) -> Clawback:
    """Take back what `cause` takes of the order, which is credited, and locked. What goes beyond the payment is owed.

    The caller has the organization's turn. Raises ValueError for a refund of more than is left of the payment."""
    before = await in_force(connection, order)
    fits_minor = min(cause.amount_minor, order.amount_minor - sum(one.amount_minor for one in before))
    if fits_minor < cause.amount_minor and cause.dispute is None:
        raise ValueError(f"{cause.name} takes {cause.amount_minor} of a payment of which {fits_minor} is left")
    share = share_of(_whole(order), order.amount_minor, fits_minor, **_gone(before)) if fits_minor else NOTHING
    left = await left_of(connection, order.account, _crediting(order))
    attempts = await queries.attempts(connection, cause=cause.operation)
    clawback = Clawback(
        operation=cause.attempt(attempts["taken"]),
        cause=cause.operation,
        refund=cause.refund,
        dispute=cause.dispute,
        amount_minor=fits_minor,
        money=share.money,
        bonus=share.bonus,
        taken=min(share.credits, left.free),
        excess=from_minor(cause.amount_minor - fits_minor),
    )
    await post(
        connection,
        operation=clawback.operation,
        kind="refund" if cause.refund is not None else "dispute",
        transfers=await _transfers(connection, order, clawback),
        fingerprint=f"{order.id} {cause.name}",
    )
    if clawback.taken:
        await take_from(connection, left.lot, clawback.taken)
    await queries.add(connection, order=order.id, **msgspec.structs.asdict(clawback))
    if clawback.owed:
        # Who asked for a refund and got one has done nothing that should hold them back.
        policy = "none" if cause.refund is not None else DISPUTE_POLICY.get()
        await owe(connection, clawback.operation, order.organization, order.account, clawback.owed, policy)
    return clawback


async def give_back(connection: asyncpg.Connection, order: Order, clawback: Clawback) -> None:
    """The money is with us again: the customer gets back all that was taken, and owes nothing for it."""
    left = await left_of(connection, order.account, _crediting(order))
    await undo(connection, clawback.operation)
    await reverse(connection, clawback.operation, into=left.lot)
    await queries.mark_reversed(connection, operation=clawback.operation)


async def unspent_minor(connection: asyncpg.Connection, order: Order) -> int:
    """How much of the payment can go back while the credits that it brought are still there, in minor units."""
    left = await left_of(connection, order.account, _crediting(order))
    gone = _gone(await in_force(connection, order))
    return part_worth(_whole(order), order.amount_minor, left.free, **gone)


async def _transfers(connection: asyncpg.Connection, order: Order, clawback: Clawback) -> list[Transfer]:
    """Each credit side is filled from the customer first, then from what is owed."""
    money = PlatformAccount.BANK if order.kind == "manual" else PlatformAccount.STRIPE_CLEARING
    sides = ((money, clawback.money + clawback.excess), (PlatformAccount.PROMOTIONAL_EXPENSE, clawback.bonus))
    receivable = await beside(connection, PlatformAccount.RECEIVABLE, order.account)
    transfers, left = [], clawback.taken
    for kind, amount in sides:
        credit = await beside(connection, kind, order.account)
        from_customer = min(left, amount)
        left -= from_customer
        for debit, part in ((order.account, from_customer), (receivable, amount - from_customer)):
            if part:
                transfers.append(Transfer(debit=debit, credit=credit, amount=part))
    return transfers


def _whole(order: Order) -> Share:
    # The version before told no gift from what was paid for; what Stripe gives back is the money alone.
    worth = min(order.credits, from_minor(order.amount_minor))
    money = worth if order.paid_credits is None else order.paid_credits
    return Share(money=money, bonus=order.credits - money)


def _gone(before: Sequence[Clawback]) -> dict[str, Any]:
    return {
        "gone_minor": sum(one.amount_minor for one in before),
        "gone": Share(money=sum(one.money for one in before), bonus=sum(one.bonus for one in before)),
    }


def _crediting(order: Order) -> UUID:
    if order.operation is None:
        raise ValueError(f"order {order.id} is not credited")
    return order.operation
