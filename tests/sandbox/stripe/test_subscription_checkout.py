"""Checkout in subscription mode, by controls and by the page."""

import httpx
import pytest
import stripe

DAY_S = 24 * 3600
PAGE = {"success_url": "http://127.0.0.1:9/thanks?session={CHECKOUT_SESSION_ID}"}


def checkout(stand, *items, **more):
    line_items = [item if isinstance(item, dict) else {"price": item.id, "quantity": 1} for item in items]
    return stand.v1.checkout.sessions.create({"mode": "subscription", "line_items": line_items, **PAGE, **more})


def test_paid_it_names_its_subscription_and_the_card_is_kept_for_the_next_period(stand):
    customer = stand.v1.customers.create({"email": "buyer@example.com"})
    session = checkout(
        stand,
        stand.price(2000),
        customer=customer.id,
        metadata={"session": "yes"},
        subscription_data={"metadata": {"plan": "pro"}, "billing_mode": {"type": "flexible"}},
        allow_promotion_codes=True,
    )
    assert (session.mode, session.amount_total, session.subscription, session.payment_status) == (
        "subscription",
        2000,
        None,
        "unpaid",
    )
    stand.control(f"checkout/{session.id}/pay")
    session = stand.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "invoice"]})
    assert (session.status, session.payment_status, session.payment_intent) == ("complete", "paid", None)
    assert (session.subscription.status, session.subscription.customer) == ("active", customer.id)
    # What is said of the session reaches nothing else; what is said of the subscription does.
    assert session.subscription.metadata.to_dict() == {"plan": "pro"}
    method = stand.v1.payment_methods.retrieve(session.subscription.default_payment_method)
    assert method.customer == customer.id
    assert (session.invoice.status, session.invoice.amount_paid) == ("paid", 2000)
    (paid,) = stand.v1.invoice_payments.list({"invoice": session.invoice.id}).data
    intent = stand.v1.payment_intents.retrieve(paid.payment.payment_intent, {"expand": ["latest_charge"]})
    assert (intent.metadata.to_dict(), intent.latest_charge.metadata.to_dict()) == ({}, {})
    assert stand.types("checkout") == ["checkout.session.completed"]
    stand.pass_period(session.subscription)
    bills = stand.v1.invoices.list({"subscription": session.subscription.id}).data
    assert [(bill.billing_reason, bill.status) for bill in bills] == [
        ("subscription_cycle", "paid"),
        ("subscription_create", "paid"),
    ]


def test_without_a_customer_one_is_made(stand):
    session = checkout(stand, stand.price())
    stand.control(f"checkout/{session.id}/pay", email="new@example.com")
    session = stand.v1.checkout.sessions.retrieve(session.id, {"expand": ["customer"]})
    assert session.customer.email == "new@example.com"
    assert stand.v1.subscriptions.list({"customer": session.customer.id}).data[0].id == session.subscription


def test_a_declined_card_leaves_the_session_open_and_another_one_completes_it(stand):
    session = checkout(stand, stand.price())
    stand.control(f"checkout/{session.id}/decline")
    tried = stand.v1.checkout.sessions.retrieve(session.id)
    assert (tried.status, tried.subscription) == ("open", None)
    stand.control(f"checkout/{session.id}/pay")
    paid = stand.v1.checkout.sessions.retrieve(session.id)
    assert (paid.status, paid.payment_status) == ("complete", "paid")
    assert len(stand.v1.subscriptions.list({"status": "all"}).data) == 1
    assert "invoice.payment_failed" in stand.types("invoice")


def test_a_trial_asks_for_a_card_and_no_money(stand):
    session = checkout(stand, stand.price(), subscription_data={"trial_period_days": 14})
    assert session.amount_total == 0
    stand.control(f"checkout/{session.id}/decline")
    assert stand.v1.checkout.sessions.retrieve(session.id).status == "open"
    stand.control(f"checkout/{session.id}/pay")
    session = stand.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription.latest_invoice"]})
    made = session.subscription
    assert (session.payment_status, made.status) == ("no_payment_required", "trialing")
    assert made.trial_end - made.trial_start == 14 * DAY_S
    assert (made.latest_invoice.amount_due, made.latest_invoice.status) == (0, "paid")
    assert made.default_payment_method is not None


