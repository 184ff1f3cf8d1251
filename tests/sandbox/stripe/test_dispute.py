"""Disputes: the bank takes the money, and evidence may bring it back."""

import contextlib

import httpx
import pytest
import stripe


def pay(shop, method="pm_card_visa", **more):
    asked = {"amount": 2500, "currency": "usd", "payment_method": method, "confirm": True}
    return shop.v1.payment_intents.create({**asked, **more})


@pytest.fixture
def paid(shop):
    return pay(shop)


def told_of(receiver, dispute):
    return sorted(event.type for event in receiver.events() if event.data.object["id"] == dispute)


async def test_it_takes_the_money_and_a_fee(sandbox, shop, receiver, paid):
    made = (await sandbox.control(f"charges/{paid.latest_charge}/dispute", reason="product_not_received"))["dispute"]
    dispute = shop.v1.disputes.retrieve(made["id"], {"expand": ["charge"]})
    assert (dispute.status, dispute.amount, dispute.reason) == ("needs_response", 2500, "product_not_received")
    assert (dispute.charge.disputed, dispute.payment_intent, dispute.is_charge_refundable) == (True, paid.id, False)
    (taken,) = dispute.balance_transactions
    assert (taken.type, taken.reporting_category, taken.amount, taken.fee, taken.net) == (
        "adjustment",
        "dispute",
        -2500,
        1500,
        -4000,
    )
    assert (taken.fee_details[0].description, taken.source) == ("Dispute fee", dispute.id)
    assert shop.v1.balance_transactions.list({"source": dispute.id, "type": "adjustment"}).data[0].id == taken.id
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.refunds.create({"payment_intent": paid.id})
    assert refused.value.code == "charge_disputed"
    await sandbox.delivered()
    assert told_of(receiver, dispute.id) == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]


async def test_a_win_brings_the_money_back_without_the_fee(sandbox, shop, receiver, paid):
    dispute = (await sandbox.control(f"charges/{paid.latest_charge}/dispute", amount=1000))["dispute"]
    won = await sandbox.control(f"disputes/{dispute['id']}/win")
    assert won["dispute"]["status"] == "won"
    taken, back = shop.v1.disputes.retrieve(dispute["id"]).balance_transactions
    assert (taken.net, back.net, back.fee, back.reporting_category) == (-2500, 1000, 0, "dispute_reversal")
    await sandbox.delivered()
    assert told_of(receiver, dispute["id"]) == [
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
    ]


async def test_the_fee_comes_back_when_asked_for(sandbox, shop, paid):
    dispute = (await sandbox.control(f"charges/{paid.latest_charge}/dispute"))["dispute"]
    await sandbox.control(f"disputes/{dispute['id']}/win", return_fee=True)
    moved = shop.v1.disputes.retrieve(dispute["id"]).balance_transactions
    assert sum(one.net for one in moved) == 0


async def test_evidence_is_staged_then_submitted_then_decided(sandbox, shop, receiver, paid):
    dispute = (await sandbox.control(f"charges/{paid.latest_charge}/dispute"))["dispute"]["id"]
    asked = {"evidence": {"product_description": "25 credits"}, "submit": False, "metadata": {"case": "7"}}
    staged = shop.v1.disputes.update(dispute, asked)
    assert (staged.status, staged.evidence_details.has_evidence) == ("needs_response", True)
    assert (staged.evidence.product_description, staged.metadata.to_dict()) == ("25 credits", {"case": "7"})
    submitted = shop.v1.disputes.update(dispute, {"evidence": {"uncategorized_text": "They used it."}})
    assert (submitted.status, submitted.evidence_details.submission_count) == ("under_review", 1)
    assert submitted.evidence.product_description == "25 credits"
    with pytest.raises(stripe.InvalidRequestError, match="under_review"):
        shop.v1.disputes.update(dispute, {"evidence": {"uncategorized_text": "And again."}})
    assert (await sandbox.control(f"disputes/{dispute}/lose"))["dispute"]["status"] == "lost"
    await sandbox.delivered()
    updates = [event.data for event in receiver.events() if event.type == "charge.dispute.updated"]
    (after,) = [update for update in updates if update.object["status"] == "under_review"]
    assert (len(updates), after.previous_attributes["status"]) == (2, "needs_response")
    assert len(shop.v1.disputes.retrieve(dispute).balance_transactions) == 1


