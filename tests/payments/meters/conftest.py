from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest

from tallystick.payments.billing.names import event_name
from tallystick.payments.stripe.billing_meter import create_billing_meter
from tallystick.payments.stripe.client import StripeClient
from tests.payments.meters.metered import SESSIONS, TOKENS, Metered, open_metered


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def hour(now: datetime) -> datetime:
    """The last hour that has ended for long enough to be reported."""
    return (now - timedelta(minutes=3)).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


@pytest.fixture
async def meters(stripe: StripeClient) -> None:
    """The offline Stripe is one for all tests, and knows a name once."""
    for meter in (SESSIONS, TOKENS):
        await create_billing_meter(stripe, event_name(meter), meter)


@pytest.fixture
def new_metered(pool: asyncpg.Pool, stripe: StripeClient, meters: None) -> Callable[..., Any]:
    return partial(open_metered, pool, stripe)


@pytest.fixture
async def acme(new_metered: Callable[..., Any], hour: datetime) -> Metered:
    """Billed by Stripe for two days."""
    made: Metered = await new_metered(hour - timedelta(days=2))
    return made
