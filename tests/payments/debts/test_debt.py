"""What holds back who owes, and what ends it."""

import json
from uuid import uuid4

import pytest

from tallystick.base.errors import Conflict, NotFound
from tallystick.payments.debts.debt import DISPUTE_POLICY
from tallystick.payments.debts.write_off import write_off
from tests.payments.refunds.till import Paid, books


@pytest.fixture
def policy(request):
    token = DISPUTE_POLICY.set(request.param)
    yield request.param
    DISPUTE_POLICY.reset(token)


async def document(pool):
    return json.loads(await pool.fetchval("select document from constraints"))


@pytest.mark.parametrize(
    ("policy", "access", "rates"),
    [("none", None, None), ("throttle", True, (6, 1)), ("freeze", False, (None, None))],
    indirect=["policy"],
)
async def test_the_policy_is_the_documents_until_all_is_paid(till, pool, policy, access, rates):
    paid = await till.buy()
    await till.spend(25 * 10**9)
    await till.dispute(paid)
    await till.receive(await till.events(paid))
    if access is None:
        assert await pool.fetchval("select count(*) from constraints") == 0
    else:
        found = await document(pool)
        assert found["access"] is access
        assert (found["rates"]["requests_per_minute"], found["rates"]["concurrency"]) == rates
    await till.buy(2400)
    assert (await books(pool))["held back"] == ([] if policy == "none" else [(policy,)])
    await till.buy(200)
    assert ((await books(pool))["held back"], await till.shop.balance()) == ([], 10**9)
    if access is not None:
        found = await document(pool)
        assert (found["access"], found["rates"]["requests_per_minute"]) == (True, None)


async def test_a_debt_that_is_written_off_is_owed_no_more_and_lost(till, pool, owing):
    await till.buy(500)
    operation = await pool.fetchval("select operation from debt")
    async with pool.acquire() as connection:
        left = await write_off(connection, operation, reason="gone", by="operator:ada")
        with pytest.raises(Conflict):
            await write_off(connection, operation, reason="gone", by="operator:ada")
        with pytest.raises(NotFound):
            await write_off(connection, uuid4(), reason="gone", by="operator:ada")
    assert left.open == 0
    found = await books(pool)
    assert (found["held back"], dict(found["balances"])["bad_debt"]) == ([], -20 * 10**9)
    act = await pool.fetchrow("select done_by, after from audit_event where act = 'debt.written_off'")
    assert (act["done_by"], "gone" in act["after"]) == ("operator:ada", True)

    await till.control(f"disputes/{owing}/win")
    events = [event for event in await till.events(*[await of(till)]) if event["type"] == "charge.dispute.closed"]
    await till.receive(events)
    found = await books(pool)
    assert await till.shop.balance() == 5 * 10**9, "what was collected is given back"
    assert {"bad_debt", "receivable"}.isdisjoint(dict(found["balances"]))


async def of(till):
    row = await till.shop.pool.fetchrow(
        "select o.id, o.stripe_payment_intent from payment_order o join dispute d on d.payment_order = o.id"
    )
    return Paid(row["id"], row["stripe_payment_intent"], "")
