"""What goes back of a plan's invoice: out of what plans brought in, whatever event comes first."""

import itertools
import json

import pytest

from tallystick.base.errors import Conflict
from tallystick.payments.debts.debt import DISPUTE_POLICY
from tallystick.payments.refunds import verify
from tallystick.payments.refunds.plan_money import release
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


DISPUTED = (
    "A payment for your plan is disputed with your bank. "
    "Withdraw the dispute there, or write to us, to send requests again."
)


async def access(subscriber):
    document = await subscriber.document()
    return document["access"], document.get("access_reason")


async def dispute(subscriber):
    """Of what was paid for the plan: the dispute's id, and what Stripe tells of it."""
    payment = await payment_of(subscriber)
    answer = await subscriber.control(f"charges/{payment.latest_charge}/dispute")
    return answer["dispute"]["id"], payment


async def test_who_disputes_a_plan_has_no_access_until_the_dispute_is_won(subscriber):
    """In every order of the events, and twice."""
    await subscriber.subscribe("growth")
    await subscriber.hear()
    assert await access(subscriber) == (True, None)
    id_, payment = await dispute(subscriber)
    begun = await about(subscriber, payment)
    for order in itertools.permutations(begun):
        await subscriber.hear([*order, *order])
        assert await access(subscriber) == (False, DISPUTED)
        assert await subscriber.broken_laws() == []
    await subscriber.control(f"disputes/{id_}/win")
    over = [body for body in await about(subscriber, payment) if body not in begun]
    for order in itertools.permutations([*over, begun[0]]):
        await subscriber.hear([*order, *order])
        assert await access(subscriber) == (True, None)
    history = await subscriber.pool.fetch(
        "select what from subscription_event where what like '%restricted' order by seq"
    )
    assert [row["what"] for row in history] == ["restricted", "unrestricted"]


async def test_a_dispute_that_is_heard_of_before_its_invoice_holds_back_once_that_is_known(subscriber):
    await subscriber.subscribe("growth")
    _id, payment = await dispute(subscriber)
    await subscriber.hear(await about(subscriber, payment))
    await subscriber.hear()
    await due_again(subscriber)
    assert await access(subscriber) == (False, DISPUTED)


async def test_a_dispute_that_is_over_before_anything_was_heard_holds_nobody_back(subscriber):
    await subscriber.subscribe("growth")
    id_, payment = await dispute(subscriber)
    await subscriber.control(f"disputes/{id_}/win")
    await subscriber.hear()
    await subscriber.hear(reversed(await about(subscriber, payment)))
    assert await access(subscriber) == (True, None)


async def test_who_lost_a_dispute_for_us_is_held_back_until_an_operator_lets_go(subscriber):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    id_, payment = await dispute(subscriber)
    await subscriber.control(f"disputes/{id_}/lose")
    await subscriber.hear(await about(subscriber, payment))
    assert await access(subscriber) == (False, DISPUTED)
    async with subscriber.pool.acquire() as connection:
        await release(connection, id_, reason="an old customer", by="operator:ada")
        with pytest.raises(Conflict, match="holds nobody back"):
            await release(connection, id_, reason="an old customer", by="operator:ada")
    assert await access(subscriber) == (True, None)
    await subscriber.hear(await about(subscriber, payment))
    assert await access(subscriber) == (True, None)
    assert await subscriber.pool.fetchval("select done_by from audit_event where act = 'dispute.released'") == (
        "operator:ada"
    )


@pytest.mark.parametrize(("policy", "requests"), [("throttle", 6), ("none", None)])
async def test_the_policy_says_how_far_who_disputes_a_plan_is_held_back(subscriber, policy, requests):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    _id, payment = await dispute(subscriber)
    before = DISPUTE_POLICY.set(policy)
    try:
        await subscriber.hear(await about(subscriber, payment))
    finally:
        DISPUTE_POLICY.reset(before)
    document = await subscriber.document()
    assert document["access"]
    assert document["rates"].get("requests_per_minute") == requests


@pytest.mark.parametrize(
    "defect",
    ["delete from restriction", "update restriction set because = 'debt'", "update clawback set policy = 'none'"],
)
async def test_who_is_not_held_back_as_a_dispute_wants_it_is_found(subscriber, defect):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    _id, payment = await dispute(subscriber)
    await subscriber.hear(await about(subscriber, payment))
    held = next(check for check in verify.checks if "held back" in check.name)
    async with subscriber.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await held.run(connection) == []
        await connection.execute(defect)
        assert len(await held.run(connection)) == 1
        await transaction.rollback()


async def test_a_refund_of_a_plan_holds_nobody_back(subscriber):
    await subscriber.subscribe("growth")
    await subscriber.hear()
    payment = await payment_of(subscriber)
    await subscriber.stripe.v1.refunds.create_async({"payment_intent": payment.id})
    await subscriber.hear(await about(subscriber, payment))
    assert await access(subscriber) == (True, None)
