"""What a strategy makes of a plan: the limits and prices of its meters, and who pays for models. Pure."""

from math import gcd

from msgspec import Struct

from tallystick.catalog.plan import PlanMeter
from tallystick.constraints.constraints import MeterConstraint


class Terms(Struct, frozen=True, kw_only=True):
    """The part of the constraints document that a strategy decides."""

    meters: tuple[MeterConstraint, ...]
    charges_models: bool
    credit_limit: int


def capped(meter: PlanMeter, cap: int | None) -> tuple[MeterConstraint, ...]:
    """What lies below the cap costs nothing more. None is no cap, and a meter that nobody need count."""
    if cap is None:
        return ()
    return (MeterConstraint(meter=meter.meter, allowance=cap, cap=cap, price=0, per=1),)


def priced(meter: PlanMeter, allowance: int) -> tuple[MeterConstraint, ...]:
    """What lies beyond the allowance has the meter's price; where it has none, nothing is sold there."""
    if meter.price is None:
        return capped(meter, allowance)
    # In lowest terms, so that the arithmetic of every request stays small; the price is the same to the nanocredit.
    common = gcd(meter.price, meter.per)
    return (
        MeterConstraint(
            meter=meter.meter, allowance=allowance, cap=meter.cap, price=meter.price // common, per=meter.per // common
        ),
    )


def sold(meter: PlanMeter) -> tuple[MeterConstraint, ...]:
    """Every unit at the meter's price from the first on, up to its cap; without a price only the cap counts."""
    return capped(meter, meter.cap) if meter.price is None else priced(meter, 0)
