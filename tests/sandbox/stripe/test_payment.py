"""What a payment does, and which webhooks tell of it."""

import contextlib

import httpx
import pytest
import stripe


async def test_a_card_pays_at_once(sandbox, shop, checkout, receiver):
    session = shop.v1.checkout.sessions.create(checkout)
    await sandbox.control(f"checkout/{session.id}/pay")
    await sandbox.delivered()
    told = [event for event in receiver.events() if not event.type.startswith(("product.", "price."))]
    assert sorted(event.type for event in told) == [
        "charge.succeeded",
        "checkout.session.completed",
        "payment_intent.created",
        "payment_intent.succeeded",
    ]
    completed = next(event for event in told if event.type == "checkout.session.completed")
    assert completed.data.object["payment_status"] == "paid"
    assert completed.data.object["metadata"]["order"] == "order_1"
    assert completed.api_version == stripe.api_version
    assert completed.livemode is False


async def test_paying_twice_pays_once(sandbox, shop, checkout):
    session = shop.v1.checkout.sessions.create(checkout)
    first = await sandbox.control(f"checkout/{session.id}/pay")
    second = await sandbox.control(f"checkout/{session.id}/pay")
    assert first["payment_intent"]["id"] == second["payment_intent"]["id"]
    charges = shop.v1.charges.list({"payment_intent": first["payment_intent"]["id"]})
    assert len(charges.data) == 1


@pytest.mark.parametrize(
    ("number", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
    ],
)
async def test_a_declined_card_leaves_the_session_open_for_another(
    sandbox, shop, checkout, receiver, number, code, decline_code
):
    session = shop.v1.checkout.sessions.create(checkout)
    answer = await sandbox.control(f"checkout/{session.id}/decline", number=number)
    assert answer["session"]["status"] == "open"
    assert answer["payment_intent"]["status"] == "requires_payment_method"
    error = answer["payment_intent"]["last_payment_error"]
    assert (error["type"], error["code"], error["decline_code"]) == ("card_error", code, decline_code)
    await sandbox.delivered()
    assert {"charge.failed", "payment_intent.payment_failed"} <= set(receiver.types())
    assert "checkout.session.completed" not in receiver.types()
    paid = await sandbox.control(f"checkout/{session.id}/pay")
    assert paid["session"]["payment_status"] == "paid"
    assert paid["payment_intent"]["id"] == answer["payment_intent"]["id"]
    assert paid["payment_intent"]["last_payment_error"] is None


async def test_a_card_may_ask_for_authentication(sandbox, shop, checkout):
    session = shop.v1.checkout.sessions.create(checkout)
    asked = await sandbox.control(f"checkout/{session.id}/pay", number="4000002500003155")
    assert (asked["payment_intent"]["status"], asked["session"]["status"]) == ("requires_action", "open")
    refused = await sandbox.control(f"checkout/{session.id}/authenticate", passed=False)
    error = refused["payment_intent"]["last_payment_error"]
    assert error["code"] == "payment_intent_authentication_failure"
    await sandbox.control(f"checkout/{session.id}/pay", number="4000002500003155")
    passed = await sandbox.control(f"checkout/{session.id}/authenticate", passed=True)
    assert passed["session"]["payment_status"] == "paid"


async def test_a_bank_debit_completes_unpaid_and_is_paid_later(sandbox, shop, checkout, receiver):
    session = shop.v1.checkout.sessions.create(checkout)
    begun = await sandbox.control(f"checkout/{session.id}/pay", number="000123456789")
    assert (begun["session"]["status"], begun["session"]["payment_status"]) == ("complete", "unpaid")
    assert begun["payment_intent"]["status"] == "processing"
    await sandbox.delivered()
    assert "checkout.session.completed" in receiver.types()
    assert "payment_intent.succeeded" not in receiver.types()
    settled = await sandbox.control(f"checkout/{session.id}/settle")
    assert settled["session"]["payment_status"] == "paid"
    await sandbox.delivered()
    assert {"payment_intent.succeeded", "checkout.session.async_payment_succeeded"} <= set(receiver.types())
    assert receiver.types().count("checkout.session.completed") == 1


async def test_a_bank_debit_can_fail_later(sandbox, shop, checkout, receiver):
    session = shop.v1.checkout.sessions.create(checkout)
    await sandbox.control(f"checkout/{session.id}/pay", number="000123456789")
    failed = await sandbox.control(f"checkout/{session.id}/settle", succeeded=False)
    assert (failed["session"]["status"], failed["session"]["payment_status"]) == ("complete", "unpaid")
    await sandbox.delivered()
    assert {"charge.failed", "checkout.session.async_payment_failed"} <= set(receiver.types())


def test_a_bank_debit_settles_by_itself_as_its_account_says(start, checkout):
    with (
        start("tallystick.sandbox.stripe", "--debit-delay-s", "600") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        begun = {}
        for number in ("000123456789", "000111111116"):
            begun[number] = client.v1.checkout.sessions.create(checkout).id
            httpx.post(f"{address}/_sandbox/checkout/{begun[number]}/pay", json={"number": number})
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 601})
        ended = {number: client.v1.checkout.sessions.retrieve(one).payment_status for number, one in begun.items()}
    assert ended == {"000123456789": "paid", "000111111116": "unpaid"}
