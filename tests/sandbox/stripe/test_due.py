"""What falls due while the clock is moved on happens at its own moment, one after the other."""

import contextlib

import httpx
import stripe

_DAY_S = 24 * 3600


def pay(client, method):
    asked = {"amount": 2500, "currency": "usd", "payment_method": method, "confirm": True}
    return client.v1.payment_intents.create(asked)


def test_everything_on_the_way_happens_in_the_order_of_time(start, checkout):
    with (
        start("tallystick.sandbox.stripe", "--debit-delay-s", str(3 * _DAY_S), "--seed", "3") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        pay(client, "pm_card_createDispute")
        debited = client.v1.checkout.sessions.create(checkout)
        httpx.post(f"{address}/_sandbox/checkout/{debited.id}/pay", json={"number": "000123456789"})
        open_one = client.v1.checkout.sessions.create(checkout)
        refunded = pay(client, "pm_card_refundFail")
        refund = client.v1.refunds.create({"payment_intent": refunded.id})
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 20 * _DAY_S})
        kinds = [
            "checkout.session.expired",
            "payment_intent.succeeded",
            "refund.failed",
            "charge.dispute.closed",
        ]
        since = {"gt": refund.created + 60}
        found = client.v1.events.list({"types": kinds, "created": since}).data
        told = [(event.type, (event.created - refund.created + 30) // _DAY_S) for event in reversed(found)]
        assert told == [
            ("checkout.session.expired", 1),
            ("payment_intent.succeeded", 3),
            ("refund.failed", 3),
            ("charge.dispute.closed", 9),
        ]
        assert client.v1.checkout.sessions.retrieve(open_one.id).status == "expired"


def test_nothing_happens_twice_or_against_a_control(start):
    with (
        start("tallystick.sandbox.stripe", "--debit-delay-s", "600") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        refund = client.v1.refunds.create({"payment_intent": pay(client, "pm_card_pendingRefund").id})
        httpx.post(f"{address}/_sandbox/refunds/{refund.id}/fail")
        disputed = pay(client, "pm_card_createDispute")
        (dispute,) = client.v1.disputes.list({"payment_intent": disputed.id}).data
        client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})
        for _ in range(2):
            httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 10 * _DAY_S})
        assert client.v1.refunds.retrieve(refund.id).status == "failed"
        assert client.v1.disputes.retrieve(dispute.id).status == "won"
        assert len(client.v1.events.list({"type": "refund.failed"}).data) == 1
        assert len(client.v1.events.list({"type": "charge.dispute.closed"}).data) == 1
