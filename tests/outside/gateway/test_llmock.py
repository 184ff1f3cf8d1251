"""llmock as the provider: it fails in the ways in which the real ones do, and judges who calls it."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import openai
import pytest
from gateway_world import UPSTREAM, Customer, World, body, run_world
from msgspec.structs import replace

# llmock ends with its last answer.
TOO_LONG_S = 15
SOON_ENOUGH = replace(UPSTREAM, first_byte_s=4.0, between_s=4.0)


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path, llmock_url: str) -> AsyncIterator[World]:
    provider = SimpleNamespace(base_url=f"{llmock_url}/v1", admin=f"{llmock_url}/_llmock")
    async with run_world(dsn, pool, tmp_path / "journals", provider=provider, upstream=SOON_ENOUGH) as running:
        yield running


async def script(world: World, *behaviors: dict[str, Any]) -> None:
    async with httpx.AsyncClient() as client:
        response = await client.post(f"{world.provider.admin}/scenario", json={"behaviors": list(behaviors)})
        assert response.is_success, response.text


async def attempts(world: World) -> int:
    async with httpx.AsyncClient() as client:
        told = (await client.get(f"{world.provider.admin}/requests")).json()
    return sum(request["path"].endswith("/chat/completions") for request in told["requests"])


async def paid_as_told(world: World, customer: Customer) -> asyncpg.Record:
    record = await world.record(customer)
    assert (record["rule"], record["usage_source"]) == ("completed", "provider")
    assert record["charge"] > 0
    await world.check_books(customer)
    return record


async def test_plain_streamed_and_with_tools(world: World) -> None:
    for fields in ({}, {"stream": True}, {"tools": [{"type": "function", "function": {"name": "search"}}]}):
        customer = await world.customer()
        response = await world.http(customer).post("/chat/completions", json=body(**fields))
        assert response.status_code == 200
        await paid_as_told(world, customer)


async def test_the_sdk_reads_its_streams(world: World) -> None:
    customer = await world.customer()
    opened = await world.sdk(customer).chat.completions.create(
        **body(stream=True, stream_options={"include_usage": True})
    )
    chunks = [chunk async for chunk in opened]
    assert any(chunk.choices and chunk.choices[0].delta.content for chunk in chunks)
    record = await paid_as_told(world, customer)
    assert chunks[-1].usage.completion_tokens == record["output_tokens"]


@pytest.mark.parametrize(
    ("behavior", "expected", "rule"),
    [
        ({"type": "fail", "status": 503}, openai.InternalServerError, "upstream_error"),
        ({"type": "fail", "status": 500}, openai.InternalServerError, "upstream_error"),
        ({"type": "fail", "status": 401}, openai.InternalServerError, "upstream_error"),
        ({"type": "fail", "status": 400}, openai.BadRequestError, "refused"),
        ({"type": "fail", "status": 429, "retry_after": 2}, openai.RateLimitError, "upstream_error"),
        ({"type": "delay", "seconds": TOO_LONG_S}, openai.InternalServerError, "upstream_error"),
    ],
)
async def test_a_failure_costs_nothing_and_is_not_retried(
    world: World, behavior: dict[str, Any], expected: type[openai.APIStatusError], rule: str
) -> None:
    await script(world, behavior)
    customer = await world.customer()
    with pytest.raises(expected):
        await world.sdk(customer).chat.completions.create(**body())
    record = await world.record(customer)
    assert (record["charge"], record["rule"]) == (0, rule)
    assert await attempts(world) <= 1  # one that was given up is not listed yet
    await world.check_books(customer)


@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed", "stall"])
async def test_a_stream_that_breaks_is_charged_by_what_came(world: World, kind: str) -> None:
    await script(world, {"type": "stream_fault", "kind": kind, "after_chunks": 3, "stall_seconds": TOO_LONG_S})
    customer = await world.customer()
    opened = await world.sdk(customer).chat.completions.create(**body(stream=True))
    with pytest.raises(openai.APIError):
        [chunk async for chunk in opened]
    record = await world.record(customer)
    assert (record["rule"], record["usage_source"]) == ("truncated", "estimated")
    assert 0 < record["charge"] < record["reserved"]
    await world.check_books(customer)


async def test_a_slow_first_token_is_waited_for(world: World) -> None:
    await script(world, {"type": "slow_first_token", "seconds": 1})
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body(stream=True))
    assert response.status_code == 200
    await paid_as_told(world, customer)
