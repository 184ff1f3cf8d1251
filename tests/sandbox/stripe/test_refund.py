import contextlib

import httpx
import pytest
import stripe


@pytest.fixture
def paid(shop):
    return shop.v1.payment_intents.create(
        {"amount": 2500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )


async def test_in_parts_up_to_what_was_paid(sandbox, shop, receiver, paid):
    part = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 1000, "metadata": {"why": "test"}})
    assert (part.status, part.amount, part.charge) == ("succeeded", 1000, paid.latest_charge)
    assert shop.v1.refunds.retrieve(part.id).metadata.to_dict() == {"why": "test"}
    with pytest.raises(stripe.InvalidRequestError, match=r"\$20.00.*\$15.00"):
        shop.v1.refunds.create({"payment_intent": paid.id, "amount": 2000})
    rest = shop.v1.refunds.create({"charge": paid.latest_charge})
    assert rest.amount == 1500
    charge = shop.v1.charges.retrieve(paid.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (True, 2500)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.refunds.create({"payment_intent": paid.id})
    assert refused.value.code == "charge_already_refunded"
    await sandbox.delivered()
    assert receiver.types().count("charge.refunded") == 2


def test_the_balance_is_what_came_in_less_fees_and_refunds(shop, paid):
    charge = shop.v1.charges.retrieve(paid.latest_charge, {"expand": ["balance_transaction"]})
    taken = charge.balance_transaction
    assert (taken.amount, taken.fee, taken.net) == (2500, 103, 2397)  # 2.9 % of $25.00 is $0.725, and $0.30
    refund = shop.v1.refunds.create({"charge": charge.id, "expand": ["balance_transaction"]})
    assert (refund.balance_transaction.net, refund.balance_transaction.fee) == (-2500, 0)


def test_nothing_paid_is_nothing_to_refund(shop):
    intent = shop.v1.payment_intents.create({"amount": 900, "currency": "eur"})
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        shop.v1.refunds.create({"payment_intent": intent.id})


def pay(shop, method="pm_card_visa", **more):
    asked = {"amount": 2500, "currency": "usd", "payment_method": method, "confirm": True}
    return shop.v1.payment_intents.create({**asked, **more})


def movements(shop, source):
    found = shop.v1.balance_transactions.list({"source": source}).data
    return [(moved.type, moved.net) for moved in reversed(found)]


async def test_one_that_fails_after_it_had_succeeded_brings_the_money_back(sandbox, shop, receiver, paid):
    refund = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 1000})
    failed = await sandbox.control(f"refunds/{refund.id}/fail", reason="expired_or_canceled_card")
    assert (failed["refund"]["status"], failed["refund"]["failure_reason"]) == ("failed", "expired_or_canceled_card")
    found = shop.v1.refunds.retrieve(refund.id, {"expand": ["failure_balance_transaction"]})
    back = found.failure_balance_transaction
    assert (back.type, back.reporting_category, back.net) == ("refund_failure", "refund_failure", 1000)
    assert movements(shop, refund.id) == [("refund", -1000), ("refund_failure", 1000)]
    charge = shop.v1.charges.retrieve(paid.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert shop.v1.refunds.create({"payment_intent": paid.id}).amount == 2500
    await sandbox.delivered()
    told = [event for event in receiver.events() if event.data.object["id"] == refund.id]
    assert sorted(event.type for event in told) == [
        "charge.refund.updated",
        "refund.created",
        "refund.failed",
        "refund.updated",
    ]
    updated = next(event for event in told if event.type == "refund.updated")
    assert updated.data.previous_attributes["status"] == "succeeded"


async def test_a_failed_one_does_not_fail_again(sandbox, shop, paid):
    refund = shop.v1.refunds.create({"payment_intent": paid.id})
    await sandbox.control(f"refunds/{refund.id}/fail")
    for act in ("fail", "succeed"):
        answer = httpx.post(f"{sandbox.address}/_sandbox/refunds/{refund.id}/{act}")
        assert answer.status_code == 400
    assert movements(shop, refund.id) == [("refund", -2500), ("refund_failure", 2500)]


async def test_the_next_ones_do_as_they_are_told(sandbox, shop, paid):
    await sandbox.control("refunds/next", status="pending", times=2)
    first, second = (shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100}) for _ in range(2))
    assert {(one.status, one.pending_reason) for one in (first, second)} == {("pending", "processing")}
    assert shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100}).status == "succeeded"
    assert (await sandbox.control(f"refunds/{first.id}/succeed"))["refund"]["status"] == "succeeded"
    assert (await sandbox.control(f"refunds/{second.id}/fail", reason="declined"))["refund"]["status"] == "failed"
    assert shop.v1.charges.retrieve(paid.latest_charge).amount_refunded == 200
    await sandbox.control("refunds/next", status="pending")
    assert httpx.delete(f"{sandbox.address}/_sandbox/refunds/next").json() == {"planned": []}
    assert shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100}).status == "succeeded"


