"""Shops, and the offline Stripe that they are paid through."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import asyncpg
import pytest

from tallystick.payments.stripe.client import StripeClient
from tests.payments.refunds.till import Till, open_till
from tests.payments.shop import Shop, open_shop
from tests.stand_in import Control, stripe_client, stripe_control


@pytest.fixture
def new_shop(pool: asyncpg.Pool) -> Callable[..., Any]:
    return partial(open_shop, pool)


@pytest.fixture
async def shop(new_shop: Callable[..., Any]) -> Shop:
    """After every test that uses it the books must balance, whatever the test did."""
    made: Shop = await new_shop()
    return made


@pytest.fixture
async def books(shop: Shop) -> AsyncIterator[None]:
    yield
    assert await shop.broken_laws() == []


@pytest.fixture
async def control(stripe_address: str) -> AsyncIterator[Control]:
    async with stripe_control(stripe_address) as ask:
        yield ask


@pytest.fixture
async def stripe(stripe_address: str) -> AsyncIterator[StripeClient]:
    async with stripe_client(stripe_address) as client:
        yield client


@pytest.fixture
async def till(dsn: str, pool: asyncpg.Pool, stripe: StripeClient, control: Control) -> Till:
    """On a database of its own."""
    return await open_till(dsn, pool, stripe, control)
