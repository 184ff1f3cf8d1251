"""What strangers and mistaken clients send: refused with the field's name, nothing sent on, nothing held."""

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from gateway_world import LIMITS, World, body, run_world
from msgspec.structs import replace

from tests.patience import PATIENCE_S

HUGE = 10**12


async def nothing_happened(world: World) -> None:
    assert world.provider.calls == []
    assert await world.pool.fetchval("select count(*) from hold") == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5.0}, "max_tokens"),
        ({"max_tokens": 1e400}, "body"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 10**40}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": -1}, "n"),
        ({"n": 128}, "n"),
        ({"n": 1.5}, "n"),
        ({"n": False}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": None}, "messages"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": "x" * 500}, "model"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
async def test_a_wrong_field_is_named(world: World, change: dict[str, Any], field: str) -> None:
    customer = await world.customer()
    content = json.dumps(body(**change)).replace("Infinity", "1e400").encode()
    response = await world.http(customer).post("/chat/completions", content=content)
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == field
    await nothing_happened(world)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"model": "small", "messages": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"model": NaN}',
        b'{"model": "\xed\xa0\x80"}',
    ],
)
async def test_what_is_no_json_object_is_refused(world: World, content: bytes) -> None:
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", content=content)
    assert response.status_code == 422
    await nothing_happened(world)


async def test_a_request_for_all_of_a_large_limit_and_many_choices_is_held_in_full(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body(max_tokens=HUGE, n=16))
    assert response.status_code == 200
    record = await world.record(customer)
    assert record["reserved"] >= 16 * 8000 * 2000
    assert world.provider.calls[0]["max_tokens"] == 8000


async def test_a_body_too_large_is_refused_before_it_is_read(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", content=b" " * 300_000)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"
    await nothing_happened(world)


async def test_a_chunked_body_is_cut_at_the_limit(world: World) -> None:
    customer = await world.customer()

    async def endless() -> Any:
        for _ in range(1000):
            yield b" " * 10_000

    response = await world.http(customer).post("/chat/completions", content=endless())
    assert response.status_code == 413
    await nothing_happened(world)


async def test_a_declared_length_is_not_believed_below_the_limit_only(world: World) -> None:
    customer = await world.customer()
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        "host: x",
        f"authorization: Bearer {customer.secret}",
        "content-length: 100000000",
        "",
        "",
    ]
    reader, writer = await raw(world, "\r\n".join(lines).encode())
    assert b"413" in await reader.readline()
    writer.close()
    await nothing_happened(world)


async def test_a_body_at_one_byte_a_second_runs_out_of_time(dsn: str, pool: Any, tmp_path: Any) -> None:
    async with run_world(dsn, pool, tmp_path, limits=replace(LIMITS, body_s=0.5)) as world:
        customer = await world.customer()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {customer.secret}\r\n"
        reader, writer = await raw(world, (head + "content-length: 1000\r\n\r\n{").encode())
        async with asyncio.timeout(PATIENCE_S):
            status = await reader.readline()
            rest = await reader.read()  # to the end: the connection is closed
        assert b"408" in status
        assert b"request_timeout" in rest
        writer.close()
        await nothing_happened(world)


async def test_a_packed_body_is_refused(world: World) -> None:
    customer = await world.customer()
    bomb = gzip.compress(b" " * 10_000_000)
    response = await world.http(customer).post("/chat/completions", content=bomb, headers={"content-encoding": "gzip"})
    assert response.status_code == 415
    await nothing_happened(world)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Basic dGVzdDp0ZXN0")],
        [("authorization", "Bearer tsk_nobody")],
        [("authorization", "Bearer ' or 1=1 --")],
        [("authorization", "Bearer tsk_'; drop table api_key; --")],
        [("authorization", b"Bearer tsk_\xff\xfe")],
        [("authorization", "Bearer " + "x" * 10_000)],
        [("x-api-key", "tsk_" + "a" * 43)],
        [("authorization", "{good}"), ("authorization", "{good}")],
        [("authorization", "{good}"), ("x-api-key", "tsk_nobody")],
        [("authorization", "{good}, Bearer x")],
        [("authorization", "{good}x")],
    ],
)
async def test_every_bad_key_gets_the_same_answer(world: World, headers: list[tuple[str, Any]]) -> None:
    customer = await world.customer()
    good = f"Bearer {customer.secret}"
    sent = [(name, value.replace("{good}", good) if isinstance(value, str) else value) for name, value in headers]
    response = await world.http().post("/chat/completions", json=body(), headers=sent)
    error = response.json()["error"]
    del error["request_id"]
    assert (response.status_code, error) == (
        401,
        {
            "message": "No, unknown, revoked or expired API key.",
            "type": "authentication_error",
            "param": None,
            "code": "invalid_api_key",
        },
    )
    await nothing_happened(world)


@pytest.mark.parametrize("value", [b"Bearer " + b"x" * 1_000_000, b"Bearer tsk_\x00"])
async def test_a_header_no_http_client_would_send(world: World, value: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nauthorization: " + value
    reader, writer = await raw(world, head + b"\r\n\r\n{}")
    status = await reader.readline()
    assert b"401" in status or b"400" in status
    writer.close()
    await nothing_happened(world)


async def test_a_key_in_the_other_header_is_as_good(world: World) -> None:
    customer = await world.customer()
    response = await world.http().post("/chat/completions", json=body(), headers={"x-api-key": customer.secret})
    assert response.status_code == 200


async def test_a_suspended_organization_is_refused(world: World) -> None:
    customer = await world.customer()
    await world.pool.execute("update organization set state = 'suspended' where id = $1", customer.organization)
    response = await world.http(customer).post("/chat/completions", json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (403, "organization_suspended")
    await nothing_happened(world)


async def test_an_unknown_and_an_unpriced_model(world: World) -> None:
    customer = await world.customer()
    http = world.http(customer)
    unknown = await http.post("/chat/completions", json=body(model="nobodys"))
    unpriced = await http.post("/chat/completions", json=body(model="unpriced"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert (unpriced.status_code, unpriced.json()["error"]["code"]) == (403, "model_not_priced")
    await nothing_happened(world)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chat/completions", 405),
        ("POST", "/models", 405),
        ("GET", "/nothing", 404),
        ("POST", "/embeddings", 404),
        ("GET", "/receipts/", 404),
        ("GET", "/receipts/not-an-id", 404),
        ("GET", "/receipts/01890000-0000-7000-8000-000000000000", 404),
        ("GET", "/models/nobodys", 404),
        ("GET", "/models/" + "%00", 404),
    ],
)
async def test_paths_that_are_not_there(world: World, method: str, path: str, status: int) -> None:
    customer = await world.customer()
    response = await world.http(customer).request(method, path)
    assert response.status_code == status
    assert "error" in response.json()


async def raw(world: World, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Bytes as no well-behaved client sends them."""
    url = httpx.URL(world.base_url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=4_000_000)
    writer.write(data)
    await writer.drain()
    return reader, writer
