"""Dunning: days of grace, then no access, and all of it back once it is paid."""

from datetime import timedelta

from tallystick.subscriptions import subscription
from tallystick.subscriptions.advance import advance
from tallystick.subscriptions.dunning import mark_active, mark_past_due
from tallystick.subscriptions.pause import pause
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import at


async def test_access_lasts_for_the_days_of_grace(connection, acme, told, document):
    await subscribe(connection, acme.id, "pro")
    marked = await mark_past_due(connection, acme.id)
    found = await document()
    assert (found.status, found.access) == ("past_due", True)
    assert found.access_until == marked.grace_ends_at == marked.past_due_since + timedelta(days=7)
    assert await mark_past_due(connection, acme.id) == marked
    assert await told() == (2, 2, 2)


async def test_after_them_there_is_none_until_it_is_paid(connection, pool, acme, told, document):
    await subscribe(connection, acme.id, "pro", now=at("2024-01-01"))
    await mark_past_due(connection, acme.id, now=at("2024-02-01"))
    assert await advance(pool, at("2024-02-07")) == 0
    assert await advance(pool, at("2024-02-08")) == 1
    assert await advance(pool) == 0
    assert await told() == (3, 3, 3)
    assert (await document()).access is False
    paid = await mark_active(connection, acme.id)
    assert (paid.status, paid.past_due_since, paid.grace_ends_at) == ("active", None, None)
    assert (await document()).access is True
    assert await mark_active(connection, acme.id) == paid
    assert await told() == (4, 4, 4)


async def test_who_pays_while_paused_stays_paused(connection, acme):
    await subscribe(connection, acme.id, "pro")
    await pause(connection, acme.id)
    assert (await mark_past_due(connection, acme.id)).status == "paused"
    assert (await mark_active(connection, acme.id)).status == "paused"
    assert (await subscription.live(connection, acme.id)).past_due_since is None
