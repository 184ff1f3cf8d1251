"""Which products, prices and meters at Stripe the catalog asks for. Pure."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Final

import msgspec

from tallystick.base.money import from_minor
from tallystick.catalog.book import Held
from tallystick.catalog.plan import Plan, PlanMeter
from tallystick.payments.billing.names import price_key, product_id

_DECIMALS: Final = 12
"""Of a minor unit: as fine as Stripe's prices are."""


class WantedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """`meter` is None for the price of the plan itself, else the price is for one unit of it."""

    plan: str
    plan_version: int
    meter: str | None
    product: str
    plan_name: str
    lookup_key: str
    currency: str
    interval: str
    amount: Decimal


def wanted_prices(plans: Iterable[Held[Plan]]) -> Sequence[WantedPrice]:
    """Of every plan that is billed: its own price, unless the operator made one, and those of the meters that Stripe
    bills."""
    return [price for plan in plans if is_billed(plan.document) for price in _of(plan)]


def is_billed(plan: Plan) -> bool:
    """Whether subscribing to it is a matter for Stripe at all."""
    return bool(plan.amount_minor or plan.stripe_price or plan.billed_by_stripe)


def unit_amount(meter: PlanMeter) -> Decimal:
    """What one unit beyond the allowance costs, in minor units. Raises ValueError where that is finer than Stripe's
    prices are; such a plan is not published."""
    exact = Fraction(meter.price or 0, meter.per * from_minor(1)) * 10**_DECIMALS
    if exact.denominator != 1:
        raise ValueError(f"the price of {meter.meter} is finer than a trillionth of a minor unit")
    with localcontext(prec=50):
        return Decimal(exact.numerator).scaleb(-_DECIMALS)


def _of(held: Held[Plan]) -> Sequence[WantedPrice]:
    plan = held.document
    amounts: list[tuple[str | None, Decimal]] = []
    if plan.stripe_price is None:
        amounts.append((None, Decimal(plan.amount_minor)))
    amounts += [(meter.meter, unit_amount(meter)) for meter in plan.billed_by_stripe]
    return [
        WantedPrice(
            plan=plan.slug,
            plan_version=held.id,
            meter=meter,
            product=product_id(plan.slug, meter),
            plan_name=plan.name,
            lookup_key=price_key(plan.slug, held.id, meter),
            currency=plan.currency,
            interval=plan.interval,
            amount=amount,
        )
        for meter, amount in amounts
    ]
