"""kill -9 of a gateway in the middle of its calls: the next start ends each of their holds, once."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from gateway_faults import arrived, gateway_process, in_progress, prepared, start_call
from gateway_provider import answer, chunk, event, stream
from gateway_world import LIMITS, OUTPUT, World, body, make_customer, run_world
from msgspec.structs import replace

from tallystick.base.ids import new_id
from tallystick.gateway.journal import Journal, read
from tallystick.gateway.recover import Recovery, settle_orphans
from tallystick.reservations.lanes import Lanes
from tallystick.reservations.sweep import Sweeper
from tests.patience import PATIENCE_S


async def test_each_hold_of_a_killed_gateway_is_ended_once(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        provider = await prepared(dsn, pool, tmp_path, stack)
        customer = await make_customer(pool, 10**9)
        async with gateway_process(dsn, tmp_path) as (process, base_url):
            calls = [await start_call(base_url, customer)]
            await calls[0]
            provider.usual = answer(delay_s=300)
            calls += [await start_call(base_url, customer) for _ in range(5)]
            await arrived(provider, 6)
            provider.usual = stream([event(chunk({"content": "word "})), 0.1] * 600)
            calls += [await start_call(base_url, customer, stream=True, max_tokens=8000) for _ in range(5)]
            await arrived(provider, 11)
            await in_progress(tmp_path, 5)
            process.send_signal(signal.SIGKILL)
            await asyncio.gather(*calls)
        held = await pool.fetchval("select count(*) from hold where state = 'open'")
        assert held == 10
        async with run_world(dsn, pool, tmp_path, provider=provider) as world:
            assert await world.open_holds(customer) == 0
            records = await world.records(customer)
            assert [record["outcome"] for record in records].count("completed") == 1
            recovered = [record for record in records if record["outcome"] == "recovered"]
            assert len(recovered) == 10
            assert {record["usage_source"] for record in recovered} == {"estimated"}
            for record in recovered:
                if record["stream"]:
                    # By its progress: some words, far from the 8,000 tokens that were reserved.
                    assert 5 <= record["output_tokens"] < 600 * 2
                    assert record["charge"] < record["reserved"]
                else:
                    assert record["charge"] == record["reserved"]
            await world.check_books(customer)
            assert len(list(tmp_path.glob("*.journal"))) == 1


async def test_two_recoveries_at_once_end_each_hold_once(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        provider = await prepared(dsn, pool, tmp_path, stack)
        customer = await make_customer(pool, 10**9)
        provider.usual = answer(delay_s=300)
        async with gateway_process(dsn, tmp_path) as (process, base_url):
            calls = [await start_call(base_url, customer) for _ in range(8)]
            await arrived(provider, 8)
            process.send_signal(signal.SIGKILL)
            await asyncio.gather(*calls)
        both = [Lanes(dsn), Lanes(dsn)]
        for lanes in both:
            await lanes.start()
            stack.push_async_callback(lanes.stop)
        ended = await asyncio.gather(*(Recovery(pool, lanes, tmp_path).run() for lanes in both))
        assert sorted(ended) == [0, 8]
        assert [await Recovery(pool, lanes, tmp_path).run() for lanes in both] == [0, 0]
        assert await pool.fetchval("select count(*) from usage_record where outcome = 'recovered'") == 8


async def test_a_living_gateways_journal_is_left_alone(world: World) -> None:
    customer = await world.customer()
    world.provider.usual = answer(delay_s=0.4)
    call = asyncio.create_task(world.http(customer).post("/chat/completions", json=body()))
    await arrived(world.provider, 1)
    assert await Recovery(world.pool, world.lanes, world.folder).run() == 0
    assert (await call).status_code == 200
    await world.check_books(customer)


async def test_holds_that_were_never_sent_are_released(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    """Died between the reserve and the line in the journal: nothing left, so nothing is charged."""
    customer = await make_customer(pool, 10**9)
    dead = Journal(tmp_path)
    dead.start()
    async with contextlib.AsyncExitStack() as stack:
        lanes = Lanes(dsn)
        await lanes.start()
        stack.push_async_callback(lanes.stop)

        await lanes.reserve(new_id(), customer.account, 1000 * OUTPUT, expires_in_s=900, dispatcher=dead.dispatcher)
        os.close(dead._file)  # as the death of the process would
        assert await Recovery(pool, lanes, tmp_path).run() == 1
        assert await pool.fetchval("select state from hold") == "released"
        assert await pool.fetchval("select posted from ledger_account where id = $1", customer.account) == 10**9


async def test_a_hold_whose_journal_is_lost_is_charged_what_it_set_aside(world: World) -> None:
    customer = await world.customer()
    await world.lanes.reserve(new_id(), customer.account, 5000, expires_in_s=1, dispatcher=new_id())
    sweeper = Sweeper(world.pool, orphan_after_s=0, young_s=0)
    async with asyncio.timeout(PATIENCE_S):
        while not (orphans := (await sweeper.sweep()).orphans):
            await asyncio.sleep(0.1)
    assert await settle_orphans(world.lanes, orphans) == 1
    assert await settle_orphans(world.lanes, orphans) == 1  # the same again is the same answer
    assert await world.posted(customer) == 10**9 - 5000


async def test_sigterm_lets_running_calls_finish(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        provider = await prepared(dsn, pool, tmp_path, stack)
        customer = await make_customer(pool, 10**9)
        told = asyncio.Event()
        provider.usual = answer(until=told)
        async with gateway_process(dsn, tmp_path) as (process, base_url):
            calls = [await start_call(base_url, customer) for _ in range(5)]
            await arrived(provider, 5)
            process.send_signal(signal.SIGTERM)
            late: list[asyncio.Task[Any]] = []
            # Those that come before the signal does are let through, and wait for their answers.
            while not any(call.done() for call in late):
                late.append(await start_call(base_url, customer))
                await asyncio.wait(late, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
            told.set()
            responses = await asyncio.gather(*calls)
            others = await asyncio.gather(*late)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        assert [response.status_code for response in responses] == [200] * 5
        let_through = [other for other in others if other.status_code == 200]
        refused = [other for other in others if other.status_code == 503]
        assert len(let_through) + len(refused) == len(others) > len(let_through)
        assert {response.headers["retry-after"] for response in refused} == {"1"}
        completed = await pool.fetchval("select count(*) from usage_record where outcome = 'completed'")
        assert completed == 5 + len(let_through)
        assert await pool.fetchval("select count(*) from hold where state = 'open'") == 0
        assert list(tmp_path.glob("*.journal")) == []


async def test_a_stop_cuts_what_does_not_finish(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:

    limits = replace(LIMITS, shutdown_s=0.3)
    async with run_world(dsn, pool, tmp_path, limits=limits) as world:
        customer = await world.customer()
        http = world.http(customer)
        world.provider.then(stream([event(chunk({"content": "word"})), 20.0]), answer(delay_s=20))
        async with http.stream("POST", "/chat/completions", json=body(stream=True)) as streamed:
            parts = streamed.aiter_text()
            cut = await anext(parts)
            assert "word" in cut
            whole = asyncio.create_task(http.post("/chat/completions", json=body()))
            await arrived(world.provider, 2)
            await world.app.shutdown()
            refused = await whole
            cut += "".join([part async for part in parts])
        assert '"code":"unavailable"' in cut
        assert cut.endswith("data: [DONE]\n\n")
        assert refused.status_code == 503
        by_rule = {record["rule"]: record for record in await world.records(customer)}
        assert by_rule["stopped"]["output_tokens"] == 1
        assert by_rule["our_fault"]["charge"] == 0
        await world.check_books(customer)
        # The fixture shuts down again, which must do no harm.


@pytest.mark.parametrize("torn", [b"", b'["dispatched","0190', b"\n\n{}\n[1]\n"])
def test_a_torn_or_strange_line_is_passed_over(tmp_path: Path, torn: bytes) -> None:

    journal = Journal(tmp_path)
    journal.start()
    (path,) = tmp_path.glob("*.journal")
    with path.open("ab") as file:
        file.write(torn)
    found = read(path)
    assert found.dispatcher == journal.dispatcher
    assert found.open == {}
    journal.stop(clean=True)
