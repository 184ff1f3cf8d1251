"""Redeem a coupon for credits that cost nothing: a promotional grant, given once per redemption."""

from datetime import datetime, timedelta

import asyncpg
import msgspec

from tallystick.base.ids import new_id
from tallystick.catalog.document import Coupon
from tallystick.payments.orders.discount import CouponNotFitting
from tallystick.payments.orders.grant import give
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.take_coupon import take_coupon


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """`credits` in nanocredits."""

    credits: int
    expires_at: datetime | None


async def redeem(pool: asyncpg.Pool, buyer: Buyer, coupon: Coupon, *, now: datetime) -> Redeemed:
    """The credits, which are in the account when this returns.

    Raises CouponNotFitting for a coupon that goes with a purchase, and what `take_coupon` raises."""
    if coupon.free is None:
        raise CouponNotFitting("This coupon goes with a purchase: send it along with POST /api/credits/purchase.")
    operation = new_id()
    expires_at = None if coupon.free_days is None else now + timedelta(days=coupon.free_days)
    async with pool.acquire() as connection, connection.transaction():
        await take_coupon(connection, coupon, buyer.organization, by=buyer.user_id, operation=operation)
        await give(
            connection,
            buyer.account,
            coupon.free,
            operation=operation,
            source=f"coupon:{coupon.code}",
            expires_at=expires_at,
            by=buyer.user_id,
        )
    return Redeemed(credits=coupon.free, expires_at=expires_at)
