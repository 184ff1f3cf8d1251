"""The official openai SDK, unchanged but for its base_url and key."""

import base64
import json

import openai
import pytest
from gateway_provider import answer, chunk, completion, event, spoken, stream
from gateway_world import World, body
from pydantic import BaseModel

MESSAGES = [{"role": "user", "content": "Say hello"}]


async def test_plain_and_streamed(world: World) -> None:
    client = world.sdk(await world.customer())
    plain = await client.chat.completions.create(model="small", messages=MESSAGES, max_tokens=100)
    assert plain.choices[0].message.content == "Hello there"
    assert plain.usage.prompt_tokens == 10
    assert plain.usage.cost == "0.00002"
    world.provider.then(stream(spoken(["Hel", "lo"])), stream(spoken(["Hel", "lo"])))
    opened = await client.chat.completions.create(model="small", messages=MESSAGES, stream=True)
    chunks = [one async for one in opened]
    assert "".join(one.choices[0].delta.content or "" for one in chunks) == "Hello"
    opened = await client.chat.completions.create(
        model="small", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    *_, last = [one async for one in opened]
    assert last.choices == []
    assert last.usage.total_tokens == 15
    assert last.usage.cost == "0.00002"


async def test_raw_response_has_the_cost_headers(world: World) -> None:
    client = world.sdk(await world.customer())
    raw = await client.chat.completions.with_raw_response.create(model="small", messages=MESSAGES)
    assert raw.headers["x-tallystick-cost"] == "0.00002"
    assert raw.request_id == raw.headers["x-request-id"]


async def test_tools(world: World) -> None:
    client = world.sdk(await world.customer())
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    world.provider.then(answer(completion(None, tool_calls=[call])))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    got = await client.chat.completions.create(model="small", messages=MESSAGES, tools=[tool], tool_choice="auto")
    assert got.choices[0].message.tool_calls[0].function.name == "weather"
    assert world.provider.calls[0]["tools"] == [tool]
    deltas = [
        event(chunk({"tool_calls": [{"index": 0, **call}]})),
        event(chunk(finish="tool_calls")),
        *spoken([], finish=None)[1:],
    ]
    world.provider.then(stream(deltas))
    opened = await client.chat.completions.create(model="small", messages=MESSAGES, tools=[tool], stream=True)
    calls = [one.choices[0].delta.tool_calls async for one in opened if one.choices[0].delta.tool_calls]
    assert calls[0][0].function.arguments == '{"city": "Paris"}'


async def test_json_mode_and_parsed_answers(world: World) -> None:
    class Answer(BaseModel):
        city: str

    client = world.sdk(await world.customer())
    world.provider.usual = answer(completion('{"city": "Paris"}'))
    got = await client.chat.completions.create(
        model="small", messages=MESSAGES, response_format={"type": "json_object"}
    )
    assert json.loads(got.choices[0].message.content) == {"city": "Paris"}
    parsed = await client.chat.completions.parse(model="small", messages=MESSAGES, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(city="Paris")
    assert world.provider.calls[1]["response_format"]["type"] == "json_schema"


async def test_images_are_bounded_by_the_model_and_not_by_their_bytes(world: World) -> None:
    customer = await world.customer()
    client = world.sdk(customer)
    url = "data:image/png;base64," + base64.b64encode(b"x" * 90_000).decode()
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    await client.chat.completions.create(model="small", messages=[{"role": "user", "content": parts}], max_tokens=100)
    record = await world.record(customer)
    assert 1000 * 1000 < record["reserved"] < 1700 * 1000
    assert world.provider.calls[0]["messages"][0]["content"] == parts


async def test_models_list(world: World) -> None:
    client = world.sdk(await world.customer())
    assert "small" in {model.id async for model in client.models.list()}
    assert (await client.models.retrieve("small")).id == "small"


async def test_errors_are_the_sdks_own(world: World) -> None:
    customer, poor = await world.customer(), await world.customer(0)
    client = world.sdk(customer)

    async def failing(expected: type[openai.APIStatusError], status: int, code: str, **fields: object) -> None:
        with pytest.raises(expected) as caught:
            await client.chat.completions.create(**body(**fields))
        assert caught.value.status_code == status
        assert caught.value.code == code
        assert caught.value.request_id

    await failing(openai.NotFoundError, 404, "model_not_found", model="nobodys")
    await failing(openai.PermissionDeniedError, 403, "model_not_priced", model="unpriced")
    await failing(openai.UnprocessableEntityError, 422, "invalid_request", max_tokens=-1)
    world.provider.then(answer(b"{}", 429), answer(b"{}", 500), answer(b"{}", 400), answer(b"{}", 504))
    await failing(openai.RateLimitError, 429, "upstream_rate_limited")
    await failing(openai.InternalServerError, 502, "upstream_failed")
    await failing(openai.BadRequestError, 400, "invalid_request")
    await failing(openai.InternalServerError, 504, "upstream_timeout")
    client = world.sdk(poor)
    await failing(openai.APIStatusError, 402, "insufficient_credits")
    poor.secret = "tsk_wrong"
    client = world.sdk(poor)
    await failing(openai.AuthenticationError, 401, "invalid_api_key")
    await world.check_books(customer)


async def test_an_error_in_mid_stream_is_raised(world: World) -> None:
    client = world.sdk(await world.customer())
    world.provider.then(stream(spoken(["Hel"], "absent", done=False, finish=None)))
    opened = await client.chat.completions.create(model="small", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="in the middle"):
        [one async for one in opened]


async def test_closing_a_stream_early(world: World) -> None:
    customer = await world.customer()
    client = world.sdk(customer)
    first, *rest = spoken(["Hel", "lo"])
    world.provider.then(stream([first, 0.2, *rest]))
    async with await client.chat.completions.create(model="small", messages=MESSAGES, stream=True) as opened:
        async for _ in opened:
            break
    assert (await world.record(customer))["charge"] == 20_000
