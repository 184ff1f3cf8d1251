"""How often something recurs: what a price says of it, and the calendar that follows from it."""

import calendar
from datetime import UTC, datetime
from typing import Final

from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_INTERVALS: Final = ("day", "week", "month", "year")
_USAGE_TYPES: Final = ("licensed", "metered")
_DAY_S: Final = 24 * 3600
# Three years is the longest that Stripe lets pass between two invoices.
_COUNT_MAX: Final = {"day": 1095, "week": 156, "month": 36, "year": 3}


def read(world: World, parameters: Parameters) -> Object:
    """The `recurring` part of a price."""
    interval = parameters.require(parameters.choice("interval", _INTERVALS), "interval")
    count = parameters.integer("interval_count", minimum=1, maximum=_COUNT_MAX[interval]) or 1
    usage_type = parameters.choice("usage_type", _USAGE_TYPES) or "licensed"
    meter = parameters.text("meter")
    if (meter is not None) != (usage_type == "metered"):
        message = "A price is metered by a billing meter: `usage_type` metered and `meter` go together."
        raise invalid_parameter(parameters.name("meter"), message)
    if meter is not None:
        world.get("billing.meter", meter, param=parameters.name("meter"))
    return {
        "interval": interval,
        "interval_count": count,
        "meter": meter,
        "trial_period_days": None,
        "usage_type": usage_type,
    }


def after(anchor: int, interval: str, count: int) -> int:
    """The moment `count` intervals after the anchor. The 31st becomes the last day of a shorter month, and the 31st
    again in the next long one: always count from the anchor, never from the last moment."""
    if interval in {"day", "week"}:
        return anchor + count * _DAY_S * (7 if interval == "week" else 1)
    start = datetime.fromtimestamp(anchor, UTC)
    months = start.month - 1 + count * (12 if interval == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    day = min(start.day, calendar.monthrange(year, month)[1])
    return int(start.replace(year=year, month=month, day=day).timestamp())


def following(anchor: int, interval: str, count: int, moment: int) -> int:
    """The first boundary after a moment, of the periods that are counted from the anchor."""
    steps = 0
    while (boundary := after(anchor, interval, steps)) <= moment:
        steps += count
    return boundary
