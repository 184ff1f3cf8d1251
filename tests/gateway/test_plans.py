"""Plans as a customer meets them: what is included, what more costs, where it ends, and who has access at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import openai
import pytest
from gateway_plans import EXTRA, PLANS, WORTH, ask, felt, refused, told
from gateway_provider import answer, completion, reset, spoken, stream, usage
from gateway_world import CREDIT, INPUT, OUTPUT, World, body, run_world

from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.dunning import mark_past_due
from tallystick.subscriptions.pause import pause


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals", plans=PLANS) as running:
        yield running


async def test_what_is_included_and_then_a_quota(world: World) -> None:
    customer = await world.subscriber("starter")
    client = world.sdk(customer)
    for used in (1, 2, 3):
        raw = await ask(client)
        assert raw.headers["x-tallystick-layer"] == "included"
        details = json.loads(raw.content)["usage"]["cost_details"]
        assert details["layer"] == "included"
        assert details["limits"] == [{"name": "requests", "limit": 3, "used": used, "remaining": 3 - used}]
        assert await told(world, customer, raw) == 0
    error = await refused(client, openai.RateLimitError)
    assert (error.code, error.type) == ("quota_exceeded", "rate_limit_error")
    assert error.body["message"] == "The limit of 3 requests for this period is reached."
    metadata = error.body["metadata"]
    ends_at = datetime.fromisoformat(metadata.pop("retry_at"))
    wait, larger, own_key = metadata.pop("ways_out")
    assert wait.startswith("Wait until 2")
    assert "plan" in larger
    assert "own provider key" in own_key
    assert metadata == {"limit_source": "included", "name": "requests", "limit": 3, "used": 3, "remaining": 0}
    wait_s = (ends_at - datetime.now(UTC)).total_seconds()
    assert abs(int(error.response.headers["retry-after"]) - wait_s) < 60
    assert len(world.provider.calls) == 3
    assert await world.counted(customer, "requests") == (3, 0)
    await world.check_books(customer, 0)


async def test_a_client_that_tries_again_by_itself_is_told_not_to(world: World) -> None:
    """A month is not worth waiting for: OpenAI's client would try twice more."""
    customer = await world.subscriber("starter")
    client = world.sdk(customer).with_options(max_retries=2)
    for _ in range(3):
        await ask(client)
    error = await refused(client, openai.RateLimitError)
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.request.headers["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize(
    "failure", [answer(b"no", 500), answer(b'{"error": {"message": "no"}}', 400), answer(completion("")), reset]
)
async def test_a_call_that_came_to_nothing_gives_its_request_back(world: World, failure: Any) -> None:
    customer = await world.subscriber("starter")
    http = world.http(customer)
    world.provider.then(failure)
    await http.post("/chat/completions", json=body())
    await world.quiet(customer)
    assert await world.counted(customer, "requests") == (0, 0)
    for _ in range(3):
        assert (await http.post("/chat/completions", json=body())).status_code == 200
    assert (await http.post("/chat/completions", json=body())).status_code == 429
    await world.check_books(customer, 0)


async def test_tokens_are_held_as_estimated_and_counted_as_used(world: World) -> None:
    customer = await world.subscriber("words")
    client = world.sdk(customer)
    seen: list[tuple[int, int]] = []

    async def look() -> None:
        seen.append(await world.counted(customer, "output_tokens"))

    world.provider.then(stream([look, *spoken(["Hello"], usage(10, 40))]))
    opened = await client.chat.completions.create(**body(stream=True, stream_options={"include_usage": True}))
    last = [chunk async for chunk in opened][-1]
    assert seen == [(0, 100)]
    assert await world.counted(customer, "output_tokens") == (40, 0)
    limits = last.usage.cost_details["limits"]
    assert limits == [{"name": "output_tokens", "limit": 250, "used": 40, "remaining": 210}]
    # More than was held is counted all the same.
    world.provider.then(answer(completion(told=usage(10, 150))))
    await ask(client)
    assert await world.counted(customer, "output_tokens") == (190, 0)
    await world.check_books(customer, 0)


async def test_output_is_cut_to_what_is_left_of_its_tokens_or_refused(world: World) -> None:
    customer = await world.subscriber("words")
    client = world.sdk(customer)
    world.provider.then(answer(completion(told=usage(10, 180))))
    await ask(client, max_tokens=200)
    await ask(client, max_tokens=8000)
    assert world.provider.calls[-1]["max_tokens"] == 70
    assert await world.counted(customer, "output_tokens") == (185, 0)
    await ask(client, max_tokens=65)
    assert await world.counted(customer, "output_tokens") == (190, 0)
    # 60 are left: too few to be worth a call that asked for more, enough for one that did not.
    error = await refused(client, openai.RateLimitError, max_tokens=100)
    assert error.body["metadata"]["remaining"] == 60
    assert error.body["message"].startswith("This needs up to 100 output_tokens; 60 of 250 are left")
    await ask(client, max_tokens=60)
    await world.check_books(customer, 0)


