"""What a change in the middle of a period is worth: the rest of the old plan, the rest of the new. Pure.

Whole seconds and whole cents; a fraction of a cent is nobody's, on both sides alike, so that a change from a plan to
one of the same price comes to nothing.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from tallystick.catalog.plan import Plan
from tallystick.constraints.period import Period

_SECOND: Final = timedelta(seconds=1)


class Share(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """amount_minor = price_minor x seconds_left / seconds, rounded down."""

    price_minor: int
    seconds_left: int
    seconds: int
    amount_minor: int


class Proration(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is charged by it: it says what is."""

    at: datetime
    currency: str
    credited: Share
    """What the customer paid for and will not use."""
    due: Share
    """What the rest of the period, or a new one, costs on the new plan."""

    @property
    def net_minor(self) -> int:
        """What the customer is to pay for the change; negative where more is credited than due."""
        return self.due.amount_minor - self.credited.amount_minor


def prorate(old: Plan, old_period: Period, new: Plan, new_period: Period, at: datetime) -> Proration:
    """A change at `at`, which lies in both periods; they are the same one unless the change begins a new period."""
    if old.currency != new.currency:
        raise ValueError(f"{old.currency} and {new.currency} cannot be set off against each other")
    return Proration(
        at=at, currency=new.currency, credited=_share(old, old_period, at), due=_share(new, new_period, at)
    )


def _share(plan: Plan, period: Period, at: datetime) -> Share:
    seconds = (period.ends_at - period.starts_at) // _SECOND
    seconds_left = (period.ends_at - at) // _SECOND
    if not 0 <= seconds_left <= seconds:
        raise ValueError(f"{at} is not in the period {period}")
    return Share(
        price_minor=plan.amount_minor,
        seconds_left=seconds_left,
        seconds=seconds,
        amount_minor=plan.amount_minor * seconds_left // seconds,
    )
