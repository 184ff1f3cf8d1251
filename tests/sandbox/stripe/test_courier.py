"""Webhooks: signed as Stripe signs, delivered until taken, and badly on request."""

import asyncio
import contextlib
import time

import httpx
import pytest
import stripe


@pytest.fixture
async def session(shop, checkout, receiver):
    """A paid session would tell of itself; this one is open, and what came before is forgotten."""
    made = shop.v1.checkout.sessions.create(checkout)
    return made.id


def only(receiver, kind):
    return [event for event in receiver.events() if event.type == kind]


async def test_delivered_again_until_it_is_taken(sandbox, shop, receiver):
    receiver.answers = [500, 404]
    shop.v1.customers.create({"email": "retry@example.com"})
    await sandbox.delivered()
    events = only(receiver, "customer.created")
    assert len(events) == 3
    assert len({event.id for event in events}) == 1
    found = await sandbox.control("webhooks/wait", timeout_s=1)
    mine = [one for one in found["deliveries"] if one["event"] == events[0].id]
    assert [(one["state"], one["attempts"]) for one in mine] == [("delivered", ["500", "404", "200"])]
    assert shop.v1.events.retrieve(events[0].id).pending_webhooks == 0


async def test_fifty_copies(sandbox, receiver, session):
    await sandbox.control("webhooks/rules", copies=50)
    await sandbox.control(f"checkout/{session}/pay")
    await sandbox.delivered()
    events = only(receiver, "payment_intent.succeeded")
    assert len(events) == 50
    assert len({event.id for event in events}) == 1


async def test_counted_by_state(open_stand):
    with open_stand("--webhook-url", "http://127.0.0.1:9/", "--webhook-secret", "whsec_x") as stand:
        stand.control("webhooks/rules", drop_next=1)
        stand.v1.customers.create({})
        stand.control("webhooks/rules", copies=3, hold=True)
        stand.v1.customers.create({})
        summary = httpx.get(f"{stand.address}/_sandbox/webhooks/summary").json()
    assert summary == {"events": 2, "deliveries": {"dropped": 1, "held": 3}}


@pytest.mark.parametrize("order", ["created", "reversed"])
async def test_held_and_released_in_an_order(sandbox, receiver, session, order):
    await sandbox.delivered()
    receiver.received.clear()
    await sandbox.control("webhooks/rules", hold=True)
    await sandbox.control(f"checkout/{session}/pay")
    await sandbox.delivered()
    assert receiver.received == []
    await sandbox.control("webhooks/release", order=order)
    await sandbox.delivered()
    made = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"]
    assert receiver.types() == (made if order == "created" else list(reversed(made)))


async def test_dropped_ones_can_be_read_and_sent_again(sandbox, shop, receiver, session):
    await sandbox.delivered()
    receiver.received.clear()
    await sandbox.control("webhooks/rules", drop_next=4)
    answer = await sandbox.control(f"checkout/{session}/pay")
    await sandbox.delivered()
    assert receiver.received == []
    lost = shop.v1.events.list({"type": "payment_intent.succeeded", "delivery_success": False, "limit": 100})
    (event,) = [one for one in lost.data if one.data.object["id"] == answer["payment_intent"]["id"]]
    await sandbox.control(f"events/{event.id}/resend", copies=2)
    await sandbox.delivered()
    assert [one.id for one in receiver.events()] == [event.id, event.id]


async def test_a_forgery_does_not_verify(sandbox, receiver):
    for disguise in ({"secret": "whsec_other"}, {"age_s": 3600}, {"tampered": True}):
        receiver.received.clear()
        await sandbox.control("webhooks/forge", type="payment_intent.succeeded", object={"id": "pi_x"}, **disguise)
        await sandbox.delivered()
        assert len(receiver.received) == 1
        with pytest.raises(stripe.SignatureVerificationError):
            receiver.events()


