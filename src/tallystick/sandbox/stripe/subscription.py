"""Subscriptions: a customer pays for prices again and again, until somebody stops it."""

from typing import cast

from tallystick.sandbox.stripe import billing, plan_change, renewal, standing, subscribe, subscription_item
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.subscribe import Terms
from tallystick.sandbox.stripe.subscription_fields import TRIAL_SETTINGS
from tallystick.sandbox.stripe.world import Object, World

_DAY_S = 24 * 3600
_TRIAL_DAYS_MAX = 730
_STATUSES = ("incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "canceled", "paused")
_ENDS = ("cancel", "create_invoice", "pause")
_PAUSES = ("keep_as_draft", "mark_uncollectible", "void")


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    customer = parameters.require(parameters.text("customer"), "customer")
    items = subscription_item.read(world, parameters)
    fields, trial_end = _described(parameters), read_trial(parameters, world.now())
    fields |= _settings(parameters, world, customer)
    behavior = parameters.choice("payment_behavior", ("allow_incomplete", "default_incomplete"))
    fields["cancel_at_period_end"] = bool(parameters.flag("cancel_at_period_end"))
    _accepted(parameters)
    parameters.choice("proration_behavior", plan_change.BEHAVIORS)
    parameters.finish()
    terms = Terms(customer, items, trial_end, fields=fields, attempt=behavior != "default_incomplete")
    _living_customer(world, customer)
    subscribe.check_method(world, terms, amount=subscribe.amount_now(terms))
    return subscribe.start(world, terms)


def update(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    found = world.get("subscription", call.id)
    edits = plan_change.read(world, found, parameters)
    changes = _described(parameters, found) | _settings(parameters, world, found["customer"], found)
    behavior = cast("plan_change.Behavior", parameters.choice("proration_behavior", plan_change.BEHAVIORS))
    anchor = parameters.level("billing_cycle_anchor")
    anchor_now = anchor is not None and anchor.choice("type", ("now", "unchanged")) == "now"
    ends_trial = parameters.text("trial_end") == "now"
    trial_end = None if ends_trial else read_trial(parameters, world.now())
    changes |= _cancellation(parameters, found, world.now())
    parameters.choice("payment_behavior", ("allow_incomplete",))
    _accepted(parameters)
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
    said = _said(parameters)
    parameters.finish()
    if found["status"] in standing.ENDED:
        raise Refusal(404, f"No such subscription: '{call.id}'", code="resource_missing", param="id")
    found["cancellation_details"] |= said
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


def read_trial(parameters: Parameters, now: int) -> int | None:
    """The end of a trial, by a moment or by days from now."""
    at, days = parameters.text("trial_end"), parameters.integer("trial_period_days", minimum=1, maximum=_TRIAL_DAYS_MAX)
    if at is not None and days is not None:
        raise invalid_parameter(
            parameters.name("trial_end"), "You may only specify one of: trial_end, trial_period_days."
        )
    if at == "now":
        return None
    moment = parameters.integer("trial_end") if days is None else now + days * _DAY_S
    if moment is not None and not now < moment <= now + _TRIAL_DAYS_MAX * _DAY_S:
        message = "Invalid trial_end: it must be in the future, at most two years from now."
        raise invalid_parameter(parameters.name("trial_end"), message)
    return moment


def read_trial_settings(parameters: Parameters) -> Object | None:
    settings = parameters.level("trial_settings")
    behavior = settings and settings.level("end_behavior")
    if settings is None or behavior is None:
        return None
    missing = behavior.require(behavior.choice("missing_payment_method", _ENDS), "missing_payment_method")
    return {"end_behavior": {**TRIAL_SETTINGS["end_behavior"], "missing_payment_method": missing}}


def schedule_cancellation(world: World, found: Object, cancel_at: int | None, *, at_period_end: bool = False) -> None:
    """Says when it will be over, or that it goes on after all."""
    changes = {"cancel_at": cancel_at, "cancel_at_period_end": at_period_end}
    standing.change(world, found, **changes, **_asked_to_cancel(found, cancel_at, world.now()))
    renewal.plan(world, found)


def _described(parameters: Parameters, found: Object | None = None) -> Object:
    given: Object = {}
    if parameters.has("description"):
        given["description"] = parameters.text("description")
    metadata = parameters.metadata()
    if metadata is not None:
        given["metadata"] = merged(found["metadata"] if found else {}, metadata)
    said = _said(parameters) if found is not None else {}
    if found is not None and said:
        given["cancellation_details"] = {**found["cancellation_details"], **said}
    return given


def _settings(parameters: Parameters, world: World, customer: str, found: Object | None = None) -> Object:
    given: Object = {}
    method = parameters.text("default_payment_method")
    if method is not None:
        if world.get("payment_method", method, param="default_payment_method")["customer"] != customer:
            message = f"The customer does not have a payment method with the ID {method}: attach it first."
            raise Refusal(400, message, code="resource_missing", param="default_payment_method")
        given["default_payment_method"] = method
    trial_settings = read_trial_settings(parameters)
    if trial_settings is not None:
        given["trial_settings"] = trial_settings
    payment = parameters.level("payment_settings")
    if payment is not None:
        kinds = payment.texts("payment_method_types")
        saved = payment.choice("save_default_payment_method", ("off", "on_subscription"))
        options = {"payment_method_options": None, "payment_method_types": kinds or None}
        given["payment_settings"] = {**options, "save_default_payment_method": saved or "off"}
    if found is not None and parameters.has("pause_collection"):
        given["pause_collection"] = _pause(parameters, world.now())
    return given


def _pause(parameters: Parameters, now: int) -> Object | None:
    paused = parameters.level("pause_collection")
    if paused is None:
        return None
    resumes_at = paused.integer("resumes_at", minimum=now)
    return {"behavior": paused.require(paused.choice("behavior", _PAUSES), "behavior"), "resumes_at": resumes_at}


def _cancellation(parameters: Parameters, found: Object, now: int) -> Object:
    at_end, given = parameters.flag("cancel_at_period_end"), parameters.text("cancel_at")
    end = billing.period(found)[1]
    if at_end is not None and parameters.has("cancel_at"):
        raise invalid_parameter("cancel_at", "You may only specify one of: cancel_at, cancel_at_period_end.")
    if at_end is None and not parameters.has("cancel_at"):
        return {}
    if at_end is not None:
        cancel_at = end if at_end else None
    elif given in {"min_period_end", "max_period_end"}:
        cancel_at = end
    else:
        cancel_at = parameters.integer("cancel_at", minimum=now)
    changes: Object = {"cancel_at": cancel_at, "cancel_at_period_end": bool(at_end)}
    return changes | _asked_to_cancel(found, cancel_at, now)


def _asked_to_cancel(found: Object, cancel_at: int | None, now: int) -> Object:
    reason = None if cancel_at is None else "cancellation_requested"
    details = {**found["cancellation_details"], "reason": reason}
    return {"canceled_at": None if cancel_at is None else now, "cancellation_details": details}


def _said(parameters: Parameters) -> Object:
    details = parameters.level("cancellation_details")
    if details is None:
        return {}
    return {field: details.text(field) for field in ("comment", "feedback") if details.has(field)}


def _accepted(parameters: Parameters) -> None:
    """What may be said because it changes nothing here."""
    parameters.choice("collection_method", ("charge_automatically",))
    parameters.flag("off_session")
    parameters.currency()
    mode = parameters.level("billing_mode")
    if mode is not None:
        mode.choice("type", ("flexible",))


def _living_customer(world: World, named: str) -> None:
    if "deleted" in world.get("customer", named, param="customer"):
        raise Refusal(400, f"No such customer: '{named}'", code="resource_missing", param="customer")


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
