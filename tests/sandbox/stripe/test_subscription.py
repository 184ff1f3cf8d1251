"""Subscriptions by the API: how they begin, change and end."""

import pytest
import stripe

DAY_S = 24 * 3600


def test_one_that_is_paid_is_active_and_says_its_period_on_its_item(stand):
    customer, price = stand.payer(), stand.price(2000)
    made = stand.subscribe(customer, price, metadata={"plan": "pro"})
    assert (made.status, made.currency, made.metadata.to_dict()) == ("active", "usd", {"plan": "pro"})
    (item,) = made["items"].data
    assert (item.price.id, item.quantity, item.subscription) == (price.id, 1, made.id)
    assert 28 * DAY_S <= item.current_period_end - item.current_period_start <= 31 * DAY_S
    bill = stand.v1.invoices.retrieve(made.latest_invoice)
    assert (bill.status, bill.amount_paid, bill.billing_reason) == ("paid", 2000, "subscription_create")
    assert bill.parent.subscription_details.subscription == made.id
    assert stand.types("customer.sub", "invoice") == [
        "customer.subscription.created",
        "invoice.created",
        "invoice.finalized",
        "invoice_payment.paid",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
        "customer.subscription.updated",
    ]
