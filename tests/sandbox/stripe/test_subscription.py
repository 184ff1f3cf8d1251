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


def test_one_that_nobody_can_pay_is_refused_unless_it_may_wait(stand):
    customer, price = stand.v1.customers.create({}), stand.price()
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        stand.subscribe(customer, price)
    assert stand.v1.subscriptions.list({"status": "all"}).data == []
    waits = stand.subscribe(customer, price, payment_behavior="default_incomplete")
    assert waits.status == "incomplete"
    card = stand.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    paid = stand.v1.invoices.pay(waits.latest_invoice, {"payment_method": card.id})
    assert paid.status == "paid"
    assert stand.v1.subscriptions.retrieve(waits.id).status == "active"


def test_an_intent_confirmed_by_the_shop_pays_the_invoice(stand):
    customer = stand.v1.customers.create({})
    made = stand.subscribe(customer, stand.price(), payment_behavior="default_incomplete")
    (asked,) = stand.v1.invoice_payments.list({"invoice": made.latest_invoice}).data
    intent = asked.payment.payment_intent
    with pytest.raises(stripe.CardError):
        stand.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_chargeDeclined"})
    assert stand.v1.subscriptions.retrieve(made.id).status == "incomplete"
    stand.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    assert stand.v1.subscriptions.retrieve(made.id).status == "active"
    by_intent = {"payment": {"type": "payment_intent", "payment_intent": intent}}
    (found,) = stand.v1.invoice_payments.list(by_intent).data
    assert (found.id, found.status, found.amount_paid) == (asked.id, "paid", 2000)


def test_lists_are_filtered(stand):
    one, other, price = stand.payer(), stand.payer(), stand.price()
    first, second = stand.subscribe(one, price), stand.subscribe(other, stand.price(500), trial_period_days=3)
    stand.v1.subscriptions.cancel(first.id)

    def found(**filters):
        return {row.id for row in stand.v1.subscriptions.list(filters).data}

    assert found() == {second.id}
    assert found(status="all") == {first.id, second.id}
    assert found(status="ended") == found(status="canceled") == found(price=price.id, status="all") == {first.id}
    assert found(status="trialing") == found(customer=other.id) == {second.id}
    assert found(customer=one.id) == set()
    assert found(created={"gt": second.created + 60}) == set()
    assert {row.subscription for row in stand.v1.subscription_items.list({"subscription": second.id}).data} == {
        second.id
    }


def test_what_may_change_of_it_changes(stand):
    customer = stand.payer()
    made = stand.subscribe(customer, stand.price(), metadata={"a": "1", "b": "2"})
    card = stand.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
    changes = {"metadata": {"a": "", "c": "3"}, "default_payment_method": card.id, "description": "Team"}
    changed = stand.v1.subscriptions.update(made.id, changes)
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    assert (changed.default_payment_method, changed.description) == (card.id, "Team")
    before = stand.v1.events.list({"type": "customer.subscription.updated", "limit": 1}).data[0].data
    assert before.previous_attributes.to_dict() == {
        "default_payment_method": None,
        "description": None,
        "metadata": {"a": "1", "c": None},
    }
    said = {"cancel_at_period_end": True, "cancellation_details": {"feedback": "too_expensive"}}
    details = stand.v1.subscriptions.update(made.id, said).cancellation_details
    assert (details.feedback, details.reason) == ("too_expensive", "cancellation_requested")
    stand.v1.subscriptions.update(made.id, {"cancel_at_period_end": False})
    later = made["items"].data[0].current_period_end + 5 * DAY_S
    assert stand.v1.subscriptions.update(made.id, {"cancel_at": later}).cancel_at == later
    assert stand.v1.subscriptions.update(made.id, {"cancel_at": ""}).cancel_at is None
    ends = stand.v1.subscriptions.update(made.id, {"cancel_at": "max_period_end"})
    assert ends.cancel_at == made["items"].data[0].current_period_end


def test_what_has_ended_stays_ended(stand):
    made = stand.subscribe(stand.payer(), stand.price())
    ended = stand.v1.subscriptions.cancel(made.id, {"cancellation_details": {"comment": "too dear"}})
    assert (ended.status, ended.cancellation_details.comment) == ("canceled", "too dear")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stand.v1.subscriptions.cancel(made.id)
    assert refused.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription"):
        stand.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    assert stand.v1.subscriptions.update(made.id, {"metadata": {"x": "y"}}).status == "canceled"
    assert stand.types("customer.subscription")[-2:] == [
        "customer.subscription.deleted",
        "customer.subscription.updated",
    ]


def test_a_trial_is_prolonged(stand):
    made = stand.subscribe(stand.payer(), stand.price(), trial_period_days=5)
    longer = stand.v1.subscriptions.update(made.id, {"trial_end": made.trial_end + 5 * DAY_S})
    stand.pass_days(6)
    assert stand.v1.subscriptions.retrieve(made.id).status == "trialing"
    stand.pass_until(longer.trial_end, days=0.1)
    assert stand.v1.subscriptions.retrieve(made.id).status == "active"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"items": []}, "items"),
        ({"customer": "cus_nobody"}, "customer"),
        ({"trial_end": 12}, "trial_end"),
        ({"trial_period_days": 3, "trial_end": 4_000_000_000}, "trial_end"),
        ({"collection_method": "send_invoice"}, "collection_method"),
        ({"payment_behavior": "pending_if_incomplete"}, "payment_behavior"),
        ({"default_payment_method": "pm_nobody"}, "default_payment_method"),
        ({"billing_cycle_anchor": 12}, "billing_cycle_anchor"),
    ],
)
def test_what_makes_no_sense_is_refused(stand, wrong, param):
    asked = {"customer": stand.payer().id, "items": [{"price": stand.price().id}]}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stand.v1.subscriptions.create(asked | wrong)
    assert refused.value.param == param
    assert stand.v1.subscriptions.list({"status": "all"}).data == []
