"""Every way in which a provider can fail: what the customer is told, and who pays."""

import asyncio
import json
from typing import Any

import pytest
from gateway_provider import answer, chunk, completion, event, reset, spoken, stream, usage
from gateway_world import INPUT, OUTPUT, SECRET, UPSTREAM, World, body, run_world
from msgspec.structs import replace

from tallystick.gateway.outcome import policy


async def ask(world: World, **fields: Any) -> tuple[Any, Any]:
    """One call by a new customer: the response, and the record of it, with the books checked."""
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body(**fields))
    record = await world.record(customer)
    await world.check_books(customer)
    return response, record


@pytest.mark.parametrize(
    ("status", "told", "code"),
    [
        (400, 400, "context_length_exceeded"),
        (413, 413, "context_length_exceeded"),
        (422, 422, "context_length_exceeded"),
        (401, 502, "upstream_failed"),
        (402, 502, "upstream_failed"),
        (403, 502, "upstream_failed"),
        (404, 502, "upstream_failed"),
        (408, 504, "upstream_timeout"),
        (429, 429, "upstream_rate_limited"),
        (500, 502, "upstream_failed"),
        (503, 502, "upstream_failed"),
        (504, 504, "upstream_timeout"),
        (302, 502, "upstream_failed"),
        (204, 502, "upstream_failed"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_before_content_costs_nothing(
    world: World, status: int, told: int, code: str, streamed: bool
) -> None:
    said = {"error": {"message": f"no, {SECRET}", "code": "context_length_exceeded", "param": "messages"}}
    headers = {"retry-after": "7", "location": "/elsewhere"}
    world.provider.then(answer(b"" if status == 204 else json.dumps(said).encode(), status, headers))
    response, record = await ask(world, stream=streamed)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (told, code)
    assert SECRET not in response.text
    assert response.headers.get("retry-after") == ("7" if status == 429 else None)
    assert (record["charge"], record["status"], record["usage_source"]) == (0, told, "none")
    assert record["rule"] == ("refused" if told in {400, 413, 422} else "upstream_error")
    assert response.headers["x-tallystick-cost"] == "0.00"
    assert len(world.provider.calls) == 1


BROKEN_WHOLE = {
    "no JSON": b"<html>busy</html>",
    "nothing": b"",
    "another shape": b'{"ok": true}',
    "a list": b"[]",
    "an error in a 200": b'{"error": {"message": "overloaded"}}',
    "deep nesting": b'{"choices": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "no UTF-8": b'{"choices": ["\xff"]}',
    "larger than taken": b" " * 2_000_000,
}


@pytest.mark.parametrize("what", BROKEN_WHOLE)
async def test_a_broken_answer_costs_nothing(world: World, what: str) -> None:
    world.provider.then(answer(BROKEN_WHOLE[what]))
    response, record = await ask(world)
    assert (response.status_code, record["charge"], record["rule"]) == (502, 0, "upstream_error")


async def test_an_endless_answer_is_cut(world: World) -> None:
    world.provider.then(answer(b'{"a": "' + b"x" * 40_000_000))
    response, record = await ask(world)
    assert (response.status_code, record["charge"]) == (502, 0)


async def test_a_reset_before_the_answer(world: World) -> None:
    world.provider.then(reset)
    response, record = await ask(world)
    assert (response.status_code, record["charge"], record["rule"]) == (502, 0, "upstream_error")


async def test_a_provider_that_is_not_there(world: World) -> None:
    await world.provider.stop()
    response, record = await ask(world)
    assert (response.status_code, record["charge"], record["rule"]) == (502, 0, "upstream_error")


async def test_a_stall_before_the_answer_is_a_timeout(dsn: str, pool: Any, tmp_path: Any) -> None:
    async with run_world(dsn, pool, tmp_path, upstream=replace(UPSTREAM, first_byte_s=1.0)) as world:
        world.provider.then(answer(delay_s=20))
        response, record = await ask(world)
    assert (response.status_code, record["charge"]) == (504, 0)
    assert response.json()["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize(
    "empty",
    [
        completion(""),
        completion(None),
        {**completion(), "choices": []},
        completion(None, tool_calls=[]),
        completion(12),
    ],
)
async def test_an_empty_answer_costs_nothing(world: World, empty: dict[str, Any]) -> None:
    world.provider.then(answer(empty))
    response, record = await ask(world)
    assert (response.status_code, record["charge"], record["rule"]) == (200, 0, "empty")
    assert response.json()["usage"]["cost"] == "0.00"
    assert record["input_tokens"] == 10  # what it cost us is kept


async def test_an_answer_emptied_by_the_customers_own_limit_is_charged(world: World) -> None:
    cut = completion("", usage(10, 100, completion_tokens_details={"reasoning_tokens": 100}))
    cut["choices"][0]["finish_reason"] = "length"
    world.provider.then(answer(cut))
    _, record = await ask(world)
    assert (record["charge"], record["rule"]) == (10 * INPUT + 100 * OUTPUT, "completed")


HELLO = spoken(["Hel", "lo"], "absent", done=False, finish=None)

# What the provider sends, whether it then breaks off, the rule, and whether content counts.
BROKEN_STREAMS: dict[str, tuple[list[Any], bool, str]] = {
    "reset after content": (HELLO, True, "truncated"),
    "end after content": (HELLO, False, "truncated"),
    "reset before content": ([event(chunk({"role": "assistant"}))], True, "upstream_error"),
    "end before content": ([], False, "upstream_error"),
    "stall after content": ([*HELLO, 20.0], False, "truncated"),
    "stall before content": ([20.0], False, "upstream_error"),
    "error after content": ([*HELLO, event({"error": {"message": "overloaded"}})], False, "truncated"),
    "error before content": ([event({"error": {"message": "overloaded"}})], False, "upstream_error"),
    "error and content in one block": ([b"".join([*HELLO, event({"error": "no"})])], False, "truncated"),
    "no JSON after content": ([*HELLO, event(b"{broken")], False, "truncated"),
    "a number for a chunk": ([*HELLO, event(b"7")], False, "truncated"),
    "half an event": ([*HELLO, b'data: {"id"'], True, "truncated"),
    "finish reason error": ([*HELLO, event(chunk(finish="error"))], False, "truncated"),
}


@pytest.mark.parametrize("what", BROKEN_STREAMS)
async def test_a_broken_stream_is_charged_by_what_was_delivered(dsn: str, pool: Any, tmp_path: Any, what: str) -> None:
    blocks, abort, rule = BROKEN_STREAMS[what]
    upstream = replace(UPSTREAM, between_s=1.5) if what.startswith("stall") else UPSTREAM
    async with run_world(dsn, pool, tmp_path, upstream=upstream) as world:
        world.provider.then(stream(blocks, abort=abort))
        response, record = await ask(world, stream=True, stream_options={"include_usage": True})
    assert record["rule"] == rule
    if rule == "truncated":
        assert response.text.count("Hel") == 1
        assert (record["usage_source"], record["output_tokens"]) == ("estimated", 2)
        assert record["charge"] > 0
    else:
        assert record["charge"] == 0
    if response.status_code == 200:
        *_, told, error, done = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
        assert done == "[DONE]"
        assert json.loads(error)["error"]["code"] in {"upstream_failed", "upstream_timeout"}
        assert json.loads(told)["usage"]["cost_details"]["rule"] == rule
    else:
        assert response.status_code in {502, 504}


async def test_a_stream_answered_with_something_else(world: World) -> None:
    world.provider.then(answer(completion()))
    response, record = await ask(world, stream=True)
    assert (response.status_code, record["charge"]) == (502, 0)


@pytest.mark.parametrize(
    ("blocks", "charge"),
    [
        (spoken(["Hello"], "absent"), None),
        (spoken(["Hello"], {}), None),
        (spoken(["Hello"], "absent", done=False), None),
        (spoken(["Hello"], usage(10, 0)), None),
        (spoken(["Hello"], usage(-10, -5)), None),
        (spoken(["Hello"], {"prompt_tokens": "10", "completion_tokens": 5.5}), None),
        (spoken(["Hello"], {"prompt_tokens": True, "completion_tokens": 10**30}), None),
        (spoken(["Hello"], [1]), None),
        (spoken(["Hello"], usage(20, 7)), 20 * INPUT + 7 * OUTPUT),
        (spoken(["Hello"], finish=None), 10 * INPUT + 5 * OUTPUT),
    ],
)
async def test_absent_or_unreadable_usage_is_estimated_never_zero(
    world: World, blocks: list[bytes], charge: int | None
) -> None:
    world.provider.then(stream(blocks))
    _, record = await ask(world, stream=True)
    if charge is None:
        assert record["usage_source"] == "estimated"
        assert record["output_tokens"] == 2  # five bytes
        assert 10 < record["input_tokens"] < 150
    else:
        assert (record["usage_source"], record["charge"]) == ("provider", charge)


async def test_usage_twice_is_charged_once_and_the_last_counts(world: World) -> None:
    extra = event({**chunk(), "choices": [], "usage": usage(30, 9)})
    world.provider.then(stream([*spoken(["Hi"], usage(20, 7), done=False), extra, extra, event(b"[DONE]")]))
    response, record = await ask(world, stream=True, stream_options={"include_usage": True})
    assert record["charge"] == 30 * INPUT + 9 * OUTPUT
    assert response.text.count('"usage":{') == 1


async def test_usage_beside_content_is_taken_out_and_counts(world: World) -> None:
    blocks = [event(chunk({"content": word}, usage=usage(10, n))) for n, word in enumerate(("a", "b"), 1)]
    world.provider.then(stream([*blocks, event(chunk(finish="stop", usage=usage(10, 3))), event(b"[DONE]")]))
    response, record = await ask(world, stream=True)
    assert "usage" not in response.text
    assert record["charge"] == 10 * INPUT + 3 * OUTPUT


@pytest.mark.parametrize("told", [usage(10**12, 5), usage(10, 10**12), usage(10**15, 10**15)])
@pytest.mark.parametrize("streamed", [False, True])
async def test_absurd_usage_is_capped_at_what_was_reserved(world: World, told: dict[str, Any], streamed: bool) -> None:
    world.provider.then(stream(spoken(["Hi"], told)) if streamed else answer(completion("Hi", told)))
    _, record = await ask(world, stream=streamed)
    assert 0 < record["charge"] <= record["reserved"]
    assert "capped" in record["rule"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_usage_above_the_hold_is_charged_as_it_is(world: World, streamed: bool) -> None:
    told = usage(2000, 110)
    world.provider.then(stream(spoken(["Hi"], told)) if streamed else answer(completion("Hi", told)))
    _, record = await ask(world, stream=streamed)
    assert record["charge"] == 2000 * INPUT + 110 * OUTPUT > record["reserved"]


async def test_parts_above_their_total_are_cut_and_flagged(world: World) -> None:
    told = usage(10, 5, prompt_tokens_details={"cached_tokens": 999})
    world.provider.then(answer(completion(told=told)))
    _, record = await ask(world)
    assert (record["cached_tokens"], record["rule"]) == (10, "completed+parts_exceed_total")


async def test_events_cut_anywhere_and_other_line_ends(world: World) -> None:
    whole = b": hi\r\n\r\n" + b"".join(spoken(["Hé", "llo"])).replace(b"\n", b"\r\n")
    world.provider.then(stream([whole[at : at + 7] for at in range(0, len(whole), 7)]))
    response, record = await ask(world, stream=True)
    assert record["charge"] == 10 * INPUT + 5 * OUTPUT
    assert response.text.endswith("data: [DONE]\n\n")
    assert response.text.startswith(": hi")


async def test_an_endless_event_is_cut(world: World) -> None:
    world.provider.then(stream([*HELLO, b"data: " + b"x" * 9_000_000]))
    _, record = await ask(world, stream=True)
    assert record["rule"] == "truncated"


async def test_the_operator_can_change_the_policy(dsn: str, pool: Any, tmp_path: Any) -> None:

    async with run_world(dsn, pool, tmp_path, policy=policy({"empty": "usage"})) as world:
        world.provider.then(answer(completion("")))
        _, record = await ask(world)
        assert record["charge"] == 10 * INPUT + 5 * OUTPUT


async def test_a_dead_connection_is_not_used_for_the_next_call(world: World) -> None:
    customer = await world.customer()
    http = world.http(customer)
    for play in (stream(HELLO, abort=True), answer(), stream(HELLO, abort=True), answer()):
        world.provider.then(play)
    statuses = [
        (await http.post("/chat/completions", json=body(stream=bool(n % 2 == 0)))).status_code for n in range(4)
    ]
    assert statuses == [200] * 4
    await asyncio.sleep(0)
    await world.check_books(customer)


async def test_a_fault_of_our_own_leaves_no_hold_and_charges_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tallystick.gateway.metered_call.usage_record", fail)
    customer = await world.customer()
    response = await world.http(customer).post("/chat/completions", json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
    monkeypatch.undo()
    await world.check_books(customer)
    assert await world.posted(customer) == 10**9
    assert (await world.http(customer).post("/chat/completions", json=body())).status_code == 200
