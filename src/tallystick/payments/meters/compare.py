"""Compare what was used with what Stripe has, by hour and by period; every difference with its cause.

May run at any time, during traffic: what is on its way is told from what is wrong. It changes nothing, but that reports
which Stripe's sums show are noted as confirmed.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.payments.billing.names import event_name
from tallystick.payments.errors import PaymentRefused
from tallystick.payments.meters.billed import Billed, Usage, read_billed, read_usage
from tallystick.payments.meters.bucket import HOUR, REACHES, SETTLES, Bucket, hour_of, oldest_open
from tallystick.payments.meters.report import due, minute_of
from tallystick.payments.meters.send import NO_METER, SHOWN, meter_id, units_at
from tallystick.payments.meters.written import Written
from tallystick.payments.stripe.client import StripeClient
from tallystick.payments.stripe.meter import meters_by_event, units_between, units_by_hour

Cause = Literal[
    "not_collected",  # used, and not yet written down as a report
    "waiting",  # written down, and Stripe is not known to have it
    "refused",  # Stripe refused it, or there is no invoice for it
    "not_shown_yet",  # Stripe took it, and its sums do not show it yet
    "missing",  # Stripe took it, and its sums do not have it
    "not_ours",  # Stripe has what nobody here told it
    "still_there",  # taken back, and Stripe still has it
    "told_too_much",  # more was told than was used
    "no_meter",  # Stripe has no such meter
]
PASSING: Final[frozenset[Cause]] = frozenset({"not_collected", "waiting", "not_shown_yet"})
"""What ends by itself."""

_queries = load_queries(__file__, "compare.sql")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """`units` are those that Stripe lacks, or has too many of where they are below zero."""

    organization: str
    meter: str
    hour: datetime
    units: int
    cause: Cause
    report: int | None = None
    problem: str | None = None


class PeriodSum(msgspec.Struct, frozen=True, kw_only=True):
    """What was used of one meter from the first hour that was compared to the last, within one period."""

    organization: str
    meter: str
    starts_at: datetime
    ends_at: datetime
    used: int
    billable: int
    """What of it lies beyond the allowance: only that is told."""
    stripe: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Of what was used before `until`: what is used later is told, and compared, later. None where nobody is billed."""

    differences: Sequence[Difference]
    periods: Sequence[PeriodSum]
    until: datetime | None


