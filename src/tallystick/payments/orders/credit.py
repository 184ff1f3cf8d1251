"""Credit a paid order: the posting, the lot and the order's state, in one transaction or not at all."""

import asyncpg

from tallystick.ledger.account import PlatformAccount, count_lanes, lane_of, platform_account
from tallystick.ledger.lot import add_lot
from tallystick.ledger.post import Transfer, post
from tallystick.payments.orders.order import Order, mark_credited


async def credit(connection: asyncpg.Connection, order: Order, payment_intent: str) -> bool:
    """Credit `order`, which the caller has locked and matched; False when it is credited already."""
    if order.state == "credited":
        return False
    clearing = await clearing_account(connection, PlatformAccount.STRIPE_CLEARING, order.account)
    await post(
        connection,
        operation=order.crediting,
        kind="purchase",
        transfers=[Transfer(debit=clearing, credit=order.account, amount=order.credits)],
        fingerprint=f"{order.id} {payment_intent}",
    )
    await add_lot(
        connection,
        id=order.crediting,
        account=order.account,
        kind="purchased",
        amount=order.credits,
        source=order.source,
    )
    await mark_credited(connection, order, payment_intent)
    return True


async def clearing_account(connection: asyncpg.Connection, kind: PlatformAccount, account: int) -> int:
    """The platform's account of this kind that shares a lane, and so a lock, with `account`."""
    return platform_account(kind, lane_of(account, await count_lanes(connection)))
