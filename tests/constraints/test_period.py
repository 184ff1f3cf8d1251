"""Billing periods: months that end early, leap years, years, and times before the anchor."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import period_at

YEAR = timedelta(days=365)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.builds(
    lambda since, zone: (datetime(1990, 1, 1, tzinfo=UTC) + since).astimezone(zone),
    st.timedeltas(timedelta(0), 100 * YEAR),
    st.just(UTC) | OFFSETS,
)
RULES = st.builds(PeriodRule, anchor=MOMENTS, interval=st.sampled_from(["month", "year"]))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("anchor", "interval", "now", "starts_at", "ends_at"),
    [
        ("2026-01-15T10:30", "month", "2026-01-15T10:30", "2026-01-15T10:30", "2026-02-15T10:30"),
        ("2026-01-15T10:30", "month", "2026-02-15T10:29:59.999999", "2026-01-15T10:30", "2026-02-15T10:30"),
        ("2026-01-15T10:30", "month", "2026-02-15T10:30", "2026-02-15T10:30", "2026-03-15T10:30"),
        # From the 31st to the last day of shorter months, and back to the 31st.
        ("2026-01-31", "month", "2026-02-27", "2026-01-31", "2026-02-28"),
        ("2026-01-31", "month", "2026-02-28", "2026-02-28", "2026-03-31"),
        ("2026-01-31", "month", "2026-03-30T23:59", "2026-02-28", "2026-03-31"),
        ("2026-01-31", "month", "2026-04-30", "2026-04-30", "2026-05-31"),
        ("2026-01-30", "month", "2026-03-01", "2026-02-28", "2026-03-30"),
        ("2026-01-29", "month", "2026-02-28", "2026-02-28", "2026-03-29"),
        # In a leap year February has one more.
        ("2028-01-31", "month", "2028-02-29", "2028-02-29", "2028-03-31"),
        ("2028-01-30", "month", "2028-02-28", "2028-01-30", "2028-02-29"),
        # Over the end of a year.
        ("2025-11-30", "month", "2026-01-10", "2025-12-30", "2026-01-30"),
        ("2025-12-31", "month", "2026-02-28", "2026-02-28", "2026-03-31"),
        # Years, also from the day that three years of four do not have.
        ("2026-05-31", "year", "2027-05-30", "2026-05-31", "2027-05-31"),
        ("2026-05-31", "year", "2027-05-31", "2027-05-31", "2028-05-31"),
        ("2028-02-29", "year", "2029-02-27", "2028-02-29", "2029-02-28"),
        ("2028-02-29", "year", "2029-02-28", "2029-02-28", "2030-02-28"),
        ("2028-02-29", "year", "2032-02-28", "2031-02-28", "2032-02-29"),
        ("2028-02-29", "year", "2032-02-29", "2032-02-29", "2033-02-28"),
        # Before the anchor.
        ("2026-01-31", "month", "2026-01-30", "2025-12-31", "2026-01-31"),
        ("2026-03-31", "month", "2026-02-27", "2026-01-31", "2026-02-28"),
        ("2026-03-31", "year", "2024-03-30", "2023-03-31", "2024-03-31"),
        # A century that is no leap year, and one that is.
        ("2096-02-29", "year", "2100-02-28", "2100-02-28", "2101-02-28"),
        ("1996-02-29", "year", "2000-02-29", "2000-02-29", "2001-02-28"),
    ],
)
def test_the_period_of_a_moment(anchor: str, interval: str, now: str, starts_at: str, ends_at: str) -> None:
    period = period_at(PeriodRule(anchor=moment(anchor), interval=interval), moment(now))
    assert (period.starts_at, period.ends_at) == (moment(starts_at), moment(ends_at))


@given(RULES, MOMENTS)
def test_every_moment_lies_in_its_period(rule: PeriodRule, now: datetime) -> None:
    period = period_at(rule, now)
    assert period.starts_at <= now < period.ends_at


@given(RULES, MOMENTS)
def test_periods_follow_each_other_without_a_gap(rule: PeriodRule, now: datetime) -> None:
    period = period_at(rule, now)
    assert period_at(rule, period.starts_at) == period_at(rule, period.ends_at - timedelta(microseconds=1)) == period
    assert period_at(rule, period.ends_at).starts_at == period.ends_at
    assert period_at(rule, period.starts_at - timedelta(microseconds=1)).ends_at == period.starts_at


@given(RULES, MOMENTS)
def test_a_period_begins_on_the_anchors_day_or_on_the_months_last(rule: PeriodRule, now: datetime) -> None:
    starts_at = period_at(rule, now).starts_at
    anchor = rule.anchor.astimezone(UTC)
    assert starts_at.day == min(anchor.day, monthrange(starts_at.year, starts_at.month)[1])
    assert starts_at.timetz() == anchor.timetz()
    assert rule.interval == "month" or starts_at.month == anchor.month


@given(RULES, MOMENTS, OFFSETS)
def test_the_period_is_the_same_wherever_one_looks_at_the_clock(rule: PeriodRule, now: datetime, zone) -> None:
    elsewhere = PeriodRule(anchor=rule.anchor.astimezone(zone), interval=rule.interval)
    assert period_at(rule, now.astimezone(zone)) == period_at(rule, now) == period_at(elsewhere, now)


@given(RULES)
def test_the_anchor_begins_a_period(rule: PeriodRule) -> None:
    assert period_at(rule, rule.anchor).starts_at == rule.anchor
