"""Credit a paid order: the posting, the lot and the order's state, in one transaction or not at all."""

import asyncpg
import msgspec

from tallystick.base.money import from_minor, to_decimal
from tallystick.ledger.account import PlatformAccount, count_lanes, lane_of, platform_account
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
    lane = lane_of(order.account, await count_lanes(connection))
    transfers = _money(order, worth, lane)
    if worth < order.credits:
        expense = platform_account(PlatformAccount.PROMOTIONAL_EXPENSE, lane)
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


def _money(order: Order, worth: int, lane: int) -> list[Transfer]:
    """Where the money is that pays for `worth` credits."""
    if order.kind != "manual":
        clearing = platform_account(PlatformAccount.STRIPE_CLEARING, lane)
        return [Transfer(debit=clearing, credit=order.account, amount=worth)]
    # In the bank already, or nobody would have approved it: manual clearing is passed through, and stays at zero.
    bank, clearing = (platform_account(kind, lane) for kind in (PlatformAccount.BANK, PlatformAccount.MANUAL_CLEARING))
    return [
        Transfer(debit=bank, credit=clearing, amount=worth),
        Transfer(debit=clearing, credit=order.account, amount=worth),
    ]


async def clearing_account(connection: asyncpg.Connection, kind: PlatformAccount, account: int) -> int:
    """The platform's account of this kind that shares a lane, and so a lock, with `account`."""
    return platform_account(kind, lane_of(account, await count_lanes(connection)))
