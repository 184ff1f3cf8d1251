"""An application's gate that refuses tells the organization, once."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tallystick import QuotaExceeded, Tallystick
from tests.patience import PATIENCE_S


async def test_a_refused_use_is_told_once(
    pool: asyncpg.Pool, tally: Tallystick, new_customer: Callable[..., Awaitable[str]]
) -> None:
    organization = await new_customer()
    for _ in range(3):
        await tally.use(organization, "ad_generations")
    for _ in range(5):
        with pytest.raises(QuotaExceeded):
            await tally.use(organization, "ad_generations")
    async with asyncio.timeout(PATIENCE_S):
        while not (rows := await pool.fetch("select * from notice where type = 'quota.exceeded'")):
            await asyncio.sleep(0.02)
    (row,) = rows
    data = json.loads(row["data"])
    assert row["organization"] == organization
    assert (data["limit_source"], data["name"], data["limit"], data["used"]) == ("quota", "ad_generations", 3, 3)
    assert data["retry_at"] is not None
