"""The client leaves at any moment: the call goes on to its usage, is charged, and leaves nothing open."""

import asyncio
from typing import Any

import httpx
from gateway_faults import arrived
from gateway_provider import answer, chunk, completion, event, spoken, stream
from gateway_world import INPUT, LIMITS, OUTPUT, World, body, run_world
from msgspec.structs import replace


async def leave_after(world: World, customer: Any, marker: bytes | None, calls: int = 1, **fields: Any) -> None:
    """Send a call on a connection of its own, and drop it once `marker` has come (None: once so many were sent on)."""
    url = httpx.URL(world.base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    request = httpx.Request("POST", url.join("/v1/chat/completions"), json=body(**fields))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n"
    writer.write(f"{head}content-length: {len(request.content)}\r\n\r\n".encode() + request.content)
    await writer.drain()
    if marker is None:
        await arrived(world.provider, calls)
    else:
        await reader.readuntil(marker)
    writer.transport.abort()


async def test_before_a_whole_answer(world: World) -> None:
    customer = await world.customer()
    world.provider.then(answer(delay_s=0.3))
    await leave_after(world, customer, None)
    record = await world.record(customer)
    assert (record["rule"], record["charge"], record["status"]) == ("client_gone", 10 * INPUT + 5 * OUTPUT, 0)
    await world.check_books(customer)


async def test_before_the_first_event(world: World) -> None:
    customer = await world.customer()
    world.provider.then(stream([0.3, *spoken(["Hello"])]))
    await leave_after(world, customer, None, stream=True)
    record = await world.record(customer)
    assert (record["rule"], record["charge"], record["status"]) == ("client_gone", 10 * INPUT + 5 * OUTPUT, 0)
    await world.check_books(customer)


async def test_in_the_middle_of_a_stream_the_usage_at_its_end_counts(world: World) -> None:
    customer = await world.customer()
    first, *rest = spoken(["Hel", "lo"])
    world.provider.then(stream([first, rest[0], 0.3, *rest[1:]]))
    await leave_after(world, customer, b"Hel", stream=True)
    record = await world.record(customer)
    assert (record["rule"], record["usage_source"]) == ("client_gone", "provider")
    assert (record["charge"], record["status"]) == (10 * INPUT + 5 * OUTPUT, 200)
    await world.check_books(customer)


async def test_a_stream_that_goes_on_for_ever_is_drained_for_a_while_only(dsn: str, pool: Any, tmp_path: Any) -> None:
    async with run_world(dsn, pool, tmp_path, limits=replace(LIMITS, drain_s=1.0)) as world:
        customer = await world.customer()
        world.provider.then(stream([event(chunk({"content": "word"})), 0.1] * 600))
        await leave_after(world, customer, b"word", stream=True)
        record = await world.record(customer)
        assert (record["rule"], record["usage_source"]) == ("client_gone", "estimated")
        # By what came until then.
        assert 1 <= record["output_tokens"] < 600
        await world.check_books(customer)


async def test_a_providers_failure_after_the_client_left_is_not_the_clients(world: World) -> None:
    customer = await world.customer()
    world.provider.then(answer(b"busy", 500, delay_s=0.3))
    await leave_after(world, customer, None)
    record = await world.record(customer)
    assert (record["rule"], record["charge"]) == ("upstream_error", 0)
    await world.check_books(customer)


async def test_leaving_in_the_middle_of_the_request_holds_nothing(world: World) -> None:
    customer = await world.customer()
    url = httpx.URL(world.base_url)
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n"
    writer.write(f"{head}content-length: 1000\r\n\r\n{{".encode())
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.1)
    assert await world.pool.fetchval("select count(*) from hold") == 0
    assert world.provider.calls == []


async def test_a_client_that_reads_nothing_is_taken_for_gone(dsn: str, pool: Any, tmp_path: Any) -> None:

    async with run_world(dsn, pool, tmp_path, limits=replace(LIMITS, client_write_s=0.3)) as world:
        customer = await world.customer()
        flood = [event(chunk({"content": "x" * 60_000})) for _ in range(200)]
        world.provider.then(stream([*flood, *spoken(["end"])]))
        url = httpx.URL(world.base_url)
        _, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        request = httpx.Request("POST", url, json=body(stream=True))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n"
        writer.write(f"{head}content-length: {len(request.content)}\r\n\r\n".encode() + request.content)
        await writer.drain()
        await arrived(world.provider, 1)
        record = await world.record(customer)
        assert record["rule"].startswith("client_gone")
        writer.transport.abort()
        await world.check_books(customer)


async def test_a_hundred_clients_that_leave_at_once(world: World) -> None:
    customer = await world.customer()
    world.provider.usual = stream([0.2, *spoken(["Hello"])])
    await asyncio.gather(*(leave_after(world, customer, None, calls=100, stream=True) for _ in range(100)))
    await world.quiet(customer)
    records = await world.records(customer)
    assert len(records) == 100
    assert {record["charge"] for record in records} == {10 * INPUT + 5 * OUTPUT}
    await world.check_books(customer)


async def test_an_empty_answer_to_nobody_is_free_all_the_same(world: World) -> None:
    customer = await world.customer()

    world.provider.then(answer(completion(""), delay_s=0.2))
    await leave_after(world, customer, None)
    record = await world.record(customer)
    assert (record["rule"], record["charge"]) == ("empty", 0)
