"""Meters: events add up for each customer, once per identifier, and can be taken back for a day."""

import contextlib
import uuid

import httpx
import pytest
import stripe

DAY_S = 24 * 3600


@pytest.fixture
def customer(shop):
    return shop.v1.customers.create({}).id


def make(shop, formula="sum", **more):
    name = f"tokens_{uuid.uuid4().hex[:8]}"
    asked = {"display_name": "Tokens", "event_name": name, "default_aggregation": {"formula": formula}}
    return shop.v1.billing.meters.create({**asked, **more})


def report(shop, meter, customer, value, **more):
    payload = {"stripe_customer_id": customer, "value": str(value)}
    return shop.v1.billing.meter_events.create({"event_name": meter.event_name, "payload": payload, **more})


def moment(shop):
    """Now, by the clock of the sandbox: another test may have moved it."""
    return shop.v1.customers.create({}).created


def summaries(shop, meter, customer, start, end, **more):
    asked = {"customer": customer, "start_time": start, "end_time": end}
    return shop.v1.billing.meters.event_summaries.list(meter.id, {**asked, **more}).data


def used(shop, meter, customer):
    """The sum of an hour around now."""
    now = moment(shop) // 60 * 60
    return [one.aggregated_value for one in summaries(shop, meter, customer, now - 1800, now + 1800)]


async def test_a_meter_has_a_name_of_its_own_and_can_be_switched_off(sandbox, shop, receiver, customer):
    meter = make(shop)
    assert (meter.status, meter.customer_mapping.event_payload_key, meter.value_settings.event_payload_key) == (
        "active",
        "stripe_customer_id",
        "value",
    )
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        make(shop, event_name=meter.event_name)
    assert shop.v1.billing.meters.update(meter.id, {"display_name": "Words"}).display_name == "Words"
    off = shop.v1.billing.meters.deactivate(meter.id)
    assert (off.status, off.status_transitions.deactivated_at) == ("inactive", off.updated)
    with pytest.raises(stripe.InvalidRequestError, match="No active meter found"):
        report(shop, meter, customer, 1)
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.billing.meters.deactivate(meter.id)
    assert meter.id in {row.id for row in shop.v1.billing.meters.list({"status": "inactive", "limit": 100}).data}
    assert shop.v1.billing.meters.reactivate(meter.id).status == "active"
    assert report(shop, meter, customer, 1).event_name == meter.event_name
    await sandbox.delivered()
    told = {event.type for event in receiver.events() if getattr(event.data.object, "id", None) == meter.id}
    assert told == {f"billing.meter.{what}" for what in ("created", "updated", "deactivated", "reactivated")}


@pytest.mark.parametrize(("formula", "total"), [("sum", 9), ("count", 3), ("last", -1)])
def test_events_add_up_as_the_meter_says(shop, customer, formula, total):
    meter, now = make(shop, formula), moment(shop)
    for value, timestamp in ((7, now - 20), (3, now - 30), (-1, now - 10)):
        report(shop, meter, customer, value, timestamp=timestamp)
    other = shop.v1.customers.create({}).id
    report(shop, meter, other, 100)
    assert used(shop, meter, customer) == [total]
    assert used(shop, meter, shop.v1.customers.create({}).id) == []


def test_an_identifier_is_taken_once(shop, customer):
    meter, identifier = make(shop), str(uuid.uuid4())
    assert report(shop, meter, customer, 5, identifier=identifier).identifier == identifier
    with pytest.raises(stripe.InvalidRequestError) as refused:
        report(shop, meter, customer, 5, identifier=identifier)
    assert (refused.value.http_status, refused.value.code) == (400, None)
    assert refused.value.user_message == f"An event already exists with identifier {identifier}."
    assert used(shop, meter, customer) == [5]


def test_an_event_is_taken_back(shop, customer):
    meter, identifier = make(shop), str(uuid.uuid4())
    report(shop, meter, customer, 5, identifier=identifier)
    report(shop, meter, customer, 2)
    asked = {"event_name": meter.event_name, "type": "cancel", "cancel": {"identifier": identifier}}
    cancelled = shop.v1.billing.meter_event_adjustments.create(asked)
    assert (cancelled.status, cancelled.cancel.identifier) == ("pending", identifier)
    assert used(shop, meter, customer) == [2]
    for wrong in (asked, {**asked, "event_name": "other"}, {**asked, "cancel": {"identifier": "nothing"}}):
        with pytest.raises(stripe.InvalidRequestError):
            shop.v1.billing.meter_event_adjustments.create(wrong)


