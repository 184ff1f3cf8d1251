"""Organizations whose usage is recorded, meters of each kind, and constraints that a test writes itself."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.accounts.organization import Organization
from tallystick.catalog.plan import Meter, PlanRates
from tallystick.constraints.constraints import Constraints, MeterConstraint, PeriodRule
from tallystick.metering.record import Recorded, Refused, record_events

METERS = {
    name: Meter(name=name, title=name, unit="unit", aggregation=aggregation)
    for name, aggregation in (
        ("runs", "count"),
        ("pages", "sum"),
        ("seats", "max"),
        ("sessions", "unique"),
    )
}

FIRST = datetime(2026, 1, 1, tzinfo=UTC)

Record = Callable[..., Awaitable[Sequence[Recorded | Refused]]]


@pytest.fixture
async def ada(pool: asyncpg.Pool) -> Organization:
    return await _organization(pool, "Ada's lab")


@pytest.fixture
async def eve(pool: asyncpg.Pool) -> Organization:
    return await _organization(pool, "Eve's lab")


async def _organization(pool: asyncpg.Pool, name: str) -> Organization:
    async with pool.acquire() as connection:
        return await organization.create(connection, name=name)


@pytest.fixture
def documents() -> dict[str, Constraints]:
    """The constraints that are in force, by organization. The others have none but calendar months."""
    return {}


@pytest.fixture
def constrain(documents: dict[str, Constraints]) -> Callable[..., Constraints]:
    """Put constraints in force: `constrain(ada, pages=(allowance, cap, price, per))`."""

    def put(who: Organization, anchor: datetime = FIRST, **meters: Any) -> Constraints:
        documents[who.id] = _document(who.id, who.account, anchor, meters)
        return documents[who.id]

    return put


def _document(who: str, account: int, anchor: datetime, meters: dict[str, Any]) -> Constraints:
    return Constraints(
        organization=who, account=account, version=1, plan=None, plan_version=None, strategy="custom", status="active",
        access=True, access_reason=None, auth_modes=("credits",), charges_models=True, tier="free", quotas={},
        period=PeriodRule(anchor=anchor, interval="month"), features=(), rates=PlanRates(), routes=None, credit_limit=0,
        overdraft=0, default_max_tokens=None,
        meters=tuple(
            MeterConstraint(meter=name, allowance=terms[0], cap=terms[1], price=terms[2], per=terms[3])
            for name, terms in meters.items()
        ),
    )  # fmt: skip


@pytest.fixture
def constraints_of(documents: dict[str, Constraints]) -> Callable[[str], Awaitable[Constraints]]:
    async def find(organization: str) -> Constraints:
        return documents.get(organization) or _document(organization, 0, FIRST, {})

    return find


@pytest.fixture
def record(pool: asyncpg.Pool, constraints_of: Any) -> Record:
    async def events(*given: object, **options: Any) -> Sequence[Recorded | Refused]:
        return await record_events(pool, given, meters=lambda _at: METERS, constraints_of=constraints_of, **options)

    return events
