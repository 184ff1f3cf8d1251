"""A change of plan in the middle of a period, reckoned by the second."""

import pytest
import stripe

DAY_S = 24 * 3600


def change(stand, made, price, **more):
    (item,) = made["items"].data
    return stand.v1.subscriptions.update(made.id, {"items": [{"id": item.id, "price": price.id}], **more})


def share(made, amount, moment) -> int:
    """What belongs to the rest of the period, rounded half up."""
    (item,) = made["items"].data
    whole = item.current_period_end - item.current_period_start
    return (2 * amount * (item.current_period_end - moment) + whole) // (2 * whole)


def lines(bill) -> list[tuple[int, bool]]:
    return [(line.amount, "time on" in line.description) for line in bill.lines.data]


def test_the_difference_waits_for_the_next_invoice(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000))
    stand.pass_days(10)
    changed = change(stand, made, stand.price(3000, name="Max"))
    assert changed["items"].data[0].id == made["items"].data[0].id
    assert changed.latest_invoice == made.latest_invoice
    waiting = stand.v1.invoice_items.list({"customer": made.customer, "pending": True}).data
    moment = waiting[0].date
    assert {row.amount for row in waiting} == {-share(made, 1000, moment), share(made, 3000, moment)}
    assert all(row.proration for row in waiting)
    stand.pass_period(made)
    (bill, _) = stand.v1.invoices.list({"subscription": made.id}).data
    credit, charge = -share(made, 1000, moment), share(made, 3000, moment)
    assert lines(bill) == [(credit, True), (charge, True), (3000, False)]
    assert (bill.status, bill.amount_paid) == ("paid", credit + charge + 3000)
    assert stand.v1.invoice_items.list({"customer": made.customer, "pending": True}).data == []


def test_the_difference_is_invoiced_at_once(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000))
    stand.pass_days(10)
    changed = change(stand, made, stand.price(3000, name="Max"), proration_behavior="always_invoice")
    bill = stand.v1.invoices.retrieve(changed.latest_invoice)
    moment = bill.created
    assert (bill.billing_reason, bill.status) == ("subscription_update", "paid")
    assert bill.amount_paid == share(made, 3000, moment) - share(made, 1000, moment)
    assert changed["items"].data[0].current_period_end == made["items"].data[0].current_period_end
    update = stand.v1.events.list({"type": "customer.subscription.updated"}).data[0].data
    assert update.previous_attributes["items"]["data"][0]["price"]["unit_amount"] == 1000


def test_none_changes_only_what_comes(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000))
    stand.pass_days(10)
    change(stand, made, stand.price(3000), proration_behavior="none")
    stand.pass_period(made)
    assert [bill.total for bill in stand.v1.invoices.list({"subscription": made.id}).data] == [3000, 1000]


def test_what_a_cheaper_plan_gives_back_is_used_up_by_later_invoices(stand):
    made = stand.subscribe(stand.payer(), stand.price(9000))
    stand.pass_days(5)
    changed = change(stand, made, stand.price(1000), proration_behavior="always_invoice")
    bill = stand.v1.invoices.retrieve(changed.latest_invoice)
    assert bill.total < 0
    assert (bill.status, bill.amount_due, bill.ending_balance) == ("paid", 0, bill.total)
    assert stand.v1.customers.retrieve(made.customer).balance == bill.total
    stand.pass_period(made)
    later = stand.v1.invoices.list({"limit": 1}).data[0]
    assert (later.total, later.amount_due, later.starting_balance) == (1000, 0, bill.total)
    assert later.ending_balance == bill.total + 1000


def test_another_interval_begins_a_period_of_its_own(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000))
    stand.pass_days(10)
    changed = change(stand, made, stand.price(10_000, "year"))
    bill = stand.v1.invoices.retrieve(changed.latest_invoice)
    (item,) = changed["items"].data
    assert changed.billing_cycle_anchor == item.current_period_start == bill.created
    assert item.current_period_end - item.current_period_start in {365 * DAY_S, 366 * DAY_S}
    assert bill.amount_paid == 10_000 - share(made, 1000, bill.created)


