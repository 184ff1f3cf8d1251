"""Saved cards: whose they are, which one is taken by default, and what becomes of them."""

import pytest
import stripe


@pytest.fixture
def customer(shop):
    return shop.v1.customers.create({"email": "saved@example.com"}).id


def charge(shop, payer, method):
    asked = {"amount": 1500, "currency": "usd", "customer": payer, "payment_method": method}
    return shop.v1.payment_intents.create({**asked, "confirm": True, "off_session": True})


def test_a_customer_comes_with_a_card_that_is_the_default(shop):
    asked = {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}}
    customer = shop.v1.customers.create({**asked, "expand": ["invoice_settings.default_payment_method"]})
    default = customer.invoice_settings.default_payment_method
    assert (default.customer, default.card.last4) == (customer.id, "4242")
    assert [row.id for row in shop.v1.customers.payment_methods.list(customer.id).data] == [default.id]


async def test_the_default_is_one_of_their_own(sandbox, shop, receiver, customer):
    method = shop.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    settings = {"invoice_settings": {"default_payment_method": method.id}}
    assert shop.v1.customers.update(customer, settings).invoice_settings.default_payment_method == method.id
    other = shop.v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.customers.update(other.id, settings)
    assert refused.value.code == "resource_missing"
    await sandbox.delivered()
    (updated,) = [event for event in receiver.events() if event.type == "customer.updated"]
    assert updated.data.previous_attributes.to_dict() == {"invoice_settings": {"default_payment_method": None}}


async def test_a_detached_one_is_gone_for_good(sandbox, shop, receiver, customer):
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    shop.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method.id}})
    assert shop.v1.payment_methods.detach(method.id).customer is None
    assert shop.v1.customers.retrieve(customer).invoice_settings.default_payment_method is None
    assert shop.v1.payment_methods.list({"customer": customer}).data == []
    for again in (
        lambda: shop.v1.payment_methods.detach(method.id),
        lambda: shop.v1.payment_methods.attach(method.id, {"customer": customer}),
        lambda: charge(shop, customer, method.id),
    ):
        with pytest.raises(stripe.InvalidRequestError):
            again()
    await sandbox.delivered()
    (detached,) = [event for event in receiver.events() if event.type == "payment_method.detached"]
    assert detached.data.previous_attributes["customer"] == customer


def test_one_that_nobody_owns_pays_once(shop):
    asked = {"amount": 900, "currency": "usd", "confirm": True}
    paid = shop.v1.payment_intents.create({**asked, "payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        shop.v1.payment_intents.create({**asked, "payment_method": paid.payment_method})


def test_a_card_that_declines_is_not_attached(shop, customer):
    with pytest.raises(stripe.CardError) as declined:
        shop.v1.payment_methods.attach("pm_card_chargeDeclinedInsufficientFunds", {"customer": customer})
    assert declined.value.error.decline_code == "insufficient_funds"
    assert shop.v1.payment_methods.list({"customer": customer}).data == []
    # The one that Stripe has for a card which declines only later.
    method = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer})
    with pytest.raises(stripe.CardError):
        charge(shop, customer, method.id)


@pytest.mark.parametrize(
    ("reason", "code"),
    [("insufficient_funds", "card_declined"), ("authentication_required", "authentication_required")],
)
async def test_a_card_that_paid_begins_to_decline_and_pays_again(sandbox, shop, customer, reason, code):
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    assert charge(shop, customer, method).status == "succeeded"
    await sandbox.control(f"payment_methods/{method}/decline", reason=reason)
    with pytest.raises(stripe.CardError) as declined:
        charge(shop, customer, method)
    error = declined.value.error
    assert (declined.value.http_status, error.code, error.decline_code) == (402, code, reason)
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_intent.last_payment_error.payment_method.id == method
    await sandbox.control(f"payment_methods/{method}/decline", reason=None)
    assert charge(shop, customer, method).status == "succeeded"


def test_payments_are_listed_by_customer_and_time(shop, customer):
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    made = [charge(shop, customer, method) for _ in range(3)]
    since = {"customer": customer, "created": {"gte": made[0].created}}
    assert [row.id for row in shop.v1.payment_intents.list(since).data] == [one.id for one in reversed(made)]
    assert shop.v1.payment_intents.list({"customer": customer, "created": {"lt": made[0].created}}).data == []


def test_who_is_deleted_takes_their_cards_along(shop, customer):
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    shop.v1.customers.delete(customer)
    assert shop.v1.payment_methods.retrieve(method).customer is None


async def test_who_was_not_there_answers_their_bank_later(sandbox, shop, customer):
    method = shop.v1.payment_methods.attach("pm_card_authenticationRequired", {"customer": customer}).id
    with pytest.raises(stripe.CardError) as declined:
        charge(shop, customer, method)
    intent = declined.value.error.payment_intent.id
    asked = shop.v1.payment_intents.confirm(intent, {"payment_method": method})
    assert (asked.status, asked.next_action.type) == ("requires_action", "redirect_to_url")
    answered = await sandbox.control(f"payment_intents/{intent}/authenticate", passed=True)
    assert answered["payment_intent"]["status"] == "succeeded"


def test_nobody_pays_with_the_cards_of_who_is_gone(shop, customer):
    shop.v1.customers.delete(customer)
    for act in (
        lambda: shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer}),
        lambda: charge(shop, customer, "pm_card_visa"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            act()
        assert refused.value.code == "resource_missing"
