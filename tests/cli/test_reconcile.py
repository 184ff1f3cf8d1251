"""Stripe's events that wait for a person, as an operator sees to them."""

import asyncio

import asyncpg
import pytest


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
    assert "is dismissed" in tallystick("reconcile", "dismiss", waiting, "--reason", "given back", "--by", "ada")
    assert tallystick("reconcile", "events", "--json") == []
    assert "ignored already" in tallystick("reconcile", "dismiss", waiting, "--reason", "x", code=1)
    acts = [event["act"] for event in tallystick("audit", "list", "--json") if event["subject"] == waiting]
    assert acts == ["event.dismissed", "event.retried"]
