"""Invoices: paid, closed, listed, and what they leave in the balance."""

import httpx
import pytest
import stripe


@pytest.fixture
def owed(stand):
    """(subscription, its open first invoice)."""
    made = stand.subscribe(stand.v1.customers.create({}), stand.price(), payment_behavior="default_incomplete")
    return made, stand.v1.invoices.retrieve(made.latest_invoice)


def test_what_is_paid_is_in_the_balance(stand):
    made = stand.subscribe(stand.payer(), stand.price(2000))
    (paid,) = stand.v1.invoice_payments.list({"invoice": made.latest_invoice}).data
    intent = stand.v1.payment_intents.retrieve(
        paid.payment.payment_intent, {"expand": ["latest_charge.balance_transaction"]}
    )
    assert intent.latest_charge.balance_transaction.amount == 2000
    assert intent.description == "Subscription creation"
    bill = stand.v1.invoices.retrieve(made.latest_invoice, {"expand": ["payments", "customer"]})
    assert [row.id for row in bill.payments.data] == [paid.id]
    assert bill.number == f"{bill.customer.invoice_prefix}-0001"
    (line,) = stand.v1.invoices.line_items.list(bill.id).data
    assert (line.amount, line.quantity, line.pricing.price_details.price) == (
        2000,
        1,
        made["items"].data[0].price.id,
    )
    assert line.parent.subscription_item_details.subscription_item == made["items"].data[0].id


def test_a_declined_payment_is_a_card_error(stand, owed):
    made, bill = owed
    with pytest.raises(stripe.InvalidRequestError, match="no `default_payment_method`"):
        stand.v1.invoices.pay(bill.id)
    card = stand.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": made.customer})
    with pytest.raises(stripe.CardError) as declined:
        stand.v1.invoices.pay(bill.id, {"payment_method": card.id})
    assert declined.value.code == "card_declined"
    assert stand.v1.invoices.retrieve(bill.id).status == "open"


def test_paid_elsewhere_it_is_paid_without_a_charge(stand, owed):
    made, bill = owed
    paid = stand.v1.invoices.pay(bill.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid_off_stripe) == ("paid", 2000)
    assert stand.v1.charges.list({}).data == []
    assert stand.v1.subscriptions.retrieve(made.id).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        stand.v1.invoices.pay(bill.id)


def test_void_it_is_owed_no_more(stand, owed):
    made, bill = owed
    (asked,) = stand.v1.invoice_payments.list({"invoice": bill.id}).data
    with pytest.raises(stripe.InvalidRequestError, match="Void the invoice"):
        stand.v1.payment_intents.cancel(asked.payment.payment_intent)
    assert stand.v1.invoices.void_invoice(bill.id).status == "void"
    assert stand.v1.subscriptions.retrieve(made.id).status == "incomplete_expired"
    (asked,) = stand.v1.invoice_payments.list({"invoice": bill.id}).data
    assert asked.status == "canceled"
    assert stand.v1.payment_intents.retrieve(asked.payment.payment_intent).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="isn't open"):
        stand.v1.invoices.void_invoice(bill.id)
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        stand.v1.invoices.pay(bill.id)


def test_given_up_it_lets_the_subscription_go_on(stand):
    customer = stand.payer()
    made = stand.subscribe(customer, stand.price())
    stand.control(f"payment_methods/{customer.invoice_settings.default_payment_method}/decline")
    stand.pass_period(made)
    late = stand.v1.subscriptions.retrieve(made.id)
    assert late.status == "past_due"
    assert stand.v1.invoices.mark_uncollectible(late.latest_invoice).status == "uncollectible"
    assert stand.v1.subscriptions.retrieve(made.id).status == "active"
    stand.pass_days(10)
    assert stand.types("invoice.payment_failed") == ["invoice.payment_failed"]


def test_lists_are_filtered(stand, owed):
    made, bill = owed
    paid = stand.subscribe(stand.payer(), stand.price())

    def found(**filters):
        return [row.id for row in stand.v1.invoices.list(filters).data]

    assert found() == [paid.latest_invoice, bill.id]
    assert found(status="open") == found(customer=made.customer) == found(subscription=made.id) == [bill.id]
    assert found(status="paid", subscription=made.id) == []


def test_a_page_to_pay_it(stand, owed):
    made, bill = owed
    page = httpx.get(bill.hosted_invoice_url).text
    assert "$20.00" in page
    assert "<script" not in page
    card = {"method": "card", "number": "4000000000000002"}
    refused = httpx.post(bill.hosted_invoice_url, data=card, follow_redirects=True)
    assert "Your card was declined." in refused.text
    assert httpx.post(bill.hosted_invoice_url, data={**card, "number": "1"}).status_code == 422
    asked = httpx.post(bill.hosted_invoice_url, data={**card, "number": "4000002760003184"})
    answered = httpx.post(f"{stand.address}{asked.headers['location']}", data={"result": "passed"})
    assert answered.headers["location"] == f"/c/invoice/{bill.id}"
    assert "It is paid. Thank you." in httpx.get(bill.hosted_invoice_url).text
    assert stand.v1.subscriptions.retrieve(made.id).status == "active"
    assert httpx.get(f"{stand.address}/c/invoice/in_nobody").status_code == 404


def test_a_draft_can_be_made_final_before_its_hour_is_over(stand):
    made = stand.subscribe(stand.payer(), stand.price())
    stand.pass_period(made, days=0.01)
    draft = stand.v1.invoices.list({"limit": 1}).data[0]
    assert (draft.status, draft.number) == ("draft", None)
    assert draft.automatically_finalizes_at == draft.created + 3600
    assert stand.v1.invoices.finalize_invoice(draft.id).status == "open"
    stand.v1.invoices.pay(draft.id)
    stand.pass_days(1)
    assert stand.v1.invoices.retrieve(draft.id).amount_paid == 2000
    assert len(stand.v1.charges.list({}).data) == 2
