"""The contract about subscriptions, as far as `localstripe` goes: it has plans where Stripe now has prices, one item,
the running period on the subscription itself, no word of a first invoice that fails, and no way to let time pass.
`emulate` has no subscriptions.
"""

import pytest
import stripe

from tests.outside.stripe_contract.held_against import eventually, held_against


async def subscriber(witness, card="pm_card_visa"):
    customer = await witness.client.v1.customers.create_async({"email": "subscriber@example.com"})
    method = await witness.client.v1.payment_methods.attach_async(card, {"customer": customer.id})
    settings = {"invoice_settings": {"default_payment_method": method.id}}
    await witness.client.v1.customers.update_async(customer.id, settings)
    return customer.id


async def monthly(witness):
    """The item of a subscription at $29 a month."""
    product = await witness.client.v1.products.create_async({"name": "Pro"})
    asked = {"currency": "usd", "product": product.id}
    if witness.name == "localstripe":
        plan = await witness.client.v1.plans.create_async({**asked, "amount": 2900, "interval": "month"})
        return {"plan": plan.id}
    recurring = {"unit_amount": 2900, "recurring": {"interval": "month"}}
    return {"price": (await witness.client.v1.prices.create_async({**asked, **recurring})).id}


async def subscribe(witness, customer, **more):
    asked = {"customer": customer, "items": [await monthly(witness)], **more}
    return await witness.client.v1.subscriptions.create_async(asked)


@held_against("subscriptions")
async def test_it_is_active_once_its_first_invoice_is_paid(witness, receiver):
    customer = await subscriber(witness)
    made = await subscribe(witness, customer, metadata={"org": "org_1"})
    found = await witness.client.v1.subscriptions.retrieve_async(made.id)
    assert (found.status, found.customer, found.metadata.to_dict()) == ("active", customer, {"org": "org_1"})
    invoices = await witness.client.v1.invoices.list_async({"customer": customer})
    assert [(row.status, row.total, row.currency) for row in invoices.data] == [("paid", 2900, "usd")]
    charges = await witness.client.v1.charges.list_async({"customer": customer})
    assert [(row.status, row.amount) for row in charges.data] == [("succeeded", 2900)]
    await eventually(lambda: receiver.objects("customer.subscription.created"), made.id)
    await eventually(lambda: receiver.objects("invoice.payment_succeeded"), invoices.data[0].id)


@held_against("subscriptions")
async def test_a_card_that_declines_leaves_it_incomplete(witness):
    customer = await subscriber(witness, "pm_card_chargeCustomerFail")
    made = await subscribe(witness, customer, payment_behavior="allow_incomplete")
    assert made.status == "incomplete"
    invoices = await witness.client.v1.invoices.list_async({"customer": customer})
    assert [(row.status, row.amount_due) for row in invoices.data] == [("open", 2900)]


@held_against("subscriptions")
async def test_cancelled_at_the_end_it_goes_on_and_cancelled_at_once_it_does_not(witness, receiver):
    customer = await subscriber(witness)
    made = await subscribe(witness, customer)
    subscriptions = witness.client.v1.subscriptions
    ending = await subscriptions.update_async(made.id, {"cancel_at_period_end": True})
    assert (ending.status, ending.cancel_at_period_end) == ("active", True)
    assert (await subscriptions.cancel_async(made.id)).status == "canceled"
    listed = await subscriptions.list_async({"customer": customer})
    every = await subscriptions.list_async({"customer": customer, "status": "all"})
    assert ([row.id for row in listed.data], [row.id for row in every.data]) == ([], [made.id])
    await eventually(lambda: receiver.objects("customer.subscription.deleted"), made.id)


@held_against("subscriptions")
async def test_nobody_subscribes_to_nothing(witness):
    for customer, item in (("cus_nobody", None), (await subscriber(witness), {"price": "nothing", "plan": "nothing"})):
        items = [item or await monthly(witness)]
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await witness.client.v1.subscriptions.create_async({"customer": customer, "items": items})
        assert refused.value.http_status in {400, 404}
