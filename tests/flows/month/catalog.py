"""What is sold in a month: packs, coupons of every kind, plans of every kind; and what an order of it comes to."""

from collections.abc import Mapping
from typing import Any, Final

from tests.payments.billing.subscriber import CATALOG as PLANS
from tests.payments.meters.metered import METERED

CREDIT: Final = 10**9
CENT: Final = 10**7
FEW: Final = 2
"""So many can have the coupon of which there are few."""

CATALOG: Final = f"""
[[pack]]
slug = "gift"
name = "A tenth on top"
amount = 50
credits = 55

[[pack]]
slug = "dedicated"
name = "Dedicated"
amount = 5000
credits = 6000
payment = "manual"

[[coupon]]
code = "FIFTH"
percent_off = 20

[[coupon]]
code = "TENNER"
amount_off = 10

[[coupon]]
code = "EXTRA"
bonus_credits = 5

[[coupon]]
code = "WELCOME"
free_credits = 5
free_days = 60

[[coupon]]
code = "FEW"
free_credits = 3
redemptions_max = {FEW}
{PLANS}{METERED}"""


def price_and_credits(given: Mapping[str, Any]) -> tuple[int, int]:
    """Cents and nanocredits of an order, reckoned from the catalog by hand: our own code has no say in it."""
    price, credits_ = {"gift": (5000, 55), "dedicated": (500_000, 6000)}.get(
        given.get("pack", ""), (given.get("amount", 0) * 100, given.get("amount", 0))
    )
    match given.get("coupon"):
        case "FIFTH":
            price = price * 8 // 10
        case "TENNER":
            price -= 1000
        case "EXTRA":
            credits_ += 5
    return price, credits_ * CREDIT
