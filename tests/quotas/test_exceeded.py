"""That a limit is used up is told once for each limit and window, and keeps nobody waiting."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from msgspec.structs import replace

from tallystick.accounts import organization
from tallystick.base.errors import QuotaExceeded
from tallystick.constraints.constraints import Constraints, PeriodRule
from tallystick.quotas.exceeded import Exceeded
from tallystick.subscriptions.publish import publish_constraints

NOW = datetime(2026, 3, 10, tzinfo=UTC)


@pytest.fixture
async def constraints(pool: asyncpg.Pool) -> Constraints:
    async with pool.acquire() as connection:
        made = await organization.create(connection, name="Ada's lab")
        compiled = await publish_constraints(connection, made.id)
    return replace(compiled, period=PeriodRule(anchor=datetime(2026, 1, 1, tzinfo=UTC), interval="month"))


def refusal(layer: str = "included", name: str = "requests", limit: int = 3, used: int = 3) -> QuotaExceeded:
    return QuotaExceeded("Used up.", layer=layer, name=name, limit=limit, used=used, retry_at=NOW + timedelta(days=1))


async def told(pool: asyncpg.Pool) -> list[dict[str, object]]:
    rows = await pool.fetch("select type, data from notice order by seq")
    assert {row["type"] for row in rows} <= {"quota.exceeded"}
    return [json.loads(row["data"]) for row in rows]


async def test_it_is_told_once_by_all_processes(pool: asyncpg.Pool, constraints: Constraints) -> None:
    processes = [Exceeded(pool) for _ in range(3)]
    for _ in range(20):
        for process in processes:
            process.tell(constraints, refusal(), NOW)
            process.tell(constraints, refusal(), NOW + timedelta(days=20))
    await asyncio.gather(*(process.stop() for process in processes))
    assert await told(pool) == [
        {
            "organization": constraints.organization, "limit_source": "included", "name": "requests", "limit": 3,
            "used": 3, "retry_at": "2026-03-11T00:00:00Z",
        }
    ]  # fmt: skip


async def test_another_period_limit_or_feature_is_told_anew(pool: asyncpg.Pool, constraints: Constraints) -> None:
    exceeded = Exceeded(pool)
    exceeded.tell(constraints, refusal(), NOW)
    exceeded.tell(constraints, refusal(), NOW + timedelta(days=31))
    exceeded.tell(constraints, refusal(limit=5, used=5), NOW)
    exceeded.tell(constraints, refusal(layer="overage"), NOW)
    exceeded.tell(constraints, refusal(layer="quota", name="exports"), NOW)
    exceeded.tell(constraints, refusal(layer="quota", name="exports"), NOW + timedelta(days=30))
    await exceeded.stop()
    assert len(await told(pool)) == 6


async def test_money_is_told_in_credits(pool: asyncpg.Pool, constraints: Constraints) -> None:
    exceeded = Exceeded(pool)
    exceeded.tell(constraints, refusal(name="dollars", limit=5 * 10**9, used=4_999_999_999), NOW)
    await exceeded.stop()
    (row,) = await pool.fetch("select data->>'limit' as limit, data->>'used' as used from notice")
    assert (row["limit"], row["used"]) == ("5.00", "4.999999999")


async def test_what_is_no_limit_is_not_told(pool: asyncpg.Pool, constraints: Constraints) -> None:
    exceeded = Exceeded(pool)
    exceeded.tell(constraints, refusal(layer="access"), NOW)
    await exceeded.stop()
    assert await told(pool) == []


async def test_what_could_not_be_told_is_told_by_the_next_refusal(pool: asyncpg.Pool, constraints: Constraints) -> None:
    exceeded = Exceeded(pool)
    await pool.execute("alter table notice rename to notice_away")
    exceeded.tell(constraints, refusal(), NOW)
    await exceeded.stop()
    await pool.execute("alter table notice_away rename to notice")
    exceeded.tell(constraints, refusal(), NOW)
    await exceeded.stop()
    assert len(await told(pool)) == 1
