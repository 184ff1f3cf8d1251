"""Proration: whole cents by seconds, and nothing made or lost by changing there and back."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import period_at
from tallystick.constraints.subscriber import BUILT_IN
from tallystick.subscriptions.proration import prorate


def plan(amount_minor, **fields):
    return msgspec.structs.replace(BUILT_IN, amount_minor=amount_minor, **fields)


def period(anchor, now, interval="month"):
    return period_at(PeriodRule(anchor=anchor, interval=interval), now)


@pytest.mark.parametrize(
    ("now", "seconds_left", "credited", "due"),
    [
        # Of the 31 days of January, 29.00 and 99.00.
        (datetime(2024, 1, 1, tzinfo=UTC), 31 * 86400, 2900, 9900),
        (datetime(2024, 1, 16, 12, tzinfo=UTC), 31 * 43200, 1450, 4950),
        (datetime(2024, 1, 31, 23, 59, 59, tzinfo=UTC), 1, 0, 0),
        # Of the 29 days of a leap February: 28/29.
        (datetime(2024, 2, 2, tzinfo=UTC), 28 * 86400, 2800, 9558),
        # Of the 28 days of another: 27/28.
        (datetime(2023, 2, 2, tzinfo=UTC), 27 * 86400, 2796, 9546),
    ],
)
def test_the_rest_of_the_month_is_worth_its_seconds(now, seconds_left, credited, due):
    same = period(datetime(2022, 1, 1, tzinfo=UTC), now)
    found = prorate(plan(2900), same, plan(9900), same, now)
    assert (found.credited.seconds_left, found.due.seconds_left) == (seconds_left, seconds_left)
    assert (found.credited.amount_minor, found.due.amount_minor) == (credited, due)
    assert found.net_minor == due - credited


def test_a_new_period_costs_all_of_its_price():
    now = datetime(2024, 1, 16, 12, tzinfo=UTC)
    anchor = datetime(2024, 1, 1, tzinfo=UTC)
    found = prorate(plan(2900), period(anchor, now), plan(120_000, interval="year"), period(now, now, "year"), now)
    assert (found.credited.amount_minor, found.due.amount_minor) == (1450, 120_000)
    assert found.due.seconds == found.due.seconds_left == 366 * 86400 - 86400 + 86400


def test_two_currencies_are_not_set_off():
    now = datetime(2024, 1, 16, tzinfo=UTC)
    same = period(now, now)
    with pytest.raises(ValueError, match="usd and eur"):
        prorate(plan(1), same, plan(1, currency="eur"), same, now)


def test_a_moment_outside_the_period_is_a_mistake():
    now = datetime(2024, 1, 16, tzinfo=UTC)
    with pytest.raises(ValueError, match="is not in the period"):
        prorate(plan(1), period(now, now), plan(1), period(now, now), now - timedelta(seconds=1))


@given(
    price=st.integers(0, 10**9),
    dearer=st.integers(0, 10**9),
    anchor=st.integers(0, 10**9).map(lambda s: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
    after=st.timedeltas(timedelta(0), timedelta(days=4000)),
)
def test_shares_never_leave_the_price(price, dearer, anchor, after):
    now = anchor + after
    same = period(anchor, now)
    found = prorate(plan(price), same, plan(price + dearer), same, now)
    assert 0 <= found.credited.amount_minor <= price
    assert 0 <= found.net_minor <= dearer + 1
    # Exact, but for the fraction of one cent that is nobody's.
    exact = price * found.credited.seconds_left
    assert 0 <= exact - found.credited.amount_minor * found.credited.seconds < found.credited.seconds
    # There and back in the same second costs nothing.
    back = prorate(plan(price + dearer), same, plan(price), same, now)
    assert found.net_minor + back.net_minor == 0
