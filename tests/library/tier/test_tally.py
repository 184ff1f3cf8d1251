import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tallystick import (
    AsyncCreditClient,
    Conflict,
    CreditClient,
    InvalidInput,
    NotFound,
    QuotaCheck,
    QuotaExceeded,
    Tallystick,
    Unavailable,
)
from tallystick.base.errors import Misconfigured
from tallystick.library.tally_remote import judge
from tallystick.quotas.limit import NoAccess, UnknownFeature
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.pause import pause
from tallystick.subscriptions.subscribe import subscribe
from tests.patience import eventually

FEATURE = "ad_generations"


async def test_uses_are_counted_until_the_tier_has_no_more(tally, new_customer):
    customer = await new_customer()
    for n in (1, 2, 3):
        use = await tally.use(customer, FEATURE)
        assert (use.used, use.limit, use.remaining, use.repeated) == (n, 3, 3 - n, False)
    with pytest.raises(QuotaExceeded) as refused:
        await tally.use(customer, FEATURE)
    error = refused.value
    assert (error.layer, error.name, error.limit, error.used, error.remaining) == ("quota", FEATURE, 3, 3, 0)
    assert error.details["feature"] == FEATURE
    assert timedelta(days=29) < error.retry_at - datetime.now(UTC) <= timedelta(days=30)


async def test_sixty_four_at_a_time_get_exactly_the_limit(tally, new_customer):
    customer = await new_customer("pro")
    told = await asyncio.gather(*(tally.use(customer, FEATURE) for _ in range(64)), return_exceptions=True)
    admitted = [one for one in told if not isinstance(one, QuotaExceeded)]
    assert sorted(use.used for use in admitted) == list(range(1, 13))
    assert (await tally.usage(customer)).usage[FEATURE].used == 12


async def test_usage_check_and_tier_agree(tally, new_customer):
    customer = await new_customer("pro")
    await tally.use(customer, FEATURE, units=5)
    usage = await tally.usage(customer)
    assert usage.tier == await tally.get_user_tier(customer) == "pro"
    assert (usage.usage[FEATURE].used, usage.usage[FEATURE].remaining, usage.usage["exports"].used) == (5, 7, 0)
    assert usage.period_end - usage.period_start == timedelta(days=30)
    check = await tally.check_quota(customer, FEATURE)
    assert isinstance(check, QuotaCheck)
    assert check
    assert (check.tier, check.used, check.limit, check.remaining, check.retry_at) == ("pro", 5, 12, 7, None)
    assert not await tally.check_quota(customer, FEATURE, units=8)


async def test_a_user_stands_for_their_personal_organization(tally, grace):
    await tally.use(grace.user_id, FEATURE)
    assert (await tally.use(grace.organization_id, FEATURE)).used == 2


async def test_given_back(tally, new_customer):
    customer, other = await new_customer(), await new_customer()
    use = await tally.use(customer, FEATURE, units=3)
    with pytest.raises(NotFound):
        await tally.give_back(other, use)
    assert not await tally.check_quota(customer, FEATURE)
    await tally.give_back(customer, use)
    await tally.give_back(customer, use.id)
    assert (await tally.check_quota(customer, FEATURE)).used == 0
    for nothing in ("no id at all", "0193a1c2-0000-7000-8000-000000000000"):
        with pytest.raises(NotFound):
            await tally.give_back(customer, nothing)


async def test_a_request_id_is_counted_once_for_each_organization(tally, new_customer):
    customer, other = await new_customer(), await new_customer()
    first = await tally.use(customer, FEATURE, request_id="job-1")
    again = await tally.use(customer, FEATURE, request_id="job-1")
    assert (again.id, again.used, again.repeated) == (first.id, 1, True)
    assert (await tally.use(other, FEATURE, request_id="job-1")).id != first.id
    with pytest.raises(Conflict):
        await tally.use(customer, FEATURE, units=2, request_id="job-1")


async def test_of_many_with_one_request_id_one_was_the_first(tally, new_customer):
    customer = await new_customer()
    told = await asyncio.gather(*(tally.use(customer, FEATURE, request_id="job-1") for _ in range(64)))
    assert sorted(use.repeated for use in told) == [False] + [True] * 63
    assert {(use.id, use.used) for use in told} == {(told[0].id, 1)}


