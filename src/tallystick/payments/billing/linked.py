"""What of ours is linked with what at Stripe: prices, meters, customers; and the subscriptions that are set aside."""

from collections.abc import Sequence

import asyncpg
import msgspec

from tallystick.base.database import load_queries

queries = load_queries(__file__, "linked.sql")


class LinkedPrice(msgspec.Struct, frozen=True, kw_only=True):
    plan: str
    plan_version: int
    meter: str | None
    id: str
    active: bool
    subscriptions: int


class LinkedMeter(msgspec.Struct, frozen=True, kw_only=True):
    meter: str
    id: str
    event_name: str


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription at Stripe that is set aside, and why."""

    id: str
    organization: str
    status: str
    problem: str


class Linked(msgspec.Struct, frozen=True, kw_only=True):
    livemode: bool
    customers: int
    organizations_without: int
    prices: Sequence[LinkedPrice]
    meters: Sequence[LinkedMeter]
    apart: Sequence[Apart]


async def linked(pool: asyncpg.Pool, *, livemode: bool) -> Linked:
    async with pool.acquire() as connection:
        customers = await queries.customers(connection, livemode=livemode)
        return Linked(
            livemode=livemode,
            customers=customers["ready"],
            organizations_without=customers["waiting"],
            prices=[
                msgspec.convert(dict(row), LinkedPrice) async for row in queries.prices(connection, livemode=livemode)
            ],
            meters=[
                msgspec.convert(dict(row), LinkedMeter) async for row in queries.meters(connection, livemode=livemode)
            ],
            apart=await set_apart(connection, livemode=livemode),
        )


async def set_apart(connection: asyncpg.Connection | asyncpg.Pool, *, livemode: bool) -> Sequence[Apart]:
    """The subscriptions that are alive at Stripe, and that a person must look at."""
    return [msgspec.convert(dict(row), Apart) async for row in queries.apart(connection, livemode=livemode)]
