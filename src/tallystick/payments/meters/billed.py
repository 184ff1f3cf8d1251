"""What is known of an organization whose usage Stripe bills: since when, by which plan, what it used, what was told."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg
from msgspec import Struct

from tallystick.base.database import load_queries
from tallystick.catalog.read import plan_version
from tallystick.constraints.period import Period, period_at
from tallystick.payments.meters.bucket import Bucket, beginning, buckets
from tallystick.payments.meters.report import Clock, Place, Told, billable, minute_of
from tallystick.payments.meters.span import Span, Step, spans
from tallystick.payments.meters.usage import units

PAGE: Final = 100

_queries = load_queries(__file__, "billed.sql")

organizations = _queries.organizations
"""Those that Stripe bills, or billed until lately, in order, behind the one that is named."""


class Billed(Struct, frozen=True, kw_only=True):
    """As of `now`, which is never later than the database's clock."""

    organization: str
    account: int
    livemode: bool
    now: datetime
    spans: Sequence[Span]
    customer: str | None
    """The organization's customer, for where its subscription does not name one."""

    @property
    def clock(self) -> Clock:
        last = self.spans[-1] if self.spans else None
        if last is None or last.starts_at > self.now or (last.ends_at is not None and last.ends_at <= self.now):
            return Clock(now=self.now, running=None)
        period = period_at(last.period, self.now)
        return Clock(now=self.now, running=Period(max(period.starts_at, last.starts_at), period.ends_at))


class Usage(Struct, frozen=True, kw_only=True):
    """Of the buckets from a moment on: what was used in them, and what of it was told."""

    buckets: Sequence[Bucket]
    used: dict[Place, int]
    billable: dict[Place, int]
    """What of it lies beyond allowances."""
    told: dict[Place, Told]


async def take_turn(connection: asyncpg.Connection, organization: str) -> None:
    """Wait until nobody else writes reports of this organization; until the caller's transaction ends."""
    await _queries.lock(connection, organization=organization)


async def read_billed(
    connection: asyncpg.Connection, organization: str, *, livemode: bool, now: datetime | None
) -> Billed:
    row = await _queries.organization(connection, organization=organization, livemode=livemode, now=now)
    steps = [Step(**row) async for row in _queries.steps(connection, organization=organization)]
    versions = {step.plan_version for step in steps if step.plan_version is not None}
    plans = {id_: await plan_version(connection, id_) for id_ in sorted(versions)}
    return Billed(
        organization=organization,
        account=row["account"],
        livemode=livemode,
        now=row["now"],
        spans=spans(steps, plans.__getitem__),
        customer=row["customer"],
    )


async def read_usage(
    connection: asyncpg.Connection, billed: Billed, since: datetime, *, recorded_before: datetime | None = None
) -> Usage:
    """`since` is the start of an hour. Of what was recorded when it had long happened, only what came in time."""
    known = list(buckets(billed.spans, beginning(billed.spans, since), billed.now))
    # What was told is read first: of what is told meanwhile by another, nothing may be missing in what was used.
    rows = _queries.told(connection, organization=billed.organization, livemode=billed.livemode, since=since)
    told = {(row["meter"], row["starts_at"]): Told(units=row["units"], revision=row["revision"]) async for row in rows}
    used = await units(connection, billed.account, known, recorded_before)
    newest = [bucket for bucket in known if bucket.starts_at >= since]
    return Usage(buckets=newest, used=used, billable=billable(known, used), told=told)


async def read_taken(connection: asyncpg.Connection, billed: Billed, since: datetime) -> dict[str, set[datetime]]:
    """The minutes, from `since` on, that have an event already, by meter."""
    taken: defaultdict[str, set[datetime]] = defaultdict(set)
    rows = _queries.taken(connection, organization=billed.organization, livemode=billed.livemode, since=since)
    async for row in rows:
        taken[row["meter"]].add(minute_of(row["counts_at"]))
    return taken
