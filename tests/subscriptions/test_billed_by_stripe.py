"""A plan whose usage Stripe bills begins at Stripe, or nobody would bill it."""

import pytest

from tallystick.base.errors import Conflict
from tallystick.catalog.publish import apply
from tallystick.subscriptions.change_plan import change_plan
from tallystick.subscriptions.move import move
from tallystick.subscriptions.subscribe import subscribe
from tests.subscriptions.shop import CATALOG, at

METERED = """
[[plan]]
slug = "metered"
name = "By the session"
strategy = "payg"
price = 19
tier = "pro"
usage_billing = "stripe"
charges_models = false
meters = [{ meter = "agent_sessions", overage = { price = 0.25 } }]
"""


async def test_nobody_is_put_on_it_here(connection, acme):
    await apply(connection, CATALOG + METERED, now=at("2024-01-01"))
    with pytest.raises(Conflict, match="through checkout"):
        await subscribe(connection, acme.id, "metered", now=at("2024-01-02"))
    await subscribe(connection, acme.id, "starter", now=at("2024-01-02"))
    with pytest.raises(Conflict, match="through checkout"):
        await change_plan(connection, acme.id, "metered", now=at("2024-01-03"))


async def test_nobody_is_moved_to_a_version_that_is(connection, acme):
    ours = METERED.replace('usage_billing = "stripe"', "credit_limit = 10")
    await apply(connection, CATALOG + ours, now=at("2024-01-01"))
    await subscribe(connection, acme.id, "metered", now=at("2024-01-02"))
    await apply(connection, CATALOG + METERED, now=at("2024-01-03"))
    with pytest.raises(Conflict, match="through checkout"):
        await move(connection, acme.id, "metered", now=at("2024-01-04"))
