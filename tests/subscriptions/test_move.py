"""Grandfathering: nobody leaves the version they pinned, unless an operator moves them."""

import pytest

from tallystick.accounts import organization
from tallystick.base.errors import Conflict, NotFound
from tallystick.catalog.errors import UnknownPlan
from tallystick.catalog.publish import apply
from tallystick.subscriptions import subscription
from tallystick.subscriptions.move import move, move_all
from tallystick.subscriptions.publish import publish_old
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, DEARER, at


@pytest.fixture
async def pinned(connection, acme):
    return await subscribe(connection, acme.id, "starter", trial_days=0, now=at("2024-01-01"))


async def test_a_new_version_changes_nothing_for_who_pinned_the_old(connection, pool, acme, pinned, told, document):
    before = await told(), await document()
    await apply(connection, DEARER, now=at("2024-02-01"))
    assert await publish_old(pool) == 0
    assert (await told(), await document()) == before


async def test_one_is_moved(connection, acme, pinned, told, document):
    await apply(connection, DEARER, now=at("2024-02-01"))
    moved = await move(connection, acme.id, "starter")
    assert moved.plan_version > pinned.plan_version
    assert moved.anchor == pinned.anchor
    assert (await document()).meters[0].allowance == 5000
    assert await told() == (2, 2, 2)
    with pytest.raises(Conflict, match="already"):
        await move(connection, acme.id, "starter")


async def test_all_are_moved_but_those_of_other_plans(connection, pool, acme, other, pinned):
    for number in range(3):
        made = await organization.create(connection, name=f"Org {number}")
        await subscribe(connection, made.id, "starter", now=at("2024-01-01"))
    elsewhere = await subscribe(connection, other.id, "pro")
    await apply(connection, DEARER, now=at("2024-02-01"))
    heard = []
    done = await move_all(pool, "starter", progress=heard.append)
    assert (done.moved, done.left, heard) == (4, {}, [4])
    assert (await subscription.live(connection, other.id)) == elsewhere
    again = await move_all(pool, "starter")
    assert (again.moved, again.left) == (0, {})


async def test_who_would_be_paid_by_another_interval_is_left(connection, pool, acme, pinned):
    yearly = CATALOG.replace("price = 29", 'price = 290\ninterval = "year"')
    await apply(connection, yearly, now=at("2024-02-01"))
    done = await move_all(pool, "starter")
    assert (done.moved, list(done.left)) == (0, [acme.id])
    assert await subscription.live(connection, acme.id) == pinned


async def test_what_cannot_be_moved_is_refused(connection, pool, acme, pinned, told):
    with pytest.raises(Conflict, match="not on pro"):
        await move(connection, acme.id, "pro")
    with pytest.raises(UnknownPlan):
        await move_all(pool, "platinum")
    with pytest.raises(NotFound):
        await move(connection, "org_nobody", "starter")
    assert await told() == (1, 1, 1)
