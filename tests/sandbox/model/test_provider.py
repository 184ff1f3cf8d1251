"""The model stand-in, driven by the official `openai` SDK."""

import json

import httpx
import openai
import pytest

MODULE = "tallystick.sandbox.model"


@pytest.fixture(scope="module")
def address(start):
    with start(MODULE) as running:
        yield running


@pytest.fixture
async def model(address):
    httpx.delete(f"{address}/_sandbox/calls")
    async with openai.AsyncOpenAI(api_key="any", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


def say(text, **more):
    return {"model": "echo-1", "messages": [{"role": "user", "content": text}], **more}


async def test_it_echoes_and_counts_by_its_rule(model):
    answer = await model.chat.completions.create(**say("hello"))
    assert answer.choices[0].message.content == "Echo: hello"
    assert answer.choices[0].finish_reason == "stop"
    used = answer.usage
    assert (used.prompt_tokens, used.completion_tokens, used.total_tokens) == (5, 3, 8)  # 2 + 3; "Echo", ": he", "llo"


def test_the_synchronous_sdk_works_too(address):
    with openai.OpenAI(api_key="any", base_url=f"{address}/v1") as client:
        assert client.chat.completions.create(**say("x")).choices[0].message.content == "Echo: x"
        assert [one.id for one in client.models.list()] == ["echo-1", "echo-1-cached", "echo-1-reasoning"]


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_cuts_the_answer(model, field):
    answer = await model.chat.completions.create(**say("hello there", **{field: 2}))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Echo: he", "length")
    assert answer.usage.completion_tokens == 2


async def test_a_length_can_be_asked_for(model):
    answer = await model.chat.completions.create(**say("please [[tokens=500]]"))
    assert answer.usage.completion_tokens == 500
    assert answer.choices[0].finish_reason == "stop"


async def test_a_stream_says_the_same_as_a_whole_answer(model):
    whole = await model.chat.completions.create(**say("The same: ünïcödé 🙂", n=2))
    stream = await model.chat.completions.create(
        **say("The same: ünïcödé 🙂", n=2, stream=True, stream_options={"include_usage": True})
    )
    chunks = [chunk async for chunk in stream]
    said = {0: "", 1: ""}
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        said[choice.index] += choice.delta.content or ""
        assert chunk.usage is None
    assert said == {choice.index: choice.message.content for choice in whole.choices}
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


async def test_usage_comes_only_when_asked_for(model):
    stream = await model.chat.completions.create(**say("quiet", stream=True))
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        },
    },
}


@pytest.mark.parametrize(
    ("text", "choice", "called", "finish"),
    [
        ("hi", "required", True, "tool_calls"),
        ("hi", {"type": "function", "function": {"name": "get_weather"}}, True, "stop"),
        ("use get_weather", "auto", True, "tool_calls"),
        ("hi", "auto", False, "stop"),
        ("use get_weather", "none", False, "stop"),
    ],
)
async def test_a_tool_is_called_when_the_request_says_so(model, text, choice, called, finish):
    answer = await model.chat.completions.create(**say(text, tools=[TOOL], tool_choice=choice))
    (spoken,) = answer.choices
    assert spoken.finish_reason == finish
    if called:
        (call,) = spoken.message.tool_calls
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments) == {"city": "text", "days": 1, "unit": "C"}
        stream = await model.chat.completions.create(**say(text, tools=[TOOL], tool_choice=choice, stream=True))
        deltas = [one async for one in stream]
        arguments = "".join(part.function.arguments for one in deltas for part in one.choices[0].delta.tool_calls or [])
        assert arguments == call.function.arguments
    else:
        assert spoken.message.tool_calls is None


async def test_json_is_json(model):
    plain = await model.chat.completions.create(**say("hi", response_format={"type": "json_object"}))
    assert json.loads(plain.choices[0].message.content) == {"echo": "hi"}
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "list": {"type": "array", "items": {"type": "number"}}},
    }
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    shaped = await model.chat.completions.create(**say("hi", response_format=asked))
    assert json.loads(shaped.choices[0].message.content) == {"ok": True, "list": [1.5]}


async def test_images_cost_what_the_rule_says(model):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "look"}, image, image]
    answer = await model.chat.completions.create(model="echo-1", messages=[{"role": "user", "content": parts}])
    assert answer.usage.prompt_tokens == 3 + 1 + 2 * 85
    assert answer.choices[0].message.content == "Echo: look"


async def test_cached_and_reasoning_tokens_are_parts_of_the_totals(model):
    cached = await model.chat.completions.create(**{**say("x" * 40), "model": "echo-1-cached"})
    assert (cached.usage.prompt_tokens, cached.usage.prompt_tokens_details.cached_tokens) == (13, 6)
    thought = await model.chat.completions.create(**{**say("hello"), "model": "echo-1-reasoning"})
    assert thought.usage.completion_tokens == 32 + 3
    assert thought.usage.completion_tokens_details.reasoning_tokens == 32


@pytest.mark.parametrize(
    ("wrong", "param"),
    [({"max_tokens": 0}, "max_tokens"), ({"n": 129}, "n"), ({"messages": []}, "messages"), ({"messages": "hi"}, None)],
)
async def test_nonsense_is_a_400(model, wrong, param):
    with pytest.raises(openai.BadRequestError) as refused:
        await model.chat.completions.create(**{**say("x"), **wrong})
    assert refused.value.param == param


def test_no_key_no_answer(address):
    for headers in ({}, {"authorization": "Basic x"}, {"authorization": "k"}):
        assert httpx.post(f"{address}/v1/chat/completions", json=say("x"), headers=headers).status_code == 401


async def test_calls_are_counted_by_model_and_by_header(model, address):
    for request_id, name in (("a", "echo-1"), ("a", "echo-1"), ("b", "other")):
        await model.chat.completions.create(**{**say("x"), "model": name}, extra_headers={"x-request-id": request_id})
    counted = httpx.get(f"{address}/_sandbox/calls?header=x-request-id").json()
    assert (counted["total"], counted["finished"], counted["aborted"]) == (3, 3, 0)
    assert counted["by_model"] == {"echo-1": 2, "other": 1}
    assert counted["by_header"] == {"a": 2, "b": 1}
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (3 * 4, 3 * 2)
    assert "authorization" not in counted["recent"][0]["headers"]


async def test_only_listed_models_are_known_when_there_is_a_list(start):
    with start(MODULE, "--model", "mine") as address:
        async with openai.AsyncOpenAI(api_key="any", base_url=f"{address}/v1") as client:
            with pytest.raises(openai.NotFoundError) as refused:
                await client.chat.completions.create(**say("x"))
            assert refused.value.code == "model_not_found"
            assert [one.id async for one in client.models.list()] == ["mine"]
