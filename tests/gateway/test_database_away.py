"""The database goes away at the worst moments: nobody is let through unpaid, nothing that was paid for is lost."""

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest
from gateway_faults import fault, settled
from gateway_provider import answer, spoken, stream
from gateway_world import HASTY, HASTY_S, INPUT, OUTPUT, World, body, run_world

from tests.patience import eventually

CHARGE = 10 * INPUT + 5 * OUTPUT


@pytest.fixture
def world(hasty: World) -> World:
    return hasty


async def test_away_at_settle_time_the_journal_has_it_and_then_the_ledger(server_dsn: str, world: World) -> None:
    customer = await world.customer()
    http = world.http(customer)
    async with fault(server_dsn, world.dsn) as database:

        async def lose_it() -> None:
            await database.away()

        first, *rest = spoken(["Hel", "lo"])
        world.provider.then(stream([first, lose_it, *rest]))
        response = await http.post("/chat/completions", json=body(stream=True, stream_options={"include_usage": True}))
        assert response.text.endswith("data: [DONE]\n\n")
        assert '"cost":"0.00002"' in response.text
        refused = await http.post("/chat/completions", json=body())
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert len(world.provider.calls) == 1
        assert await world.app.unready() is not None
        await database.back()
        await settled(world, customer)
    (record,) = await world.records(customer)
    assert (record["charge"], record["outcome"]) == (CHARGE, "completed")
    assert (await http.post("/chat/completions", json=body())).status_code == 200
    await world.check_books(customer)


async def test_a_settlement_in_the_journal_outlives_the_process(
    server_dsn: str, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with fault(server_dsn, dsn) as database:
        async with run_world(dsn, pool, tmp_path, limits=HASTY, patience_s=HASTY_S) as world:
            customer = await world.customer()

            async def lose_it() -> None:
                await database.away()

            first, *rest = spoken(["Hel", "lo"])
            world.provider.then(stream([first, lose_it, *rest]))
            response = await world.http(customer).post("/chat/completions", json=body(stream=True))
            assert response.status_code == 200
        # The gateway has stopped with the database still away.
        (left,) = tmp_path.glob("*.journal")
        assert b'"settlement"' in left.read_bytes()
        assert b"Say hello" not in left.read_bytes()
        await database.back()
        async with run_world(dsn, pool, tmp_path, provider=world.provider) as world:
            (record,) = await world.records(customer)
            assert (record["charge"], record["outcome"], record["usage_source"]) == (CHARGE, "completed", "provider")
            await world.check_books(customer)


async def test_away_before_the_reserve_nothing_is_sent(server_dsn: str, world: World) -> None:
    customer = await world.customer()
    http = world.http(customer)
    assert (await http.get("/key")).status_code == 200
    async with fault(server_dsn, world.dsn) as database:
        await database.away()
        responses = await asyncio.gather(*(http.post("/chat/completions", json=body()) for _ in range(5)))
        assert {response.status_code for response in responses} == {503}
        assert all(int(response.headers["retry-after"]) >= 1 for response in responses)
        assert world.provider.calls == []
        await database.back()
        await settled(world, customer)

    async def is_answered() -> bool:
        return (await http.post("/chat/completions", json=body())).status_code == 200

    await eventually(is_answered)
    await world.check_books(customer)


async def test_away_and_back_again_and_again_under_load(server_dsn: str, world: World) -> None:
    customer = await world.customer()
    http = world.http(customer)
    world.provider.usual = answer(delay_s=0.05)
    async with fault(server_dsn, world.dsn) as database:
        statuses: list[int] = []
        is_over = False

        async def load() -> None:
            while not is_over:
                statuses.append((await http.post("/chat/completions", json=body())).status_code)

        running = [asyncio.create_task(load()) for _ in range(8)]

        async def ten_more() -> None:
            answered = statuses.count(200)
            await eventually(lambda: statuses.count(200) >= answered + 10)

        for _ in range(3):
            await ten_more()
            await database.away()
            await asyncio.sleep(0.2)
            await database.back()
        is_over = True
        await asyncio.gather(*running)
        await settled(world, customer)
    assert set(statuses) <= {200, 503}
    records = await world.records(customer)
    assert len(records) >= statuses.count(200)
    assert {record["charge"] for record in records} == {CHARGE}
    await world.check_books(customer)


async def test_a_journal_that_cannot_be_written_lets_nothing_out(world: World) -> None:
    """As on a full disk: the hold is given back, and the customer may try again."""

    customer = await world.customer()
    read_only = os.open("/dev/null", os.O_RDONLY)
    good, world.journal._file = world.journal._file, read_only
    try:
        response = await world.http(customer).post("/chat/completions", json=body())
    finally:
        world.journal._file = good
        os.close(read_only)
    assert response.status_code == 503
    assert world.provider.calls == []
    await settled(world, customer)
    assert (await world.http(customer).post("/chat/completions", json=body())).status_code == 200
    await world.check_books(customer)
