"""Credit a paid order: the posting, the lot and the order's state, in one transaction or not at all."""

import asyncpg
import msgspec

from tallystick.base.money import from_minor, to_decimal
from tallystick.ledger.account import PlatformAccount, beside
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post
from tallystick.notices.emit import emit
from tallystick.payments.debts.collect import collect, is_owing
from tallystick.payments.orders.change import change, shown
from tallystick.payments.orders.order import Order


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Why an order may be credited: a payment at Stripe, or what an operator saw and says."""

    payment_intent: str | None = None
    approved_by: str | None = None
    text: str | None = None


async def credit(connection: asyncpg.Connection, order: Order, proof: Proof, *, by: str) -> bool:
    """Credit `order`, which the caller has locked and matched; False when it is credited already."""
    if order.operation is not None:
        return False
    # Before anything is posted: what pays a debt may end what it holds the customer back from.
    owing = await is_owing(connection, order.organization)
    # What came is booked at what it is worth, so that Stripe's clearing account holds money; the rest is our gift.
    worth = min(from_minor(order.amount_minor), order.credits)
    transfers = await _money(connection, order, worth)
    if worth < order.credits:
        expense = await beside(connection, PlatformAccount.PROMOTIONAL_EXPENSE, order.account)
        transfers.append(Transfer(debit=expense, credit=order.account, amount=order.credits - worth))
    await post(
        connection,
        operation=order.crediting,
        kind="purchase",
        transfers=transfers,
        fingerprint=f"{order.id} {proof.payment_intent or proof.approved_by}",
    )
    await add_lot(
        connection,
        id=order.crediting,
        account=order.account,
        kind="purchased",
        amount=order.credits,
        source=order.source,
    )
    after = await change(
        connection,
        order,
        "credited",
        by=by,
        operation=order.crediting,
        paid_credits=worth,
        amount_minor=order.amount_minor,
        credits=order.credits,
        stripe_payment_intent=proof.payment_intent,
        approved_by=proof.approved_by,
        proof=proof.text,
    )
    bought = {**shown(after), "gift": to_decimal(order.credits - worth)}
    await emit(connection, order.organization, "credits.purchased", bought, key=f"credits.purchased {order.id}")
    if owing:
        await collect(connection, order.organization, by=by)
    return True


async def _money(connection: asyncpg.Connection, order: Order, worth: int) -> list[Transfer]:
    """Where the money is that pays for `worth` credits."""
    if order.kind != "manual":
        clearing = await beside(connection, PlatformAccount.STRIPE_CLEARING, order.account)
        return [Transfer(debit=clearing, credit=order.account, amount=worth)]
    # In the bank already, or nobody would have approved it: manual clearing is passed through, and stays at zero.
    bank = await beside(connection, PlatformAccount.BANK, order.account)
    clearing = await beside(connection, PlatformAccount.MANUAL_CLEARING, order.account)
    return [
        Transfer(debit=bank, credit=clearing, amount=worth),
        Transfer(debit=clearing, credit=order.account, amount=worth),
    ]
