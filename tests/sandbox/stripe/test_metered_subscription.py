"""Metered items: billed for what their meter says when the period is over."""

import httpx

DAY_S = 24 * 3600


def meter(stand, name="tokens"):
    asked = {"display_name": name, "event_name": name, "default_aggregation": {"formula": "sum"}}
    return stand.v1.billing.meters.create(asked)


def metered_price(stand, counted, amount="0.25"):
    recurring = {"usage_type": "metered", "meter": counted.id}
    return stand.price(unit_amount_decimal=amount, amount=None, recurring=recurring, name="Tokens")


def use(stand, customer, value, *, at=None, name="tokens"):
    event = {"event_name": name, "payload": {"stripe_customer_id": customer.id, "value": str(value)}}
    stand.v1.billing.meter_events.create(event | ({} if at is None else {"timestamp": at}))


def test_usage_is_billed_after_the_period_it_was_in(stand):
    customer, counted = stand.payer(), meter(stand)
    made = stand.subscribe(customer, stand.price(2000), metered_price(stand, counted))
    assert [line.amount for line in stand.v1.invoices.retrieve(made.latest_invoice).lines.data] == [2000]
    use(stand, customer, 1000)
    stand.pass_days(5)
    use(stand, customer, 401)
    stand.pass_period(made)
    (bill, _) = stand.v1.invoices.list({"subscription": made.id}).data
    # 1401 x 0.25 cents, rounded half up.
    assert [(line.amount, line.quantity) for line in bill.lines.data] == [(350, 1401), (2000, 1)]
    assert (bill.status, bill.amount_paid) == ("paid", 2350)
    stand.pass_period(made)
    assert [line.amount for line in stand.v1.invoices.list({"limit": 1}).data[0].lines.data] == [0, 2000]


def test_usage_told_within_an_hour_is_still_on_the_invoice(stand):
    customer, counted = stand.payer(), meter(stand)
    made = stand.subscribe(customer, metered_price(stand, counted, "1"))
    assert (made.status, made.latest_invoice) == ("active", None)
    use(stand, customer, 100)
    stand.pass_period(made, days=600 / DAY_S)
    (bill,) = stand.v1.invoices.list({}).data
    assert (bill.status, bill.total, bill.auto_advance) == ("draft", 100, True)
    use(stand, customer, 200, at=bill.created - 60)
    use(stand, customer, 50)
    stand.pass_days(1)
    bill = stand.v1.invoices.retrieve(bill.id)
    assert (bill.status, bill.amount_paid) == ("paid", 300)
    stand.pass_period(made)
    assert stand.v1.invoices.list({"limit": 1}).data[0].total == 50


def test_what_is_too_little_to_charge_waits_on_the_balance(stand):
    customer, counted = stand.payer(), meter(stand)
    made = stand.subscribe(customer, metered_price(stand, counted, "1"))
    use(stand, customer, 20)
    stand.pass_period(made)
    (bill,) = stand.v1.invoices.list({}).data
    assert (bill.status, bill.total, bill.amount_due, bill.ending_balance) == ("paid", 20, 0, 20)
    use(stand, customer, 80)
    stand.pass_period(made)
    later = stand.v1.invoices.list({"limit": 1}).data[0]
    assert (later.total, later.amount_paid) == (80, 100)
    assert stand.v1.customers.retrieve(customer.id).balance == 0


def test_the_last_usage_is_billed_at_the_end(stand):
    customer, counted = stand.payer(), meter(stand)
    made = stand.subscribe(customer, stand.price(2000), metered_price(stand, counted, "1"))
    use(stand, customer, 300)
    stand.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    stand.pass_period(made)
    assert stand.v1.subscriptions.retrieve(made.id).status == "canceled"
    assert [bill.amount_paid for bill in stand.v1.invoices.list({}).data] == [300, 2000]


def test_cancelled_now_it_bills_or_gives_back_only_when_asked(stand):
    customer, counted = stand.payer(), meter(stand)
    silent = stand.subscribe(customer, stand.price(2000), metered_price(stand, counted, "1"))
    use(stand, customer, 300)
    assert stand.v1.subscriptions.cancel(silent.id).status == "canceled"
    assert len(stand.v1.invoices.list({}).data) == 1
    stand.pass_days(0.1)
    # A subscription that begins later does not bill what was used before it.
    asked = stand.subscribe(customer, stand.price(5000), metered_price(stand, counted, "1"))
    stand.pass_days(1)
    use(stand, customer, 200)
    stand.pass_days(0.1)
    stand.v1.subscriptions.cancel(asked.id, {"invoice_now": True, "prorate": True})
    bill = stand.v1.invoices.list({"limit": 1}).data[0]
    used, unused = bill.lines.data
    assert used.amount == 200
    assert -5000 < unused.amount < 0
    assert bill.parent.subscription_details.subscription == asked.id


def test_usage_before_a_change_of_price_is_billed_at_the_old_one(stand):
    customer, counted = stand.payer(), meter(stand)
    made = stand.subscribe(customer, metered_price(stand, counted, "1"))
    use(stand, customer, 100)
    stand.pass_days(3)
    (item,) = made["items"].data
    stand.v1.subscriptions.update(made.id, {"items": [{"id": item.id, "price": metered_price(stand, counted, "2").id}]})
    stand.pass_days(1)
    use(stand, customer, 100)
    stand.pass_period(made)
    (bill,) = stand.v1.invoices.list({}).data
    assert sorted(line.amount for line in bill.lines.data) == [100, 200]


def test_pages_say_what_use_costs_and_what_it_came_to(stand):
    customer, counted = stand.payer(), meter(stand)
    plan, tokens = stand.price(2000), metered_price(stand, counted)
    items = [{"price": plan.id, "quantity": 1}, {"price": tokens.id}]
    urls = {"success_url": "http://127.0.0.1:9/thanks"}
    session = stand.v1.checkout.sessions.create({"mode": "subscription", "line_items": items, **urls})
    assert "$0.0025 each" in httpx.get(session.url).text

    made = stand.subscribe(customer, plan, tokens)
    portal = stand.v1.billing_portal.sessions.create({"customer": customer.id, "return_url": "http://127.0.0.1:9/"})
    assert "Tokens" not in httpx.get(portal.url).text
    use(stand, customer, 1000)
    stand.pass_period(made)
    (bill, _) = stand.v1.invoices.list({"subscription": made.id}).data
    assert "1000 x Tokens (at $0.0025 / month)" in httpx.get(bill.hosted_invoice_url).text