async def test_only_one_that_waits_for_the_customer_can_be_cancelled(sandbox, shop, paid):
    done = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100})
    with pytest.raises(stripe.InvalidRequestError, match="requires_action"):
        shop.v1.refunds.cancel(done.id)
    await sandbox.control("refunds/next", status="requires_action")
    waiting = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 400})
    assert waiting.status == "requires_action"
    assert shop.v1.refunds.cancel(waiting.id).status == "canceled"
    assert shop.v1.charges.retrieve(paid.latest_charge).amount_refunded == 100
    assert movements(shop, waiting.id) == [("refund", -400), ("refund_failure", 400)]


async def test_its_metadata_can_be_changed_and_nothing_else(sandbox, shop, receiver, paid):
    refund = shop.v1.refunds.create({"payment_intent": paid.id, "metadata": {"a": "1", "b": "2"}})
    assert shop.v1.refunds.update(refund.id, {"metadata": {"b": "3"}}).metadata.to_dict() == {"a": "1", "b": "3"}
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.refunds.update(refund.id, {"amount": 1})
    await sandbox.delivered()
    (updated,) = [event for event in receiver.events() if event.type == "refund.updated"]
    assert updated.data.previous_attributes.to_dict() == {"metadata": {"b": "2"}}


def test_listed_by_payment_charge_and_time(shop, paid):
    made = [shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100}) for _ in range(3)]
    other = pay(shop)
    shop.v1.refunds.create({"payment_intent": other.id})
    newest_first = [refund.id for refund in reversed(made)]
    assert [row.id for row in shop.v1.refunds.list({"payment_intent": paid.id}).data] == newest_first
    assert [row.id for row in shop.v1.refunds.list({"charge": paid.latest_charge}).data] == newest_first
    pages = shop.v1.refunds.list({"charge": paid.latest_charge, "limit": 1}).auto_paging_iter()
    assert [row.id for row in pages] == newest_first
    before = {"payment_intent": paid.id, "created": {"lt": made[0].created}}
    assert shop.v1.refunds.list(before).data == []


def test_what_a_card_does_to_its_refunds_happens_by_itself(start):
    with (
        start("tallystick.sandbox.stripe", "--debit-delay-s", "600") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        later = client.v1.refunds.create({"payment_intent": pay(client, "pm_card_pendingRefund").id})
        fails = client.v1.refunds.create({"payment_intent": pay(client, "pm_card_refundFail").id})
        assert (later.status, fails.status) == ("pending", "succeeded")
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 300})
        assert client.v1.refunds.retrieve(fails.id).status == "succeeded"
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 300})
        assert client.v1.refunds.retrieve(later.id).status == "succeeded"
        assert client.v1.refunds.retrieve(fails.id).status == "failed"


async def test_one_to_a_bank_account_takes_its_time(sandbox, shop, checkout):
    session = shop.v1.checkout.sessions.create(checkout)
    await sandbox.control(f"checkout/{session.id}/pay", number="000123456789")
    settled = await sandbox.control(f"checkout/{session.id}/settle")
    refund = shop.v1.refunds.create({"payment_intent": settled["payment_intent"]["id"]})
    assert (refund.status, refund.id[:4], refund.charge[:3]) == ("pending", "pyr_", "py_")
    assert movements(shop, refund.id) == [("payment_refund", -2500)]
    assert movements(shop, refund.charge) == [("payment", 2480)]  # Stripe keeps 0.8 % of a debit


async def test_a_debit_that_fails_takes_its_money_out_of_the_balance_again(sandbox, shop, checkout):
    session = shop.v1.checkout.sessions.create(checkout)
    begun = await sandbox.control(f"checkout/{session.id}/pay", number="000111111116")
    charge = begun["payment_intent"]["latest_charge"]
    assert movements(shop, charge) == [("payment", 2480)]
    await sandbox.control(f"checkout/{session.id}/settle", succeeded=False)
    assert movements(shop, charge) == [("payment", 2480), ("payment_failure_refund", -2480)]
    found = shop.v1.charges.retrieve(charge, {"expand": ["failure_balance_transaction"]})
    assert found.failure_balance_transaction.type == "payment_failure_refund"
