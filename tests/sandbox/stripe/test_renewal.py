"""What a subscription does by itself under the clock: renewals, retries, trials, ends."""

import datetime as dt
import itertools

import pytest
import stripe

DAY_S = 24 * 3600


def statuses(stand, made) -> list[tuple[str, str]]:
    """(reason, status) of its invoices, oldest first."""
    bills = stand.v1.invoices.list({"subscription": made.id, "limit": 100}).data
    return [(bill.billing_reason.removeprefix("subscription_"), bill.status) for bill in bills][::-1]


def again(stand, made):
    return stand.v1.subscriptions.retrieve(made.id)


def test_a_year_is_twelve_periods_one_after_the_other(stand):
    made = stand.subscribe(stand.payer(), stand.price(1000))
    anchor = dt.datetime.fromtimestamp(made.billing_cycle_anchor, dt.UTC)
    stand.pass_days(366)
    bills = stand.v1.invoices.list({"subscription": made.id, "limit": 100}).data[::-1]
    assert [(bill.status, bill.amount_paid) for bill in bills] == [("paid", 1000)] * 13
    periods = [(bill.lines.data[0].period.start, bill.lines.data[0].period.end) for bill in bills]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(periods))
    starts = [dt.datetime.fromtimestamp(start, dt.UTC) for start, _ in periods]
    # The same day of every month, or the last one of a month that has no such day.
    assert all(start.day == anchor.day or (start + dt.timedelta(days=1)).day == 1 for start in starts)
    # Each happened at its own moment, not when the clock had arrived.
    assert [bill.created for bill in bills] == [start for start, _ in periods]
    (item,) = again(stand, made)["items"].data
    assert (item.current_period_start, item.current_period_end) == periods[-1]


def test_an_update_says_what_was_before(stand):
    made = stand.subscribe(stand.payer(), stand.price())
    stand.pass_period(made)
    event = stand.v1.events.list({"type": "customer.subscription.updated", "limit": 1}).data[0]
    before = event.data.previous_attributes
    assert before["latest_invoice"] == made.latest_invoice
    assert before["items"]["data"][0]["current_period_end"] == made["items"].data[0].current_period_end
    assert "status" not in before


@pytest.mark.parametrize("setting", ["canceled", "unpaid"])
def test_a_card_that_declines_is_tried_for_a_week(stand, setting):
    stand.control("account", after_retries=setting)
    customer = stand.payer()
    made = stand.subscribe(customer, stand.price())
    stand.control(
        f"payment_methods/{customer.invoice_settings.default_payment_method}/decline", reason="generic_decline"
    )
    stand.pass_period(made, days=1.5)
    assert again(stand, made).status == "past_due"
    assert stand.v1.customers.retrieve(customer.id).delinquent
    bill = stand.v1.invoices.retrieve(again(stand, made).latest_invoice)
    assert (bill.status, bill.attempt_count, bill.amount_paid) == ("open", 2, 0)
    assert bill.next_payment_attempt > bill.created + DAY_S
    stand.pass_days(7)
    assert again(stand, made).status == setting
    bill = stand.v1.invoices.retrieve(bill.id)
    assert (bill.status, bill.attempt_count, bill.next_payment_attempt) == ("open", 4, None)
    assert stand.types("invoice.payment_failed") == ["invoice.payment_failed"] * 4
    updates = stand.v1.events.list({"type": "invoice.updated", "limit": 4}).data[::-1]
    assert [update.data.previous_attributes.to_dict().get("attempt_count") for update in updates] == [0, 1, 2, 3]
    last = stand.v1.events.list({"limit": 1, "type": "customer.subscription.*"}).data[0]
    assert last.type == ("customer.subscription.deleted" if setting == "canceled" else "customer.subscription.updated")
    if setting == "canceled":
        assert last.data.object["cancellation_details"]["reason"] == "payment_failed"
        stand.pass_days(40)
        assert statuses(stand, made) == [("create", "paid"), ("cycle", "open")]
    else:
        stand.pass_period(made)  # Nothing is asked for any more, but invoices are kept.
        assert statuses(stand, made) == [("create", "paid"), ("cycle", "open"), ("cycle", "draft")]


def test_a_retry_with_another_card_makes_good(stand):
    customer = stand.payer()
    made = stand.subscribe(customer, stand.price())
    stand.control(
        f"payment_methods/{customer.invoice_settings.default_payment_method}/decline", reason="generic_decline"
    )
    stand.pass_period(made)
    stand.pass_days(1)
    other = stand.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
    stand.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": other.id}})
    assert again(stand, made).status == "past_due"
    stand.pass_days(3)
    assert again(stand, made).status == "active"
    assert not stand.v1.customers.retrieve(customer.id).delinquent
    assert statuses(stand, made) == [("create", "paid"), ("cycle", "paid")]


def test_a_trial_ends_in_a_period_that_is_paid(stand):
    made = stand.subscribe(stand.payer(), stand.price(3000), trial_period_days=14)
    assert (made.status, statuses(stand, made)) == ("trialing", [("create", "paid")])
    stand.pass_days(10.9)
    assert "customer.subscription.trial_will_end" not in stand.types("customer.subscription")
    stand.pass_days(0.2)
    assert stand.types("customer.subscription.trial") == ["customer.subscription.trial_will_end"]
    stand.pass_days(3)
    made = again(stand, made)
    assert (made.status, statuses(stand, made)) == ("active", [("create", "paid"), ("cycle", "paid")])
    assert made.billing_cycle_anchor == made.trial_end == made["items"].data[0].current_period_start
    assert stand.types("customer.subscription.trial") == ["customer.subscription.trial_will_end"]


