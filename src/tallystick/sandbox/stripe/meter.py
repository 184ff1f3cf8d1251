"""Billing meters: what is counted for each customer, and how it adds up."""

from typing import Final

from tallystick.sandbox.stripe import meter_usage
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.world import Object

_NAME_MAX: Final = 100
_TITLE_MAX: Final = 250
_FORMULAS: Final = ("count", "last", "sum")
_MINUTE_S: Final = 60


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    meter = _read(parameters)
    parameters.finish()
    if any(
        one["event_name"] == meter["event_name"] and one["status"] == "active" for one in world.all("billing.meter")
    ):
        message = f'An active meter with the event name "{meter["event_name"]}" already exists.'
        raise Refusal(400, message, param="event_name")
    now = world.now()
    meter |= {
        "id": world.identifiers.new("mtr_test_"),
        "object": "billing.meter",
        "created": now,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": now,
    }
    world.emit("billing.meter.created", world.add(meter))
    return meter


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("billing.meter", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "billing.meter", status="status"))


def update(call: Call) -> Object:
    meter = call.world.get("billing.meter", call.id)
    title = call.parameters.text("display_name", max_length=_TITLE_MAX)
    call.parameters.finish()
    if title is not None:
        meter |= {"display_name": title, "updated": call.world.now()}
        call.world.emit("billing.meter.updated", meter)
    return meter


def deactivate(call: Call) -> Object:
    """No more events are taken; what was counted stays."""
    return _turn(call, "active", "inactive", "billing.meter.deactivated")


def reactivate(call: Call) -> Object:
    return _turn(call, "inactive", "active", "billing.meter.reactivated")


def list_summaries(call: Call) -> Object:
    """What a customer used: one sum, or one for each hour or day in which there was any."""
    world, parameters = call.world, call.parameters
    meter = world.get("billing.meter", call.id)
    customer = parameters.require(parameters.text("customer"), "customer")
    world.get("customer", customer, param="customer")
    window = parameters.choice("value_grouping_window", tuple(meter_usage.WINDOWS_S))
    step = _MINUTE_S if window is None else meter_usage.WINDOWS_S[window]
    start, end = (_aligned(parameters, field, step) for field in ("start_time", "end_time"))
    if start >= end:
        raise invalid_parameter("end_time", "`end_time` must be after `start_time`.")
    starts = [start] if window is None else meter_usage.windows(world, meter, customer, start, end, step)
    length = end - start if window is None else step
    found = [meter_usage.summary(world, meter, customer, at, at + length) for at in starts]
    return page(call, [one for one in found if one is not None])


def _turn(call: Call, before: str, after: str, event: str) -> Object:
    call.parameters.finish()
    meter, now = call.world.get("billing.meter", call.id), call.world.now()
    if meter["status"] != before:
        raise Refusal(400, f"This meter is {meter['status']}; it would have to be {before}.")
    deactivated = now if after == "inactive" else None
    meter |= {"status": after, "status_transitions": {"deactivated_at": deactivated}, "updated": now}
    call.world.emit(event, meter)
    return meter


def _read(parameters: Parameters) -> Object:
    aggregation = parameters.require(parameters.level("default_aggregation"), "default_aggregation")
    formula = aggregation.require(aggregation.choice("formula", _FORMULAS), "formula")
    mapping, values = parameters.level("customer_mapping"), parameters.level("value_settings")
    customer_key = "stripe_customer_id"
    if mapping is not None:
        mapping.require(mapping.choice("type", ("by_id",)), "type")
        customer_key = mapping.require(mapping.text("event_payload_key", max_length=_NAME_MAX), "event_payload_key")
    value_key = "value"
    if values is not None:
        value_key = values.require(values.text("event_payload_key", max_length=_NAME_MAX), "event_payload_key")
    return {
        "customer_mapping": {"event_payload_key": customer_key, "type": "by_id"},
        "default_aggregation": {"formula": formula},
        "display_name": parameters.require(parameters.text("display_name", max_length=_TITLE_MAX), "display_name"),
        "event_name": parameters.require(parameters.text("event_name", max_length=_NAME_MAX), "event_name"),
        "event_time_window": parameters.choice("event_time_window", tuple(meter_usage.WINDOWS_S)),
        "value_settings": {"event_payload_key": value_key},
    }


def _aligned(parameters: Parameters, field: str, step: int) -> int:
    moment = parameters.require(parameters.integer(field, minimum=0), field)
    if moment % step:
        raise invalid_parameter(field, f"`{field}` must be aligned with boundaries of {step} seconds.")
    return moment


routes = (
    Route("POST", "/v1/billing/meters", create),
    Route("GET", "/v1/billing/meters", list_all),
    Route("GET", "/v1/billing/meters/{id}", retrieve),
    Route("POST", "/v1/billing/meters/{id}", update),
    Route("POST", "/v1/billing/meters/{id}/deactivate", deactivate),
    Route("POST", "/v1/billing/meters/{id}/reactivate", reactivate),
    Route("GET", "/v1/billing/meters/{id}/event_summaries", list_summaries),
)