@pytest.mark.parametrize(("text", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
async def test_stripe_s_own_words_decide(shop, text, status):
    (dispute,) = shop.v1.disputes.list({"payment_intent": pay(shop, "pm_card_createDispute").id}).data
    assert dispute.status == "needs_response"
    assert shop.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": text}}).status == status


async def test_giving_up_loses_once(shop):
    (dispute,) = shop.v1.disputes.list({"payment_intent": pay(shop, "pm_card_createDispute").id}).data
    assert shop.v1.disputes.close(dispute.id).status == "lost"
    with pytest.raises(stripe.InvalidRequestError, match="lost"):
        shop.v1.disputes.close(dispute.id)


async def test_an_inquiry_moves_no_money_until_it_is_escalated(sandbox, shop, receiver):
    paid = pay(shop, "pm_card_createDisputeInquiry")
    (inquiry,) = shop.v1.disputes.list({"charge": paid.latest_charge}).data
    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert inquiry.is_charge_refundable
    asked = {"evidence": {"uncategorized_text": "escalate_inquiry_evidence"}}
    escalated = shop.v1.disputes.update(inquiry.id, asked)
    assert (escalated.status, [one.net for one in escalated.balance_transactions]) == ("needs_response", [-4000])
    await sandbox.delivered()
    assert "charge.dispute.funds_withdrawn" in told_of(receiver, inquiry.id)


async def test_a_refund_in_full_ends_an_inquiry(shop):
    paid = pay(shop, "pm_card_createDisputeInquiry")
    (inquiry,) = shop.v1.disputes.list({"charge": paid.latest_charge}).data
    shop.v1.refunds.create({"payment_intent": paid.id, "amount": 100})
    assert shop.v1.disputes.retrieve(inquiry.id).status == "warning_needs_response"
    shop.v1.refunds.create({"payment_intent": paid.id})
    assert shop.v1.disputes.retrieve(inquiry.id).status == "warning_closed"


async def test_an_inquiry_answered_well_is_closed(sandbox, shop, paid):
    made = await sandbox.control(f"charges/{paid.latest_charge}/dispute", inquiry=True)
    inquiry = made["dispute"]["id"]
    answered = shop.v1.disputes.update(inquiry, {"evidence": {"uncategorized_text": "Here."}})
    assert answered.status == "warning_under_review"
    ended = await sandbox.control(f"disputes/{inquiry}/end_inquiry")
    assert (ended["dispute"]["status"], ended["dispute"]["balance_transactions"]) == ("warning_closed", [])


async def test_a_pending_refund_of_what_is_disputed_fails(sandbox, shop, paid):
    await sandbox.control("refunds/next", status="pending")
    refund = shop.v1.refunds.create({"payment_intent": paid.id, "amount": 500})
    await sandbox.control(f"charges/{paid.latest_charge}/dispute")
    found = shop.v1.refunds.retrieve(refund.id)
    assert (found.status, found.failure_reason) == ("failed", "charge_for_pending_refund_disputed")


@pytest.mark.parametrize("wrong", [{"amount": 2501}, {"amount": 0}, {"reason": "boredom"}])
async def test_what_cannot_be_disputed_is_refused(sandbox, paid, wrong):
    answer = httpx.post(f"{sandbox.address}/_sandbox/charges/{paid.latest_charge}/dispute", json=wrong)
    assert answer.status_code == 400


def test_who_does_not_answer_in_time_has_lost(start):
    with (
        start("tallystick.sandbox.stripe") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        paid = [pay(client, method) for method in ("pm_card_createDispute", "pm_card_createDisputeInquiry")]
        disputes = [client.v1.disputes.list({"payment_intent": one.id}).data[0].id for one in paid]
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 9 * 24 * 3600 + 1})
        found = [client.v1.disputes.retrieve(one).status for one in disputes]
        assert found == ["lost", "warning_needs_response"]
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 111 * 24 * 3600})
        assert client.v1.disputes.retrieve(disputes[1]).status == "warning_closed"