@pytest.mark.parametrize(
    ("missing", "status", "event"),
    [
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("pause", "paused", "customer.subscription.paused"),
        ("create_invoice", "past_due", "customer.subscription.updated"),
    ],
)
def test_a_trial_that_nobody_pays_for_ends_as_it_was_told(stand, missing, status, event):
    customer = stand.v1.customers.create({})
    settings = {"end_behavior": {"missing_payment_method": missing}}
    made = stand.subscribe(customer, stand.price(), trial_period_days=5, trial_settings=settings)
    stand.pass_days(5.1)
    assert again(stand, made).status == status
    assert stand.types("customer.subscription")[-1] == event
    if missing == "pause":
        assert again(stand, made).status_details.paused.subscription.type == "trial_end_without_payment_method"
        stand.pass_days(60)
        assert statuses(stand, made) == [("create", "paid")]
        card = stand.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
        stand.v1.subscriptions.update(made.id, {"default_payment_method": card.id})
        resumed = stand.v1.subscriptions.resume(made.id)
        assert (resumed.status, resumed.status_details) == ("active", None)
        assert statuses(stand, made) == [("create", "paid"), ("cycle", "paid")]
        assert stand.types("customer.subscription")[-1] == "customer.subscription.resumed"


def test_a_first_invoice_has_a_day(stand):
    customer = stand.payer("pm_card_chargeCustomerFail")
    made = stand.subscribe(customer, stand.price())
    assert made.status == "incomplete"
    stand.pass_days(1)
    made = again(stand, made)
    assert (made.status, statuses(stand, made)) == ("incomplete_expired", [("create", "void")])
    assert stand.types("payment_intent")[-1] == "payment_intent.canceled"


def test_cancelled_at_the_period_s_end_it_lives_until_then(stand):
    made = stand.subscribe(stand.payer(), stand.price())
    made = stand.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    assert (made.status, made.cancel_at) == ("active", made["items"].data[0].current_period_end)
    stand.v1.subscriptions.update(made.id, {"cancel_at_period_end": False})
    stand.pass_period(made)
    assert again(stand, made).status == "active"
    stand.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    stand.pass_period(made)
    made = again(stand, made)
    assert (made.status, made.ended_at) == ("canceled", made.cancel_at)
    assert statuses(stand, made) == [("create", "paid"), ("cycle", "paid")]


@pytest.mark.parametrize(
    ("behavior", "left"), [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")]
)
def test_collection_can_be_paused(stand, behavior, left):
    made = stand.subscribe(stand.payer(), stand.price())
    resumes_at = made["items"].data[0].current_period_end + 10 * DAY_S
    pause = {"behavior": behavior, "resumes_at": resumes_at}
    made = stand.v1.subscriptions.update(made.id, {"pause_collection": pause})
    assert made.status == "active"
    stand.pass_period(made)
    assert statuses(stand, made) == [("create", "paid"), ("cycle", left)]
    stand.pass_period(made)
    assert again(stand, made).pause_collection is None
    assert statuses(stand, made)[-1] == ("cycle", "paid")


def test_a_bank_debit_makes_good_when_it_is_paid(stand):
    customer = stand.payer()
    made = stand.subscribe(customer, stand.price())
    stand.control(f"payment_methods/{customer.invoice_settings.default_payment_method}/decline")
    stand.pass_period(made)
    bill = again(stand, made).latest_invoice
    assert stand.control(f"invoices/{bill}/pay", number="000123456789")["payment_intent"]["status"] == "processing"
    assert (again(stand, made).status, stand.v1.invoices.retrieve(bill).status) == ("past_due", "open")
    stand.pass_days(0.1)
    assert (again(stand, made).status, stand.v1.invoices.retrieve(bill).status) == ("active", "paid")


def test_a_customer_who_is_gone_has_no_subscriptions(stand):
    made = stand.subscribe(stand.payer(), stand.price())
    stand.v1.customers.delete(made.customer)
    assert again(stand, made).status == "canceled"
    gone = {"customer": made.customer}
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        stand.v1.subscriptions.create({**gone, "items": [{"price": stand.price().id}]})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        stand.v1.billing_portal.sessions.create(gone)
    page = {"success_url": "http://127.0.0.1:9/", "line_items": [{"price": stand.price().id, "quantity": 1}]}
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        stand.v1.checkout.sessions.create({**gone, **page, "mode": "subscription"})
    stand.pass_days(70)
    assert statuses(stand, made) == [("create", "paid")]


def test_a_restart_forgets_nothing_that_is_to_come(open_stand, tmp_path):
    arguments = ("--state", str(tmp_path / "state.json"))
    with open_stand(*arguments) as stand:
        made = stand.subscribe(stand.payer(), stand.price(700), trial_period_days=3)
    with open_stand(*arguments) as stand:
        stand.pass_days(3.5)
        assert (again(stand, made).status, statuses(stand, made)[-1]) == ("active", ("cycle", "paid"))
        stand.pass_period(made)
        assert [bill.amount_paid for bill in stand.v1.invoices.list({"subscription": made.id}).data] == [700, 700, 0]


def test_a_card_that_asks_every_time_is_not_paid_when_nobody_is_there(stand):
    made = stand.subscribe(stand.payer("pm_card_authenticationRequired"), stand.price())
    assert made.status == "incomplete"
    assert "invoice.payment_action_required" in stand.types("invoice")
