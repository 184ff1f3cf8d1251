"""What was sold changes while gateways run: each of them feels it, also when it was not told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import openai
import pytest
from gateway_faults import fault, settled
from gateway_plans import EXTRA, PLANS, ask, felt, refused
from gateway_world import CATALOG, CREDIT, Customer, World, run_world
from msgspec.structs import replace

from tallystick.accounts import organization
from tallystick.catalog.plan import PlanRates
from tallystick.catalog.publish import apply
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.move import move
from tallystick.subscriptions.override import override
from tests.patience import PATIENCE_S


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals", plans=PLANS) as running:
        yield running


async def taken(client: Any) -> Any:
    """The first answer after a change that allows one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await ask(client)
            except openai.APIStatusError:
                await asyncio.sleep(0.02)


async def used_up(world: World) -> tuple[Customer, Any]:
    customer = await world.subscriber("starter")
    client = world.sdk(customer)
    for _ in range(3):
        await ask(client)
    await refused(client, openai.RateLimitError)
    return customer, client


async def test_a_larger_plan_opens_what_was_used_up(world: World) -> None:
    customer, client = await used_up(world)
    async with world.pool.acquire() as connection:
        await change_plan(connection, customer.organization, "pro", when="now")
    # The period goes on: its requests are counted against the new plan.
    assert (await taken(client)).headers["x-tallystick-cost"] == "0.0005"
    assert await world.counted(customer, "requests") == (4, 0)
    await world.check_books(customer, 0, by_price=False)


async def test_two_gateways_feel_it_when_no_notification_comes(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, world: World
) -> None:
    async with run_world(dsn, pool, tmp_path / "other", provider=world.provider, plans=PLANS) as other:
        customer, client = await used_up(world)
        clients = [client, other.sdk(customer)]
        await refused(clients[1], openai.RateLimitError)
        async with pool.acquire() as connection, connection.transaction():
            # As `announce` does it, but for the notification.
            await connection.execute(
                "create or replace function announce(p_kind text, p_subject text) returns void language sql as"
                " 'insert into change (kind, subject) values (p_kind, p_subject)'"
            )
            await change_plan(connection, customer.organization, "capped", when="now")
        metadata = []
        for each in clients:
            async with asyncio.timeout(PATIENCE_S):
                while (found := (await refused(each, openai.RateLimitError)).body["metadata"])[
                    "limit_source"
                ] != "overage":
                    await asyncio.sleep(0.02)
            metadata.append((found["limit"], found["used"]))
        assert metadata == [(3, 3)] * 2


async def test_a_price_beyond_the_allowance_changes_for_those_who_are_moved(world: World) -> None:
    customer = await world.subscriber("pro")
    client = world.sdk(customer)
    for _ in range(2):
        await ask(client)
    dearer = PLANS.replace("credit_limit = 0.001\nmeters", "credit_limit = 0.01\nmeters").replace(
        "allowance = 2, overage = { price = 0.50,", "allowance = 2, overage = { price = 0.70,"
    )
    async with world.pool.acquire() as connection:
        await apply(
            connection,
            CATALOG.format(base_url=world.provider.base_url) + dearer,
            now=await connection.fetchval("select clock_timestamp()"),
        )
        assert (await ask(client)).headers["x-tallystick-cost"] == "0.0005"
        await move(connection, customer.organization, "pro")
    async with asyncio.timeout(PATIENCE_S):
        while (await ask(client)).headers["x-tallystick-cost"] != "0.0007":
            await asyncio.sleep(0.02)
    await world.check_books(customer, 0, by_price=False)


async def test_rates_and_credit_that_were_agreed(world: World) -> None:
    customer = await world.subscriber("team")
    client = world.sdk(customer)
    await ask(client)
    async with world.pool.acquire() as connection:
        rates = PlanRates(requests_per_minute=1)
        await override(connection, customer.organization, lambda agreed: replace(agreed, rates=rates))
    assert (await felt(client, openai.RateLimitError)).code == "rate_limit_exceeded"
    owing = await world.subscriber("pro")
    client = world.sdk(owing)
    for _ in range(4):
        await ask(client)
    assert (await refused(client, openai.APIStatusError)).status_code == 402
    async with world.pool.acquire() as connection:
        await override(connection, owing.organization, lambda agreed: replace(agreed, credit_limit=3 * EXTRA))
    await taken(client)
    assert await world.posted(owing) == -3 * EXTRA


async def test_who_is_suspended_is_refused(world: World) -> None:
    customer = await world.subscriber("team")
    client = world.sdk(customer)
    await ask(client)
    async with world.pool.acquire() as connection:
        await organization.change(connection, customer.organization, state="suspended", default_max_tokens=None)
    assert (await felt(client, openai.PermissionDeniedError)).code == "organization_suspended"


async def test_after_the_database_was_away_limits_stand_where_they_stood(server_dsn: str, hasty: World) -> None:
    world = hasty
    customer, client = await used_up(world)
    other = world.sdk(await world.customer(CREDIT))
    calls = len(world.provider.calls)
    async with fault(server_dsn, world.dsn) as database:
        await database.away()
        for each in (client, other):
            assert (await refused(each, openai.InternalServerError)).status_code == 503
        await database.back()
        await settled(world, customer)
    assert len(world.provider.calls) == calls
    await taken(other)
    assert (await felt(client, openai.RateLimitError)).body["metadata"]["used"] == 3
