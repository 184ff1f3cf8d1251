"""Off-session payments, as an automatic top-up makes them."""

import pytest
import stripe


@pytest.fixture
def customer(shop):
    return shop.v1.customers.create({"email": "saved@example.com"}).id


def charge(shop, payer, method, **more):
    return shop.v1.payment_intents.create(
        {
            "amount": 1500,
            "currency": "usd",
            "customer": payer,
            "payment_method": method,
            "confirm": True,
            "off_session": True,
            "metadata": {"order": "order_2"},
            **more,
        }
    )


def test_a_saved_card_is_charged(shop, customer):
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    intent = charge(shop, customer, method.id)
    assert (intent.status, intent.amount_received, intent.metadata.to_dict()) == (
        "succeeded",
        1500,
        {"order": "order_2"},
    )
    assert [row.id for row in shop.v1.payment_methods.list({"customer": customer}).data] == [method.id]
    assert [row.id for row in shop.v1.payment_intents.list({"customer": customer}).data] == [intent.id]


def test_a_decline_is_a_card_error_with_the_intent_in_it(shop, customer):
    with pytest.raises(stripe.CardError) as declined:
        charge(shop, customer, "pm_card_visa_chargeDeclinedInsufficientFunds")
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert declined.value.error.decline_code == "insufficient_funds"
    intent = declined.value.error.payment_intent
    assert intent.status == "requires_payment_method"
    assert shop.v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"


def test_nobody_is_there_to_authenticate(shop, customer):
    with pytest.raises(stripe.CardError) as declined:
        charge(shop, customer, "pm_card_authenticationRequired")
    assert declined.value.code == "authentication_required"


async def test_a_card_authenticated_at_checkout_is_charged_later_without_asking(sandbox, shop, checkout, customer):
    checkout["payment_intent_data"]["setup_future_usage"] = "off_session"
    session = shop.v1.checkout.sessions.create({**checkout, "customer": customer})
    await sandbox.control(f"checkout/{session.id}/pay", number="4000002500003155")
    await sandbox.control(f"checkout/{session.id}/authenticate")
    (method,) = shop.v1.payment_methods.list({"customer": customer, "type": "card"}).data
    assert charge(shop, customer, method.id).status == "succeeded"


def test_created_then_confirmed_then_not_again(shop):
    intent = shop.v1.payment_intents.create({"amount": 900, "currency": "eur"})
    assert intent.status == "requires_payment_method"
    assert shop.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "payment_intent_unexpected_state"


def test_cancelled_is_never_paid(shop):
    intent = shop.v1.payment_intents.create({"amount": 900, "currency": "eur"})
    assert shop.v1.payment_intents.cancel(intent.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})


def test_somebody_else_s_card_is_refused(shop, customer):
    method = shop.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    other = shop.v1.customers.create({}).id
    with pytest.raises(stripe.InvalidRequestError, match="another Customer"):
        charge(shop, other, method.id)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"amount": 10}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"amount": 100_000_000}, "amount"),
        ({"currency": "dollars"}, "currency"),
        ({"customer": "cus_nobody"}, "customer"),
        ({"payment_method": "pm_nobody"}, "payment_method"),
        ({"confirm": False}, "off_session"),
    ],
)
def test_wrong_parameters_are_named(shop, customer, change, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        charge(shop, customer, "pm_card_visa", **change)
    assert refused.value.param == param
