"""How much of its features an organization has used, exact at this moment by the database's clock. Counts nothing."""

from datetime import datetime
from uuid import UUID

import asyncpg

from tallystick.base.database import load_queries
from tallystick.constraints.constraints import Constraints
from tallystick.quotas.limit import access_refusal, check_units, limit_of
from tallystick.quotas.use import WINDOW, FeatureUsage, QuotaCheck, TierUsage, remaining_of

queries = load_queries(__file__, "usage.sql")


async def usage(connection: asyncpg.Connection, constraints: Constraints) -> TierUsage:
    """Every feature there is, those that were never used too."""
    rows = [row async for row in queries.usage(connection, account=constraints.account)]
    used = {row["feature"]: row["used"] for row in rows}
    now: datetime = rows[0]["now"]
    return TierUsage(
        tier=constraints.tier,
        usage={
            feature: FeatureUsage(
                used=used.get(feature, 0), limit=limit, remaining=remaining_of(limit, used.get(feature, 0))
            )
            for feature, limit in sorted(constraints.quotas.items())
        },
        period_start=now - WINDOW,
        period_end=now,
    )


async def check(
    connection: asyncpg.Connection, constraints: Constraints, feature: str, *, units: int = 1
) -> QuotaCheck:
    """Whether `units` more would be admitted now. Someone else may take them first: only `admit` makes sure.

    Raises UnknownFeature, InvalidInput."""
    limit = limit_of(constraints, feature)
    check_units(units)
    row = await queries.next_use(connection, account=constraints.account, feature=feature, units=units, row_limit=limit)
    used: int = row["used"]
    fits = limit is None or used + units <= limit
    reason = access_refusal(constraints, row["now"])
    if reason is None and not fits:
        reason = f"The limit of {limit} uses of {feature} in 30 days is reached."
    return QuotaCheck(
        feature=feature,
        tier=constraints.tier,
        allowed=reason is None,
        used=used,
        limit=limit,
        remaining=remaining_of(limit, used),
        retry_at=None if fits else row["free_at"],
        reason=reason,
    )


async def first_leaves_at(connection: asyncpg.Connection, account: int, feature: str) -> datetime | None:
    """When the oldest use in the window leaves it."""
    at: datetime | None = await queries.first_leaves_at(connection, account=account, feature=feature)
    return at


async def is_use(connection: asyncpg.Connection, account: int, use: UUID) -> bool:
    """Whether the id is one of a use of this account, and not of a charge, nor of a call that is under way."""
    found: bool = await queries.is_use(connection, hold=use, account=account)
    return found
