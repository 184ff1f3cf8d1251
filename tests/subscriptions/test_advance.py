"""Advancing: what is due happens once, in its order, by the database's clock, whoever looks."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from tallystick.accounts import organization
from tallystick.base.errors import NotFound
from tallystick.catalog.publish import apply
from tallystick.subscriptions import subscription
from tallystick.subscriptions.advance import advance, advance_one
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.dunning import mark_active
from tallystick.subscriptions.keep_current import keep_current
from tallystick.subscriptions.pause import pause, resume
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, at


async def test_a_trial_ends_and_its_first_period_begins(connection, pool, acme, told, document):
    await subscribe(connection, acme.id, "starter", now=at("2024-01-17"))
    assert (await document()).status == "trialing"
    assert await advance(pool, at("2024-01-30 23:59")) == 0
    assert await advance(pool, at("2024-01-31")) == 1
    assert await told() == (2, 2, 2)
    found = await document()
    assert (found.status, found.access, found.period.anchor) == ("active", True, at("2024-01-31"))
    (event, _first) = await subscription.history(connection, acme.id)
    assert (event.what, event.done_by, event.effective_at) == ("trial_ended", "clock", at("2024-01-31"))


async def test_twice_is_once(connection, pool, acme, told):
    await subscribe(connection, acme.id, "starter", now=at("2024-01-17"))
    assert [await advance(pool), await advance(pool)] == [1, 0]
    assert await told() == (2, 2, 2)


async def test_on_several_hosts_at_once_is_once(connection, pool, shop):
    for number in range(12):
        made = await organization.create(connection, name=f"Org {number}")
        await subscribe(connection, made.id, "starter", now=at("2024-01-17"))
    assert sum(await asyncio.gather(*(advance(pool) for _ in range(4)))) == 12
    assert await connection.fetchval("select count(*) from subscription_event where what = 'trial_ended'") == 12
    assert await connection.fetchval("select count(*) from change where kind = 'constraints'") == 24


async def test_what_became_due_while_nobody_looked_happens_in_its_order(connection, pool, acme, told, document):
    await subscribe(connection, acme.id, "pro", trial_days=14, now=at("2024-01-01"))
    await change_plan(connection, acme.id, "starter", when="period_end", now=at("2024-01-02"))
    # The end of the trial is the end of what runs: both are due at once.
    assert await advance(pool) == 1
    events = await subscription.history(connection, acme.id)
    assert {event.what for event in events[:2]} == {"trial_ended", "plan_changed"}
    assert all(event.effective_at == at("2024-01-15") for event in events[:2])
    found = await document()
    assert (found.plan, found.status) == ("starter", "active")
    # One document for both of them.
    assert await told() == (3, 3, 4)


async def test_the_clock_of_the_caller_cannot_run_ahead(connection, pool, acme):
    made = await subscribe(connection, acme.id, "starter")
    assert await advance(pool, made.trial_ends_at + timedelta(days=1)) == 0
    assert await advance_one(connection, acme.id, made.trial_ends_at + timedelta(days=1)) is False
    assert (await subscription.live(connection, acme.id)).status == "trialing"


async def test_a_paused_trial_does_not_end(connection, pool, acme):
    await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    await pause(connection, acme.id, now=at("2024-01-02"))
    assert await advance(pool) == 0


async def test_one_that_cannot_be_advanced_does_not_stop_the_others(connection, pool, acme, other):
    for one in (acme, other):
        await subscribe(connection, one.id, "starter", now=at("2024-01-17"))
    await connection.execute(f"alter table constraints add check (organization <> '{acme.id}' or version < 2)")
    with pytest.raises(asyncpg.CheckViolationError):
        await advance(pool)
    assert (await subscription.live(connection, other.id)).status == "active"
    assert (await subscription.live(connection, acme.id)).status == "trialing"


async def test_a_verb_that_comes_before_the_upkeep_finds_what_is_due_done(connection, acme, told, document):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-01"))
    await change_plan(connection, acme.id, "starter", now=at("2024-01-10"))
    # The downgrade was due at the first of February, and nobody looked: what is credited is what was bought since.
    changed = await change_plan(connection, acme.id, "pro", now=at("2024-02-01 12:00"))
    assert changed.proration.credited.price_minor == 2900
    assert [event.what for event in await subscription.history(connection, acme.id)] == [
        "plan_changed",
        "plan_changed",
        "plan_change_scheduled",
        "subscribed",
    ]
    assert await told() == (3, 3, 4)
    assert (await document()).plan == "pro"


async def test_what_has_ended_by_then_cannot_be_resumed(connection, pool, acme, told):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-01"))
    await cancel(connection, acme.id, now=at("2024-01-10"))
    with pytest.raises(NotFound):
        await resume(connection, acme.id, now=at("2024-02-01"))
    # The refusal left nothing; the upkeep ends it.
    assert await told() == (2, 2, 2)
    assert await advance(pool) == 1
    await subscribe(connection, acme.id, "starter", now=at("2024-02-02"))
    assert await told() == (4, 4, 4)


async def test_who_subscribes_anew_need_not_wait_for_the_upkeep(connection, acme, told):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-01"))
    await cancel(connection, acme.id, now=at("2024-01-10"))
    assert (await subscribe(connection, acme.id, "starter", now=at("2024-02-02"))).status == "active"
    assert await told() == (3, 3, 4)


async def test_a_verb_that_changes_nothing_itself_still_tells_what_was_due(connection, acme, told, document):
    await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    assert (await mark_active(connection, acme.id)).status == "active"
    assert (await document()).status == "active"
    assert await told() == (2, 2, 2)


async def test_the_upkeep_does_all_of_it(connection, pool, acme, document):
    await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    await apply(connection, CATALOG.replace("free = 10", "free = 20"), now=at("2024-01-02"))
    await keep_current(pool)
    found = await document()
    assert (found.status, found.quotas) == ("active", {"reports": 20})
