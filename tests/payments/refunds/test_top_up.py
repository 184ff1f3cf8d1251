"""What went back of a payment is not charged again by an automatic top-up."""

import pytest

from tallystick.payments.orders.charge_top_up import top_up_due
from tallystick.payments.orders.purchase_terms import PurchaseTerms
from tallystick.payments.orders.top_up import Wanted, find_top_up, set_top_up
from tests.payments.refunds.till import books

CREDIT = 10**9
TERMS = PurchaseTerms(public_url="https://pay.example.com")


@pytest.fixture
async def paid(till, pool):
    """An order that was paid, by one whose card may be charged whenever less than five credits are left."""
    bought = await till.buy(2500)
    await till.stripe.v1.payment_methods.attach_async("pm_card_visa", {"customer": till.shop.customer})
    wanted = Wanted(threshold=5 * CREDIT, amount=25 * CREDIT, monthly_max=100 * CREDIT)
    await set_top_up(pool, till.stripe, TERMS, till.shop.buyer, wanted)
    return bought


async def stopped(till, pool):
    found = await find_top_up(pool, till.shop.buyer.organization)
    assert found is not None
    return found.stopped


async def mails(pool):
    return [row["subject"] for row in await pool.fetch("select subject from mail order by seq")]


@pytest.mark.parametrize("spent", [0, 25])
async def test_a_dispute_is_not_answered_by_a_charge(till, pool, paid, spent):
    if spent:
        await till.spend(spent * CREDIT)
    await till.dispute(paid)
    await till.receive(await till.events(paid))
    assert await top_up_due(pool, till.stripe, TERMS) == 0
    assert await stopped(till, pool) == "disputed"
    assert (await mails(pool)).count("Your automatic top-ups stand still") == 1
    await books(pool)


async def test_nor_is_a_refund_of_all_there_was(till, pool, paid):
    await till.refund(paid)
    await till.receive(await till.events(paid))
    assert await top_up_due(pool, till.stripe, TERMS) == 0
    assert await stopped(till, pool) == "refunded"
    assert (await mails(pool)).count("Your automatic top-ups stand still") == 1


async def test_a_refund_that_leaves_enough_stops_nothing(till, pool, paid):
    await till.refund(paid, 1000)
    await till.receive(await till.events(paid))
    assert await stopped(till, pool) is None
    assert await mails(pool) == []
    await till.spend(14 * CREDIT)
    assert await top_up_due(pool, till.stripe, TERMS) == 1
    assert await till.shop.balance() == 26 * CREDIT
