from datetime import UTC, datetime, timedelta

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.constraints.constraints import PeriodRule
from tallystick.metering.lateness import Lateness, counted

RULE = PeriodRule(anchor=datetime(2026, 1, 31, 12, tzinfo=UTC), interval="month")
FEBRUARY = datetime(2026, 2, 28, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
GRACE = Lateness(grace=timedelta(days=3))


def test_an_event_without_a_time_happened_now():
    now = FEBRUARY + timedelta(days=1)
    found = counted(RULE, None, now, GRACE)
    assert (found.at, found.period.starts_at, found.late) == (now, FEBRUARY, False)


def test_the_first_moment_of_a_period_is_in_it_and_the_last_is_not():
    now = FEBRUARY + timedelta(hours=1)
    assert counted(RULE, FEBRUARY, now, GRACE).period.starts_at == FEBRUARY
    before = counted(RULE, FEBRUARY - MICROSECOND, now, GRACE)
    assert (before.period.ends_at, before.late) == (FEBRUARY, False)


def test_a_period_takes_events_until_its_grace_has_passed():
    at = FEBRUARY - timedelta(days=5)
    closes = FEBRUARY + timedelta(days=3)
    open_ = counted(RULE, at, closes - MICROSECOND, GRACE)
    assert (open_.at, open_.period.ends_at, open_.late) == (at, FEBRUARY, False)
    closed = counted(RULE, at, closes, GRACE)
    assert (closed.at, closed.period.starts_at, closed.late) == (closes, FEBRUARY, True)


def test_before_the_anchor_there_is_no_period_to_count_in():
    now = RULE.anchor + timedelta(hours=2)
    found = counted(RULE, RULE.anchor - MICROSECOND, now, GRACE)
    assert (found.at, found.period.starts_at, found.late) == (now, RULE.anchor, True)
    assert not counted(RULE, RULE.anchor, now, GRACE).late
    early = RULE.anchor - timedelta(hours=1)
    assert counted(RULE, early - MICROSECOND, early, GRACE).late is False, "nor is now late"


def test_what_is_years_late_counts_now():
    now = FEBRUARY + timedelta(days=1)
    found = counted(RULE, datetime(2020, 5, 5, tzinfo=UTC), now, GRACE)
    assert (found.at, found.period.starts_at, found.late) == (now, FEBRUARY, True)


def test_a_clock_may_be_ahead_of_ours_by_so_much():
    now = FEBRUARY - timedelta(minutes=1)
    ahead = counted(RULE, now + GRACE.ahead, now, GRACE)
    assert (ahead.at, ahead.period.starts_at, ahead.late) == (now + GRACE.ahead, FEBRUARY, False)
    with pytest.raises(InvalidInput) as refused:
        counted(RULE, now + GRACE.ahead + MICROSECOND, now, GRACE)
    assert refused.value.field == "at"
