"""One small contract, held against three Stripes.

If the sandbox misunderstood Stripe, a Stripe that somebody else wrote would disagree with it here. What an outside
one does not do is listed with the reason, and the calls it does not cover are not run against it.
"""

import httpx
import pytest
import stripe

from tests.outside.stripe_contract.held_against import eventually, held_against


@held_against("customers")
async def test_a_customer_is_created_found_changed_and_listed(witness, receiver):
    customers = witness.client.v1.customers
    made = await customers.create_async({"email": "ann@example.com", "name": "Ann", "metadata": {"org": "org_1"}})
    assert made.id.startswith("cus_")
    found = await customers.retrieve_async(made.id)
    assert (found.object, found.email, found.name) == ("customer", "ann@example.com", "Ann")
    assert found.metadata.to_dict() == {"org": "org_1"}
    assert found.livemode is False
    changed = await customers.update_async(made.id, {"email": "new@example.com"})
    assert (changed.email, changed.name) == ("new@example.com", "Ann")
    listed = await customers.list_async({"email": "new@example.com"})
    assert ([row.id for row in listed.data], listed.has_more, listed.url) == ([made.id], False, "/v1/customers")
    await eventually(lambda: receiver.objects("customer.created"), made.id)


@held_against("merged metadata")
async def test_metadata_is_merged(witness):
    made = await witness.client.v1.customers.create_async({"metadata": {"a": "1", "b": "2"}})
    changed = await witness.client.v1.customers.update_async(made.id, {"metadata": {"b": "3"}})
    assert changed.metadata.to_dict() == {"a": "1", "b": "3"}


@held_against("pages")
async def test_a_list_has_pages(witness):
    for number in range(3):
        await witness.client.v1.customers.create_async({"email": "many@example.com", "name": str(number)})
    first = await witness.client.v1.customers.list_async({"email": "many@example.com", "limit": 2})
    assert (len(first.data), first.has_more) == (2, True)
    asked = {"email": "many@example.com", "limit": 2, "starting_after": first.data[-1].id}
    second = await witness.client.v1.customers.list_async(asked)
    assert (len(second.data), second.has_more) == (1, False)
    assert len({row.name for row in [*first.data, *second.data]}) == 3


@held_against("missing")
async def test_what_is_missing_is_a_404(witness):
    for retrieve in (witness.client.v1.customers.retrieve_async, witness.client.v1.payment_intents.retrieve_async):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await retrieve("nobody")
        assert refused.value.http_status == 404
        assert refused.value.json_body["error"]["type"] == "invalid_request_error"


@held_against("error codes")
async def test_an_error_names_its_code_and_its_parameter(witness):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await witness.client.v1.customers.retrieve_async("cus_nobody")
    assert refused.value.code == "resource_missing"
    assert refused.value.user_message == "No such customer: 'cus_nobody'"
    asked = {"amount": 900, "currency": "usd", "customer": "cus_nobody"}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await witness.client.v1.payment_intents.create_async(asked)
    assert (refused.value.http_status, refused.value.code) == (400, "resource_missing")
    assert refused.value.param == "customer"


@held_against("keys")
async def test_without_a_key_nobody_comes_in(witness):
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{witness.address}/v1/customers")
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "invalid_request_error"
        allowed = await client.get(f"{witness.address}/v1/customers", auth=("sk_test_x", ""))
    assert allowed.status_code == 200


@held_against("idempotency")
async def test_a_key_is_replayed_and_refuses_other_parameters(witness):
    options = {"idempotency_key": "contract-key"}
    first = await witness.client.v1.customers.create_async({"email": "a@example.com"}, options)
    second = await witness.client.v1.customers.create_async({"email": "a@example.com"}, options)
    assert first.id == second.id
    with pytest.raises(stripe.IdempotencyError):
        await witness.client.v1.customers.create_async({"email": "b@example.com"}, options)


@held_against("intents")
async def test_an_intent_is_created_then_confirmed(witness, receiver):
    customer = await witness.client.v1.customers.create_async({"email": "payer@example.com"})
    intents = witness.client.v1.payment_intents
    made = await intents.create_async(
        {
            "amount": 1500,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "metadata": {"order": "order_1"},
        }
    )
    assert (made.status, made.amount, made.currency) == ("requires_confirmation", 1500, "usd")
    confirmed = await intents.confirm_async(made.id)
    assert confirmed.status == "succeeded"
    found = await intents.retrieve_async(made.id)
    assert (found.status, found.customer, found.metadata.to_dict()) == ("succeeded", customer.id, {"order": "order_1"})
    charges = await witness.client.v1.charges.list_async({"customer": customer.id})
    assert [(row.amount, row.status, row.payment_intent) for row in charges.data] == [(1500, "succeeded", made.id)]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await intents.confirm_async(made.id)
    assert refused.value.http_status == 400
    await eventually(lambda: receiver.objects("payment_intent.succeeded"), made.id)


@held_against("intents")
async def test_an_intent_needs_an_amount(witness):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await witness.client.v1.payment_intents.create_async({"currency": "usd"})
    assert refused.value.http_status == 400


