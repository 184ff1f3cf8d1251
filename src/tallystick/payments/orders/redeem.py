"""Redeem a coupon for credits that cost nothing: a promotional grant, given once per redemption."""

from datetime import datetime, timedelta

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.base.ids import id_for_request, new_id
from tallystick.catalog.document import Coupon
from tallystick.payments.orders.discount import CouponNotFitting
from tallystick.payments.orders.grant import give
from tallystick.payments.orders.order import Buyer
from tallystick.payments.orders.take_coupon import CouponUsedUp, take_coupon

queries = load_queries(__file__, "redeem.sql")


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """`credits` in nanocredits."""

    credits: int
    expires_at: datetime | None


async def redeem(
    pool: asyncpg.Pool, buyer: Buyer, coupon: Coupon, *, request_id: str | None = None, now: datetime
) -> Redeemed:
    """The credits, which are in the account when this returns. The same `request_id` redeems it once.

    Raises CouponNotFitting for a coupon that goes with a purchase, and what `take_coupon` raises."""
    if coupon.free is None:
        raise CouponNotFitting("This coupon goes with a purchase: send it along with POST /api/credits/purchase.")
    scope = f"coupon {coupon.code} {buyer.organization}"
    operation = new_id() if request_id is None else id_for_request(scope, request_id)
    expires_at = None if coupon.free_days is None else now + timedelta(days=coupon.free_days)
    try:
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
    except (CouponUsedUp, asyncpg.UniqueViolationError):
        # Perhaps by this very request, whose answer was lost.
        row = await queries.redeemed(pool, operation=operation)
        if row is None:
            raise
        return Redeemed(credits=row["amount"], expires_at=row["expires_at"])
    return Redeemed(credits=coupon.free, expires_at=expires_at)
