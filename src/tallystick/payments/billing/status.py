"""How an organization's subscription stands, in the words of the billing API."""

from datetime import datetime

import asyncpg
import msgspec

from tallystick.base.database import load_queries
from tallystick.constraints.constraints import Constraints
from tallystick.constraints.period import Period, period_at
from tallystick.constraints.subscriber import BUILT_IN

queries = load_queries(__file__, "status.sql")


class BillingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is the subscription's; `canceled` where it ended, so that the plan is the default one; `none` where
    there never was one."""

    plan: str
    status: str
    period: Period
    metered_enabled: bool


async def billing_status(
    connection: asyncpg.Connection, organization: str, terms: Constraints, now: datetime
) -> BillingStatus:
    """`terms` is the organization's constraints document."""
    standing = await queries.standing(connection, organization=organization)
    status: str = terms.status if standing is None else standing["status"]
    if standing is None and await queries.had_one(connection, organization=organization):
        status = "canceled"
    return BillingStatus(
        plan=terms.plan or BUILT_IN.slug,
        status=status,
        period=_period(standing, terms, now),
        metered_enabled="metered" in terms.auth_modes,
    )


def _period(standing: asyncpg.Record | None, terms: Constraints, now: datetime) -> Period:
    counted = period_at(terms.period, now)
    if standing is None:
        return counted
    # As Stripe bills it, unless a new period began and Stripe has not said so yet.
    if standing["period_ends_at"] is not None and now < standing["period_ends_at"]:
        return Period(standing["period_starts_at"], standing["period_ends_at"])
    if standing["status"] == "trialing" and standing["trial_ends_at"] is not None:
        return Period(counted.starts_at, standing["trial_ends_at"])
    return counted