class Row(Written, frozen=True, kw_only=True):
    """A report, as far as it got."""

    meter: str
    starts_at: datetime
    state: Literal["waiting", "sent", "confirmed", "failed", "canceled"]
    sent_at: datetime | None
    problem: str | None


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of ours that is compared, as of one moment."""

    billed: Billed
    usage: Usage
    rows: Sequence[Row]
    since: datetime


async def compare_one(
    pool: asyncpg.Pool, stripe: StripeClient, organization: str, *, since: datetime | None = None
) -> Comparison:
    """Of all hours that can still change, or of those from `since` on; of the last 34 days at most."""
    scene = await _scene(pool, organization, stripe.livemode, since)
    meters = await meters_by_event(stripe)
    found, confirmed = [*_ours_alone(scene)], list[int]()
    answering: dict[tuple[str, str, str], str] = {}
    until = hour_of(scene.billed.now) + HOUR
    for (meter, name, customer), rows in _by_customer(scene).items():
        try:
            hours = await units_by_hour(stripe, meter_id(meters, name), customer, scene.since, until)
        except PaymentRefused as error:
            cause: Cause = "no_meter" if error.reason == NO_METER else "refused"
            problem = name if error.reason == NO_METER else f"Stripe tells nothing of {customer} ({error.reason})."
            found.append(_difference(scene, meter, hour_of(scene.billed.now), 0, cause, problem=problem))
            continue
        answering[meter, name, customer] = meters[name]
        for hour in sorted({hour_of(row.counts_at) for row in rows} | hours.keys()):
            here = [row for row in rows if hour_of(row.counts_at) == hour]
            if sum(row.units for row in here if row.state != "canceled") == hours.get(hour, 0):
                confirmed += [row.id for row in here if row.state == "sent"]
                continue
            there = {row.id: await units_at(stripe, meters, row.event) for row in here}
            confirmed += [row.id for row in here if row.state == "sent" and there[row.id] == row.units]
            found += _causes(scene, meter, hour, [(row, there[row.id]) for row in here], hours.get(hour, 0))
    await _queries.confirm(pool, ids=confirmed)
    periods = [one async for one in _periods(scene, stripe, answering)]
    return Comparison(differences=found, periods=periods, until=hour_of(scene.billed.now - SETTLES))


def _causes(
    scene: Scene, meter: str, hour: datetime, rows: Sequence[tuple[Row, int]], stripe_has: int
) -> Iterator[Difference]:
    for row, there in rows:
        lacking = (0 if row.state == "canceled" else row.units) - there
        if lacking:
            yield _difference(scene, meter, hour, lacking, _cause(row, scene.billed.now), row=row)
    foreign = stripe_has - sum(there for _, there in rows)
    if foreign:
        yield _difference(scene, meter, hour, -foreign, "not_ours")


def _cause(row: Row, now: datetime) -> Cause:
    if row.state in {"sent", "confirmed"}:
        shown = row.sent_at is not None and now - row.sent_at >= SHOWN
        return "missing" if shown else "not_shown_yet"
    return {"waiting": "waiting", "failed": "refused", "canceled": "still_there"}[row.state]  # type: ignore[return-value]


def _ours_alone(scene: Scene) -> Iterator[Difference]:
    """Where our own records and reports differ, whatever Stripe has."""
    usage = scene.usage
    found = due(usage.buckets, usage.billable, usage.told, {}, scene.billed.clock)
    for report in found.reports:
        yield _difference(scene, report.meter, hour_of(report.bucket.starts_at), report.units, "not_collected")
    for excess in found.excesses:
        yield _difference(scene, excess.meter, excess.hour, -excess.units, "told_too_much")


async def _scene(pool: asyncpg.Pool, organization: str, livemode: bool, since: datetime | None) -> Scene:
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        billed = await read_billed(connection, organization, livemode=livemode, now=None)
        asked = since or oldest_open(billed.spans, billed.now)
        start = hour_of(max(asked, billed.now - REACHES))
        usage = await read_usage(connection, billed, start)
        rows = _queries.reports(connection, organization=organization, livemode=livemode, since=start)
        return Scene(
            billed=billed, usage=usage, rows=[msgspec.convert(dict(row), Row) async for row in rows], since=start
        )


def _by_customer(scene: Scene) -> Mapping[tuple[str, str, str], list[Row]]:
    found: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in scene.rows:
        found[row.meter, row.event_name, row.customer].append(row)
    # What is billed now is looked at even where nothing was told: somebody else may have.
    for bucket in scene.usage.buckets[-1:]:
        customer = bucket.customer or scene.billed.customer
        for meter in bucket.allowances if customer is not None else ():
            found[meter, event_name(meter), customer or ""]
    return found


async def _periods(
    scene: Scene, stripe: StripeClient, answering: Mapping[tuple[str, str, str], str]
) -> AsyncIterator[PeriodSum]:
    periods: defaultdict[datetime, list[Bucket]] = defaultdict(list)
    for bucket in scene.usage.buckets:
        periods[bucket.period_ends_at].append(bucket)
    for (meter, _name, customer), id_ in answering.items():
        for members in periods.values():
            first, last = members[0].starts_at, members[-1].ends_at
            start, stop = minute_of(first), minute_of(last)
            yield PeriodSum(
                organization=scene.billed.organization,
                meter=meter,
                starts_at=first,
                ends_at=last,
                used=sum(scene.usage.used.get((meter, bucket.starts_at), 0) for bucket in members),
                billable=sum(scene.usage.billable.get((meter, bucket.starts_at), 0) for bucket in members),
                stripe=await units_between(stripe, id_, customer, start, stop) if start < stop else 0,
            )


def _difference(
    scene: Scene,
    meter: str,
    hour: datetime,
    units: int,
    cause: Cause,
    *,
    row: Row | None = None,
    problem: str | None = None,
) -> Difference:
    return Difference(
        organization=scene.billed.organization,
        meter=meter,
        hour=hour,
        units=units,
        cause=cause,
        report=None if row is None else row.id,
        problem=problem if row is None else row.problem,
    )
