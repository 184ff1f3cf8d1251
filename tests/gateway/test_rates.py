"""How fast a customer may be: requests and tokens a minute, requests at a time, for one gateway and for several."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import openai
import pytest
from gateway_plans import PLANS, ask, refused
from gateway_provider import FakeProvider, answer, reset, spoken, stream
from gateway_world import CREDIT, Customer, World, body, run_world

from tallystick.base.errors import Misconfigured, Unavailable
from tallystick.catalog.plan import PlanRates
from tallystick.gateway.rates import Rates
from tallystick.gateway.wire import TooFast
from tests.patience import PATIENCE_S

FIVE = PlanRates(requests_per_minute=5, tokens_per_minute=3_000)


@dataclass
class Clock:
    """Twenty seconds into a minute, until it is moved."""

    now: float = 1_800_000_020.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(clock: Clock) -> Rates:
    return Rates(clock=clock)


@pytest.fixture
async def world(dsn: str, pool: asyncpg.Pool, tmp_path: Path, rates: Rates) -> AsyncIterator[World]:
    async with run_world(dsn, pool, tmp_path / "journals", plans=PLANS, rates=rates) as running:
        yield running


async def left(rates: Rates, customer: Customer) -> dict[str, str]:
    """What the limits say is left, to one who takes nothing."""
    taken = await rates.take(customer.organization, FIVE, 0)
    await rates.give_back(taken)
    told = {name.decode(): value.decode() for name, value in taken.headers}
    requests = int(told["x-ratelimit-remaining-requests"]) + 1
    return {"requests": str(requests), "tokens": told["x-ratelimit-remaining-tokens"]}


async def test_requests_a_minute(world: World, clock: Clock) -> None:
    customer = await world.subscriber("paced")
    client = world.sdk(customer)
    for remaining in (4, 3, 2, 1, 0):
        headers = (await ask(client)).headers
        assert headers["x-ratelimit-limit-requests"] == "5"
        assert headers["x-ratelimit-remaining-requests"] == str(remaining)
        assert headers["x-ratelimit-reset-requests"] == "40.000s"
        assert headers["x-ratelimit-limit-tokens"] == "3000"
        assert 0 < int(headers["x-ratelimit-remaining-tokens"]) < 3_000
    error = await refused(client, openai.RateLimitError)
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert error.body["message"] == "Your plan allows 5 requests a minute."
    assert error.body["metadata"] == {
        "retry_after": 40,
        "limit_source": "rate",
        "name": "requests_per_minute",
        "limit": 5,
        "used": 5,
        "remaining": 0,
    }
    headers = error.response.headers
    assert (headers["retry-after"], headers["x-ratelimit-remaining-requests"]) == ("40", "0")
    assert "x-should-retry" not in headers
    assert len(world.provider.calls) == 5
    clock.now += 40
    assert (await ask(client)).headers["x-ratelimit-remaining-requests"] == "4"


async def test_the_head_of_a_stream_has_them_too(world: World) -> None:
    client = world.sdk(await world.subscriber("paced"))
    world.provider.then(stream(spoken(["Hello"])))
    raw = await ask(client, stream=True)
    assert raw.headers["x-ratelimit-remaining-requests"] == "4"


async def test_tokens_a_minute_are_the_most_that_was_asked_for(world: World, rates: Rates) -> None:
    customer = await world.subscriber("paced")
    client = world.sdk(customer)
    for _ in range(2):
        await ask(client, max_tokens=1_200)
    error = await refused(client, openai.RateLimitError, max_tokens=1_200)
    assert error.body["metadata"]["name"] == "tokens_per_minute"
    remaining = int(error.response.headers["x-ratelimit-remaining-tokens"])
    assert f"{remaining} of 3000 are left" in error.body["message"]
    # It took nothing of what a smaller one needs.
    assert await left(rates, customer) == {"requests": "3", "tokens": str(remaining)}
    await ask(client, max_tokens=100)


async def test_what_no_minute_has_room_for_is_not_worth_another_try(world: World) -> None:
    client = world.sdk(await world.subscriber("paced")).with_options(max_retries=2)
    error = await refused(client, openai.RateLimitError, max_tokens=4_000)
    assert "your plan allows 3000 a minute" in error.body["message"]
    assert error.response.headers["x-should-retry"] == "false"
    assert error.response.request.headers["x-stainless-retry-count"] == "0"


async def test_what_a_quota_or_credits_refuse_leaves_no_trace(world: World, rates: Rates) -> None:
    quota, credits_ = await world.subscriber("trickle"), await world.subscriber("paid")
    client = world.sdk(quota)
    await ask(client)
    before = await left(rates, quota)
    for _ in range(3):
        assert (await refused(client, openai.RateLimitError)).code == "quota_exceeded"
    assert await left(rates, quota) == before
    assert before["requests"] == "4"
    for _ in range(3):
        assert (await refused(world.sdk(credits_), openai.APIStatusError)).status_code == 402
    assert await left(rates, credits_) == {"requests": "5", "tokens": "3000"}


async def test_requests_at_a_time_exact_over_two_gateways(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, world: World
) -> None:
    async with run_world(dsn, pool, tmp_path / "other", provider=world.provider, plans=PLANS) as other:
        customer = await world.subscriber("pair")
        all_decided = asyncio.Event()
        world.provider.usual = stream([all_decided.wait, *spoken(["Hello"])])
        answers: list[httpx.Response] = []

        async def one(gateway: World) -> None:
            answers.append(await gateway.http(customer, timeout=60).post("/chat/completions", json=body(stream=True)))
            if len(answers) >= 18:
                all_decided.set()

        await asyncio.gather(*(one(gateway) for gateway in (world, other) for _ in range(10)))
        statuses = [response.status_code for response in answers]
        assert (statuses.count(200), statuses.count(429)) == (2, 18)
        assert len(world.provider.calls) == 2
        error = next(response for response in answers if response.status_code == 429)
        assert error.json()["error"]["code"] == "rate_limit_exceeded"
        assert error.json()["error"]["metadata"]["name"] == "concurrency"
        assert error.headers["retry-after"] == "1"
        assert await world.counted(customer, "concurrency") == (0, 0)
        await world.check_books(customer, 0)


async def test_a_place_is_given_back_however_a_call_ends(world: World) -> None:
    customer = await world.subscriber("pair")
    http = world.http(customer)
    world.provider.then(answer(b"no", 500), answer(b"{}", 400), reset)
    for _ in range(3):
        await http.post("/chat/completions", json=body())
        assert await world.counted(customer, "concurrency") == (0, 0)
    # Who leaves gives the place back when the provider is done with the call.
    world.provider.then(stream([*spoken(["Hello"])[:2], 0.3, *spoken(["you"])[1:]]))
    async with http.stream("POST", "/chat/completions", json=body(stream=True)) as response:
        await anext(response.aiter_bytes())
        assert await world.counted(customer, "concurrency") == (0, 1)
    await world.quiet(customer)
    assert await world.counted(customer, "concurrency") == (0, 0)


@pytest.fixture
async def redis(needs: Callable[..., str], tmp_path: Path) -> AsyncIterator["Redis"]:
    server = Redis(needs("redis-server"), tmp_path)
    await server.start()
    yield server
    await server.stop()


class Redis:
    """A server on a socket of its own, that can go away and come back empty."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        self._process: asyncio.subprocess.Process | None = None
        self.address = f"redis+unix://{folder}/redis.sock"

    async def start(self) -> None:
        options = {"port": "0", "unixsocket": f"{self._folder}/redis.sock", "save": "", "dir": f"{self._folder}"}
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = await asyncio.create_subprocess_exec(
            self._program, *given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while b"ready to accept connections" not in (line := (await self._process.stdout.readline()).lower()):
                assert line, "redis-server did not start"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.communicate()
            self._process = None


SharedRates = Callable[[], Rates]


@pytest.fixture
async def shared(redis: Redis, clock: Clock) -> AsyncIterator[SharedRates]:
    """Rates of one more process that shares them."""
    made: list[Rates] = []

    def one_more() -> Rates:
        made.append(Rates(redis.address, clock=clock))
        return made[-1]

    yield one_more
    for rates in made:
        await rates.stop()


async def test_two_gateways_share_a_minute_exactly(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, shared: SharedRates, clock: Clock
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        provider = FakeProvider()
        await provider.start()
        stack.push_async_callback(provider.stop)
        both = [
            await stack.enter_async_context(
                run_world(dsn, pool, tmp_path / name, provider=provider, plans=PLANS, rates=shared())
            )
            for name in ("one", "two")
        ]
        customer = await both[0].subscriber("paced")
        clients = [gateway.http(customer, timeout=60) for gateway in both]
        calls = [client.post("/chat/completions", json=body()) for client in clients for _ in range(16)]
        statuses = [response.status_code for response in await asyncio.gather(*calls)]
        assert (statuses.count(200), statuses.count(429)) == (5, 27)
        assert len(provider.calls) == 5
        clock.now += 60
        for client, remaining in zip(clients, "43", strict=True):
            response = await client.post("/chat/completions", json=body())
            assert response.headers["x-ratelimit-remaining-requests"] == remaining


async def test_with_redis_away_who_has_rates_is_refused(
    dsn: str, pool: asyncpg.Pool, tmp_path: Path, redis: Redis, shared: SharedRates
) -> None:
    async with run_world(dsn, pool, tmp_path / "journals", plans=PLANS, rates=shared()) as world:
        paced, unlimited = await world.subscriber("paced"), await world.customer(CREDIT)
        await ask(world.sdk(paced))
        await redis.stop()
        error = await refused(world.sdk(paced), openai.InternalServerError)
        assert (error.status_code, error.code) == (503, "unavailable")
        assert error.response.headers["retry-after"] == "1"
        assert len(world.provider.calls) == 1
        await ask(world.sdk(unlimited))
        await redis.start()
        await ask(world.sdk(paced))


async def test_a_redis_that_does_not_answer_is_one_that_is_away(redis: Redis, shared: SharedRates) -> None:
    rates = shared()
    await rates.take("org", FIVE, 100)
    redis.send(signal.SIGSTOP)
    with pytest.raises(Unavailable):
        await rates.take("org", FIVE, 100)
    redis.send(signal.SIGCONT)
    assert dict((await rates.take("org", FIVE, 100)).headers)[b"x-ratelimit-remaining-requests"] == b"3"


@pytest.fixture(params=["memory", "redis"])
def either(request: pytest.FixtureRequest, rates: Rates) -> Rates:
    if request.param == "memory":
        return rates
    make: SharedRates = request.getfixturevalue("shared")
    return make()


async def test_what_is_given_back_late_is_no_room_in_a_later_minute(either: Rates, clock: Clock) -> None:
    taken = await either.take("org", FIVE, 100)
    clock.now += 60
    for _ in range(5):
        await either.take("org", FIVE, 100)
    await either.give_back(taken)
    with pytest.raises(TooFast):
        await either.take("org", FIVE, 100)


async def test_another_limit_is_no_new_minute(either: Rates) -> None:
    for _ in range(5):
        await either.take("org", FIVE, 100)
    with pytest.raises(TooFast) as caught:
        await either.take("org", PlanRates(requests_per_minute=4), 100)
    assert (caught.value.details["used"], caught.value.details["remaining"]) == (4, 0)
    await either.take("org", PlanRates(requests_per_minute=6), 100)


async def test_memory_forgets_minutes_that_are_over(rates: Rates) -> None:
    storage: Any = rates._storage
    for number in range(1000):
        await storage.incr(f"a/{number}", 0)
    await asyncio.sleep(0.001)
    await storage.incr("b", 0)
    await asyncio.sleep(0.001)
    await storage.incr("c", 0)
    assert len(storage._new) + len(storage._old) == 2


@pytest.mark.parametrize("address", ["localhost", "memcached://secret@localhost", "redis://:secret@host:port"])
def test_an_address_that_is_no_redis(address: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Rates(address)
    assert "secret" not in str(caught.value)
