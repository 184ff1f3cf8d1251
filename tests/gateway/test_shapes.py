"""Answers and requests in shapes nobody foresaw: none of them is free, and none is paid for and then not delivered."""

from typing import Any

import pytest
from gateway_provider import answer, chunk, completion, event, spoken, stream, usage
from gateway_world import World, body


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "run", "input": "ls -l"}}]},
        {"content": [{"type": "text", "text": "in parts"}]},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "because"}]},
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_content_in_any_field_is_charged(world: World, message: dict[str, Any], streamed: bool) -> None:
    customer = await world.customer()
    told = usage(10, 500)
    events = [event(chunk(message)), *spoken([], told)]
    world.provider.then(stream(events) if streamed else answer(completion(None, told, **message)))
    response = await world.http(customer).post("/chat/completions", json=body(stream=streamed, max_tokens=500))
    assert response.status_code == 200
    record = await world.record(customer)
    assert (record["outcome"], record["output_tokens"]) == ("completed", 500)
    assert record["charge"] > 0
    await world.check_books(customer)


async def test_an_answer_that_cannot_be_written_again_is_not_paid_for(world: World) -> None:
    customer = await world.customer()
    world.provider.then(answer(completion("fine", extra=nested(300))))
    response = await world.http(customer).post("/chat/completions", json=body())
    assert response.status_code == 502
    assert (await world.record(customer))["charge"] == 0
    await world.check_books(customer)


async def test_a_request_that_cannot_be_written_again_never_leaves(world: World) -> None:
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body(tools=nested(300)))
    assert response.status_code == 422
    assert world.provider.calls == []


async def test_a_part_whose_size_the_body_does_not_tell_is_held_at_the_whole_context(world: World) -> None:
    plain, attached = await world.customer(), await world.customer()
    part = {"type": "file", "file": {"file_id": "file-abc"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "Say hello"}, part]}]
    await world.http(plain).post("/chat/completions", json=body())
    response = await world.http(attached).post("/chat/completions", json=body(messages=messages))
    assert response.status_code == 200
    held, usual = (await world.record(attached))["reserved"], (await world.record(plain))["reserved"]
    assert held > 10 * usual


async def test_a_later_count_of_nothing_takes_no_usage_back(world: World) -> None:
    customer = await world.customer()
    told = event({**chunk(), "choices": [], "usage": usage(10, 400)})
    world.provider.then(
        stream([*spoken(["a", "b"], "absent", done=False), told, *spoken([], usage(0, 0), finish=None)])
    )
    await world.http(customer).post("/chat/completions", json=body(stream=True, max_tokens=400))
    assert (await world.record(customer))["output_tokens"] == 400


async def test_counts_written_as_decimals_are_counts(world: World) -> None:
    customer = await world.customer()
    told = {"prompt_tokens": 10.0, "completion_tokens": 20.0, "total_tokens": 30.0}
    world.provider.then(answer(completion("hello", told)))
    await world.http(customer).post("/chat/completions", json=body())
    record = await world.record(customer)
    assert (record["input_tokens"], record["output_tokens"], record["usage_source"]) == (10, 20, "provider")
