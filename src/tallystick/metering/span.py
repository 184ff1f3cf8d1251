"""From when to when a report goes: a day is its first moment in UTC; what is not said is the current period's. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from tallystick.base.errors import InvalidInput
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period, period_at

# The longest billing period: a year with a 29th of February in it.
SPAN_MAX: Final = timedelta(days=366)
_YEAR_MIN, _YEAR_MAX = 2000, 9000
_DAY_CHARS: Final = len("2026-02-27")


def span(rule: PeriodRule, now: datetime, from_: str | None, to: str | None) -> Period:
    """From `from_` to before `to`. Raises InvalidInput."""
    period = period_at(rule, now)
    starts_at = period.starts_at if from_ is None else _moment(from_, "from")
    ends_at = period.ends_at if to is None else _moment(to, "to")
    if from_ is not None and to is None and starts_at >= period.ends_at:
        raise InvalidInput("from", "lies in the future")
    if from_ is None and to is not None and ends_at <= period.starts_at:
        raise InvalidInput("from", "is needed where to lies before the current period")
    if ends_at <= starts_at:
        raise InvalidInput("to", "must be after from")
    if ends_at - starts_at > SPAN_MAX:
        raise InvalidInput("from", f"may lie at most {SPAN_MAX.days} days before to")
    return Period(starts_at, ends_at)


def _moment(text: str, field: str) -> datetime:
    try:
        at: datetime = msgspec.convert(
            f"{text}T00:00:00Z" if len(text) == _DAY_CHARS else text, Annotated[datetime, msgspec.Meta(tz=True)]
        )
        if _YEAR_MIN <= at.year <= _YEAR_MAX:
            return at.astimezone(UTC)
    except msgspec.ValidationError:
        pass
    raise InvalidInput(field, "must be a day such as 2026-02-27, or a time such as 2026-02-27T11:30:00Z")
