"""What a plan of a catalog file says of one meter, in that meter's own units. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from math import gcd
from typing import Final

from tallystick.base.errors import InvalidAmount
from tallystick.base.money import NANO, parse_amount
from tallystick.catalog.errors import CatalogError
from tallystick.catalog.plan import DOLLARS, PlanMeter
from tallystick.catalog.tables import PlanMeterTable

COUNT_MAX: Final = 10**15
"""Most units of an allowance, of a cap and of one use: a thousand of them still fit a BIGINT."""
PER_MAX: Final = 10**9
_BIGINT_MAX: Final = 2**63 - 1
_SMALLEST_PRICE_PER_MAX: Final = 1_000
"""`per` in lowest terms: so many times the most that anyone can owe still fits a BIGINT."""


def read_plan_meter(table: PlanMeterTable) -> PlanMeter:
    """Allowance and cap of `dollars` are written in credits and kept in nanocredits, as are the units it is priced by.

    Raises CatalogError with every problem, each beginning with the meter.
    """
    found: list[str] = []
    one = NANO if table.meter == DOLLARS else 1
    allowance = _count(table.allowance, one, "allowance", found)
    cap = _count(table.cap, one, "cap", found)
    price, per = _overage(table, one, found)
    if not found:
        found = [*_contradictions(allowance, cap, price, per)]
    if found:
        raise CatalogError([f"meter {table.meter}: {problem}" for problem in found])
    return PlanMeter(meter=table.meter, allowance=allowance, cap=cap, price=price, per=per)


def _overage(table: PlanMeterTable, one: int, found: list[str]) -> tuple[int | None, int]:
    if table.overage is None:
        return None, 1
    if not 0 < table.overage.per <= PER_MAX:
        found.append(f"overage: per must be between 1 and {PER_MAX}")
    try:
        return parse_amount(table.overage.price, "price"), table.overage.per * one
    except InvalidAmount as error:
        found.append(f"overage: {error.message}")
        return None, 1


def _contradictions(allowance: int | None, cap: int | None, price: int | None, per: int) -> Iterator[str]:
    included = allowance or 0
    if allowance is None and cap is None and price is None:
        yield "needs an allowance, a cap or an overage, for it says nothing yet"
    elif cap is not None and cap < included:
        yield "cap must not be below the allowance"
    elif price is None and allowance is not None and cap is not None and cap > allowance:
        yield "what lies between allowance and cap has no price; name an overage, or leave one of the two out"
    elif price is not None and cap == included:
        yield "the cap leaves nothing to sell beyond the allowance; raise it, or leave the overage out"
    elif price is not None:
        # In lowest terms, as it is counted: $0.50 per 1,000 is 500,000 nanocredits each.
        common = gcd(price, per)
        if cap is not None and (cap - included) * (price // common) > _BIGINT_MAX:
            yield "the price of all units up to the cap is too large"
        if cap is None and per // common > _SMALLEST_PRICE_PER_MAX:
            yield "a price that is no whole number of nanocredits for each 1,000 units or fewer needs a cap"


def _count(value: Decimal | None, one: int, field: str, found: list[str]) -> int | None:
    """Whole units; of `dollars` whole nanocredits, written in credits."""
    if value is None:
        return None
    if not value.is_finite():
        found.append(f"{field} must be a finite number")
    elif value < 0:
        found.append(f"{field} must not be negative")
    # The size is looked at before the digits: 1e999999999 must not be written out as an integer.
    elif value and (value.adjusted() > 15 or value * one > COUNT_MAX):
        found.append(f"{field} is too large")
    elif value and value.adjusted() < -9:
        found.append(_not_whole(field, one))
    else:
        exact = Fraction(value) * one
        if exact.denominator == 1:
            return exact.numerator
        found.append(_not_whole(field, one))
    return None


def _not_whole(field: str, one: int) -> str:
    return f"{field} has more than 9 decimals" if one == NANO else f"{field} must be a whole number"
