"""Meter events: a customer used something. Taken once per identifier, and taken back within a day."""

import re
from typing import Final

from tallystick.sandbox.stripe import meter_usage
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter, missing
from tallystick.sandbox.stripe.world import Object, World

_DAY_S: Final = 24 * 3600
_OLDEST_S: Final = 35 * _DAY_S
_AHEAD_S: Final = 5 * 60
# Stripe promises at least a day; who counts on more than that is to notice it here.
_UNIQUE_S: Final = _DAY_S
_CANCEL_WITHIN_S: Final = _DAY_S
_LENGTH_MAX: Final = 100
_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    name = parameters.require(parameters.text("event_name", max_length=_LENGTH_MAX), "event_name")
    identifier = parameters.text("identifier", max_length=_LENGTH_MAX) or world.identifiers.new("idmp_")
    payload = parameters.require(parameters.metadata("payload"), "payload")
    timestamp = _read_timestamp(world, parameters)
    parameters.finish()
    meter = _active(world, name)
    customer, value = _read_payload(world, meter, payload)
    _claim(world, identifier, meter, customer)
    meter_usage.note(world, meter, customer, identifier=identifier, value=value, timestamp=timestamp)
    return {
        "object": "billing.meter_event",
        "created": world.now(),
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": timestamp,
    }


def adjust(call: Call) -> Object:
    """Takes an event back."""
    world, parameters = call.world, call.parameters
    name = parameters.require(parameters.text("event_name", max_length=_LENGTH_MAX), "event_name")
    parameters.require(parameters.choice("type", ("cancel",)), "type")
    cancelled = parameters.require(parameters.level("cancel"), "cancel")
    identifier = cancelled.require(cancelled.text("identifier", max_length=_LENGTH_MAX), "identifier")
    parameters.finish()
    use = world.keep("meter_identifier").get(identifier)
    meter = None if use is None else world.get("billing.meter", use["meter"])
    if use is None or meter is None or meter["event_name"] != name:
        raise missing("meter event", identifier, param="cancel[identifier]")
    if use["cancelled"] or world.now() - use["at"] > _CANCEL_WITHIN_S:
        why = "was cancelled before" if use["cancelled"] else "was received more than 24 hours ago"
        raise Refusal(400, f"The event with identifier {identifier} {why}.", param="cancel[identifier]")
    use["cancelled"] = True
    meter_usage.cancel(world, meter, use["customer"], identifier)
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": name,
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def _active(world: World, name: str) -> Object:
    for meter in world.all("billing.meter"):
        if meter["event_name"] == name and meter["status"] == "active":
            return meter
    raise Refusal(400, f'No active meter found for event name "{name}".', param="event_name")


def _read_timestamp(world: World, parameters: Parameters) -> int:
    now, given = world.now(), parameters.integer("timestamp")
    if given is None:
        return now
    if given < now - _OLDEST_S:
        message = "The timestamp must be within the past 35 calendar days."
        raise invalid_parameter("timestamp", message, "timestamp_too_far_in_past")
    if given > now + _AHEAD_S:
        message = "The timestamp must be at most 5 minutes in the future."
        raise invalid_parameter("timestamp", message, "timestamp_in_future")
    return given


def _read_payload(world: World, meter: Object, payload: dict[str, str]) -> tuple[str, int]:
    customer_key = meter["customer_mapping"]["event_payload_key"]
    value_key = meter["value_settings"]["event_payload_key"]
    if customer_key not in payload:
        raise invalid_parameter("payload", f"Missing required payload key: {customer_key}.", "parameter_missing")
    customer = payload[customer_key]
    if "deleted" in world.get("customer", customer, param=f"payload[{customer_key}]"):
        raise missing("customer", customer, param=f"payload[{customer_key}]")
    counted = meter["default_aggregation"]["formula"] == "count"
    text = payload.get(value_key, "1" if counted else None)
    if text is None:
        raise invalid_parameter("payload", f"Missing required payload key: {value_key}.", "parameter_missing")
    if not _WHOLE.fullmatch(text):
        raise invalid_parameter(f"payload[{value_key}]", f"Invalid value: '{text}' is not a whole number.")
    return customer, int(text)


def _claim(world: World, identifier: str, meter: Object, customer: str) -> None:
    uses, now = world.keep("meter_identifier"), world.now()
    used = uses.get(identifier)
    if used is not None and now - used["at"] < _UNIQUE_S:
        raise Refusal(400, f"An event already exists with identifier {identifier}.")
    uses[identifier] = {"at": now, "meter": meter["id"], "customer": customer, "cancelled": False}


routes = (
    Route("POST", "/v1/billing/meter_events", create),
    Route("POST", "/v1/billing/meter_event_adjustments", adjust),
)