async def test_sixty_four_at_once_at_the_edge(world: World) -> None:
    customer = await world.subscriber("starter")
    all_decided = asyncio.Event()
    world.provider.usual = stream([all_decided.wait, *spoken(["Hello"])])
    statuses: list[int] = []
    http = world.http(customer, timeout=60)

    async def one() -> None:
        statuses.append((await http.post("/chat/completions", json=body(stream=True))).status_code)
        if statuses.count(429) >= 61:
            all_decided.set()

    await asyncio.gather(*(one() for _ in range(64)))
    assert (statuses.count(200), statuses.count(429)) == (3, 61)
    assert len(world.provider.calls) == 3
    assert await world.counted(customer, "requests") == (3, 0)
    await world.check_books(customer, 0)


async def test_beyond_what_is_included_each_request_has_its_price(world: World) -> None:
    """First from the credits there are, then on account, to the credit limit."""
    customer = await world.subscriber("pro", EXTRA)
    client = world.sdk(customer)
    seen = []
    for _ in range(5):
        raw = await ask(client)
        seen.append((raw.headers["x-tallystick-layer"], await told(world, customer, raw)))
    assert seen == [("included", 0)] * 2 + [("promotional", EXTRA)] + [("overage", EXTRA)] * 2
    assert await world.posted(customer) == -2 * EXTRA
    error = await refused(client, openai.APIStatusError)
    assert (error.status_code, error.code) == (402, "insufficient_credits")
    assert error.body["metadata"]["balance"] == "0.00"
    assert error.body["metadata"]["required"] == "0.0005"
    assert len(world.provider.calls) == 5
    await world.check_books(customer, EXTRA, by_price=False)


async def test_a_stream_tells_what_it_cost_beyond_what_is_included(world: World) -> None:
    customer = await world.subscriber("pro")
    client = world.sdk(customer)
    world.provider.usual = stream(spoken(["Hello"]))
    costs = []
    for _ in range(3):
        opened = await client.chat.completions.create(**body(stream=True, stream_options={"include_usage": True}))
        last = [chunk async for chunk in opened][-1]
        costs.append((last.usage.cost, last.usage.cost_details["layer"]))
    assert costs == [("0.00", "included"), ("0.00", "included"), ("0.0005", "overage")]
    receipt = (await world.http(customer).get(f"/receipts/{last.usage.cost_details['request_id']}")).json()
    assert receipt["charge"] == "0.0005"
    await world.check_books(customer, 0, by_price=False)


async def test_a_cap_beyond_what_is_included(world: World) -> None:
    customer = await world.subscriber("capped")
    client = world.sdk(customer)
    for _ in range(3):
        await ask(client)
    metadata = (await refused(client, openai.RateLimitError)).body["metadata"]
    assert (metadata["limit_source"], metadata["limit"], metadata["used"]) == ("overage", 3, 3)
    assert await world.posted(customer) == -EXTRA
    await world.check_books(customer, 0, by_price=False)


