"""Pauses: no access meanwhile, and then what it would have been without."""

import pytest

from tallystick.base.errors import Conflict, NotFound
from tallystick.subscriptions.dunning import mark_past_due
from tallystick.subscriptions.pause import pause, resume
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import at


async def test_a_pause_takes_access_and_resuming_gives_it_back(connection, acme, told, document):
    await subscribe(connection, acme.id, "pro")
    assert (await pause(connection, acme.id)).status == "paused"
    found = await document()
    assert (found.access, found.status) == (False, "paused")
    assert "paused" in found.access_reason
    with pytest.raises(Conflict):
        await pause(connection, acme.id)
    assert (await resume(connection, acme.id)).status == "active"
    assert (await document()).access is True
    with pytest.raises(Conflict):
        await resume(connection, acme.id)
    assert await told() == (3, 3, 3)


async def test_a_trial_goes_on_where_time_is_left(connection, acme):
    await subscribe(connection, acme.id, "starter", now=at("2024-01-01"))
    await pause(connection, acme.id, now=at("2024-01-02"))
    assert (await resume(connection, acme.id, now=at("2024-01-10"))).status == "trialing"
    await pause(connection, acme.id, now=at("2024-01-11"))
    assert (await resume(connection, acme.id, now=at("2024-01-20"))).status == "active"


async def test_a_debt_outlasts_a_pause(connection, acme, document):
    await subscribe(connection, acme.id, "pro")
    await mark_past_due(connection, acme.id)
    await pause(connection, acme.id)
    assert (await document()).status == "paused"
    assert (await resume(connection, acme.id)).status == "past_due"
    assert (await document()).status == "past_due"


async def test_without_a_subscription_there_is_nothing_to_pause(connection, acme, told):
    for verb in (pause, resume):
        with pytest.raises(NotFound):
            await verb(connection, acme.id)
    assert await told() == (0, 0, 0)
