"""An operator who refunds."""

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from tallystick.payments.refunds.create import create
from tallystick.payments.refunds.refund import Refund
from tests.payments.refunds.till import Paid, Till


@pytest.fixture
def give(till: Till, pool: asyncpg.Pool) -> Callable[..., Any]:
    async def call(paid: Paid, **more: Any) -> Refund:
        return await create(pool, till.stripe, paid.order, reason="asked for", by="operator:ada", **more)

    return call
