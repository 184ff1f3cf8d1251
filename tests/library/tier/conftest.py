"""A Tallystick of each kind, in process and over HTTP, on one database with plans and features."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from tallystick import Tallystick
from tallystick.accounts import organization, user
from tallystick.catalog.publish import apply
from tallystick.subscriptions.subscribe import subscribe

SERVICE_TOKEN = "service-token-of-the-tests"
CATALOG = """
[[feature]]
name = "ad_generations"
title = "Ad generations"
limits = { free = 3, pro = 12, enterprise = "unlimited" }

[[feature]]
name = "exports"
title = "Exports"
limits = { free = 5, pro = 50, enterprise = "unlimited" }

[[meter]]
name = "visitor"
title = "Visitors"
unit = "visitor"
aggregation = "unique"

[[plan]]
slug = "free"
name = "Free"
strategy = "prepaid"
price = 0
tier = "free"
default = true

[[plan]]
slug = "pro"
name = "Pro"
strategy = "custom"
price = 99
tier = "pro"
charges_models = true

[[plan.meters]]
meter = "document_page"
allowance = 10
overage = { price = 0.01 }
cap = 100

[[plan]]
slug = "enterprise"
name = "Enterprise"
strategy = "flat"
price = 999
tier = "enterprise"
"""


@pytest.fixture
async def plans(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=datetime.now(UTC), dry_run=False)


@pytest.fixture(params=["in process", "over HTTP"])
def closed_tally(request: pytest.FixtureRequest, dsn: str) -> Tallystick:
    if request.param == "in process":
        request.getfixturevalue("plans")
        return Tallystick.open(dsn)
    # It brings a catalog of its own, which comes first.
    server = request.getfixturevalue("server")
    request.getfixturevalue("plans")
    return Tallystick.connect(server.url, service_token=SERVICE_TOKEN)


@pytest.fixture
async def tally(closed_tally: Tallystick) -> AsyncIterator[Tallystick]:
    async with closed_tally:
        yield closed_tally


@pytest.fixture
def new_customer(pool: asyncpg.Pool) -> Callable[..., Awaitable[str]]:
    """The id of an organization on a plan; without a plan, on the one that is everybody's."""

    async def make(plan: str | None = None) -> str:
        async with pool.acquire() as connection:
            made = await organization.create(connection, name="Ada's lab")
            if plan is not None:
                await subscribe(connection, made.id, plan, trial_days=0)
        return made.id

    return make


@pytest.fixture
async def grace(pool: asyncpg.Pool) -> user.Welcome:
    return await user.sign_up(pool, email="grace@example.com", password="correct horse")


@pytest.fixture
def age(pool: asyncpg.Pool) -> Callable[[float], Awaitable[None]]:
    """Let everything that was used lie so many days further back."""

    async def by(days: float) -> None:
        moved = timedelta(days=days)
        await pool.execute("update feature_use set at = at - $1::interval", moved)
        await pool.execute("update feature_counter set last_at = last_at - $1::interval", moved)
        await pool.execute(
            "update hold set created_at = created_at - $1::interval, expires_at = expires_at - $1::interval", moved
        )

    return by
