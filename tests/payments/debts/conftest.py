"""A till whose customer owes for a dispute."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tallystick.payments.stripe.client import StripeClient
from tests.payments.refunds.till import Till, open_till


@pytest.fixture
async def till(dsn: str, pool: asyncpg.Pool, stripe: StripeClient, control: Callable[..., Any]) -> Till:
    return await open_till(dsn, pool, stripe, control)


@pytest.fixture
async def owing(till: Till) -> str:
    """The dispute of 25 dollars' credits, which were spent."""
    paid = await till.buy()
    await till.spend(25 * 10**9)
    dispute = await till.dispute(paid)
    await till.receive(await till.events(paid))
    return dispute
