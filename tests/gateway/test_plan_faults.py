"""Plans when things go wrong: what was counted is counted once, what was not used is given back, in every crash."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import asyncpg
import openai
import pytest
from gateway_faults import arrived, fault, gateway_process, in_progress, prepared, settled, start_call
from gateway_plans import EXTRA, PLANS, ask, refused
from gateway_provider import answer, chunk, event, spoken, stream
from gateway_world import HASTY, HASTY_S, Customer, World, body, make_customer, run_world

from tallystick.base.ids import new_id
from tallystick.constraints.period import period_at
from tallystick.gateway.journal import Journal
from tallystick.gateway.recover import Recovery, settle_orphans
from tallystick.reservations.claim import Claim
from tallystick.reservations.sweep import Sweeper
from tallystick.subscriptions.publish import publish_constraints
from tallystick.subscriptions.subscribe import subscribe
from tests.patience import PATIENCE_S


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals", plans=PLANS) as running:
        yield running


async def subscriber(pool: asyncpg.Pool, plan: str) -> Customer:
    made = await make_customer(pool, 0)
    async with pool.acquire() as connection:
        await subscribe(connection, made.organization, plan)
    return made


async def first_claim(world: World, customer: Customer, units: int) -> Claim:
    """Of the plan's only meter, in the period that is now."""
    document = await world.constraints.find(customer.organization)
    (meter,), now = document.meters, await world.pool.fetchval("select clock_timestamp()")
    period = period_at(document.period, now)
    return Claim(
        meter=meter.meter,
        units=units,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        allowance=meter.allowance,
        price=meter.price,
        per=meter.per,
    )


