"""Forgetting old uses changes no answer."""

import asyncpg
import pytest

from tallystick.base.errors import QuotaExceeded
from tallystick.base.ids import new_id
from tallystick.ledger.account import open_account
from tallystick.quotas.prune import prune_uses
from tallystick.reservations.claim import FeatureClaim
from tallystick.reservations.lanes import Lanes
from tests.ledger.money import broken_laws


async def use(lanes: Lanes, account: int, feature: str, limit: int) -> int:
    claim = FeatureClaim(feature=feature, units=1, limit=limit)
    admitted = await lanes.admit(new_id(), account, 0, (claim,), expires_in_s=60, counted=True)
    return admitted.used[0]


async def age(connection: asyncpg.Connection, hours: int) -> None:
    await connection.execute("update feature_use set at = at - make_interval(hours => $1)", hours)
    await connection.execute("update feature_counter set last_at = last_at - make_interval(hours => $1)", hours)


async def test_uses_that_left_their_windows_are_forgotten_and_nothing_else_changes(
    pool: asyncpg.Pool, lanes: Lanes
) -> None:
    async with pool.acquire() as connection:
        accounts = [await open_account(connection) for _ in range(4)]
        for account in accounts:
            for feature in ("exports", "scans"):
                for _ in range(3):
                    await use(lanes, account, feature, 3)
        await age(connection, 745)
        for account in accounts:
            assert await use(lanes, account, "exports", 3) == 1
        assert await prune_uses(pool) == 24
        assert await prune_uses(pool) == 0
        assert await connection.fetchval("select count(*) from feature_use") == 4
        assert [await use(lanes, accounts[0], "exports", 3) for _ in range(2)] == [2, 3]
        with pytest.raises(QuotaExceeded):
            await use(lanes, accounts[0], "exports", 3)
        assert await use(lanes, accounts[1], "scans", 3) == 1
        assert await broken_laws(connection) == {}


async def test_what_left_its_window_within_a_day_is_kept(pool: asyncpg.Pool, lanes: Lanes) -> None:
    async with pool.acquire() as connection:
        account = await open_account(connection)
        await use(lanes, account, "exports", 3)
        await age(connection, 740)
        assert await prune_uses(pool) == 0
        assert await use(lanes, account, "exports", 3) == 1
