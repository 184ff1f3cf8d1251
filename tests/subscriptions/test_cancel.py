"""Cancellation: at the end of what was paid for, or at once; afterwards the organization is like one that never was."""

import pytest

from tallystick.base.errors import Conflict, NotFound
from tallystick.catalog.publish import apply
from tallystick.subscriptions import subscription
from tallystick.subscriptions.advance import advance
from tallystick.subscriptions.cancel import cancel
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.pause import resume
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, at


async def test_it_lasts_to_the_end_of_the_period(connection, pool, acme, told, document):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-31"))
    canceled = await cancel(connection, acme.id, now=at("2024-02-10"))
    assert (canceled.cancel_at, canceled.status) == (at("2024-02-29"), "active")
    assert await told() == (2, 2, 2)
    assert (await document()).plan == "pro"
    with pytest.raises(Conflict, match="already"):
        await cancel(connection, acme.id, now=at("2024-02-11"))
    assert await advance(pool, at("2024-02-28")) == 0
    assert await advance(pool, at("2024-03-02")) == 1
    assert await told() == (3, 3, 3)
    found = await document()
    assert (found.plan, found.status, found.access, found.strategy) == (None, "none", True, "prepaid")
    assert await subscription.live(connection, acme.id) is None
    # It ended when it was due, however late that was noticed.
    assert await connection.fetchval("select ended_at from subscription") == at("2024-02-29")


async def test_at_once(connection, acme, told, document):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-31"))
    canceled = await cancel(connection, acme.id, at_once=True, now=at("2024-02-10"))
    assert (canceled.status, canceled.ended_at) == ("canceled", at("2024-02-10"))
    assert (await document()).plan is None
    assert await told() == (2, 2, 2)
    floor = await connection.fetchval("select floor from ledger_account where id = $1", acme.account)
    assert floor == 0
    with pytest.raises(NotFound):
        await cancel(connection, acme.id)


async def test_who_leaves_falls_to_the_default_plan(connection, acme, document):
    free = '[[plan]]\nslug = "free"\nname = "Free"\nstrategy = "flat"\nprice = 0\ndefault = true\n'
    await apply(connection, CATALOG + free, now=at("2024-01-02"))
    await subscribe(connection, acme.id, "pro", now=at("2024-01-31"))
    await cancel(connection, acme.id, at_once=True, now=at("2024-02-10"))
    found = await document()
    assert (found.plan, found.status, found.period.anchor) == ("free", "none", acme.created_at)


async def test_a_trial_is_canceled_to_its_end(connection, pool, acme):
    await subscribe(connection, acme.id, "pro", trial_days=60, now=at("2024-01-01"))
    canceled = await cancel(connection, acme.id, now=at("2024-01-02"))
    assert canceled.cancel_at == at("2024-03-01")
    assert await advance(pool, at("2024-03-01")) == 1
    # Not first turned into a paid one.
    assert [event.what for event in await subscription.history(connection, acme.id)] == [
        "canceled",
        "cancel_scheduled",
        "subscribed",
    ]


async def test_a_cancellation_drops_the_downgrade_that_waits_and_is_taken_back(connection, pool, acme, told):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-31"))
    await change_plan(connection, acme.id, "starter", now=at("2024-02-01"))
    canceled = await cancel(connection, acme.id, now=at("2024-02-02"))
    assert canceled.pending_plan_version is None
    resumed = await resume(connection, acme.id, now=at("2024-02-03"))
    assert (resumed.cancel_at, resumed.status) == (None, "active")
    assert await told() == (4, 4, 4)
    assert await advance(pool) == 0
