"""Subscriptions: a customer pays for prices again and again, until somebody stops it."""

from typing import cast

from tallystick.sandbox.stripe import billing, plan_change, renewal, standing, subscribe, subscription_item
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.subscribe import Terms
from tallystick.sandbox.stripe.subscription_parameters import (
    asked_to_cancel,
    cancellation,
    check_accepted,
    described,
    read_trial,
    said,
    settings,
)
from tallystick.sandbox.stripe.world import Object, World

_STATUSES = ("incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "canceled", "paused")


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    customer = parameters.require(parameters.text("customer"), "customer")
    items = subscription_item.read(world, parameters)
    fields = described(parameters) | settings(parameters, world, customer)
    trial_end = read_trial(parameters, world.now())
    behavior = parameters.choice("payment_behavior", ("allow_incomplete", "default_incomplete"))
    fields["cancel_at_period_end"] = bool(parameters.flag("cancel_at_period_end"))
    check_accepted(parameters)
    parameters.choice("proration_behavior", plan_change.BEHAVIORS)
    parameters.finish()
    terms = Terms(customer, items, trial_end, fields=fields, attempt=behavior != "default_incomplete")
    world.living("customer", customer, param="customer")
    subscribe.check_method(world, terms, amount=subscribe.amount_now(terms))
    return subscribe.start(world, terms)


def update(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    found = world.get("subscription", call.id)
    edits = plan_change.read(world, found, parameters)
    changes = described(parameters, found) | settings(parameters, world, found["customer"], found)
    behavior = cast("plan_change.Behavior", parameters.choice("proration_behavior", plan_change.BEHAVIORS))
    anchor = parameters.level("billing_cycle_anchor")
    anchor_now = anchor is not None and anchor.choice("type", ("now", "unchanged")) == "now"
    ends_trial = parameters.text("trial_end") == "now"
    trial_end = None if ends_trial else read_trial(parameters, world.now())
    changes |= cancellation(parameters, found | changes, world.now())
    parameters.choice("payment_behavior", ("allow_incomplete",))
    check_accepted(parameters)
    parameters.finish()
    beyond = set(changes) - {"metadata", "cancellation_details"} or edits or anchor_now or trial_end or ends_trial
    if found["status"] in standing.ENDED and beyond:
        raise Refusal(400, "A canceled subscription can only update its cancellation_details and metadata.")
    standing.change(world, found, **changes)
    if edits or (anchor_now and not ends_trial):
        plan_change.apply(world, found, edits, behavior or "create_prorations", anchor_now=anchor_now)
    if ends_trial and found["status"] == "trialing":
        renewal.end_trial(world, found)
    elif trial_end:
        if found["status"] == "active" and behavior != "none":
            plan_change.give_back(world, found)
        renewal.prolong(world, found, trial_end)
    if found["cancel_at_period_end"]:
        standing.change(world, found, cancel_at=billing.period(found)[1])
    renewal.plan(world, found)
    return found


def cancel(call: Call) -> Object:
    """Ends it now. `invoice_now` bills what was used; `prorate` gives back what was not."""
    world, parameters = call.world, call.parameters
    found = world.get("subscription", call.id)
    invoice_now, prorate = parameters.flag("invoice_now"), parameters.flag("prorate")
    details = said(parameters)
    parameters.finish()
    if found["status"] in standing.ENDED:
        raise Refusal(404, f"No such subscription: '{call.id}'", code="resource_missing", param="id")
    found["cancellation_details"] |= details
    if found["status"] == "incomplete":
        standing.expire(world, found)
        return found
    if invoice_now or prorate:
        credit = plan_change.credit_lines(world, found) if prorate and found["status"] != "trialing" else []
        billing.settle_up(world, found, credit=credit)
    standing.end(world, found, "cancellation_requested")
    return found


def resume(call: Call) -> Object:
    """Goes on after a pause, with a period that starts now."""
    world, parameters = call.world, call.parameters
    found, anchor = world.get("subscription", call.id), parameters.level("billing_cycle_anchor")
    if anchor is not None and anchor.choice("type", ("now", "unchanged")) == "unchanged":
        raise invalid_parameter("billing_cycle_anchor", "The sandbox resumes with a new billing cycle only.")
    parameters.choice("payment_behavior", ("resume_on_payment_attempt",))
    parameters.choice("proration_behavior", plan_change.BEHAVIORS)
    parameters.finish()
    if found["status"] != "paused":
        raise Refusal(400, "You can only resume a subscription whose status is paused.")
    renewal.begin_period(world, found, anchor=world.now(), status="active", status_details=None)
    world.emit("customer.subscription.resumed", found)
    renewal.plan(world, found)
    return found


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("subscription", call.id)


def list_all(call: Call) -> Object:
    """Without a status it shows what is not over."""
    parameters = call.parameters
    customer, price = parameters.text("customer"), parameters.text("price")
    status = parameters.choice("status", (*_STATUSES, "all", "ended"))
    method = parameters.text("collection_method")
    found = call.world.all("subscription") if customer is None else call.world.of("subscription", "customer", customer)
    return page(
        call,
        found,
        keep=lambda row: (
            _shown(row, status)
            and (price is None or any(item["price"]["id"] == price for item in row["items"]["data"]))
            and method in {None, row["collection_method"]}
        ),
    )


def list_items(call: Call) -> Object:
    named = call.parameters.require(call.parameters.text("subscription"), "subscription")
    return page(call, call.world.get("subscription", named, param="subscription")["items"]["data"])


def schedule_cancellation(world: World, found: Object, cancel_at: int | None, *, at_period_end: bool = False) -> None:
    """Says when it will be over, or that it goes on after all."""
    changes = {"cancel_at": cancel_at, "cancel_at_period_end": at_period_end}
    standing.change(world, found, **changes, **asked_to_cancel(found, cancel_at, world.now()))
    renewal.plan(world, found)


def _shown(row: Object, status: str | None) -> bool:
    if status == "ended":
        return row["status"] in standing.ENDED
    return status == "all" or row["status"] == status or (status is None and row["status"] not in standing.ENDED)


routes = (
    Route("POST", "/v1/subscriptions", create),
    Route("GET", "/v1/subscriptions", list_all),
    Route("GET", "/v1/subscriptions/{id}", retrieve),
    Route("POST", "/v1/subscriptions/{id}", update),
    Route("DELETE", "/v1/subscriptions/{id}", cancel),
    Route("POST", "/v1/subscriptions/{id}/resume", resume),
    Route("GET", "/v1/subscription_items", list_items),
)
