"""What a coupon makes of a purchase. Pure; whether this buyer may use it now is for `take_coupon` to say."""

from typing import Final

import msgspec

from tallystick.base.errors import Conflict
from tallystick.catalog.document import Coupon
from tallystick.payments.orders.purchase_terms import Purchase

# Below this a card is not charged: Stripe refuses it.
CHARGE_MIN_MINOR: Final = 50


class CouponNotFitting(Conflict):
    """This coupon is not for what is bought with it; the message says why."""

    code = "coupon_not_fitting"


def with_coupon(purchase: Purchase, coupon: Coupon) -> Purchase:
    """The purchase at the coupon's price, or with its bonus. Raises CouponNotFitting."""
    if coupon.free is not None:
        raise CouponNotFitting("This coupon gives credits by itself: redeem it with POST /api/credits/redeem.")
    if coupon.packs is not None and purchase.pack not in coupon.packs:
        raise CouponNotFitting(f"This coupon is for the packs {', '.join(coupon.packs)}.")
    discount = coupon.amount_off_minor or 0
    if coupon.percent_off is not None:
        discount = purchase.amount_minor * coupon.percent_off // 100
    if purchase.amount_minor - discount < CHARGE_MIN_MINOR:
        raise CouponNotFitting("With this coupon too little would be left to pay. Buy more at once.")
    return msgspec.structs.replace(
        purchase,
        amount_minor=purchase.amount_minor - discount,
        discount_minor=discount,
        credits=purchase.credits + (coupon.bonus or 0),
        coupon=coupon.code,
    )
