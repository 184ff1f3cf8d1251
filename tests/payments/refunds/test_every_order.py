"""Whatever comes in which order, twice or not at all: the books end the same."""

import itertools
import random

import pytest

from tests.payments.refunds.till import books, closed_till, copy_of

PURCHASE = ("payment_intent.succeeded", "checkout.session.completed")
REFUND = ("refund.created", "charge.refunded", "refund.updated", "refund.failed")
DISPUTE = ("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed")
SAMPLE = 8


async def refunded(till, paid):
    await till.refund(paid)
    return REFUND[:2]


async def refunded_in_part(till, paid):
    await till.refund(paid, 1234)
    await till.refund(paid, 333)
    return REFUND[:2]


async def refund_that_fails_later(till, paid):
    refund = await till.refund(paid)
    await till.control(f"refunds/{refund}/fail", reason="expired_or_canceled_card")
    return REFUND


async def dispute_lost(till, paid):
    dispute = await till.dispute(paid)
    await till.control(f"disputes/{dispute}/lose")
    return DISPUTE


async def dispute_won(till, paid):
    dispute = await till.dispute(paid)
    await till.control(f"disputes/{dispute}/win")
    return (*DISPUTE, "charge.dispute.funds_reinstated")


async def refund_that_a_dispute_ends(till, paid):
    await till.control("refunds/next", status="pending")
    await till.refund(paid, 1000)
    await till.dispute(paid, amount=2500)
    return ("refund.created", "refund.failed", *DISPUTE[:2])


COURSES = [refunded, refunded_in_part, refund_that_fails_later, dispute_lost, dispute_won, refund_that_a_dispute_ends]


@pytest.fixture
async def happened(dsn, stripe, control):
    """A course of events: all happens at Stripe first, and is told afterwards."""

    async def happen(course, *, twice=False):
        async with closed_till(dsn, stripe, control) as till:
            paid = [await till.pay(2500, credits_=30 * 10**9) for _ in range(1 + twice)]
            types = {kind for one in paid for kind in await course(till, one)} | {*PURCHASE}
            return till, [event for event in await till.events(*paid) if event["type"] in types]

    return happen


async def told(till, events):
    """What the books say after these events, on a copy of the database."""
    async with copy_of(till) as copy:
        await copy.receive(events)
        return await books(copy.shop.pool)


def orders_of(events, most=None):
    every = list(itertools.permutations(events))
    return every if most is None or most >= len(every) else random.Random(4).sample(every, most)


@pytest.mark.parametrize("course", COURSES)
async def test_every_order_of_events_ends_in_the_same_books(happened, course):
    await _in_every_order(happened, course, SAMPLE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("course", COURSES)
async def test_every_single_order_of_events_ends_in_the_same_books(happened, course):
    await _in_every_order(happened, course, None)


async def _in_every_order(happened, course, most):
    till, events = await happened(course)
    expected = await told(till, events)
    for order in orders_of(events, most):
        assert await told(till, order) == expected, [event["type"] for event in order]
