"""What is still to be told, for any usage that comes at any time: in the end what is billable, of no hour too much."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period
from tallystick.payments.meters.bucket import SETTLES, buckets, hour_of
from tallystick.payments.meters.report import EVENT_UNITS_MAX, Clock, Place, Told, billable, due
from tallystick.payments.meters.span import Span

START = datetime(2026, 3, 30, 10, 17, 3, 250, tzinfo=UTC)
TURN = datetime(2026, 4, 1, 20, 40, 30, tzinfo=UTC)
END = START + timedelta(days=4)


def span(allowance: int) -> Span:
    return Span(
        starts_at=START,
        ends_at=None,
        allowances={"runs": allowance, "pages": 0},
        period=PeriodRule(anchor=TURN, interval="month"),
        customer=None,
    )


def clock(now: datetime) -> Clock:
    return Clock(now=now, running=Period(START if now < TURN else TURN, END))


def test_buckets_cover_all_time_without_overlap_and_keep_to_their_period() -> None:
    found = list(buckets([span(0)], START, END))
    assert found[0].starts_at == START
    assert all(one.ends_at == other.starts_at for one, other in pairwise(found))
    assert END - SETTLES - timedelta(hours=1) < found[-1].ends_at <= END - SETTLES
    for one in found:
        assert hour_of(one.starts_at) == hour_of(one.ends_at - timedelta(microseconds=1))
        assert (one.starts_at < TURN) == (one.ends_at <= TURN)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_when_each_unit_is_told_once_in_a_minute_of_its_own(seed: int) -> None:
    chance = random.Random(seed)
    spans = [span(allowance=chance.choice([0, 0, 10, 10_000]))]
    used: defaultdict[Place, int] = defaultdict(int)
    told: dict[Place, Told] = {}
    taken: dict[str, set[datetime]] = {}
    minutes: list[tuple[str, datetime]] = []
    now = START + timedelta(hours=2)
    while now < END + timedelta(days=2):
        known = list(buckets(spans, START, now))
        for _ in range(chance.randrange(6)):
            used[chance.choice(["runs", "pages"]), chance.choice(known).starts_at] += chance.randrange(1, 9)
        found = due(known, billable(known, used), told, taken, clock(now))
        assert found.excesses == ()
        for one in found.reports:
            place = (one.meter, one.bucket.starts_at)
            before = told.get(place, Told())
            assert one.revision == before.revision + 1
            told[place] = Told(units=before.units + one.units, revision=one.revision)
            minutes.append((one.meter, one.slot.counts_at.replace(second=0)))
            # On the invoice of its own period while that is open, on the running one after that.
            assert (one.slot.counts_at < TURN) == (one.bucket.starts_at < TURN and now < TURN + timedelta(minutes=45))
        now += timedelta(minutes=chance.randrange(5, 300))
    known = list(buckets(spans, START, now))
    assert {place: one.units for place, one in told.items()} == billable(known, used)
    assert len(minutes) == len(set(minutes))
    for meter, allowance in spans[0].allowances.items():
        for is_first in (True, False):
            total = sum(units for (name, at), units in used.items() if name == meter and (at < TURN) == is_first)
            beyond = sum(one.units for (name, at), one in told.items() if name == meter and (at < TURN) == is_first)
            assert beyond == max(0, total - allowance)


def test_what_is_more_than_stripe_reads_is_told_in_parts() -> None:
    known = list(buckets([span(0)], START, START + timedelta(hours=1)))
    place = ("runs", known[0].starts_at)
    used = {place: 2 * EVENT_UNITS_MAX + 5}
    told: dict[Place, Told] = {}
    parts = []
    for _ in range(4):
        found = due(known, used, told, {}, clock(START + timedelta(hours=1)))
        parts += [one.units for one in found.reports]
        told[place] = Told(units=sum(parts), revision=len(parts))
    assert parts == [EVENT_UNITS_MAX, EVENT_UNITS_MAX, 5]
    assert found.complete
