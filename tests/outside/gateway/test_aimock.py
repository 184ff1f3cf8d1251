"""@copilotkit/aimock as the provider: it tells exact usage, and exactly that is charged."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest
from gateway_world import INPUT, OUTPUT, World, run_world

from tallystick.base.money import format_amount

pytestmark = pytest.mark.npm


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path, aimock_url: str) -> AsyncIterator[World]:
    provider = SimpleNamespace(base_url=f"{aimock_url}/v1")
    async with run_world(dsn, pool, tmp_path / "journals", provider=provider) as running:
        yield running


@pytest.mark.parametrize("streamed", [False, True])
async def test_exact_usage_is_exactly_charged(world: World, streamed: bool) -> None:
    customer = await world.customer()
    client = world.sdk(customer)
    messages = [{"role": "user", "content": "exact"}]
    charge = 123 * INPUT + 45 * OUTPUT
    if streamed:
        opened = await client.chat.completions.create(
            model="small", messages=messages, max_tokens=100, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in opened]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        told = chunks[-1].usage
    else:
        answer = await client.chat.completions.create(model="small", messages=messages, max_tokens=100)
        text, told = answer.choices[0].message.content, answer.usage
    assert text == "Counted by hand."
    assert (told.prompt_tokens, told.completion_tokens, told.cost) == (123, 45, format_amount(charge))
    record = await world.record(customer)
    assert (record["charge"], record["rule"], record["usage_source"]) == (charge, "completed", "provider")
    await world.check_books(customer)


async def test_a_tool_call_is_an_answer(world: World) -> None:
    customer = await world.customer()
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    answer = await world.sdk(customer).chat.completions.create(
        model="small", messages=[{"role": "user", "content": "weather"}], tools=[tool], max_tokens=100
    )
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"city":"Paris"}'
    assert (await world.record(customer))["charge"] == 50 * INPUT + 20 * OUTPUT
    await world.check_books(customer)


async def test_what_it_does_not_know_is_a_failure_that_costs_nothing(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).post(
        "/chat/completions", json={"model": "small", "messages": [{"role": "user", "content": "something else"}]}
    )
    assert response.status_code == 502
    assert (await world.record(customer))["charge"] == 0
    await world.check_books(customer)
