from datetime import UTC, datetime, timedelta

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.constraints.constraints import PeriodRule
from tallystick.metering.span import SPAN_MAX, span

RULE = PeriodRule(anchor=datetime(2026, 1, 31, 12, tzinfo=UTC), interval="month")
NOW = datetime(2026, 3, 5, tzinfo=UTC)
STARTS_AT = datetime(2026, 2, 28, 12, tzinfo=UTC)
ENDS_AT = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("from_", "to", "starts_at", "ends_at"),
    [
        (None, None, STARTS_AT, ENDS_AT),
        ("2026-02-01", None, datetime(2026, 2, 1, tzinfo=UTC), ENDS_AT),
        (None, "2026-03-02", STARTS_AT, datetime(2026, 3, 2, tzinfo=UTC)),
        ("2025-03-05", "2026-03-05", NOW.replace(year=2025), NOW),
        (
            "2026-02-27T12:30:00+01:00",
            "2026-02-27T11:30:00.000001Z",
            datetime(2026, 2, 27, 11, 30, tzinfo=UTC),
            datetime(2026, 2, 27, 11, 30, tzinfo=UTC) + timedelta(microseconds=1),
        ),
    ],
)
def test_what_is_not_said_is_the_current_periods(from_, to, starts_at, ends_at):
    found = span(RULE, NOW, from_, to)
    assert (found.starts_at, found.ends_at) == (starts_at, ends_at)


@pytest.mark.parametrize(
    ("from_", "to", "field"),
    [
        ("yesterday", None, "from"),
        ("", None, "from"),
        ("2026-2-27", None, "from"),
        ("2026-02-27T11:30:00", None, "from"),
        ("2026-02-30", None, "from"),
        ("1999-12-31", "2000-01-02", "from"),
        ("2026-01-01", "9999-12-31", "to"),
        ("2026-02-27", "2026-02-27", "to"),
        ("2026-02-27", "2026-02-26", "to"),
        ("2026-04-01", None, "from"),
        (None, "2026-02-01", "from"),
        ("2025-03-04", "2026-03-06", "from"),
    ],
)
def test_what_is_no_range_is_refused_by_name(from_, to, field):
    with pytest.raises(InvalidInput) as refused:
        span(RULE, NOW, from_, to)
    assert refused.value.field == field


def test_a_year_with_a_leap_day_fits():
    yearly = PeriodRule(anchor=datetime(2028, 1, 1, tzinfo=UTC), interval="year")
    found = span(yearly, datetime(2028, 5, 1, tzinfo=UTC), None, None)
    assert found.ends_at - found.starts_at == SPAN_MAX
