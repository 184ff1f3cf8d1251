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
    """What was used, whoever pays for it. The sum of what is final is kept, so that looking at a period again reads
    the last day alone: the first look reads every record, about a second for a million of them."""
    kept = await _queries.kept(connection, account=account, starts_at=starts_at, ends_at=ends_at)
    sessions, tokens, since = (0, 0, starts_at) if kept is None else kept
    row = await _queries.recorded(connection, account=account, since=since, ends_at=ends_at)
    if row["final_at"] > since:
        await _queries.keep(
            connection,
            account=account,
            starts_at=starts_at,
            until=row["final_at"],
            agent_sessions=sessions + row["final_agent_sessions"],
            llm_tokens=tokens + row["final_llm_tokens"],
        )
    told = await _queries.told(connection, account=account, starts_at=starts_at, ends_at=ends_at)
    return Usage(
        agent_sessions=sessions + row["agent_sessions"] + told["agent_sessions"],
        llm_tokens=tokens + row["llm_tokens"] + told["llm_tokens"],
    )


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
