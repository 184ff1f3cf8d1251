"""Which version of a plan a price at Stripe stands for."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from tallystick.base.database import load_queries
from tallystick.base.errors import NotFound
from tallystick.catalog.book import Held
from tallystick.catalog.plan import Plan
from tallystick.payments.billing.errors import PlanNotOnSale
from tallystick.subscriptions.offer import read_offer

queries = load_queries(__file__, "plan_price.sql")


async def versions_of(
    connection: asyncpg.Connection, prices: Sequence[str], *, livemode: bool
) -> dict[str, Sequence[int]]:
    """By price, the versions it stands for, the oldest first; several where an operator kept the price for a new one.
    Prices of meters stand for no plan."""
    found: dict[str, list[int]] = {}
    async for row in queries.versions(connection, prices=list(prices), livemode=livemode):
        found.setdefault(row["price"], []).append(row["plan_version"])
    return {price: tuple(versions) for price, versions in found.items()}


async def plan_on_sale(connection: asyncpg.Connection, price: str, *, livemode: bool, now: datetime) -> Held[Plan]:
    """The plan that is subscribed to by this price. Raises NotFound, and PlanNotOnSale where it was one once."""
    versions = (await versions_of(connection, [price], livemode=livemode)).get(price)
    if not versions:
        raise NotFound("There is no plan with this price.")
    book = (await read_offer(connection, now)).book
    for plan in book.plans(now):
        if plan.id in versions:
            return plan
    raise PlanNotOnSale("The plan of this price cannot be subscribed to any more. Ask for the price that is sold now.")


async def metered_prices(connection: asyncpg.Connection, plan_version: int, *, livemode: bool) -> list[str]:
    """What bills the meters of this version."""
    return [row["id"] async for row in queries.metered(connection, plan_version=plan_version, livemode=livemode)]
