"""What goes back of a plan's invoice: out of what plans brought in, whatever event comes first."""

import itertools
import json

import pytest

from tallystick.payments.stripe.events import events_since
from tests.payments.billing.subscriber import LONG_AGO

TYPES = ["refund.created", "refund.updated", "refund.failed", "charge.dispute.*"]


async def payment_of(subscriber):
    page = await subscriber.stripe.v1.payment_intents.list_async({"customer": subscriber.customer})
    return page.data[0]


async def about(subscriber, payment):
    bodies = await events_since(subscriber.stripe, LONG_AGO, TYPES)
    return [body for body in bodies if json.loads(body)["data"]["object"]["payment_intent"] == payment.id]


async def due_again(subscriber):
    await subscriber.pool.execute("update stripe_event set retry_at = clock_timestamp()")
    await subscriber.inbox.process_open()


@pytest.mark.parametrize("told_of_it_first", [True, False])
async def test_a_refund_lowers_what_plans_brought_in_and_a_failed_one_does_not(subscriber, told_of_it_first):
    await subscriber.subscribe("growth")
    payment = await payment_of(subscriber)
    refund = await subscriber.stripe.v1.refunds.create_async({"payment_intent": payment.id, "amount": 4000})
    if told_of_it_first:
        await subscriber.hear(await about(subscriber, payment))
    await subscriber.hear()
    await subscriber.hear(await about(subscriber, payment))
    await due_again(subscriber)
    assert await subscriber.revenue() == (5900, 5900)
    await subscriber.control(f"refunds/{refund.id}/fail")
    await subscriber.hear(await about(subscriber, payment))
    assert await subscriber.revenue() == (9900, 9900)
    assert await subscriber.quarantined() == []
    assert await subscriber.pool.fetchval("select count(*) from stripe_event where state = 'received'") == 0


async def test_a_dispute_in_every_order_of_its_events(subscriber):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    payment = await payment_of(subscriber)
    answer = await subscriber.control(f"charges/{payment.latest_charge}/dispute")
    bodies = await about(subscriber, payment)
    for order in itertools.permutations(bodies):
        await subscriber.hear([*order])
        assert await subscriber.revenue() == (0, 0)
    await subscriber.control(f"disputes/{answer['dispute']['id']}/win")
    for order in itertools.permutations([*await about(subscriber, payment)][-2:]):
        await subscriber.hear([*order])
        assert await subscriber.revenue() == (9900, 9900)


async def test_whose_bank_disputes_a_plan_is_charged_no_top_up(subscriber):
    await subscriber.pool.execute(
        "insert into top_up (organization, account, threshold, amount_minor, monthly_max_minor, currency, cool_down,"
        " payment_method, card, changed_by) select id, account, 1, 100, 100, 'usd', '1 min', 'pm_1', 'visa', 'user_1'"
        " from organization where id = $1",
        subscriber.organization,
    )
    await subscriber.subscribe("growth")
    await subscriber.hear()
    payment = await payment_of(subscriber)
    await subscriber.control(f"charges/{payment.latest_charge}/dispute")
    await subscriber.hear(await about(subscriber, payment))
    assert await subscriber.pool.fetchval("select stopped from top_up") == "disputed"
