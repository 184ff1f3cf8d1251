"""A worker that is told to stop: what its requests began beside their answers is finished, and nothing goes on."""

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import asyncpg
import httpx
import pytest

from tallystick.accounts import user
from tallystick.app.startup import Startup
from tallystick.app.worker import application
from tallystick.catalog.publish import apply
from tallystick.settings import Settings

TOKEN: Final = "service-token-of-the-tests"
FEATURES: Final = ("ad_generations", "exports", "analyses")
CATALOG: Final = "".join(
    f'[[feature]]\nname = "{name}"\ntitle = "{name}"\nlimits = {{ free = 0 }}\n' for name in FEATURES
)


@pytest.fixture
async def ada(pool: asyncpg.Pool) -> str:
    async with pool.acquire() as connection:
        await apply(connection, CATALOG, now=datetime.now(UTC), dry_run=False)
    return (await user.sign_up(pool, email="ada@example.com", password="correct horse")).user_id


async def test_what_is_being_told_when_it_stops_is_told(dsn: str, pool: asyncpg.Pool, ada: str, tmp_path: Path) -> None:
    """One connection, which waits for a lock that others hold: the other notices wait for the connection."""
    before = asyncio.all_tasks()
    settings = Settings(data_dir=tmp_path, services_tokens=TOKEN, database_connections=1)
    stopping = asyncio.Event()

    async def serve() -> None:
        async with application(Startup(settings=settings, dsn=dsn)) as (served, _gateway):
            transport = httpx.ASGITransport(cast("Any", served))
            async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
                await asyncio.gather(*(_refused(client, ada, feature) for feature in FEATURES))
            stopping.set()

    async with pool.acquire() as other:
        # Nobody reads who pays for whom, or the constraints, in the way of the lock.
        transaction = other.transaction()
        await transaction.start()
        await other.execute("lock table notice in access exclusive mode")
        serving = asyncio.create_task(serve())
        await stopping.wait()
        await asyncio.sleep(0.2)
        assert not serving.done()
        await transaction.rollback()
    await serving
    rows = await pool.fetch("select data from notice where type = 'quota.exceeded'")
    assert _names(rows) == set(FEATURES)
    assert asyncio.all_tasks() == before


async def _refused(client: httpx.AsyncClient, user_id: str, feature: str) -> None:
    answer = await client.post(
        "/api/tier/use",
        headers={"x-tallystick-services-token": TOKEN},
        json={"user_id": user_id, "feature": feature},
    )
    assert answer.status_code == 429, answer.text


def _names(rows: Iterable[asyncpg.Record]) -> set[str]:
    return {json.loads(row["data"])["name"] for row in rows}
