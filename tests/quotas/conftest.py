"""An organization with an account, constraints documents of its own, and writers on a real database."""

from collections.abc import Callable
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest

from tallystick.accounts import organization
from tallystick.catalog.plan import PlanRates
from tallystick.constraints.constraints import Constraints, PeriodRule


@pytest.fixture
def new_customer(pool: asyncpg.Pool) -> Callable[..., object]:
    async def make(tier: str = "free", **quotas: int | None) -> Constraints:
        async with pool.acquire() as connection:
            made = await organization.create(connection, name="Ada's lab")
        return Constraints(
            organization=made.id, account=made.account, version=1, plan=None, plan_version=None, strategy="prepaid",
            status="none", access=True, access_reason=None, auth_modes=("credits",), charges_models=True, meters=(),
            period=PeriodRule(anchor=datetime(2026, 1, 1, tzinfo=UTC), interval="month"), tier=tier,
            quotas={"ad_generations": 10, "exports": None, **quotas}, features=(), rates=PlanRates(), routes=None,
            credit_limit=0, overdraft=0, default_max_tokens=None,
        )  # fmt: skip

    return make


@pytest.fixture
async def ada(new_customer) -> Constraints:
    return await new_customer()


@pytest.fixture
def replace() -> Callable[..., Constraints]:
    return msgspec.structs.replace