@pytest.mark.parametrize(
    ("payload", "param"),
    [
        ({"value": "1"}, "payload"),
        ({"stripe_customer_id": "cus_nobody", "value": "1"}, "payload[stripe_customer_id]"),
        ({"stripe_customer_id": "", "value": "1.5"}, "payload[value]"),
        ({"stripe_customer_id": "", "value": "many"}, "payload[value]"),
        ({"stripe_customer_id": ""}, "payload"),
    ],
)
def test_a_payload_that_makes_no_sense_is_refused(shop, customer, payload, param):
    meter = make(shop)
    if payload.get("stripe_customer_id") == "":
        payload = {**payload, "stripe_customer_id": customer}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.billing.meter_events.create({"event_name": meter.event_name, "payload": payload})
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("off_s", "code"), [(-35 * DAY_S - 60, "timestamp_too_far_in_past"), (360, "timestamp_in_future")]
)
def test_time_has_limits(shop, customer, off_s, code):
    meter, now = make(shop), moment(shop)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        report(shop, meter, customer, 1, timestamp=now + off_s)
    assert refused.value.code == code
    for near in (-35 * DAY_S + 60, 240):
        report(shop, meter, customer, 1, timestamp=now + near)


def test_summaries_by_hour_and_day(shop, customer):
    meter, today = make(shop), moment(shop) // DAY_S * DAY_S
    start = today - 2 * DAY_S
    for value, at in ((1, start), (2, start + 3599), (4, start + 3600), (8, start + DAY_S - 1), (16, start + DAY_S)):
        report(shop, meter, customer, value, timestamp=at)
    days = summaries(shop, meter, customer, start, today, value_grouping_window="day")
    assert [(one.start_time, one.aggregated_value) for one in days] == [(start + DAY_S, 16), (start, 15)]
    hours = summaries(shop, meter, customer, start, start + DAY_S, value_grouping_window="hour")
    assert [one.aggregated_value for one in hours] == [8, 4, 3]
    first = shop.v1.billing.meters.event_summaries.list(
        meter.id,
        {
            "customer": customer,
            "start_time": start,
            "end_time": start + DAY_S,
            "value_grouping_window": "hour",
            "limit": 1,
        },
    )
    assert [one.aggregated_value for one in first.auto_paging_iter()] == [8, 4, 3]
    assert [one.aggregated_value for one in summaries(shop, meter, customer, start, start + 3660)] == [7]


@pytest.mark.parametrize(
    ("first", "last", "more"),
    [
        (30, 120, {}),
        (60, 3600, {"value_grouping_window": "hour"}),
        (3600, DAY_S, {"value_grouping_window": "day"}),
        (120, 60, {}),
    ],
)
def test_times_that_are_not_aligned_are_refused(shop, customer, first, last, more):
    with pytest.raises(stripe.InvalidRequestError):
        summaries(shop, make(shop), customer, first, last, **more)


def test_a_meter_of_sums_takes_the_latest_of_each_hour(shop, customer):
    meter, today = make(shop, event_time_window="hour"), moment(shop) // DAY_S * DAY_S
    start = today - DAY_S
    for value, at in ((5, start + 10), (3, start + 20), (2, start + 3600)):
        report(shop, meter, customer, value, timestamp=at)
    assert [one.aggregated_value for one in summaries(shop, meter, customer, start, today)] == [5]


def test_an_identifier_is_free_and_an_event_final_after_a_day(start):
    with (
        start("tallystick.sandbox.stripe") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        meter, customer = make(client), client.v1.customers.create({}).id
        report(client, meter, customer, 5, identifier="daily")
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": DAY_S + 1})
        cancel = {"event_name": meter.event_name, "type": "cancel", "cancel": {"identifier": "daily"}}
        with pytest.raises(stripe.InvalidRequestError, match="24 hours"):
            client.v1.billing.meter_event_adjustments.create(cancel)
        report(client, meter, customer, 5, identifier="daily")
        now = moment(client) // DAY_S * DAY_S
        found = summaries(client, meter, customer, now - DAY_S, now + 3 * DAY_S)
        assert [one.aggregated_value for one in found] == [10]


def test_summaries_follow_later_when_told_so(start):
    with (
        start("tallystick.sandbox.stripe") as address,
        contextlib.closing(stripe.RequestsClient()) as http_client,
    ):
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": address}, http_client=http_client)
        httpx.post(f"{address}/_sandbox/meters", json={"delay_s": 600})
        meter, customer = make(client), client.v1.customers.create({}).id
        report(client, meter, customer, 5)
        assert used(client, meter, customer) == []
        httpx.post(f"{address}/_sandbox/clock", json={"advance_s": 601})
        assert used(client, meter, customer) == [5]
