"""Billing periods: the nth starts n months (or years) after the anchor, on its day or the month's last. Pure, UTC."""

from calendar import monthrange
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct

from tallystick.constraints.constraints import PeriodRule


class Period(Struct, frozen=True, gc=False):
    """From `starts_at` to before `ends_at`."""

    starts_at: datetime
    ends_at: datetime


def period_at(rule: PeriodRule, now: datetime) -> Period:
    """The period that `now` lies in. Times before the anchor count backwards from it."""
    # Months are counted in UTC, wherever the two moments were written down.
    anchor, now = rule.anchor.astimezone(UTC), now.astimezone(UTC)
    step = 12 if rule.interval == "year" else 1
    months = (now.year - anchor.year) * 12 + now.month - anchor.month
    number = months // step
    if _after(anchor, number * step) > now:
        number -= 1
    return Period(_after(anchor, number * step), _after(anchor, (number + 1) * step))


@lru_cache(maxsize=10_000)  # every request asks, and each for the same as the one before it
def _after(anchor: datetime, months: int) -> datetime:
    """Always from the anchor itself: from the 31st to the 28th, and back to the 31st."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)
