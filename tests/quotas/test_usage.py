from datetime import UTC, datetime
from uuid import UUID

import pytest

from tallystick.base.errors import InvalidInput
from tallystick.quotas.admit import admit
from tallystick.quotas.limit import UnknownFeature
from tallystick.quotas.usage import check, usage
from tallystick.quotas.use import WINDOW, FeatureUsage


@pytest.fixture
def use(pool, lanes):
    async def one(customer, units=1, feature="ad_generations"):
        return await admit(pool, lanes, customer, feature, now=datetime.now(UTC), units=units)

    return one


async def test_every_feature_is_told_those_never_used_too(pool, ada, use):
    await use(ada, 3)
    await use(ada, 2, "exports")
    async with pool.acquire() as connection:
        told = await usage(connection, ada)
        now = await connection.fetchval("select clock_timestamp()")
    assert told.tier == "free"
    assert told.usage == {
        "ad_generations": FeatureUsage(used=3, limit=10, remaining=7),
        "exports": FeatureUsage(used=2, limit=None, remaining=None),
    }
    assert told.period_end - told.period_start == WINDOW
    assert abs((now - told.period_end).total_seconds()) < 60


async def test_who_never_used_anything_is_told_zeros(pool, ada):
    async with pool.acquire() as connection:
        told = await usage(connection, ada)
    assert told.usage["ad_generations"] == FeatureUsage(used=0, limit=10, remaining=10)


async def test_a_feature_that_left_the_catalog_is_told_no_more(pool, ada, use, replace):
    await use(ada)
    without = replace(ada, quotas={"exports": None})
    async with pool.acquire() as connection:
        assert set((await usage(connection, without)).usage) == {"exports"}


async def test_check_says_what_the_next_use_would_be_told(pool, ada, use):
    async with pool.acquire() as connection:
        told = await check(connection, ada, "ad_generations")
        assert told
        assert (told.used, told.limit, told.remaining, told.retry_at, told.reason) == (0, 10, 10, None, None)
        first = await use(ada, 9)
        assert await check(connection, ada, "ad_generations")
        told = await check(connection, ada, "ad_generations", units=2)
        assert not told
        assert (told.used, told.remaining, told.retry_at) == (9, 1, first.resets_at)
        assert (await check(connection, ada, "ad_generations", units=11)).retry_at is None
        # Asking took nothing.
        assert (await use(ada)).used == 10


async def test_unlimited_is_always_admitted(pool, ada, use):
    await use(ada, 1000, "exports")
    async with pool.acquire() as connection:
        told = await check(connection, ada, "exports", units=10**9)
    assert told
    assert (told.used, told.limit, told.remaining) == (1000, None, None)


async def test_a_smaller_plan_leaves_nothing_and_not_less(pool, ada, use, replace):
    await use(ada, 8)
    smaller = replace(ada, quotas={**ada.quotas, "ad_generations": 5})
    async with pool.acquire() as connection:
        told = await check(connection, smaller, "ad_generations")
        assert (told.allowed, told.used, told.remaining) == (False, 8, 0)
        assert (await usage(connection, smaller)).usage["ad_generations"].remaining == 0


async def test_wrong_questions_are_refused(pool, ada):
    async with pool.acquire() as connection:
        with pytest.raises(UnknownFeature):
            await check(connection, ada, "typo")
        with pytest.raises(InvalidInput):
            await check(connection, ada, "ad_generations", units=0)


async def test_tier_usage_is_read_as_a_table_of_uses(pool, ada, use):
    told = await use(ada, 3)
    (row,) = await pool.fetch("select * from tier_usage")
    assert list(row.keys()) == ["id", "user_id", "feature", "count", "window_start", "window_end", "created_at"]
    assert (row["id"], row["user_id"], row["feature"], row["count"]) == (
        UUID(told.id), ada.organization, "ad_generations", 3,
    )  # fmt: skip
    assert row["window_end"] - row["window_start"] == WINDOW
    assert row["window_start"] == row["created_at"]
    assert row["window_end"] == told.resets_at


async def test_the_counts_in_tier_usage_add_up_to_what_is_used(pool, ada, use):
    for units in (1, 2, 3):
        await use(ada, units)
    assert await pool.fetchval("select sum(count) from tier_usage where window_end > now()") == 6
