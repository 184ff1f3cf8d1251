"""Write down what Stripe is to be told of usage that it bills: of every hour that ended, what was not written yet.

What is written is the difference between what was used and what was written before, under the organization's turn. So
it does not matter who collects, how often, or when: nothing is counted twice, and what is committed late is the next
look's.
"""

from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog

from tallystick.base.database import load_queries
from tallystick.base.errors import Conflict
from tallystick.payments.billing.names import event_name
from tallystick.payments.meters.billed import (
    PAGE,
    Billed,
    organizations,
    read_billed,
    read_taken,
    read_usage,
    take_turn,
)
from tallystick.payments.meters.bucket import CHANGES, FINALIZES, REACHES, SETTLES, boundaries, hour_of, oldest_open
from tallystick.payments.meters.report import Excess, Report, due, identifier
from tallystick.subscriptions.each import each

NEWEST: Final = timedelta(hours=6)
"""Every look is at these hours; at all that can still change every so often, and around the end of a period."""
_BEFORE_IT_IS_LATE: Final = FINALIZES - timedelta(minutes=10)
TOO_LATE: Final = "It was recorded after the last invoice of the subscription that it belongs to."

_queries = load_queries(__file__, "collect.sql")
_log = structlog.get_logger()


async def collect(pool: asyncpg.Pool, *, livemode: bool, now: datetime | None = None) -> int:
    """For every organization that Stripe bills; returns for how many something was written."""

    async def one(connection: asyncpg.Connection, organization: str) -> bool:
        return await collect_one(connection, organization, livemode=livemode, now=now) > 0

    async with pool.acquire() as connection:
        clock: datetime = await _queries.clock(connection)
    ended_after = (now or clock) - CHANGES
    return await each(
        pool,
        lambda connection, after: organizations(connection, after=after, ended_after=ended_after, row_limit=PAGE),
        one,
    )


async def collect_one(
    connection: asyncpg.Connection,
    organization: str,
    *,
    livemode: bool,
    now: datetime | None = None,
    all_: bool = False,
) -> int:
    """How many reports were written. `all_` looks at every hour that can still change, whenever that was done last."""
    async with connection.transaction():
        await take_turn(connection, organization)
        billed = await read_billed(connection, organization, livemode=livemode, now=now)
        if not billed.spans:
            return 0
        looked_at = await _queries.looked_at(connection, organization=organization, livemode=livemode)
        deep = all_ or is_deep_look_due(billed, looked_at)
        since = hour_of(oldest_open(billed.spans, billed.now))
        if not deep and has_allowance(billed):
            return 0
        if not deep:
            since = max(since, hour_of(billed.now - NEWEST))
        usage = await read_usage(connection, billed, since)
        taken = await read_taken(connection, billed, min(since, billed.now - REACHES))
        found = due(usage.buckets, usage.billable, usage.told, taken, billed.clock)
        for excess in found.excesses:
            _warn(billed, excess)
        for report in found.reports:
            await _write(connection, billed, report)
        if deep and found.complete:
            await _queries.look(connection, organization=organization, livemode=livemode, looked_at=billed.now)
    return len(found.reports)


def is_deep_look_due(billed: Billed, looked_at: datetime | None) -> bool:
    """Every so often, when a period has just ended, and shortly before its invoice is final."""
    if looked_at is None or billed.now - looked_at >= NEWEST:
        return True
    # What lies beyond an allowance is told by the period as a whole: of every hour that ends.
    if has_allowance(billed) and hour_of(billed.now - SETTLES) > hour_of(looked_at - SETTLES):
        return True
    return any(
        looked_at < end + after <= billed.now
        for end in boundaries(billed.spans, looked_at - FINALIZES, billed.now)
        for after in (SETTLES, _BEFORE_IT_IS_LATE)
    )


def has_allowance(billed: Billed) -> bool:
    return any(any(span.allowances.values()) for span in billed.spans)


async def _write(connection: asyncpg.Connection, billed: Billed, report: Report) -> None:
    bucket = report.bucket
    customer = bucket.customer or billed.customer
    if customer is None:
        raise Conflict("The organization has no customer at Stripe, and usage that Stripe is to bill.")
    closed = report.slot.closed
    await _queries.write(
        connection,
        organization=billed.organization,
        livemode=billed.livemode,
        meter=report.meter,
        starts_at=bucket.starts_at,
        ends_at=bucket.ends_at,
        revision=report.revision,
        units=report.units,
        period_ends_at=report.slot.period_ends_at,
        customer=customer,
        event_name=event_name(report.meter),
        identifier=identifier(billed.organization, report.meter, bucket.starts_at, report.revision),
        counts_at=report.slot.counts_at,
        state="failed" if closed else "waiting",
        problem=TOO_LATE if closed else None,
    )


def _warn(billed: Billed, excess: Excess) -> None:
    _log.error(
        "meter_told_too_much",
        organization=billed.organization,
        meter=excess.meter,
        hour=excess.hour.isoformat(),
        units=excess.units,
    )
