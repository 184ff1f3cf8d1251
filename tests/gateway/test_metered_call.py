"""A paid call through a real server: what the provider is sent, what the customer gets, what the books say."""

import json
from typing import Any

import pytest
from gateway_provider import answer, completion, spoken, stream, usage
from gateway_world import CREDIT, INPUT, OUTPUT, SECRET, World, body

from tallystick.base.money import format_amount

CHARGE = 10 * INPUT + 5 * OUTPUT


async def test_a_plain_call_is_charged_exactly_once(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body())
    assert response.status_code == 200, response.text
    told = response.json()
    assert told["choices"][0]["message"]["content"] == "Hello there"
    assert told["usage"]["cost"] == format_amount(CHARGE)
    assert told["usage"]["prompt_tokens"] == 10
    assert response.headers["x-tallystick-cost"] == format_amount(CHARGE)
    assert response.headers["x-tallystick-balance"] == format_amount(CREDIT - CHARGE)
    assert response.headers["x-tallystick-provider"] == "acme"
    assert response.headers["x-tallystick-model"] == "small-1"
    assert response.headers["x-tallystick-attempts"] == "1"
    record = await world.record(customer)
    assert (record["charge"], record["cost"], record["outcome"]) == (CHARGE, CHARGE // 2, "completed")
    assert (record["usage_source"], record["status"], record["stream"]) == ("provider", 200, False)
    assert str(record["id"]) == response.headers["x-request-id"]
    await world.check_books(customer)


async def test_the_provider_sees_its_own_credential_and_nothing_of_the_customer(world: World) -> None:
    customer = await world.customer()
    await world.http(customer).post(
        "/chat/completions",
        json=body(base_url="http://evil", api_key="x", cost=0, extra_headers={"x": "y"}, temperature=0.5, user="u1"),
        headers={"x-smuggled": "1", "openai-organization": "org", "cookie": "a=b"},
    )
    (call,), (headers,) = world.provider.calls, world.provider.headers
    assert call == {
        "model": "small-1",
        "messages": [{"role": "user", "content": "Say hello"}],
        "max_tokens": 100,
        "temperature": 0.5,
        "user": "u1",
    }
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert set(headers) == {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "user-agent",
        "accept",
        "accept-encoding",
    }


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {"max_tokens": 4096}),
        ({"max_tokens": 10**12}, {"max_tokens": 8000}),
        ({"max_completion_tokens": 10**12}, {"max_completion_tokens": 8000}),
        ({"max_tokens": 50, "max_completion_tokens": 70}, {"max_completion_tokens": 50}),
        ({"max_tokens": None, "n": 2}, {"max_tokens": 4096, "n": 2}),
    ],
)
async def test_no_more_output_is_asked_for_than_was_reserved(
    world: World, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    customer = await world.customer()
    request = {name: value for name, value in body().items() if name != "max_tokens"} | asked
    response = await world.http(customer).post("/chat/completions", json=request)
    assert response.status_code == 200, response.text
    (call,) = world.provider.calls
    assert {name: call[name] for name in call if name not in {"model", "messages"}} == sent
    record = await world.record(customer)
    limit = sent.get("max_tokens") or sent["max_completion_tokens"]
    assert record["reserved"] >= limit * sent.get("n", 1) * OUTPUT + 10 * INPUT


async def test_the_default_of_the_organization_comes_before_that_of_the_server(world: World) -> None:
    customer = await world.customer(default_max_tokens=77)
    await world.http(customer).post("/chat/completions", json={"model": "small", "messages": body()["messages"]})
    assert world.provider.calls[0]["max_tokens"] == 77


async def test_output_is_clamped_to_what_the_balance_holds(world: World) -> None:
    funds = 1_000_000  # 1,000 input tokens, or 500 output tokens
    customer = await world.customer(funds)
    response = await world.http(customer).post("/chat/completions", json=body(max_tokens=8000))
    assert response.status_code == 200
    clamped = world.provider.calls[0]["max_tokens"]
    assert 64 <= clamped < 500
    record = await world.record(customer)
    assert funds - 2 * OUTPUT < record["reserved"] <= funds
    await world.check_books(customer, funds)


async def test_too_few_credits_name_both_ways_out(world: World) -> None:
    customer = await world.customer(100_000)
    response = await world.http(customer).post("/chat/completions", json=body(max_tokens=8000))
    assert response.status_code == 402
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("insufficient_credits", "insufficient_credits", None)
    assert error["metadata"]["limit_source"] == "credits"
    assert error["metadata"]["balance"] == "0.0001"
    buy, bring = error["metadata"]["ways_out"]
    assert "/api/credits/purchase" in buy
    assert "own provider key" in bring
    assert world.provider.calls == []
    assert await world.records(customer) == []
    await world.check_books(customer, 100_000)


async def test_a_stream_passes_through_and_costs_the_same(world: World) -> None:
    customer = await world.customer()
    world.provider.then(stream(spoken(["Hel", "lo"])))
    http = world.http(customer)
    response = await http.post("/chat/completions", json=body(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in map(json.loads, events[:-1])) == "Hello"
    assert "usage" not in response.text
    assert world.provider.calls[0]["stream_options"] == {"include_usage": True}
    record = await world.record(customer)
    assert (record["charge"], record["stream"], record["outcome"]) == (CHARGE, True, "completed")
    await world.check_books(customer)


async def test_a_stream_tells_its_cost_where_asked(world: World) -> None:
    customer = await world.customer()
    world.provider.then(stream(spoken(["Hel", "lo"])))
    response = await world.http(customer).post(
        "/chat/completions", json=body(stream=True, stream_options={"include_usage": True})
    )
    events = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    last = json.loads(events[-2])
    assert last["choices"] == []
    assert last["usage"]["cost"] == format_amount(CHARGE)
    assert last["usage"]["total_tokens"] == 15
    await world.check_books(customer)


async def test_cached_and_reasoning_tokens_have_their_prices(world: World) -> None:
    customer = await world.customer()
    told = usage(
        1000, 50, prompt_tokens_details={"cached_tokens": 900}, completion_tokens_details={"reasoning_tokens": 40}
    )
    world.provider.then(answer(completion(told=told)))
    await world.http(customer).post("/chat/completions", json=body())
    record = await world.record(customer)
    assert (record["cached_tokens"], record["reasoning_tokens"]) == (900, 40)
    assert record["charge"] == 100 * INPUT + 900 * 500 + 50 * OUTPUT
    await world.check_books(customer)
