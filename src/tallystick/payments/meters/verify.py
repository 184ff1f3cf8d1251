"""Checks of what Stripe is told: of no hour more than our records have, and no less of what was looked at.

Only hours that can still change are read, in the caller's snapshot: older ones were checked when they could. And what
is kept of a period's usage is what was recorded.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from tallystick.base.database import load_queries
from tallystick.ledger.check import PROBLEMS_MAX, Check, by_query
from tallystick.payments.meters.billed import Billed, Usage, read_billed, read_usage
from tallystick.payments.meters.bucket import hour_of, oldest_open
from tallystick.payments.meters.report import due

_UNDER_WAY: Final = timedelta(minutes=5)
"""What was recorded so shortly before a look may have been committed after it."""

_queries = load_queries(__file__, "verify.sql")


async def told_as_used(connection: asyncpg.Connection) -> list[str]:
    problems: list[str] = []
    looks = [row async for row in _queries.looks(connection)]
    for row in looks:
        billed = await read_billed(connection, row["organization"], livemode=row["livemode"], now=None)
        since = hour_of(oldest_open(billed.spans, billed.now))
        before = row["looked_at"] - _UNDER_WAY
        problems += _too_much(billed, await read_usage(connection, billed, since))
        if not row["changed"]:
            usage = await read_usage(connection, billed, since, recorded_before=before)
            problems += _too_little(billed, usage, before)
        if len(problems) >= PROBLEMS_MAX:
            break
    return problems[:PROBLEMS_MAX]


def _too_much(billed: Billed, usage: Usage) -> Iterator[str]:
    for one in due(usage.buckets, usage.billable, usage.told, {}, billed.clock).excesses:
        where = f"of {billed.organization} in the hour from {one.hour:%Y-%m-%d %H:%M}"
        yield f"Stripe was told {one.units} units of {one.meter} too much {where}"


def _too_little(billed: Billed, usage: Usage, before: datetime) -> Iterator[str]:
    for one in due(usage.buckets, usage.billable, usage.told, {}, billed.clock).reports:
        if one.bucket.ends_at < before:
            where = f"of {billed.organization} from {one.bucket.starts_at:%Y-%m-%d %H:%M} on"
            yield f"{one.units} units of {one.meter} {where} were not written down for Stripe"


checks: Final = (
    Check(5, "Stripe is told of usage what our records have of it", told_as_used),
    Check(5, "every usage report has the identifier that follows from it", by_query(_queries, "identifiers")),
    Check(5, "what is kept of a period's usage is what was recorded of it", by_query(_queries, "kept")),
)
