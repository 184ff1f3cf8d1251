"""Stripe fails at every call once, each way it can: what becomes of a subscription is the same."""

import pytest

from tallystick.payments.billing.checkout import close_superseded
from tallystick.payments.errors import PaymentPending
from tests.stand_in import stripe_client


@pytest.fixture
async def stripe(stripe_address):
    """Without the SDK's own retries: what they would hide is ours to deal with."""
    async with stripe_client(stripe_address, timeout_s=1.0, retries=0) as client:
        yield client


async def _at_last(ask):
    """As a customer would, or the upkeep: again, until there is an answer."""
    # A slow machine answers late more often than Stripe was told to fail.
    for _ in range(60):
        try:
            return await ask()
        except PaymentPending:
            continue
    raise AssertionError("there never was an answer")


async def _hear_all(one):
    await one.hear(await _at_last(one.new_events))
    for _ in range(30):
        await one.pool.execute("update stripe_event set retry_at = now() where state = 'received'")
        await one.inbox.process_open()
        if not await one.pool.fetchval("select count(*) from stripe_event where state = 'received'"):
            return
    raise AssertionError("some events are never done")


@pytest.mark.parametrize("scope", ["call", "endpoint"])
async def test_the_same_as_if_it_never_failed(subscriber, control, scope):
    await control("faults/everything", scope=scope, seconds=1.5)
    session = await _at_last(lambda: subscriber.checkout("growth"))
    await control(f"checkout/{session}/pay")
    await _hear_all(subscriber)
    found = await subscriber.subscription()
    assert (found.status, (await subscriber.document())["plan"]) == ("active", "growth")
    assert await subscriber.revenue() == (9900, 9900)
    assert await _at_last(lambda: close_superseded(subscriber.pool, subscriber.stripe)) == 0

    await control(f"subscriptions/{found.stripe_subscription}/cancel")
    await _hear_all(subscriber)
    assert (await subscriber.subscription()).cancel_at is not None
    assert await subscriber.quarantined() == []
    assert await subscriber.pool.fetchval("select count(*) from billing_checkout") == 1