async def test_the_claims_of_a_killed_gateway_are_settled_by_what_it_wrote_down(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        provider = await prepared(dsn, pool, tmp_path, stack, PLANS)
        pro, words, pair = [await subscriber(pool, plan) for plan in ("pro", "words", "pair")]
        async with gateway_process(dsn, tmp_path) as (process, base_url):
            for _ in range(2):
                await (await start_call(base_url, pro))
            provider.usual = answer(delay_s=300)
            calls = [await start_call(base_url, pro)]
            calls += [await start_call(base_url, pair) for _ in range(2)]
            await arrived(provider, 5)
            provider.usual = stream([event(chunk({"content": "word "})), 0.1] * 600)
            calls.append(await start_call(base_url, words, stream=True, max_tokens=200))
            await arrived(provider, 6)
            await in_progress(tmp_path, 1)
            process.send_signal(signal.SIGKILL)
            await asyncio.gather(*calls)
        provider.usual = answer()
        async with run_world(dsn, pool, tmp_path, provider=provider, plans=PLANS) as world:
            assert [await world.open_holds(customer) for customer in (pro, words, pair)] == [0, 0, 0]
            assert await world.counted(pro, "requests") == (3, 0)
            assert await world.posted(pro) == -EXTRA
            assert (await world.records(pro))[-1]["charge"] == EXTRA
            used, held = await world.counted(words, "output_tokens")
            assert 5 <= used < 200
            assert held == 0
            assert await world.counted(pair, "concurrency") == (0, 0)
            await ask(world.sdk(pair))
            for customer in (pro, words, pair):
                await world.check_books(customer, 0, by_price=False)


async def test_with_the_database_away_the_journal_has_what_was_used(server_dsn: str, hasty: World) -> None:
    world = hasty
    customer = await world.subscriber("pro")
    client = world.sdk(customer)
    for _ in range(2):
        await ask(client)
    async with fault(server_dsn, world.dsn) as database:
        first, *rest = spoken(["Hel", "lo"])
        world.provider.then(stream([first, database.away, *rest]))
        opened = await client.chat.completions.create(**body(stream=True, stream_options={"include_usage": True}))
        last = [one async for one in opened][-1]
        # What it costs beyond what is included, the ledger alone could tell.
        assert not hasattr(last.usage, "cost")
        assert last.usage.cost_details["layer"] == "overage"
        # The terms are remembered, but there is no hold without a ledger.
        assert (await refused(client, openai.InternalServerError)).status_code == 503
        await database.back()
        await settled(world, customer)
    assert await world.counted(customer, "requests") == (3, 0)
    assert await world.posted(customer) == -EXTRA
    await world.check_books(customer, 0, by_price=False)


async def test_units_in_the_journal_outlive_the_process(
    server_dsn: str, dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with fault(server_dsn, dsn) as database:
        async with run_world(dsn, pool, tmp_path, plans=PLANS, limits=HASTY, patience_s=HASTY_S) as world:
            customer = await world.subscriber("words")
            first, *rest = spoken(["Hel", "lo"])
            world.provider.then(stream([first, database.away, *rest]))
            response = await world.http(customer).post("/chat/completions", json=body(stream=True))
            assert response.status_code == 200
        await database.back()
        async with run_world(dsn, pool, tmp_path, provider=world.provider, plans=PLANS) as world:
            assert await world.counted(customer, "output_tokens") == (5, 0)
            await world.check_books(customer, 0)


async def test_an_orphan_is_charged_what_it_set_aside_once(world: World) -> None:
    """Its claims as they were made, and the price of what lies beyond the allowance no second time."""
    customer = await world.subscriber("pro")
    claim = await first_claim(world, customer, 4)
    await world.lanes.admit(new_id(), customer.account, 0, [claim], expires_in_s=1, dispatcher=new_id())
    sweeper = Sweeper(world.pool, orphan_after_s=0, young_s=0)
    async with asyncio.timeout(PATIENCE_S):
        while not (orphans := (await sweeper.sweep()).orphans):
            await asyncio.sleep(0.1)
    assert await settle_orphans(world.lanes, orphans) == 1
    assert await world.counted(customer, "requests") == (4, 0)
    assert await world.posted(customer) == -2 * EXTRA


async def test_a_journal_that_cannot_be_written_gives_the_claims_back(world: World) -> None:
    customer = await world.subscriber("trickle")
    client = world.sdk(customer)
    with Path("/dev/null").open("rb") as read_only:
        good, world.journal._file = world.journal._file, read_only.fileno()
        try:
            await refused(client, openai.InternalServerError)
        finally:
            world.journal._file = good
    await settled(world, customer)
    assert await world.counted(customer, "requests") == (0, 0)
    raw = await ask(client)
    assert json.loads(raw.content)["usage"]["cost_details"]["limits"][0]["used"] == 1


async def test_what_was_claimed_and_never_sent_is_given_back(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    """Died between the reserve and the line in the journal."""
    dead = Journal(tmp_path / "dead")
    dead.start()
    async with run_world(dsn, pool, tmp_path / "alive", plans=PLANS) as world:
        customer = await world.subscriber("starter")
        claim = await first_claim(world, customer, 3)
        await world.lanes.admit(new_id(), customer.account, 0, [claim], expires_in_s=900, dispatcher=dead.dispatcher)
        assert await world.counted(customer, "requests") == (0, 3)
        os.close(dead._file)  # as the death of the process would
        assert await Recovery(pool, world.lanes, tmp_path / "dead").run() == 1
        assert await world.counted(customer, "requests") == (0, 0)
        await ask(world.sdk(customer))
        await world.check_books(customer, 0)


async def test_a_new_period_begins_at_its_moment(world: World) -> None:
    # Longer on a machine that takes so long for what comes before it.
    for seconds in (4, 20, 60):
        customer = await world.subscriber("trickle")
        async with world.pool.acquire() as connection:
            begins_at = await connection.fetchval(
                "update subscription set anchor = clock_timestamp() + make_interval(secs => $2) where organization = $1"
                " returning anchor",
                customer.organization,
                seconds,
            )
            await publish_constraints(connection, customer.organization)
        client = world.sdk(customer)
        await ask(client)
        if await world.pool.fetchval("select clock_timestamp() < $1::timestamptz - interval '2 seconds'", begins_at):
            break
    refusal = await refused(client, openai.RateLimitError)
    assert refusal.body["metadata"]["name"] == "requests"
    assert 1 <= int(refusal.response.headers["retry-after"]) <= seconds
    assert "x-should-retry" not in refusal.response.headers
    # OpenAI's client waits as long as it is told to, and gets through.
    await ask(client.with_options(max_retries=2))
    assert await world.counted(customer, "requests") == (2, 0)


async def test_the_clock_of_the_database_says_which_period_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(days=40)

    customer = await world.subscriber("starter")
    monkeypatch.setattr("tallystick.gateway.server.datetime", Ahead)
    await ask(world.sdk(customer))
    periods = await world.pool.fetch(
        "select used, clock_timestamp() between starts_at and ends_at as now from meter_counter where account = $1",
        customer.account,
    )
    assert [tuple(period) for period in periods] == [(1, True)]
