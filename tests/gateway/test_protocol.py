"""Requests as they come over the wire, whole or in pieces, in order or at once, polite or not."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gateway_provider import answer, chunk, event, spoken, stream
from gateway_server import serve
from gateway_world import Customer, World, body

from tests.patience import PATIENCE_S

CHAT = "/v1/chat/completions"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


def request(customer: Customer, *lines: str, path: str = CHAT, version: str = "1.1", **fields: Any) -> bytes:
    """A call as bytes; `lines` in place of the one that tells the length."""
    content = json.dumps(body(**fields)).encode()
    told = "\r\n".join(lines or [f"content-length: {len(content)}"])
    head = f"POST {path} HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n{told}\r\n\r\n"
    return head.encode() + content


@contextlib.asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = httpx.URL(base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=4_000_000)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield reader, writer
    finally:
        writer.transport.abort()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines), "a header came twice"
    return int(status.split()[1]), headers


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    status, headers = await read_head(reader)
    return status, headers, json.loads(await reader.readexactly(int(headers["content-length"])))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    blocks = []
    while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
        blocks.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return b"".join(blocks)


async def test_requests_sent_at_once_are_answered_in_their_order(world: World) -> None:
    customer = await world.customer()
    world.provider.then(answer(delay_s=0.2), stream(spoken(["one"])))
    key = f"GET /v1/key HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n\r\n".encode()
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer) + key + request(customer, stream=True) + key + request(customer))
        assert (await read_answer(reader))[2]["object"] == "chat.completion"
        assert (await read_answer(reader))[2]["object"] == "key"
        assert (await read_head(reader))[1]["transfer-encoding"] == "chunked"
        assert (await read_chunks(reader)).endswith(b"data: [DONE]\n\n")
        assert (await read_answer(reader))[2]["object"] == "key"
        assert (await read_answer(reader))[2]["object"] == "chat.completion"
    await world.quiet(customer)
    assert len(await world.records(customer)) == 3
    await world.check_books(customer)


async def test_a_request_byte_by_byte(world: World) -> None:
    customer = await world.customer()
    async with connected(world.base_url) as (reader, writer):
        for _ in range(2):
            for byte in request(customer):
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await read_answer(reader))[0] == 200
    await world.check_books(customer)


async def test_a_body_in_chunks(world: World) -> None:
    customer = await world.customer()
    content = json.dumps(body(user="u" * 100_000)).encode()
    pieces = [content[:1], content[1:70_000], content[70_000:]]
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, "transfer-encoding: chunked").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        for piece in (*pieces, b""):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0.01)
        assert (await read_answer(reader))[0] == 200
    assert world.provider.calls[0]["user"] == "u" * 100_000


async def test_a_client_that_asks_first_is_told_to_go_on(world: World) -> None:
    customer = await world.customer()
    content = request(customer).partition(b"\r\n\r\n")[2]
    lines = ["expect: 100-continue", f"content-length: {len(content)}"]
    head = request(customer, *lines).removesuffix(content)
    async with connected(world.base_url) as (reader, writer):
        writer.write(head)
        assert await reader.readexactly(len(GO_ON)) == GO_ON
        writer.write(content)
        assert (await read_answer(reader))[0] == 200
        # One that sends its body all the same is not told; nor is one that is refused.
        writer.write(head + content)
        assert (await read_answer(reader))[0] == 200
        writer.write(head.replace(b"Bearer tsk", b"Bearer xxx"))
        assert (await read_answer(reader))[0] == 401


@pytest.mark.parametrize("path", [f"{CHAT}?beta=true", "/v1/chat%2Fcompletions", f"http://x{CHAT}"])
async def test_the_same_path_in_other_words(world: World, path: str) -> None:
    customer = await world.customer()
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, path=path))
        assert (await read_answer(reader))[0] == 200


async def test_another_method_is_refused(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).get("/chat/completions")
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_a_client_of_http_1_0_reads_to_the_end_of_the_connection(world: World) -> None:
    customer = await world.customer()
    world.provider.then(stream(spoken(["one"])))
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, version="1.0", stream=True))
        status, headers = await read_head(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in headers
        told = await reader.read()
        assert told.startswith(b"data: {")
        assert told.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_wants_no_more_is_closed(world: World) -> None:
    customer = await world.customer()
    length = len(request(customer).partition(b"\r\n\r\n")[2])
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, "connection: close", f"content-length: {length}"))
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "lines",
    [
        ["content-length: 5", "transfer-encoding: chunked"],
        ["content-length: 5", "content-length: 6"],
        ["content-length: +5"],
        ["transfer-encoding: chunked, identity"],
        ["transfer-encoding : chunked"],
        ["content-length: 5", "x: 1\r\n folded"],
    ],
)
async def test_what_two_servers_could_read_in_two_ways_is_read_in_none(world: World, lines: list[str]) -> None:
    customer = await world.customer()
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, *lines))
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        await reader.read()  # to the end: the connection is closed
    assert world.provider.calls == []
    assert await world.pool.fetchval("select count(*) from hold") == 0


async def test_nothing_from_a_catalog_becomes_a_header_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await world.customer()
    monkeypatch.setattr("tallystick.gateway.answer._text", lambda name: name.encode() + b"\r\nset-cookie: a=b")
    response = await world.http(customer).post("/chat/completions", json=body())
    assert response.status_code == 500
    assert "set-cookie" not in response.headers


async def test_a_large_body_waits_until_its_key_is_known(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body(user="u" * 190_000))
    assert response.status_code == 200


async def test_a_stream_to_a_slow_reader_is_whole(world: World) -> None:
    customer = await world.customer()
    flood = [event(chunk({"content": f"{number} " + "x" * 50_000})) for number in range(100)]
    world.provider.then(stream([*flood, *spoken(["end"])]))
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, stream=True))
        await read_head(reader)
        await asyncio.sleep(0.5)
        told = await read_chunks(reader)
    assert told.startswith(b"".join(flood))
    assert told.endswith(b"data: [DONE]\n\n")


async def test_who_leaves_with_another_request_in_line_is_noticed_by_the_next_write(world: World) -> None:
    customer = await world.customer()
    slowly = [part for block in spoken(["one", "two", "three", "four"]) for part in (block, 0.2)]
    world.provider.then(stream(slowly))
    async with connected(world.base_url) as (reader, writer):
        writer.write(request(customer, stream=True) + request(customer))
        await read_head(reader)
    record = await world.record(customer)
    assert (record["rule"], record["usage_source"]) == ("client_gone", "provider")
    assert len(world.provider.calls) == 1
    await world.check_books(customer)


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not(world: World) -> None:
    customer = await world.customer()
    world.provider.then(answer(), answer(delay_s=1.5))
    async with serve(world.app, timeout_keep_alive=1) as base_url, connected(base_url) as (reader, writer):
        for _ in range(3):
            writer.write(request(customer))
            assert (await read_answer(reader))[0] == 200
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.read() == b""


async def test_a_server_that_stops_lets_answers_end(world: World) -> None:
    customer = await world.customer()
    first, *rest = spoken(["one", "two"])
    world.provider.then(stream([first, rest[0], 0.5, *rest[1:]]))
    async with contextlib.AsyncExitStack() as clients:
        async with serve(world.app, patient=True) as base_url:
            idle, _ = await clients.enter_async_context(connected(base_url))
            reader, writer = await clients.enter_async_context(connected(base_url))
            writer.write(request(customer, stream=True))
            await read_head(reader)
            reading = asyncio.create_task(read_chunks(reader))
            await asyncio.sleep(0.1)
        assert (await reading).endswith(b"data: [DONE]\n\n")
        assert (await reader.read(), await idle.read()) == (b"", b"")