def test_what_was_free_is_paid_for_from_the_moment_it_costs_something(stand):
    made = stand.subscribe(stand.payer(), stand.price(0, name="Free"))
    assert made.status == "active"
    stand.pass_days(10)
    changed = change(stand, made, stand.price(2000))
    assert stand.v1.invoices.retrieve(changed.latest_invoice).amount_paid == 2000


def test_the_cycle_can_start_anew(stand):
    made = stand.subscribe(stand.payer(), stand.price(3000))
    stand.pass_days(10)
    changed = stand.v1.subscriptions.update(made.id, {"billing_cycle_anchor": {"type": "now"}})
    bill = stand.v1.invoices.retrieve(changed.latest_invoice)
    assert bill.amount_paid == 3000 - share(made, 3000, bill.created)
    assert changed["items"].data[0].current_period_start == bill.created


def test_in_a_trial_a_change_costs_nothing(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000), trial_period_days=10)
    changed = change(stand, made, stand.price(3000))
    assert stand.v1.invoice_items.list({}).data == []
    ended = stand.v1.subscriptions.update(changed.id, {"trial_end": "now"})
    assert ended.status == "active"
    stand.pass_days(0.1)
    assert stand.v1.invoices.list({"limit": 1}).data[0].amount_paid == 3000


def test_quantities_count(stand):
    customer, price = stand.payer(), stand.price(500)
    made = stand.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id, "quantity": 3}]},
    )
    assert stand.v1.invoices.retrieve(made.latest_invoice).amount_paid == 1500
    (item,) = made["items"].data
    update = {"items": [{"id": item.id, "quantity": 5}], "proration_behavior": "always_invoice"}
    changed = stand.v1.subscriptions.update(made.id, update)
    assert changed["items"].data[0].quantity == 5
    bill = stand.v1.invoices.retrieve(changed.latest_invoice)
    assert bill.amount_paid == share(made, 2500, bill.created) - share(made, 1500, bill.created)


def test_items_come_and_go(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000))
    extra = stand.price(200, name="Seats")
    changed = stand.v1.subscriptions.update(made.id, {"items": [{"price": extra.id, "quantity": 2}]})
    first, second = changed["items"].data
    assert (first.price.unit_amount, second.price.unit_amount, second.quantity) == (1000, 200, 2)
    changed = stand.v1.subscriptions.update(made.id, {"items": [{"id": second.id, "deleted": True}]})
    assert [item.id for item in changed["items"].data] == [first.id]
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        stand.v1.subscriptions.update(made.id, {"items": [{"id": first.id, "deleted": True}]})
    with pytest.raises(stripe.InvalidRequestError, match="same price"):
        stand.v1.subscriptions.update(made.id, {"items": [{"price": first.price.id}]})
    with pytest.raises(stripe.InvalidRequestError, match="different intervals"):
        stand.v1.subscriptions.update(made.id, {"items": [{"price": stand.price(1, "year").id}]})


def test_a_card_that_declines_an_invoice_of_a_change_makes_it_past_due(stand):
    customer = stand.payer()
    made = stand.subscribe(customer, stand.price(1000))
    stand.control(f"payment_methods/{customer.invoice_settings.default_payment_method}/decline")
    changed = change(stand, made, stand.price(5000), proration_behavior="always_invoice")
    assert changed.status == "past_due"
    stand.control(f"payment_methods/{customer.invoice_settings.default_payment_method}/decline", reason=None)
    paid = stand.v1.invoices.pay(changed.latest_invoice)
    assert paid.status == "paid"
    assert stand.v1.subscriptions.retrieve(made.id).status == "active"


def test_a_trial_after_the_beginning_gives_back_what_was_paid_for(stand):
    made = stand.subscribe(stand.payer(), stand.price(3000))
    stand.pass_days(10)
    trial_end = made["items"].data[0].current_period_end
    longer = stand.v1.subscriptions.update(made.id, {"trial_end": trial_end})
    (credit,) = stand.v1.invoice_items.list({"pending": True}).data
    assert (longer.status, credit.amount) == ("trialing", -share(made, 3000, credit.date))
    stand.pass_until(trial_end, days=0.1)
    assert stand.v1.invoices.list({"limit": 1}).data[0].amount_paid == 3000 + credit.amount
