"""The contract about money that was paid: what goes back, what is saved, what is called off.

Disputes, meters, payouts that are made by themselves and refunds that fail are the sandbox's alone: neither of the
others has them, and the last test notices when one does. What the sandbox does there rests on Stripe's documentation.
"""

import pytest
import stripe

from tests.outside.stripe_contract.held_against import eventually, held_against


async def customer_of(witness, card="pm_card_visa"):
    customer = await witness.client.v1.customers.create_async({"email": "saved@example.com"})
    method = await witness.client.v1.payment_methods.attach_async(card, {"customer": customer.id})
    return customer.id, method.id


async def charge(witness, customer, method):
    """As a top-up does it, with nobody there."""
    asked = {"amount": 900, "currency": "usd", "customer": customer, "payment_method": method}
    return await witness.client.v1.payment_intents.create_async({**asked, "confirm": True, "off_session": True})


@held_against("refunds")
async def test_refunds_are_listed_and_leave_the_balance(witness):
    asked = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    paid = await witness.client.v1.payment_intents.create_async(asked)
    refunds = witness.client.v1.refunds
    made = [await refunds.create_async({"payment_intent": paid.id, "amount": amount}) for amount in (100, 200)]
    by_payment = await refunds.list_async({"payment_intent": paid.id})
    by_charge = await refunds.list_async({"charge": made[0].charge})
    assert {row.id for row in by_payment.data} == {row.id for row in by_charge.data} == {one.id for one in made}
    moved = await witness.client.v1.balance_transactions.retrieve_async(str(made[1].balance_transaction))
    assert (moved.type, moved.amount, moved.net, moved.source) == ("refund", -200, -200, made[1].id)
    assert moved.reporting_category == "refund"


@held_against("refunds")
async def test_a_refund_of_what_was_never_paid_is_refused(witness):
    intent = await witness.client.v1.payment_intents.create_async({"amount": 900, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await witness.client.v1.refunds.create_async({"payment_intent": intent.id})
    assert refused.value.http_status == 400


@held_against("saved cards")
async def test_a_saved_card_is_listed_made_the_default_and_charged(witness):
    customer, method = await customer_of(witness)
    settings = {"invoice_settings": {"default_payment_method": method}}
    changed = await witness.client.v1.customers.update_async(customer, settings)
    assert changed.invoice_settings.default_payment_method == method
    listed = await witness.client.v1.payment_methods.list_async({"customer": customer, "type": "card"})
    assert [(row.id, row.card.last4) for row in listed.data] == [(method, "4242")]
    assert (await charge(witness, customer, method)).status == "succeeded"
    assert (await witness.client.v1.payment_methods.detach_async(method)).customer is None
    listed = await witness.client.v1.payment_methods.list_async({"customer": customer, "type": "card"})
    assert listed.data == []


@held_against("saved cards")
async def test_a_card_that_declines_is_not_saved_and_one_declines_later(witness, receiver):
    customer = await witness.client.v1.customers.create_async({})
    with pytest.raises(stripe.CardError) as declined:
        await witness.client.v1.payment_methods.attach_async("pm_card_visa_chargeDeclined", {"customer": customer.id})
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    payer, method = await customer_of(witness, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as declined:
        await charge(witness, payer, method)
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    charges = await witness.client.v1.charges.list_async({"customer": payer})
    assert [(row.status, row.paid) for row in charges.data] == [("failed", False)]
    assert declined.value.json_body["error"]["charge"] == charges.data[0].id
    await eventually(lambda: receiver.objects("payment_intent.payment_failed"), charges.data[0].payment_intent)


@held_against("reused cards")
async def test_a_detached_card_is_gone(witness):
    customer, method = await customer_of(witness)
    await witness.client.v1.payment_methods.detach_async(method)
    with pytest.raises(stripe.InvalidRequestError):
        await witness.client.v1.payment_methods.attach_async(method, {"customer": customer})


@held_against("cancel")
async def test_a_payment_is_called_off_while_it_is_not_made(witness):
    intents = witness.client.v1.payment_intents
    open_one = await intents.create_async({"amount": 900, "currency": "usd"})
    assert (await intents.cancel_async(open_one.id)).status == "canceled"
    assert (await intents.retrieve_async(open_one.id)).status == "canceled"
    made = await intents.create_async({"amount": 900, "currency": "usd", "payment_method": "pm_card_visa"})
    await intents.confirm_async(made.id)
    for ended in (open_one.id, made.id):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await intents.cancel_async(ended)
        assert refused.value.http_status == 400


@held_against("payments of a customer")
async def test_payments_are_listed_by_customer(witness):
    customers = [(await witness.client.v1.customers.create_async({})).id for _ in range(2)]
    made = {}
    for customer in customers:
        asked = {"amount": 900, "currency": "usd", "customer": customer}
        made[customer] = (await witness.client.v1.payment_intents.create_async(asked)).id
    for customer in customers:
        listed = await witness.client.v1.payment_intents.list_async({"customer": customer})
        assert [row.id for row in listed.data] == [made[customer]]


@pytest.mark.parametrize("witness", ["localstripe", pytest.param("emulate", marks=pytest.mark.npm)], indirect=True)
async def test_disputes_and_meters_are_known_to_neither(witness):
    for unknown in (witness.client.v1.disputes.list_async, witness.client.v1.billing.meters.list_async):
        with pytest.raises(stripe.StripeError) as missing:
            await unknown({})
        assert missing.value.http_status == 404
