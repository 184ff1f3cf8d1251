"""Many at once: exactly as many calls are let through as there are funds for."""

import asyncio
from pathlib import Path

import asyncpg
import httpx
from gateway_provider import spoken, stream
from gateway_world import World, body, run_world

from tallystick.gateway.upstream import UpstreamLimits


async def test_two_hundred_calls_with_funds_for_three(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    # Two hundred clients in this one process may take their time; none of the three calls may end before.
    patient = UpstreamLimits(connect_s=60, first_byte_s=60, between_s=60, total_s=120)
    async with run_world(dsn, pool, tmp_path / "journals", upstream=patient) as world:
        await _two_hundred_calls(world)


async def _two_hundred_calls(world: World) -> None:
    probe = await world.customer()
    await world.http(probe).post("/chat/completions", json=body())
    reserved = (await world.record(probe))["reserved"]
    # What is left beside three holds must not even hold a clamped call.
    funds = 3 * reserved + 50_000
    customer = await world.customer(funds)
    world.provider.calls.clear()
    refused = asyncio.Event()
    world.provider.usual = stream([refused.wait, *spoken(["Hello"])])
    http = world.http(customer, limits=httpx.Limits(max_connections=None), timeout=100)
    statuses: list[int] = []

    async def call() -> None:
        statuses.append((await http.post("/chat/completions", json=body(stream=True))).status_code)
        # Only when all the others have been refused do those that were let through come to an end.
        if statuses.count(402) >= 197:
            refused.set()

    await asyncio.gather(*(call() for _ in range(200)))
    assert statuses.count(200) == len(world.provider.calls) == 3
    assert statuses.count(402) == 197
    await world.check_books(customer, funds)


async def test_many_customers_at_once_each_pay_their_own(world: World) -> None:
    customers = [await world.customer() for _ in range(10)]
    clients = [world.http(customer) for customer in customers]
    calls = [
        client.post("/chat/completions", json=body(stream=n % 2 == 0)) for client in clients for n in range(1, 6, 2)
    ]
    responses = await asyncio.gather(*calls)
    assert {response.status_code for response in responses} == {200}
    for customer in customers:
        await world.check_books(customer)
        assert len(await world.records(customer)) == 3