async def test_enterprise_is_unlimited(tally, new_customer):
    customer = await new_customer("enterprise")
    use = await tally.use(customer, FEATURE, units=1000)
    assert (use.used, use.limit, use.remaining, use.resets_at) == (1000, None, None, None)
    assert await tally.check_quota(customer, FEATURE, units=10**9)


async def test_another_plan_keeps_the_window(tally, new_customer, pool):
    customer = await new_customer()
    await tally.use(customer, FEATURE, units=3)
    async with pool.acquire() as connection:
        await subscribe(connection, customer, "pro", trial_days=0)
    await eventually(lambda: _tier_is(tally, customer, "pro"))
    assert (await tally.use(customer, FEATURE)).used == 4
    async with pool.acquire() as connection:
        await change_plan(connection, customer, "enterprise")
    await eventually(lambda: _tier_is(tally, customer, "enterprise"))
    use = await tally.use(customer, FEATURE)
    assert (use.used, use.limit) == (5, None)


async def test_whose_subscription_gives_no_access_uses_nothing(tally, new_customer, pool):
    customer = await new_customer("pro")
    async with pool.acquire() as connection:
        await pause(connection, customer)

    async def refused():
        return not await tally.check_quota(customer, FEATURE)

    await eventually(refused)
    with pytest.raises(NoAccess, match="paused"):
        await tally.use(customer, FEATURE)
    assert (await tally.usage(customer)).usage[FEATURE].used == 0


async def test_wrong_questions(tally, new_customer):
    customer = await new_customer()
    with pytest.raises(NotFound):
        await tally.use("user_nobody", FEATURE)
    for asked in (tally.use(customer, "ad_generation"), tally.check_quota(customer, "ad_generation")):
        with pytest.raises(UnknownFeature):
            await asked
    for units in (0, -1):
        for asked in (tally.use(customer, FEATURE, units=units), tally.check_quota(customer, FEATURE, units=units)):
            with pytest.raises(InvalidInput):
                await asked
    with pytest.raises(InvalidInput):
        await tally.use(customer, FEATURE, request_id="x" * 201)
    with pytest.raises(InvalidInput):
        await tally.use("", FEATURE)


async def test_a_wrong_service_token_is_the_applications_own_mistake(server):
    async with Tallystick.connect(server.url, service_token="some-other-token-of-length") as tally:
        with pytest.raises(Misconfigured, match="service token"):
            await tally.use(server.organization, FEATURE)


async def test_a_server_that_is_not_there():
    async with Tallystick.connect("http://127.0.0.1:9", service_token="x") as tally:
        with pytest.raises(Unavailable):
            await tally.use("org_1", FEATURE)


@pytest.mark.parametrize(
    "body", [b"", b"<html>Too many requests</html>", b"[]", b'{"error": {"code": "quota_exceeded"}}']
)
def test_a_proxys_refusal_is_not_taken_for_the_servers(body):
    assert isinstance(judge(httpx.Response(429, content=body)), Unavailable)


async def test_it_works_only_while_it_is_open(dsn, new_customer, plans):
    tally = Tallystick.open(dsn)
    with pytest.raises(RuntimeError):
        await tally.use("org_1", FEATURE)
    for _ in range(2):
        async with tally:
            with pytest.raises(RuntimeError):
                await tally.__aenter__()
            assert await tally.get_user_tier(await new_customer()) == "free"
    assert not tally.is_open


def test_what_is_not_used_is_not_loaded():
    """Importing the package, or a Tallystick alone, brings no FastAPI."""
    code = (
        "import sys, tallystick; assert 'asyncpg' not in sys.modules and 'fastapi' not in sys.modules;"
        "tallystick.Tallystick; assert 'fastapi' not in sys.modules;"
        "tallystick.require_tier; assert 'fastapi' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def _tier_is(tally, customer, tier):
    return await tally.get_user_tier(customer) == tier


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:8080", "must start with http:// or https://"),
        ("", "must start with http:// or https://"),
        ("http://127.0.0.1:8080/v1", "without /v1 or /api"),
        ("https://your.address/api/", "without /v1 or /api"),
    ],
)
def test_an_address_that_can_never_answer_is_refused_before_anything_starts(url, problem):
    for connect in (Tallystick.connect, CreditClient, AsyncCreditClient):
        with pytest.raises(InvalidInput, match=problem):
            connect(url, service_token="x")
