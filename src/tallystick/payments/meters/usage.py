"""Usage as Stripe and the billing page count it: agent sessions, tokens, and whatever else a plan prices."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg
from msgspec import Struct

from tallystick.base.database import load_queries
from tallystick.payments.meters.bucket import Bucket
from tallystick.payments.meters.report import Place

_queries = load_queries(__file__, "usage.sql")


class Usage(Struct, frozen=True, kw_only=True):
    agent_sessions: int
    llm_tokens: int


async def usage_in_period(
    connection: asyncpg.Connection, account: int, starts_at: datetime, ends_at: datetime
) -> Usage:
    """What was used, whoever pays for it. It reads every usage record of the span by one index: about a second for a
    million of them."""
    row = await _queries.usage_in_period(connection, account=account, starts_at=starts_at, ends_at=ends_at)
    return Usage(agent_sessions=row["agent_sessions"], llm_tokens=row["llm_tokens"])


async def units(
    connection: asyncpg.Connection, account: int, buckets: Sequence[Bucket], recorded_before: datetime | None = None
) -> dict[Place, int]:
    """What was used in each bucket of the meters that Stripe bills in it; nothing where nothing was."""
    if not buckets:
        return {}
    billed = {(meter, bucket.starts_at) for bucket in buckets for meter in bucket.allowances}
    rows = _queries.units(
        connection,
        account=account,
        starts=[bucket.starts_at for bucket in buckets],
        ends=[bucket.ends_at for bucket in buckets],
        meters=_meters(buckets),
        recorded_before=recorded_before,
    )
    found = {(row["meter"], row["starts_at"]): row["units"] async for row in rows}
    return {place: number for place, number in found.items() if place in billed}


def _meters(buckets: Iterable[Bucket]) -> list[str]:
    return sorted({meter for bucket in buckets for meter in bucket.allowances})
