"""A subscription that is billed elsewhere is followed, whatever it was here before."""

from datetime import timedelta

import msgspec
import pytest

from tallystick.base.errors import Conflict, NotFound
from tallystick.subscriptions import subscription
from tallystick.subscriptions.follow import Billed, follow
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import at

NOW = at("2024-03-10")


@pytest.fixture
async def version(connection, shop):
    rows = await connection.fetch("select name, id from catalog_entry where kind = 'plan'")
    return {row["name"]: row["id"] for row in rows}


@pytest.fixture
def pro(version):
    return Billed(
        customer="cus_1", id="sub_1", plan_version=version["pro"], status="active", anchor=at("2024-03-01"),
        created_at=at("2024-03-01"),
    )  # fmt: skip


def _but(billed, **changes):
    return msgspec.structs.replace(billed, **changes)


async def test_told_twice_the_second_changes_nothing(connection, acme, pro, told):
    first = await follow(connection, acme.id, pro, now=NOW)
    assert (first.status, first.created_at, first.stripe_subscription) == ("active", at("2024-03-01"), "sub_1")
    assert await told() == (1, 1, 1)
    assert await follow(connection, acme.id, pro, now=NOW + timedelta(days=1)) == first
    assert await told() == (1, 1, 1)


async def test_grace_is_the_plans_from_when_it_could_be_paid_and_ends_with_the_trying(connection, acme, pro, document):
    await follow(connection, acme.id, pro, now=NOW)
    late = _but(pro, status="past_due", unpaid_since=NOW - timedelta(days=1))
    found = await follow(connection, acme.id, late, now=NOW)
    assert (found.past_due_since, found.grace_ends_at) == (NOW - timedelta(days=1), NOW + timedelta(days=6))
    # A later invoice that is not paid either begins no grace anew.
    found = await follow(connection, acme.id, _but(late, unpaid_since=NOW), now=NOW + timedelta(days=1))
    assert found.grace_ends_at == NOW + timedelta(days=6)
    found = await follow(connection, acme.id, _but(late, status="unpaid"), now=NOW + timedelta(days=2))
    assert (found.status, found.grace_ends_at, (await document()).access) == ("past_due", None, False)
    found = await follow(connection, acme.id, pro, now=NOW + timedelta(days=3))
    assert (found.status, found.past_due_since, (await document()).access) == ("active", None, True)


async def test_grace_that_is_over_stays_over(connection, acme, pro, told):
    late = _but(pro, status="past_due", unpaid_since=NOW - timedelta(days=30))
    found = await follow(connection, acme.id, late, now=NOW)
    assert found.grace_ends_at is None
    before = await told()
    await follow(connection, acme.id, late, now=NOW + timedelta(days=1))
    assert await told() == before


async def test_it_takes_the_place_of_one_that_nobody_bills_and_of_no_other(connection, acme, pro, version):
    ours = await subscribe(connection, acme.id, "starter", now=at("2024-02-01"))
    found = await follow(connection, acme.id, pro, now=NOW)
    assert (found.id, found.plan_version, found.created_at) == (ours.id, version["pro"], ours.created_at)
    with pytest.raises(Conflict):
        await follow(connection, acme.id, _but(pro, id="sub_2"), now=NOW)
    assert (await subscription.live(connection, acme.id)).stripe_subscription == "sub_1"


async def test_one_that_ended_ends_and_one_that_was_never_seen_alive_leaves_no_trace(connection, acme, pro, told):
    ended = _but(pro, status="canceled", ended_at=at("2024-03-09"))
    assert await follow(connection, acme.id, ended, now=NOW) is None
    assert await told() == (0, 0, 0)
    await follow(connection, acme.id, _but(pro, pending_plan_version=pro.plan_version, pending_at=NOW), now=NOW)
    over = await follow(connection, acme.id, ended, now=NOW)
    assert (over.status, over.ended_at, over.pending_at) == ("canceled", at("2024-03-09"), None)
    (event, *_) = await subscription.history(connection, acme.id)
    assert (event.what, event.done_by, event.effective_at) == ("canceled", "stripe", at("2024-03-09"))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": "paused"}, "paused"),
        ({"status": "past_due"}, "past_due"),
        ({"cancel_at": at("2024-04-01")}, "cancel_scheduled"),
        ({"pending_at": at("2024-04-01"), "pending_plan_version": "starter"}, "plan_change_scheduled"),
        ({"plan_version": "starter"}, "plan_changed"),
        ({"anchor": at("2024-03-05")}, "followed"),
    ],
)
async def test_the_history_says_what_happened(connection, acme, pro, version, changes, what):
    await follow(connection, acme.id, pro, now=NOW)
    changes = {name: version.get(value, value) if isinstance(value, str) else value for name, value in changes.items()}
    await follow(connection, acme.id, _but(pro, **changes), now=NOW)
    (event, *_) = await subscription.history(connection, acme.id)
    assert event.what == what


async def test_there_must_be_such_an_organization(connection, pro):
    with pytest.raises(NotFound):
        await follow(connection, "org_of_nobody", pro, now=NOW)
