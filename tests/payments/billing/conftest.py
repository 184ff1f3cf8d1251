"""An offline Stripe with a clock of its own, and organizations that subscribe through it."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tallystick.catalog.publish import apply
from tallystick.payments.billing.sync import sync
from tallystick.payments.stripe.client import StripeClient
from tests.payments.billing.subscriber import CATALOG, LONG_AGO, Subscriber, new_subscriber
from tests.stand_in import STRIPE, Control, started


@pytest.fixture(scope="module")
def stripe_address() -> Iterator[str]:
    """Its clock is moved on, so that nobody else may have it."""
    with started(STRIPE) as address:
        yield address


@pytest.fixture
async def sold(pool: asyncpg.Pool, stripe: StripeClient) -> dict[str, str]:
    """The plans, on sale here and at Stripe: their prices there."""
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=LONG_AGO)
    await sync(pool, stripe)
    rows = await pool.fetch("select plan, id from stripe_price where meter is null")
    return {row["plan"]: row["id"] for row in rows}


@pytest.fixture
async def subscriber(
    pool: asyncpg.Pool, stripe: StripeClient, control: Control, sold: dict[str, str]
) -> AsyncIterator[Subscriber]:
    """After every test that uses it the books must be in order."""
    made = await new_subscriber(pool, stripe, control, sold)
    yield made
    assert await made.broken_laws() == []
