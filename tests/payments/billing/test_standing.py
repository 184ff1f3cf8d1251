"""What Stripe says of a subscription, in our words."""

from datetime import UTC, datetime, timedelta

import pytest

from tallystick.catalog.plan import Plan
from tallystick.constraints.constraints import PeriodRule
from tallystick.constraints.period import Period, period_at
from tallystick.payments.billing.standing import PlanItem, billed, next_version, period_problem, plan_item
from tallystick.payments.stripe.subscription import Item, StripeSubscription, read_subscription

PLAN = Plan(
    slug="growth", name="Growth", strategy="flat", amount_minor=9900, currency="usd", interval="month", tier="pro",
    charges_models=False,
)  # fmt: skip


def _at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _item(price="price_growth", starts="2026-02-28", ends="2026-03-31", interval="month", count=1):
    return Item(
        price=price, interval=interval, interval_count=count, period_starts_at=_at(starts), period_ends_at=_at(ends)
    )


def _subscription(**changes):
    fields = {
        "id": "sub_1",
        "customer": "cus_1",
        "status": "active",
        "items": (_item(),),
        "anchor": _at("2026-01-31"),
        "trial_ends_at": None,
        "cancel_at": None,
        "collection_paused": False,
        "unpaid_since": None,
        "created_at": _at("2026-01-31"),
        "ended_at": None,
    }
    return StripeSubscription(**{**fields, **changes})


@pytest.mark.parametrize(
    ("anchor", "starts", "ends", "counted_from"),
    [
        ("2026-01-31", "2026-02-28", "2026-03-31", "2026-01-31"),
        ("2026-01-31", "2026-03-31", "2026-04-30", "2026-01-31"),
        # A period that began anew, as after a pause, though the anchor was left.
        ("2026-01-31", "2026-03-10", "2026-04-10", "2026-03-10"),
    ],
)
def test_our_periods_are_stripes(anchor, starts, ends, counted_from):
    item = _item(starts=starts, ends=ends)
    found = billed(_subscription(anchor=_at(anchor), items=(item,)), item, PLAN, 7, None)
    assert found.anchor == _at(counted_from)
    rule = PeriodRule(anchor=found.anchor, interval="month")
    assert period_at(rule, _at(starts) + timedelta(days=1)) == Period(_at(starts), _at(ends))


def test_a_trials_periods_are_counted_from_its_end():
    trial = _subscription(status="trialing", trial_ends_at=_at("2026-03-14"), anchor=_at("2026-03-14"))
    assert billed(trial, _item(), PLAN, 7, None).anchor == _at("2026-03-14")


@pytest.mark.parametrize(
    ("status", "paused", "ours"),
    [
        ("trialing", False, "trialing"),
        ("active", False, "active"),
        ("past_due", False, "past_due"),
        ("unpaid", False, "unpaid"),
        ("paused", False, "paused"),
        ("canceled", False, "canceled"),
        ("incomplete", False, "canceled"),
        ("incomplete_expired", False, "canceled"),
        ("active", True, "paused"),
        ("past_due", True, "paused"),
        ("canceled", True, "canceled"),
    ],
)
def test_every_status_of_stripes_is_one_of_ours(status, paused, ours):
    found = billed(_subscription(status=status, collection_paused=paused), _item(), PLAN, 7, None)
    assert (found.status, found.ended_at is not None) == (ours, ours == "canceled")


def test_the_plans_price_is_found_among_those_of_its_meters():
    metered = _item(price="price_metered")
    one = _subscription(items=(metered, _item()))
    found = plan_item(one, {"price_growth": (7,)}, pinned=None)
    assert found == PlanItem(item=_item(), plan_version=7)


@pytest.mark.parametrize(("pinned", "version"), [(None, 9), (7, 7), (9, 9), (3, 9)])
def test_who_has_pinned_a_version_keeps_it_where_its_successor_has_the_same_price(pinned, version):
    found = plan_item(_subscription(), {"price_growth": (7, 9)}, pinned=pinned)
    assert found.plan_version == version


def test_no_plan_and_two_plans_are_none():
    assert "which no plan of the catalog has" in plan_item(_subscription(), {}, pinned=7)
    two = _subscription(items=(_item(), _item(price="price_starter")))
    assert "several plans" in plan_item(two, {"price_growth": (7,), "price_starter": (8,)}, pinned=7)


@pytest.mark.parametrize(
    ("interval", "count", "fits"), [("month", 1, True), ("month", 3, False), ("year", 1, False), ("week", 1, False)]
)
def test_a_price_that_recurs_otherwise_does_not_fit(interval, count, fits):
    found = period_problem(_subscription(), _item(interval=interval, count=count), PLAN)
    assert (found is None) == fits


def _row(**changes):
    """As Stripe shows one, with what we read of it."""
    item = {
        "price": {"id": "price_growth", "recurring": {"interval": "month", "interval_count": 1}},
        "current_period_start": 1_000_000,
        "current_period_end": 3_000_000,
    }
    fields = {
        "id": "sub_1",
        "customer": "cus_1",
        "status": "active",
        "items": {"data": [item]},
        "billing_cycle_anchor": 1_000_000,
        "trial_end": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "pause_collection": None,
        "latest_invoice": None,
        "schedule": None,
        "created": 1_000_000,
        "ended_at": None,
    }
    return {**fields, **changes}


def test_a_change_that_waits_for_the_periods_end_is_known():
    phases = [
        {"start_date": 1_000_000, "items": [{"price": "price_growth"}]},
        {"start_date": 3_000_000, "items": [{"price": "price_starter"}]},
    ]
    schedule = {
        "status": "active",
        "current_phase": {"start_date": 1_000_000, "end_date": 3_000_000},
        "phases": phases,
    }
    found = read_subscription(_row(schedule=schedule))
    assert (found.next_prices, found.next_at) == (("price_starter",), datetime.fromtimestamp(3_000_000, UTC))
    versions = {"price_growth": (7,), "price_starter": (3, 4)}
    assert next_version(found, versions) == 4
    later = billed(found, found.items[0], PLAN, 7, 4)
    assert (later.pending_plan_version, later.pending_at) == (4, found.next_at)
    # The same plan again, as a schedule that only renews has it, is no change.
    assert billed(found, found.items[0], PLAN, 4, 4).pending_at is None
    assert next_version(found, {"price_growth": (7,)}) is None


@pytest.mark.parametrize(
    "schedule",
    [
        None,
        {"status": "released", "current_phase": None, "phases": []},
        {"status": "active", "current_phase": {"start_date": 1, "end_date": 2}, "phases": []},
    ],
)
def test_where_nothing_waits_nothing_is_said(schedule):
    found = read_subscription(_row(schedule=schedule))
    assert (found.next_prices, found.next_at) == ((), None)


def test_an_end_at_the_periods_end_is_at_the_periods_end():
    found = read_subscription(_row(cancel_at_period_end=True))
    assert found.cancel_at == found.items[0].period_ends_at


@pytest.mark.parametrize(("status", "known"), [("open", True), ("uncollectible", True), ("paid", False)])
def test_unpaid_since_the_latest_invoice_could_be_paid(status, known):
    latest = {"status": status, "status_transitions": {"finalized_at": 2_000_000}}
    found = read_subscription(_row(latest_invoice=latest))
    assert (found.unpaid_since is not None) == known
