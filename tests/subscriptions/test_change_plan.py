"""Changes of plan: dearer at once and prorated, cheaper at the period's end, and what was counted is never touched."""

import asyncio
from uuid import uuid4

import msgspec
import pytest
from msgspec.structs import replace

from tallystick.base.errors import Conflict, NotFound
from tallystick.catalog.file import parse
from tallystick.catalog.publish import apply
from tallystick.subscriptions import subscription
from tallystick.subscriptions.advance import advance
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.dunning import mark_past_due
from tallystick.subscriptions.pause import pause, resume
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, DEARER, at


@pytest.fixture
async def starter(connection, acme):
    return await subscribe(connection, acme.id, "starter", trial_days=0, now=at("2024-01-01"))


@pytest.fixture
async def pro(connection, acme):
    return await subscribe(connection, acme.id, "pro", now=at("2024-01-31"))


async def test_an_upgrade_holds_at_once_and_says_what_is_due(connection, acme, starter, told, document):
    changed = await change_plan(connection, acme.id, "pro", now=at("2024-01-16 12:00"))
    assert changed.effective_at == at("2024-01-16 12:00")
    assert changed.proration.credited.amount_minor == 1450
    assert changed.proration.due.amount_minor == 4950
    assert changed.proration.net_minor == 3500
    assert changed.subscription.anchor == starter.anchor
    assert await told() == (2, 2, 2)
    found = await document()
    assert (found.plan, found.quotas, found.version) == ("pro", {"reports": 100}, 2)
    (event, _first) = await subscription.history(connection, acme.id)
    assert (event.what, event.done_by, event.effective_at) == ("plan_changed", "operator", at("2024-01-16 12:00"))
    assert msgspec.json.decode(event.proration)["due"]["amount_minor"] == 4950
    assert msgspec.json.decode(event.before)["plan_version"] == starter.plan_version
    assert msgspec.json.decode(event.after)["plan_version"] == changed.subscription.plan_version


async def test_nothing_that_was_counted_is_touched(connection, acme, starter):
    await connection.execute(
        """insert into meter_counter (account, meter, starts_at, ends_at, used, held)
        values ($1, 'requests', $2, $3, 9000, 1)""",
        acme.account,
        at("2024-01-01"),
        at("2024-02-01"),
    )
    await connection.execute(
        "insert into feature_counter (account, feature, total, last_at) values ($1, 'reports', 7, $2)",
        acme.account,
        at("2024-01-10"),
    )
    await connection.execute(
        """insert into feature_use (account, feature, at, units, cumulative, hold)
        values ($1, 'reports', $2, 7, 7, $3)""",
        acme.account,
        at("2024-01-10"),
        uuid4(),
    )

    async def counted():
        tables = ("meter_counter", "feature_counter", "feature_use")
        return [[tuple(row) for row in await connection.fetch(f"select * from {table}")] for table in tables]

    before = await counted()
    await change_plan(connection, acme.id, "pro", now=at("2024-01-16"))
    await change_plan(connection, acme.id, "starter", when="now", now=at("2024-01-17"))
    await change_plan(connection, acme.id, "yearly", now=at("2024-01-18"))
    await pause(connection, acme.id)
    await resume(connection, acme.id)
    await cancel(connection, acme.id, at_once=True)
    assert await counted() == before


async def test_a_new_period_begins_only_when_asked_for(connection, acme, starter):
    changed = await change_plan(connection, acme.id, "pro", restart_period=True, now=at("2024-01-16 12:00"))
    assert changed.subscription.anchor == at("2024-01-16 12:00")
    assert (changed.proration.credited.amount_minor, changed.proration.due.amount_minor) == (1450, 9900)


async def test_from_months_to_years_a_new_period_begins(connection, acme, starter, document):
    changed = await change_plan(connection, acme.id, "yearly", now=at("2024-01-16 12:00"))
    assert (changed.proration.credited.amount_minor, changed.proration.due.amount_minor) == (1450, 120_000)
    period = (await document()).period
    assert (period.anchor, period.interval) == (at("2024-01-16 12:00"), "year")


async def test_a_downgrade_waits_for_the_end_of_the_period(connection, pool, acme, pro, told, document):
    changed = await change_plan(connection, acme.id, "starter", now=at("2024-02-10"))
    assert (changed.effective_at, changed.proration) == (at("2024-02-29"), None)
    assert (await document()).plan == "pro"
    assert await told() == (2, 2, 2)
    assert await advance(pool, at("2024-02-28 23:59")) == 0
    assert await advance(pool, at("2024-02-29")) == 1
    assert (await document()).plan == "starter"
    assert await told() == (3, 3, 3)
    now_on = await subscription.live(connection, acme.id)
    assert (now_on.pending_plan_version, now_on.pending_at, now_on.anchor) == (None, None, at("2024-01-31"))


