"""A call that a limit refuses is told of by webhook, once, beside its answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import openai
import pytest
from gateway_plans import PLANS, ask, refused
from gateway_world import World, run_world

from tests.patience import PATIENCE_S


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals", plans=PLANS) as running:
        yield running


async def test_an_allowance_that_has_ended_is_told_once(world: World, pool: asyncpg.Pool) -> None:
    customer = await world.subscriber("starter")
    client = world.sdk(customer)
    for _ in range(3):
        await ask(client)
    for _ in range(4):
        await refused(client, openai.RateLimitError)
    async with asyncio.timeout(PATIENCE_S):
        while not (rows := await pool.fetch("select * from notice where type = 'quota.exceeded'")):
            await asyncio.sleep(0.02)
    (row,) = rows
    data = json.loads(row["data"])
    assert row["organization"] == customer.organization
    assert (data["limit_source"], data["name"], data["limit"], data["used"]) == ("included", "requests", 3, 3)