async def test_a_flat_plan_charges_nothing(world: World) -> None:
    customer = await world.subscriber("team", CREDIT)
    raw = await ask(world.sdk(customer))
    assert raw.headers["x-tallystick-layer"] == "included"
    assert await told(world, customer, raw) == 0
    record = await world.record(customer)
    assert (record["reserved"], record["charge"], record["cost"]) == (0, 0, WORTH // 2)
    assert record["rule"] == "completed+plan"
    await world.check_books(customer)


async def test_pay_as_you_go_is_owed_down_to_the_credit_limit(world: World) -> None:
    customer = await world.subscriber("payg")
    client = world.sdk(customer)
    assert await told(world, customer, await ask(client)) == WORTH
    assert await world.posted(customer) == -WORTH
    world.provider.usual = answer(completion(told=usage(40, 140)))
    # As many output tokens as the limit has room for, then none.
    await ask(client, max_tokens=8000)
    assert 64 <= world.provider.calls[-1]["max_tokens"] < 200
    error = await refused(client, openai.APIStatusError, max_tokens=8000)
    assert error.status_code == 402
    assert error.body["metadata"]["limit_source"] == "credits"
    await world.check_books(customer, 0)


async def test_a_cap_in_dollars_is_told_in_dollars(world: World) -> None:
    customer = await world.subscriber("budget")
    client = world.sdk(customer)
    world.provider.then(answer(completion(told=usage(10, 150))))
    raw = await ask(client, max_tokens=8000)
    assert 150 < world.provider.calls[-1]["max_tokens"] < 250
    limits = json.loads(raw.content)["usage"]["cost_details"]["limits"]
    assert limits == [{"name": "dollars", "limit": "0.0005", "used": "0.00031", "remaining": "0.00019"}]
    error = await refused(client, openai.RateLimitError, max_tokens=8000)
    assert error.body["message"] == "This can cost more than is left in this period: 0.00019 of 0.0005 dollars."
    assert error.body["metadata"]["remaining"] == "0.00019"
    await world.check_books(customer, 0)


async def test_included_dollars_then_credits(world: World) -> None:
    customer = await world.subscriber("studio", 300_000)
    client = world.sdk(customer)
    charges = [await told(world, customer, await ask(client, max_tokens=64)) for _ in range(2)]
    assert charges == [0, 2 * WORTH - 30_000]
    # What credits are left for is what the answer is cut to.
    world.provider.then(answer(completion(told=usage(10, 100))))
    raw = await ask(client, max_tokens=8000)
    assert 64 <= world.provider.calls[-1]["max_tokens"] < 150
    assert raw.headers["x-tallystick-layer"] == "promotional"
    assert await told(world, customer, raw) == 10 * INPUT + 100 * OUTPUT
    assert (await refused(client, openai.APIStatusError, max_tokens=8000)).status_code == 402
    await world.check_books(customer, 300_000, by_price=False)


async def test_without_a_plan_credits_pay_as_ever(world: World) -> None:
    customer = await world.customer()
    raw = await ask(world.sdk(customer))
    assert raw.headers["x-tallystick-layer"] == "credits"
    assert await told(world, customer, raw) == WORTH
    assert "limits" not in json.loads(raw.content)["usage"]["cost_details"]
    await world.check_books(customer)


async def test_who_has_no_access_is_told_what_to_do(world: World) -> None:
    late, paused = [await world.subscriber("team", CREDIT) for _ in range(2)]
    async with world.pool.acquire() as connection:
        await mark_past_due(connection, late.organization, now=datetime.now(UTC) - timedelta(days=7, minutes=1))
        await pause(connection, paused.organization)
    for customer, sentence in ((late, "Pay it"), (paused, "Resume it")):
        error = await refused(world.sdk(customer), openai.PermissionDeniedError)
        assert (error.code, error.type) == ("access_denied", "permission_error")
        assert sentence in error.body["message"]
        assert error.body["metadata"] == {"limit_source": "access", "name": "status"}
    assert world.provider.calls == []


async def test_who_canceled_pays_by_credits_again(world: World) -> None:
    customer = await world.subscriber("team")
    client = world.sdk(customer)
    await ask(client)
    async with world.pool.acquire() as connection:
        await cancel(connection, customer.organization, at_once=True)
    error = await felt(client, openai.APIStatusError)
    assert (error.status_code, error.code) == (402, "insufficient_credits")


async def test_grace_ends_by_itself(world: World) -> None:
    """In a gateway that was told nothing any more: the document says until when."""
    customer = await world.subscriber("team")
    client = world.sdk(customer)
    async with world.pool.acquire() as connection:
        week = timedelta(days=7)
        await mark_past_due(connection, customer.organization, now=datetime.now(UTC) - week + timedelta(seconds=3))
    await ask(client)
    assert (await felt(client, openai.PermissionDeniedError)).code == "access_denied"


async def test_a_model_outside_the_plan_and_one_that_is_nowhere(world: World) -> None:
    client = world.sdk(await world.subscriber("narrow"))
    error = await refused(client, openai.PermissionDeniedError)
    assert error.code == "access_denied"
    assert error.body["message"] == "Your plan does not include the model 'small'."
    assert error.body["metadata"]["name"] == "route"
    assert (await refused(client, openai.NotFoundError, model="nowhere")).code == "model_not_found"
    assert world.provider.calls == []


async def test_a_model_that_is_a_use_of_a_feature(world: World) -> None:
    """Limited in a window of 30 days, whoever pays for the model."""
    customer = await world.customer()
    client = world.sdk(customer)
    for used in (1, 2):
        world.provider.then(answer(b"no", 500))
        await refused(client, openai.InternalServerError, model="artist")
        raw = await ask(client, model="artist")
        limits = json.loads(raw.content)["usage"]["cost_details"]["limits"]
        assert limits == [{"name": "ad_generations", "limit": 2, "used": used, "remaining": 2 - used}]
        assert await told(world, customer, raw) == WORTH
    metadata = (await refused(client, openai.RateLimitError, model="artist")).body["metadata"]
    assert (metadata["limit_source"], metadata["name"], metadata["used"]) == ("quota", "ad_generations", 2)
    wait = datetime.fromisoformat(metadata["retry_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < wait <= timedelta(days=30)
    await ask(client)
    await world.check_books(customer)
