"""Shops, and the offline Stripe that they are paid through."""

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest

from tallystick.payments.stripe.client import StripeClient
from tests.payments.shop import Shop, open_shop


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
async def control(stripe_address: str) -> AsyncIterator[Callable[..., Any]]:
    """Ask the offline Stripe for what Stripe has no API for; its faults are mended after the test."""
    async with httpx.AsyncClient(base_url=stripe_address, timeout=30) as client:

        async def ask(path: str, /, **body: object) -> Any:
            response = await client.post(f"/_sandbox/{path}", json=body)
            assert response.status_code == 200, response.text
            return response.json()

        yield ask
        await client.delete("/_sandbox/faults")


@pytest.fixture
async def stripe(stripe_address: str) -> AsyncIterator[StripeClient]:
    async with contextlib.AsyncExitStack() as stack:
        client = StripeClient("sk_test_of_the_tests", api_base=stripe_address, timeout_s=2.0, retries=1)
        stack.push_async_callback(client.close)
        yield client
