"""Stripe's events that wait for a person, as an operator sees to them."""

import asyncio

import asyncpg
import pytest

from tests.payments.shop import open_shop
from tests.stand_in import STRIPE, started, stripe_client, stripe_control


@pytest.fixture
def waiting(dsn, tallystick):
    """An event that is about an order that nobody knows."""
    tallystick("verify")
    body = (
        b'{"id":"evt_strange","type":"payment_intent.succeeded","livemode":false,"data":{"object":{"id":"pi_1",'
        b'"amount":100,"currency":"usd","metadata":{"order_id":"ord_none"}}}}'
    )

    async def store():
        connection = await asyncpg.connect(dsn)
        await connection.execute(
            "insert into stripe_event (id, type, body, livemode, state, reason, processed_at)"
            " values ('evt_strange', 'payment_intent.succeeded', $1, false, 'quarantined', 'no order', now())",
            body,
        )
        await connection.close()

    asyncio.run(store())
    return "evt_strange"


def test_an_event_is_tried_again_and_dismissed(tallystick, waiting, stripe_address):
    [listed] = tallystick("reconcile", "events", "--json")
    assert (listed["id"], listed["state"], listed["reason"]) == (waiting, "quarantined", "no order")
    assert "set STRIPE_API_KEY" in tallystick("reconcile", "retry", waiting, code=1)
    at_stripe = {"STRIPE_API_KEY": "sk_test_of_the_tests", "STRIPE_API_BASE": stripe_address}
    said = tallystick("reconcile", "retry", waiting, "--by", "ada", **at_stripe)
    assert said == f"{waiting} is quarantined: there is no order ord_none.\n"
    assert "1 to 300 characters" in tallystick("reconcile", "dismiss", waiting, "--reason", " ", code=1)
    told = tallystick("reconcile", "dismiss", waiting, "--reason", "given back", "--by", "ada", "--json")
    assert told == {"id": waiting, "dismissed": True}
    assert tallystick("reconcile", "events", "--json") == []
    assert "ignored already" in tallystick("reconcile", "dismiss", waiting, "--reason", "x", code=1)
    acts = [event["act"] for event in tallystick("audit", "list", "--json") if event["subject"] == waiting]
    assert acts == ["event.dismissed", "event.retried"]


@pytest.fixture
def own_stripe():
    """All that it ever moved must be explained, so nobody else uses it."""
    with started(STRIPE, "--debit-delay-s=-1") as address:
        yield address


def test_what_is_under_way_is_listed_apart_and_is_no_failure(dsn, tallystick, own_stripe):
    tallystick("verify")

    async def debit():
        async with (
            stripe_client(own_stripe) as stripe,
            stripe_control(own_stripe) as control,
            asyncpg.create_pool(dsn, min_size=1) as pool,
        ):
            await open_shop(pool)
            customer = await stripe.v1.customers.create_async({"email": "buyer@example.com"})
            await pool.execute("update stripe_customer set id = $1", customer.id)
            session = await stripe.v1.checkout.sessions.create_async(
                {"mode": "payment", "customer": customer.id, "success_url": "https://other.example",
                 "line_items": [{"quantity": 1, "price_data": {
                     "currency": "usd", "unit_amount": 2500, "product_data": {"name": "a thing"}}}]}
            )  # fmt: skip
            paid = await control(f"checkout/{session.id}/pay", number="000222222227")
            return paid["payment_intent"]["id"]

    payment = asyncio.run(debit())
    at_stripe = {"STRIPE_API_KEY": "sk_test_of_the_tests", "STRIPE_API_BASE": own_stripe, "COLUMNS": "200"}
    found = tallystick("reconcile", "stripe", "--json", **at_stripe)
    assert found["differences"] == []
    assert [(one["subject"], one["at_stripe_minor"]) for one in found["waiting"]] == [(f"payment {payment}", 2480)]
    said = tallystick("reconcile", "stripe", **at_stripe)
    assert "1 are under way" in said
    assert payment in said
    assert "Stripe and the books agree" in said
    asyncio.run(_age(dsn))
    tallystick("reconcile", "stripe", code=1, **at_stripe)


async def _age(dsn):
    connection = await asyncpg.connect(dsn)
    await connection.execute("update stripe_movement set at = at - interval '22 days'")
    await connection.close()
