"""An offline Stripe that nobody else uses: all that it ever moved must be explained."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from tallystick.payments.stripe.client import StripeClient
from tests.payments.refunds.till import Till, open_till


@pytest.fixture
def own_stripe() -> Iterator[str]:
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
async def control(own_stripe: str) -> AsyncIterator[Callable[..., Any]]:
    async with httpx.AsyncClient(base_url=own_stripe, timeout=30) as client:

        async def ask(path: str, /, **body: object) -> Any:
            response = await client.post(f"/_sandbox/{path}", json=body)
            assert response.status_code == 200, response.text
            return response.json()

        yield ask


@pytest.fixture
async def till(dsn: str, pool: asyncpg.Pool, stripe: StripeClient, control: Callable[..., Any]) -> Till:
    return await open_till(dsn, pool, stripe, control)