@held_against("created and confirmed")
async def test_an_intent_is_created_and_confirmed_at_once(witness):
    asked = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True, "off_session": True}
    made = await witness.client.v1.payment_intents.create_async(asked)
    assert made.status == "succeeded"


@held_against("declines")
async def test_a_decline_is_a_card_error(witness, receiver):
    customer = await witness.client.v1.customers.create_async({"email": "declined@example.com"})
    asked = {
        "amount": 900,
        "currency": "usd",
        "customer": customer.id,
        "payment_method": "pm_card_chargeCustomerFail",
        "confirm": True,
    }
    with pytest.raises(stripe.CardError) as declined:
        await witness.client.v1.payment_intents.create_async(asked)
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    charges = await witness.client.v1.charges.list_async({"customer": customer.id})
    (charge,) = charges.data
    assert (charge.status, charge.failure_code) == ("failed", "card_declined")
    await eventually(lambda: receiver.objects("payment_intent.payment_failed"), charge.payment_intent)


@held_against("refunds")
async def test_a_refund_gives_back_a_part_of_what_was_paid(witness):
    asked = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    paid = await witness.client.v1.payment_intents.create_async(asked)
    part = await witness.client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 400})
    assert (part.amount, part.status, part.payment_intent) == (400, "succeeded", paid.id)


@held_against("refund limits")
async def test_a_refund_never_exceeds_what_was_paid(witness):
    asked = {"amount": 900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    paid = await witness.client.v1.payment_intents.create_async(asked)
    await witness.client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError):
        await witness.client.v1.refunds.create_async({"payment_intent": paid.id, "amount": 501})


@held_against("events")
async def test_events_can_be_read_again(witness):
    made = await witness.client.v1.customers.create_async({"email": "told@example.com"})
    told = await witness.client.v1.events.list_async({"type": "customer.created", "limit": 100})
    (event,) = [event for event in told.data if event.data.object["id"] == made.id]
    found = await witness.client.v1.events.retrieve_async(event.id)
    assert (found.type, found.data.object["email"]) == ("customer.created", "told@example.com")


async def checkout_of(witness, **more):
    product = await witness.client.v1.products.create_async({"name": "Standard: 25 credits"})
    asked = {"product": product.id, "currency": "usd", "unit_amount": 2500}
    price = await witness.client.v1.prices.create_async(asked)
    assert (price.unit_amount, price.currency, price.product) == (2500, "usd", product.id)
    customer = await witness.client.v1.customers.create_async({"email": "buyer@example.com"})
    return await witness.client.v1.checkout.sessions.create_async(
        {
            "mode": "payment",
            "customer": customer.id,
            "line_items": [{"price": price.id, "quantity": 1}],
            "metadata": {"order": "order_1"},
            "success_url": "http://127.0.0.1:9/thanks?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://127.0.0.1:9/",
            **more,
        }
    )


# Where the form of the hosted page leads, which is each one's own business.
PAY = {
    "sandbox": ("/c/pay/{id}", {"method": "card", "number": "4242424242424242", "email": "buyer@example.com"}),
    "emulate": ("/checkout/{id}/complete", {}),
}


@held_against("checkout")
async def test_a_session_is_paid_on_its_page(witness, receiver):
    session = await checkout_of(witness)
    assert (session.status, session.payment_status, session.mode) == ("open", "unpaid", "payment")
    assert session.metadata.to_dict() == {"order": "order_1"}
    async with httpx.AsyncClient(base_url=witness.address) as browser:
        page = await browser.get(session.url)
        assert "$25.00" in page.text
        assert "Standard: 25 credits" in page.text
        path, form = PAY[witness.name]
        paid = await browser.post(path.format(id=session.id), data=form)
    assert paid.headers["location"] == f"http://127.0.0.1:9/thanks?session={session.id}"
    found = await witness.client.v1.checkout.sessions.retrieve_async(session.id)
    assert (found.status, found.payment_status) == ("complete", "paid")
    await eventually(lambda: receiver.objects("checkout.session.completed"), session.id)


@held_against("checkout")
async def test_a_session_expires_once(witness, receiver):
    session = await checkout_of(witness)
    assert (await witness.client.v1.checkout.sessions.expire_async(session.id)).status == "expired"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await witness.client.v1.checkout.sessions.expire_async(session.id)
    assert refused.value.http_status == 400
    await eventually(lambda: receiver.objects("checkout.session.expired"), session.id)


@held_against("checkout")
async def test_a_session_refuses_prices_and_customers_that_are_not_there(witness):
    for wrong in ({"customer": "cus_nobody"}, {"line_items": [{"price": "price_nobody", "quantity": 1}]}):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await checkout_of(witness, **wrong)
        assert (refused.value.http_status, refused.value.code) == (400, "resource_missing")


@held_against("price_data")
async def test_a_session_can_be_priced_on_the_spot(witness):
    described = {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Starter"}}
    session = await checkout_of(witness, line_items=[{"price_data": described, "quantity": 2}])
    assert session.amount_total == 1000
