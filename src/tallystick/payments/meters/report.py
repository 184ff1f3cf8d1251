"""What is still to be told of some buckets, given what was used in them and what was told before. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec import Struct

from tallystick.constraints.period import Period
from tallystick.payments.meters.bucket import FINALIZES, REACHES, Bucket, hour_of

MINUTE: Final = timedelta(minutes=1)
EVENT_UNITS_MAX: Final = 10**15 - 1
"""Stripe reads numbers of fifteen digits; what is left is told by the next look."""
SECOND: Final = timedelta(seconds=1)

Place = tuple[str, datetime]
"""A meter, and the start of a bucket."""


class Told(Struct, frozen=True, kw_only=True):
    """Of one meter and bucket: the units that were told, what was taken back excepted, and the newest revision."""

    units: int = 0
    revision: int = 0


class Report(Struct, frozen=True, kw_only=True):
    """One meter event for Stripe."""

    meter: str
    bucket: Bucket
    revision: int
    units: int
    slot: "Slot"


class Excess(Struct, frozen=True, kw_only=True):
    """More was told of an hour than our records have."""

    meter: str
    hour: datetime
    units: int


class Due(Struct, frozen=True, kw_only=True):
    reports: tuple[Report, ...]
    excesses: tuple[Excess, ...]
    complete: bool
    """False where a report found no minute of its own yet: look again."""


class Slot(Struct, frozen=True, kw_only=True):
    """When Stripe is told that usage was, and when the period ends in which it then counts.

    Without a period that is still open it is `closed`: on no invoice, for there is none to come."""

    counts_at: datetime
    period_ends_at: datetime
    closed: bool = False


class Clock(Struct, frozen=True, kw_only=True):
    """Now, and the period that Stripe bills now: None where it no longer bills."""

    now: datetime
    running: Period | None


def identifier(organization: str, meter: str, starts_at: datetime, revision: int) -> str:
    """The same for the same report, whoever makes it and however often."""
    told = f"{organization}|{meter}|{starts_at.isoformat()}|{revision}"
    return sha256(told.encode()).hexdigest()


def billable(buckets: Sequence[Bucket], used: Mapping[Place, int]) -> dict[Place, int]:
    """What of each bucket's usage lies beyond its period's allowance; the buckets of a period are there from its start.

    Whatever is recorded later, and of which bucket: of none it becomes less."""
    before: defaultdict[Place, int] = defaultdict(int)
    found = {}
    for bucket in sorted(buckets, key=lambda one: one.starts_at):
        for meter, allowance in bucket.allowances.items():
            units = used.get((meter, bucket.starts_at), 0)
            period = (meter, bucket.period_starts_at)
            before[period] += units
            beyond = min(units, before[period] - allowance)
            if beyond > 0:
                found[meter, bucket.starts_at] = beyond
    return found


def due(
    buckets: Sequence[Bucket],
    used: Mapping[Place, int],
    told: Mapping[Place, Told],
    taken: MutableMapping[str, set[datetime]],
    clock: Clock,
) -> Due:
    """`taken` are the minutes of each meter that have an event already; those of the reports are added.

    Differences are of whole hours: where a boundary was noted after an hour had been told, its parts differ, not it."""
    reports: list[Report] = []
    excesses: list[Excess] = []
    complete = True
    for (meter, hour), members in _by_hour(buckets, told).items():
        differences = [(one, used.get((meter, one.starts_at), 0) - _units(told, meter, one)) for one in members]
        left = sum(difference for _, difference in differences) - _astray(told, meter, hour, members)
        if left < 0:
            excesses.append(Excess(meter=meter, hour=hour, units=-left))
        for bucket, difference in differences:
            units = min(difference, left, EVENT_UNITS_MAX)
            if units <= 0:
                continue
            complete = complete and units < EVENT_UNITS_MAX
            free = slot(bucket.starts_at, bucket.ends_at, bucket.period_ends_at, clock, taken.setdefault(meter, set()))
            if free is None:
                complete = False
                continue
            left -= units
            revision = told.get((meter, bucket.starts_at), Told()).revision + 1
            reports.append(Report(meter=meter, bucket=bucket, revision=revision, units=units, slot=free))
    return Due(reports=tuple(reports), excesses=tuple(excesses), complete=complete)


def slot(
    starts_at: datetime, ends_at: datetime, period_ends_at: datetime, clock: Clock, taken: set[datetime]
) -> Slot | None:
    """A minute for an event that no other has; None where there is none left.

    In the usage's own time while its invoice is open, and else now: on the invoice that is open then."""
    if in_time(starts_at, period_ends_at, clock.now):
        moments, until, closed = _own(starts_at, ends_at), period_ends_at, False
    elif clock.running is not None:
        moments, until, closed = _back(clock.now, clock.running.starts_at), clock.running.ends_at, False
    else:
        moments, until, closed = _back(clock.now, clock.now - REACHES), period_ends_at, True
    for moment in moments:
        if minute_of(moment) not in taken:
            taken.add(minute_of(moment))
            return Slot(counts_at=moment, period_ends_at=until, closed=closed)
    return None


def in_time(starts_at: datetime, period_ends_at: datetime, now: datetime) -> bool:
    """Whether what was used from `starts_at` on can still be told as of then."""
    return now < period_ends_at + FINALIZES and starts_at > now - REACHES


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _own(starts_at: datetime, ends_at: datetime) -> Iterator[datetime]:
    # Stripe counts in seconds, and none of them may lie before the period.
    moment = _second_of(starts_at)
    yield moment
    while (moment := minute_of(moment) + MINUTE) < ends_at:
        yield moment


def _back(now: datetime, since: datetime) -> Iterator[datetime]:
    moment = now.replace(microsecond=0)
    while moment >= _second_of(since):
        yield moment
        moment = minute_of(moment) - SECOND


def _second_of(moment: datetime) -> datetime:
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + SECOND


def _units(told: Mapping[Place, Told], meter: str, bucket: Bucket) -> int:
    return told.get((meter, bucket.starts_at), Told()).units


def _astray(told: Mapping[Place, Told], meter: str, hour: datetime, members: Sequence[Bucket]) -> int:
    """What was told of a bucket of this hour that is none any more, since a boundary was moved."""
    known = {member.starts_at for member in members}
    hours_told = (
        one.units for (name, at), one in told.items() if name == meter and hour_of(at) == hour and at not in known
    )
    return sum(hours_told)


def _by_hour(buckets: Sequence[Bucket], told: Mapping[Place, Told]) -> dict[Place, list[Bucket]]:
    found: defaultdict[Place, list[Bucket]] = defaultdict(list)
    for bucket in buckets:
        for meter in bucket.allowances:
            found[meter, hour_of(bucket.starts_at)].append(bucket)
    for meter, starts_at in told:
        found[meter, hour_of(starts_at)]
    return dict(found)
