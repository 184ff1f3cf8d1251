"""Take a coupon for an order or for free credits: exactly as often as it may be, whoever else wants the last one."""

from datetime import datetime
from uuid import UUID

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.catalog.document import Coupon
from tallystick.ledger import audit
from tallystick.payments.orders.order import Order

queries = load_queries(__file__, "take_coupon.sql")


class CouponNotValid(Conflict):
    """This coupon is not valid yet, or not any more."""

    code = "coupon_not_valid"


class CouponUsedUp(Conflict):
    """This coupon was redeemed as often as it may be, by everybody or by this organization."""

    code = "coupon_used_up"


class FirstPurchaseOnly(Conflict):
    """This coupon is for an organization's first purchase, and this is not the first one."""

    code = "coupon_first_purchase_only"


async def take_coupon(
    connection: asyncpg.Connection,
    coupon: Coupon,
    organization: str,
    *,
    by: str,
    order_id: str | None = None,
    operation: UUID | None = None,
) -> None:
    """In the caller's transaction: when that is undone, nobody took it. Until it ends, others who want it wait.

    Raises CouponNotValid, CouponUsedUp, FirstPurchaseOnly."""
    if coupon.first_purchase:
        await queries.wait_for_first(connection, organization=organization)
    # This takes the coupon's turn: whatever is counted below stays so until we are done.
    taken = await queries.count_up(connection, code=coupon.code, most=coupon.redemptions_max)
    now: datetime = await queries.clock(connection)
    if coupon.starts is not None and now < coupon.starts:
        raise CouponNotValid(f"This coupon is valid from {coupon.starts:%Y-%m-%d %H:%M} UTC on.")
    if coupon.ends is not None and now >= coupon.ends:
        raise CouponNotValid("This coupon has expired.")
    if taken is None:
        raise CouponUsedUp("This coupon has been redeemed as often as it may be.")
    if await _had_its_share(connection, coupon.code, organization, coupon.per_organization_max):
        raise CouponUsedUp("Your organization has used this coupon already.")
    if coupon.first_purchase and await queries.bought_before(connection, organization=organization, order_id=order_id):
        raise FirstPurchaseOnly("This coupon is for a first purchase, and your organization has bought before.")
    await queries.keep(
        connection,
        code=coupon.code,
        organization=organization,
        taken_by=by,
        order_id=order_id,
        operation=operation,
        number=taken,
        most=coupon.redemptions_max,
        each=coupon.per_organization_max,
        first_purchase=coupon.first_purchase,
    )
    await audit.record(
        connection,
        "coupon.redeemed",
        by=by,
        subject=coupon.code,
        organization=organization,
        after={"order_id": order_id, "operation": operation},
    )


async def give_back(connection: asyncpg.Connection, order: Order) -> None:
    """The order, which is locked, was not paid, or all that came for it went back: another may have its coupon."""
    if order.coupon is None:
        return
    if await queries.give_back(connection, order_id=order.id) == "UPDATE 1":
        await queries.count_down(connection, code=order.coupon)


async def take_again(connection: asyncpg.Connection, order: Order) -> bool:
    """The order, which is locked, was paid after all: whether its coupon is still, or again, its own.

    By the rules that it was taken by: another order may have it now, of this organization, too."""
    if order.coupon is None:
        return True
    given_back = await queries.given_back(connection, order_id=order.id)
    if given_back is None:
        return True
    if given_back["first_purchase"]:
        await queries.wait_for_first(connection, organization=order.organization)
    number = await queries.count_up(connection, code=order.coupon, most=given_back["most"])
    if number is None:
        return False
    if await _had_its_share(connection, order.coupon, order.organization, given_back["each"]) or (
        given_back["first_purchase"]
        and await queries.bought_before(connection, organization=order.organization, order_id=order.id)
    ):
        await queries.count_down(connection, code=order.coupon)
        return False
    await queries.keep_again(connection, order_id=order.id, number=number)
    return True


async def _had_its_share(connection: asyncpg.Connection, code: str, organization: str, each: int | None) -> bool:
    """Whether the organization has this coupon as often as it may. The caller has the coupon's turn."""
    return each is not None and await queries.taken_by(connection, code=code, organization=organization) >= each