def test_a_trial_may_begin_without_a_card(stand):
    session = checkout(
        stand,
        stand.price(),
        payment_method_collection="if_required",
        subscription_data={
            "trial_period_days": 7,
            "trial_settings": {"end_behavior": {"missing_payment_method": "cancel"}},
        },
    )
    page = httpx.get(session.url).text
    assert "Card number" not in page
    assert "Start the trial" in page
    left = httpx.post(session.url, data={"email": "trial@example.com"})
    assert left.headers["location"].startswith("http://127.0.0.1:9/thanks?session=")
    made = stand.v1.subscriptions.retrieve(stand.v1.checkout.sessions.retrieve(session.id).subscription)
    assert (made.status, made.default_payment_method) == ("trialing", None)
    assert made.trial_settings.end_behavior.missing_payment_method == "cancel"


def test_what_is_sold_once_is_on_the_first_invoice_only(stand):
    product = stand.v1.products.create({"name": "Setup"})
    setup = stand.v1.prices.create({"currency": "usd", "unit_amount": 500, "product": product.id})
    session = checkout(stand, stand.price(2000), setup)
    assert session.amount_total == 2500
    stand.control(f"checkout/{session.id}/pay")
    stand.pass_days(31.1)
    bills = stand.v1.invoices.list({}).data
    assert [bill.total for bill in bills] == [2000, 2500]


def test_a_bank_debit_begins_a_subscription_that_is_paid_later(stand):
    session = checkout(stand, stand.price())
    stand.control(f"checkout/{session.id}/pay", number="000123456789")
    session = stand.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription.latest_invoice"]})
    assert (session.status, session.payment_status) == ("complete", "unpaid")
    assert (session.subscription.status, session.subscription.latest_invoice.status) == ("active", "open")
    stand.control(f"checkout/{session.id}/settle")
    session = stand.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription.latest_invoice"]})
    assert (session.payment_status, session.subscription.latest_invoice.status) == ("paid", "paid")
    assert session.subscription.default_payment_method is not None


def test_a_bank_s_question_is_answered_on_the_page(stand):
    session = checkout(stand, stand.price(1900, name="Team"))
    page = httpx.get(session.url).text
    assert "Subscribe" in page
    assert "$19.00 every month, until you cancel" in page
    card = {"email": "asked@example.com", "method": "card", "number": "4000002500003155"}
    question = httpx.post(session.url, data=card).headers["location"]
    assert stand.v1.subscriptions.list({"status": "incomplete"}).data
    httpx.post(f"{stand.address}{question}", data={"result": "passed"})
    session = stand.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
    assert session.subscription.status == "active"
    stand.pass_period(session.subscription)  # The card was saved with the customer there: its bank asks no more.
    assert stand.v1.invoices.list({"limit": 1}).data[0].status == "paid"


def test_an_expired_session_subscribes_nobody(stand):
    session = checkout(stand, stand.price())
    stand.v1.checkout.sessions.expire(session.id)
    assert httpx.post(f"{stand.address}/_sandbox/checkout/{session.id}/pay", json={}).status_code == 400
    assert stand.v1.subscriptions.list({"status": "all"}).data == []


def test_what_was_tried_before_it_expired_can_be_paid_no_more(stand):
    price = stand.price()
    sold_once = {"price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "x"}}, "quantity": 1}
    subscribing, paying = checkout(stand, price), checkout(stand, sold_once, mode="payment")
    asked = []
    for session in (subscribing, paying):
        card = {"email": "late@example.com", "method": "card", "number": "4000002500003155"}
        asked.append(httpx.post(session.url, data=card).headers["location"])
    stand.v1.checkout.sessions.expire(paying.id)
    stand.pass_days(1.1)
    assert stand.v1.checkout.sessions.retrieve(subscribing.id).status == "expired"
    for question in asked:
        assert httpx.post(f"{stand.address}{question}", data={"result": "passed"}).status_code == 410
    assert {intent.status for intent in stand.v1.payment_intents.list({}).data} == {"canceled"}
    (made,) = stand.v1.subscriptions.list({"status": "all"}).data
    assert made.status == "incomplete_expired"


def test_modes_and_prices_must_agree(stand):
    price = stand.price()
    once = {"price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "x"}}, "quantity": 1}
    with pytest.raises(stripe.InvalidRequestError, match="recurring price"):
        checkout(stand, price, mode="payment")
    with pytest.raises(stripe.InvalidRequestError, match="at least one recurring"):
        checkout(stand, once)
    stand.v1.prices.update(price.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        checkout(stand, price)
    stand.v1.prices.update(price.id, {"active": True})
    with pytest.raises(stripe.InvalidRequestError, match="payment_intent_data"):
        checkout(stand, price, payment_intent_data={"description": "x"})
