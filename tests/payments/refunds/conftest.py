"""A till on a database of its own."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tallystick.payments.stripe.client import StripeClient
from tests.payments.refunds.till import Till, open_till


@pytest.fixture
async def till(dsn: str, pool: asyncpg.Pool, stripe: StripeClient, control: Callable[..., Any]) -> Till:
    return await open_till(dsn, pool, stripe, control)
