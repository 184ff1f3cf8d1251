"""Subscribing: what it pins, when its periods begin, who gets a trial."""

import asyncio

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.accounts.organization import OrganizationState
from tallystick.base.errors import Conflict, InvalidInput, NotFound
from tallystick.catalog.errors import UnknownPlan
from tallystick.catalog.publish import apply
from tallystick.catalog.read import plan_version
from tallystick.constraints.period import Period
from tallystick.subscriptions import subscription
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, DEARER, at


async def test_a_subscription_pins_the_version_that_is_sold_now(connection, acme, told, document):
    made = await subscribe(connection, acme.id, "pro", now=at("2024-01-31 10:00"))
    assert made == await subscription.live(connection, acme.id)
    assert (made.status, made.anchor, made.trial_ends_at) == ("active", at("2024-01-31 10:00"), None)
    assert await told() == (1, 1, 1)
    found = await document()
    assert (found.plan, found.plan_version, found.status, found.access) == ("pro", made.plan_version, "active", True)
    assert (found.quotas, found.tier, found.version) == ({"reports": 100}, "pro", 1)
    assert (found.credit_limit, found.overdraft) == (100 * 10**9, 2 * 10**9)
    assert found.period.anchor == made.anchor
    row = await connection.fetchrow("select floor, overdraft from ledger_account where id = $1", acme.account)
    assert tuple(row) == (-102 * 10**9, 2 * 10**9)


@pytest.mark.parametrize(
    ("anchor", "now", "starts", "ends"),
    [
        ("2024-01-31", "2024-02-15", "2024-01-31", "2024-02-29"),
        ("2024-01-31", "2024-02-29", "2024-02-29", "2024-03-31"),
        ("2023-01-31", "2023-02-28", "2023-02-28", "2023-03-31"),
        ("2023-12-31", "2024-04-30", "2024-04-30", "2024-05-31"),
    ],
)
async def test_periods_follow_the_anchor_through_short_months(connection, acme, anchor, now, starts, ends):
    made = await subscribe(connection, acme.id, "pro", now=at(anchor))
    plan = await plan_version(connection, made.plan_version)
    assert made.period(plan, at(now)) == Period(at(starts), at(ends))


async def test_a_leap_day_is_the_last_of_february_in_other_years(connection, acme):
    made = await subscribe(connection, acme.id, "yearly", now=at("2024-02-29"))
    plan = await plan_version(connection, made.plan_version)
    assert made.period(plan, at("2025-03-01")) == Period(at("2025-02-28"), at("2026-02-28"))
    assert made.period(plan, at("2028-03-01")) == Period(at("2028-02-29"), at("2029-02-28"))


async def test_the_plans_trial_is_for_the_first_subscription_only(connection, acme):
    first = await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    assert (first.status, first.trial_ends_at, first.anchor) == ("trialing", at("2024-01-15"), at("2024-01-15"))
    await cancel(connection, acme.id, at_once=True, now=at("2024-01-14"))
    again = await subscribe(connection, acme.id, "starter", now=at("2024-01-14"))
    assert (again.status, again.trial_ends_at) == ("active", None)
    await cancel(connection, acme.id, at_once=True, now=at("2024-01-14"))
    granted = await subscribe(connection, acme.id, "starter", trial_days=3, now=at("2024-01-14"))
    assert (granted.status, granted.trial_ends_at) == ("trialing", at("2024-01-17"))


async def test_a_second_subscription_is_refused(connection, acme, told):
    await subscribe(connection, acme.id, "pro")
    before = await told()
    with pytest.raises(Conflict, match="has a subscription"):
        await subscribe(connection, acme.id, "starter")
    assert await told() == before


async def test_of_two_at_once_one_is_made(pool, connection, acme, told):
    async def one(slug):
        async with pool.acquire() as other:
            return await subscribe(other, acme.id, slug)

    answers = await asyncio.gather(one("pro"), one("starter"), one("pro"), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Conflict", "Subscription"]
    assert await told() == (1, 1, 1)


async def test_what_there_is_not_is_refused_and_leaves_nothing(connection, acme, told):
    with pytest.raises(UnknownPlan):
        await subscribe(connection, acme.id, "platinum")
    with pytest.raises(NotFound):
        await subscribe(connection, "org_nobody", "pro")
    with pytest.raises(NotFound):
        await subscribe(connection, "org_\0", "pro")
    with pytest.raises(InvalidInput):
        await subscribe(connection, acme.id, "pro", trial_days=-1)
    assert await told() == (0, 0, 0)


async def test_a_plan_no_longer_sold_is_refused_and_its_subscribers_keep_it(connection, acme, other):
    pinned = await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    await apply(connection, CATALOG.replace('slug = "starter"', 'slug = "basic"'), now=at("2024-02-01"))
    with pytest.raises(UnknownPlan):
        await subscribe(connection, other.id, "starter")
    assert (await plan_version(connection, pinned.plan_version)).slug == "starter"


async def test_a_new_version_is_for_new_subscribers(connection, acme, other):
    early = await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    await apply(connection, DEARER, now=at("2024-02-01"))
    late = await subscribe(connection, other.id, "starter", now=at("2024-02-02"))
    prices = [(await plan_version(connection, one.plan_version)).amount_minor for one in (early, late)]
    assert prices == [2900, 3900]


async def test_a_suspended_organization_can_be_subscribed_and_stays_suspended(connection, acme, told):
    await organization.change(connection, acme.id, state=OrganizationState.SUSPENDED, default_max_tokens=None)
    await subscribe(connection, acme.id, "pro")
    assert await told() == (1, 1, 1)
    assert (await organization.find(connection, acme.id)).state == "suspended"


async def test_nothing_pins_what_is_no_plan(connection, acme):
    made = await subscribe(connection, acme.id, "pro")
    feature = await connection.fetchval("select id from catalog_entry where kind = 'feature'")
    for column in ("plan_version", "pending_at = now(), pending_plan_version"):
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute(f"update subscription set {column} = $1 where id = $2", feature, made.id)


async def test_history_is_append_only(connection, acme):
    await subscribe(connection, acme.id, "pro")
    for change in ("delete from subscription_event", "update subscription_event set what = 'nothing'"):
        with pytest.raises((asyncpg.RestrictViolationError, asyncpg.InsufficientPrivilegeError)):
            await connection.execute(change)
