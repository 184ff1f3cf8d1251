"""In which billing period an event counts, and what happens to one that comes late. Pure.

Periods are closed some time after their end, so that they can be billed. What comes later counts in the period it
comes in: nothing that was used is lost, and no bill changes after it was written.
"""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from tallystick.base.errors import InvalidInput
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period, period_at


class Lateness(Struct, frozen=True, kw_only=True):
    """`grace` after its end a period still takes events; `ahead` is how far the caller's clock may be before ours."""

    grace: timedelta = timedelta(days=3)
    ahead: timedelta = timedelta(minutes=5)


DEFAULT: Final = Lateness()


class Counted(Struct, frozen=True, gc=False):
    """When and where an event counts."""

    at: datetime
    period: Period
    late: bool


def counted(rule: PeriodRule, told_at: datetime | None, now: datetime, lateness: Lateness = DEFAULT) -> Counted:
    """Raises InvalidInput for a time that has not come yet."""
    at = now if told_at is None else told_at
    if at > now + lateness.ahead:
        raise InvalidInput("at", f"is more than {lateness.ahead.total_seconds():g} seconds in the future")
    period, current = period_at(rule, at), period_at(rule, now)
    # Before the anchor other terms were in force, or none: their periods are closed.
    closed = period.ends_at + lateness.grace <= now or period.starts_at < rule.anchor
    if period.starts_at < current.starts_at and closed:
        return Counted(now, current, late=True)
    return Counted(at, period, late=False)
