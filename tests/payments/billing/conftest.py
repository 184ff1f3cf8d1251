"""An offline Stripe with a clock of its own, and organizations that subscribe through it."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import httpx
import pytest

from tallystick.catalog.publish import apply
from tallystick.payments.billing.sync import sync
from tallystick.payments.stripe.client import StripeClient
from tests.payments.billing.subscriber import CATALOG, LONG_AGO, Subscriber, new_subscriber


@pytest.fixture(scope="module")
def own_stripe() -> Iterator[str]:
    """Its clock is moved on, so that nobody else may have it."""
    command = [sys.executable, "-m", "tallystick.sandbox.stripe", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
        process.wait(timeout=10)


@pytest.fixture
async def stripe(own_stripe: str) -> AsyncIterator[StripeClient]:
    async with contextlib.AsyncExitStack() as stack:
        client = StripeClient("sk_test_of_the_tests", api_base=own_stripe, timeout_s=5.0, retries=1)
        stack.push_async_callback(client.close)
        yield client


@pytest.fixture
async def control(own_stripe: str) -> AsyncIterator[Callable[..., Awaitable[dict[str, object]]]]:
    async with httpx.AsyncClient(base_url=own_stripe, timeout=30) as client:

        async def ask(path: str, /, **body: object) -> dict[str, object]:
            response = await client.post(f"/_sandbox/{path}", json=body)
            assert response.status_code == 200, response.text
            answer: dict[str, object] = response.json()
            return answer

        yield ask
        await client.delete("/_sandbox/faults")


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
    pool: asyncpg.Pool, stripe: StripeClient, control: Callable[..., Awaitable[dict[str, object]]], sold: dict[str, str]
) -> AsyncIterator[Subscriber]:
    """After every test that uses it the books must be in order."""
    made = await new_subscriber(pool, stripe, control, sold)
    yield made
    assert await made.broken_laws() == []