async def test_a_refused_forgery_is_not_sent_again(sandbox, receiver):
    receiver.answers = [400]
    await sandbox.control("webhooks/forge", type="x.y", object={}, secret="whsec_other")
    await sandbox.delivered()
    assert len(receiver.received) == 1


async def test_a_lie_can_be_signed_with_the_true_secret(sandbox, receiver):
    lie = {"id": "pi_never", "object": "payment_intent", "amount": 1, "currency": "usd"}
    await sandbox.control("webhooks/forge", type="payment_intent.succeeded", object=lie, livemode=True)
    await sandbox.delivered()
    (event,) = receiver.events()
    assert (event.data.object["id"], event.livemode) == ("pi_never", True)


async def test_only_subscribed_events_are_sent(sandbox, shop, receiver):
    (endpoint,) = [one for one in shop.v1.webhook_endpoints.list().data if one.url == receiver.url]
    shop.v1.webhook_endpoints.update(endpoint.id, {"enabled_events": ["charge.*", "customer.updated"]})
    customer = shop.v1.customers.create({})
    shop.v1.customers.update(customer.id, {"name": "B"})
    asked = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    shop.v1.payment_intents.create(asked)
    await sandbox.delivered()
    assert sorted(receiver.types()) == ["charge.succeeded", "customer.updated"]


async def test_the_request_behind_an_event_is_named(sandbox, shop, receiver):
    shop.v1.customers.create({}, {"idempotency_key": "named-request"})
    await sandbox.delivered()
    (event,) = receiver.events()
    assert event.request.idempotency_key == "named-request"
    assert event.request.id.startswith("req_")


def fate(deliveries, kind):
    """How many copies of each event of a type there were and what became of them, oldest event first."""
    copies = {}
    for one in deliveries:
        if one["type"] == kind:
            copies.setdefault(one["event"], []).append(one["state"])
    return list(copies.values())


async def test_chance_loses_and_doubles_the_same_ones_for_the_same_seed(start, receiver):
    fates = []
    for seed in (7, 7, 8):
        with (
            start("tallystick.sandbox.stripe", "--webhook-url", receiver.url, "--webhook-secret", "whsec_x") as address,
            contextlib.closing(stripe.RequestsClient()) as http_client,
        ):
            client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
            rules = {"loss_rate": 0.3, "duplicate_rate": 0.3, "delay_max_s": 0.05, "seed": seed}
            httpx.post(f"{address}/_sandbox/webhooks/rules", json=rules)
            for _ in range(40):
                client.v1.customers.create({})
            async with httpx.AsyncClient(verify=False) as raw:
                waited = await raw.post(f"{address}/_sandbox/webhooks/wait", json={"show": False})
                assert waited.json() == {"done": True, "deliveries": []}
                shown = (await raw.get(f"{address}/_sandbox/webhooks/deliveries")).json()["deliveries"]
                lost = (await raw.get(f"{address}/_sandbox/webhooks/deliveries?state=dropped")).json()["deliveries"]
            fates.append(fate(shown, "customer.created"))
            assert lost == [one for one in shown if one["state"] == "dropped"]
            undelivered = client.v1.events.list({"delivery_success": False, "limit": 100}).data
            assert {event.id for event in undelivered} == {one["event"] for one in lost}
    assert fates[0] == fates[1] != fates[2]
    assert {tuple(one) for one in fates[0]} == {
        ("delivered",),
        ("delivered", "delivered"),
        ("dropped",),
        ("dropped", "dropped"),
    }


async def test_a_clock_that_was_moved_signs_by_that_of_receivers(open_stand, receiver):
    """Webhooks of last month's Stripe come today: what is too old is the signature, never the event."""
    with open_stand("--behind-s", str(40 * 86_400)) as stand:
        endpoint = stand.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
        receiver.secret, genuine = endpoint.secret, receiver.secret
        stand.v1.customers.create({})
        await asyncio.to_thread(stand.control, "webhooks/wait")
        (event,) = receiver.events()
        receiver.secret = genuine
    assert time.time() - event.created > 39 * 86_400