async def test_from_years_to_months_periods_are_counted_from_the_change(connection, pool, acme):
    await subscribe(connection, acme.id, "yearly", now=at("2024-02-29"))
    changed = await change_plan(connection, acme.id, "starter", now=at("2024-05-05"))
    assert changed.effective_at == at("2025-02-28")
    assert await advance(pool, at("2025-03-05")) == 1
    assert (await subscription.live(connection, acme.id)).anchor == at("2025-02-28")


async def test_choosing_the_present_plan_takes_the_downgrade_back(connection, pool, acme, pro, told):
    await change_plan(connection, acme.id, "starter", now=at("2024-02-10"))
    kept = await change_plan(connection, acme.id, "pro", now=at("2024-02-11"))
    assert (kept.subscription.pending_at, kept.subscription.plan_version) == (None, pro.plan_version)
    assert await advance(pool) == 0
    assert await told() == (3, 3, 3)
    with pytest.raises(Conflict, match="already"):
        await change_plan(connection, acme.id, "pro", now=at("2024-02-12"))


async def test_an_upgrade_takes_the_place_of_a_downgrade_that_waits(connection, pool, acme, pro):
    await apply(
        connection,
        CATALOG + '[[plan]]\nslug = "max"\nname = "Max"\nstrategy = "flat"\nprice = 300\n',
        now=at("2024-02-01"),
    )
    await change_plan(connection, acme.id, "starter", now=at("2024-02-10"))
    changed = await change_plan(connection, acme.id, "max", now=at("2024-02-11"))
    assert changed.subscription.pending_plan_version is None
    assert await advance(pool) == 0


async def test_a_trial_changes_at_once_and_costs_nothing(connection, acme, document):
    trial = await subscribe(connection, acme.id, "pro", trial_days=30, now=at("2024-01-01"))
    changed = await change_plan(connection, acme.id, "starter", now=at("2024-01-02"))
    assert (changed.effective_at, changed.proration) == (at("2024-01-02"), None)
    assert (changed.subscription.trial_ends_at, changed.subscription.status) == (trial.trial_ends_at, "trialing")
    assert (await document()).plan == "starter"


async def test_of_two_changes_that_saw_the_same_plan_one_wins(pool, connection, acme, starter, told):
    async def change(slug):
        async with pool.acquire() as other:
            return await change_plan(other, acme.id, slug, expects=starter.plan_version, now=at("2024-01-10"))

    answers = await asyncio.gather(change("pro"), change("yearly"), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Changed", "Conflict"]
    assert await told() == (2, 2, 2)


async def test_of_two_same_changes_at_once_one_wins(pool, connection, acme, starter, told):
    async def change():
        async with pool.acquire() as other:
            return await change_plan(other, acme.id, "pro", now=at("2024-01-10"))

    answers = await asyncio.gather(*(change() for _ in range(4)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Changed", "Conflict", "Conflict", "Conflict"]
    assert await told() == (2, 2, 2)


async def test_what_is_owed_or_paused_is_settled_before_an_upgrade(connection, acme, starter, told):
    await mark_past_due(connection, acme.id)
    with pytest.raises(Conflict, match="past_due"):
        await change_plan(connection, acme.id, "pro")
    await pause(connection, acme.id)
    with pytest.raises(Conflict, match="paused"):
        await change_plan(connection, acme.id, "pro")
    assert (await change_plan(connection, acme.id, "pro", when="period_end")).proration is None


async def test_what_is_to_end_is_resumed_before_it_changes(connection, acme, starter, told):
    await cancel(connection, acme.id)
    before = await told()
    with pytest.raises(Conflict, match="resume"):
        await change_plan(connection, acme.id, "pro")
    assert await told() == before


async def test_another_currency_waits_for_the_end_of_the_period(connection, acme, starter):
    # No file can say so: the books are in one currency. The rule is for whoever came with another one.
    euro = parse(CATALOG + '[[plan]]\nslug = "euro"\nname = "Euro"\nstrategy = "flat"\nprice = 300\n')
    [wanted] = euro["plan"]["euro"]
    wanted = replace(wanted, document=replace(wanted.document, currency="eur"))
    await apply(connection, {**euro, "plan": {**euro["plan"], "euro": [wanted]}}, now=at("2024-01-02"))
    with pytest.raises(Conflict, match="currency"):
        await change_plan(connection, acme.id, "euro", now=at("2024-01-10"))
    changed = await change_plan(connection, acme.id, "euro", when="period_end", now=at("2024-01-10"))
    assert changed.effective_at == at("2024-02-01")


async def test_the_new_version_of_ones_own_plan_is_a_plan_to_change_to(connection, acme, starter, document):
    await apply(connection, DEARER, now=at("2024-01-10"))
    changed = await change_plan(connection, acme.id, "starter", now=at("2024-01-16 12:00"))
    assert changed.proration.net_minor == 500
    assert (await document()).meters[0].allowance == 5000


async def test_without_a_subscription_there_is_nothing_to_change(connection, acme, told):
    with pytest.raises(NotFound):
        await change_plan(connection, acme.id, "pro")
    assert await told() == (0, 0, 0)
