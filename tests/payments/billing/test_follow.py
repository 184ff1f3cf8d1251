"""What Stripe says becomes of a subscription, becomes of ours."""

from datetime import datetime

from tests.payments.billing.subscriber import DAY_S


async def test_who_paid_on_the_page_is_subscribed_and_the_money_is_in_the_books(subscriber):
    named = await subscriber.subscribe("growth")
    await subscriber.hear()
    found = await subscriber.subscription()
    assert (found.status, found.stripe_subscription, found.stripe_customer) == ("active", named, subscriber.customer)
    document = await subscriber.document()
    assert (document["plan"], document["access"], document["tier"]) == ("growth", True, "pro")
    assert await subscriber.revenue() == (9900, 9900)
    assert await subscriber.quarantined() == []
    assert await subscriber.broken_laws() == []
    (there,) = await subscriber.at_stripe()
    assert found.anchor.timestamp() == there["items"]["data"][0]["current_period_start"]


async def test_a_plan_changed_at_stripe_is_changed_here_and_what_it_cost_is_income(subscriber):
    await subscriber.subscribe("starter")
    await subscriber.hear()
    await subscriber.change_plan("growth")
    await subscriber.hear()
    assert (await subscriber.document())["plan"] == "growth"
    came, at_stripe = await subscriber.revenue()
    assert came == at_stripe
    assert 9800 <= came <= 9900
    assert await subscriber.quarantined() == []


async def test_who_does_not_pay_has_grace_and_is_active_again_when_paid(subscriber):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    await subscriber.card_begins_to_decline()
    await subscriber.control("clock", advance_s=32 * DAY_S)
    await subscriber.hear()
    found, document = await subscriber.subscription(), await subscriber.document()
    assert (found.status, document["status"], document["access"]) == ("past_due", "past_due", True)
    assert found.past_due_since is not None
    assert datetime.fromisoformat(document["access_until"]) == found.grace_ends_at
    assert (found.grace_ends_at - found.past_due_since).days == 10

    await subscriber.pay_by_another_card()
    await subscriber.hear()
    found, document = await subscriber.subscription(), await subscriber.document()
    assert (found.status, found.past_due_since, document["access"]) == ("active", None, True)
    assert document["access_until"] is None
    assert await subscriber.revenue() == (2 * 9900, 2 * 9900)


async def test_an_end_falls_back_to_the_default_plan_and_an_end_to_come_is_known(subscriber):
    named = await subscriber.subscribe("growth")
    await subscriber.stripe.v1.subscriptions.update_async(named, {"cancel_at_period_end": True})
    await subscriber.hear()
    found = await subscriber.subscription()
    (there,) = await subscriber.at_stripe()
    assert found.cancel_at.timestamp() == there["items"]["data"][0]["current_period_end"]
    await subscriber.stripe.v1.subscriptions.update_async(named, {"cancel_at_period_end": False})
    await subscriber.hear()
    assert (await subscriber.subscription()).cancel_at is None

    await subscriber.stripe.v1.subscriptions.cancel_async(named)
    await subscriber.hear()
    assert await subscriber.subscription() is None
    document = await subscriber.document()
    assert (document["plan"], document["status"], document["access"]) == (None, "none", True)
