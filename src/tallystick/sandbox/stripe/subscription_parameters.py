"""What may be said of a subscription, by the API and by Checkout: its fields, its trial, its end."""

from typing import Final

from tallystick.sandbox.stripe import billing
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.subscription_fields import TRIAL_SETTINGS
from tallystick.sandbox.stripe.world import Object, World

_DAY_S: Final = 24 * 3600
_TRIAL_DAYS_MAX: Final = 730
_ENDS: Final = ("cancel", "create_invoice", "pause")
_PAUSES: Final = ("keep_as_draft", "mark_uncollectible", "void")


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


def described(parameters: Parameters, found: Object | None = None) -> Object:
    given: Object = {}
    if parameters.has("description"):
        given["description"] = parameters.text("description")
    metadata = parameters.metadata()
    if metadata is not None:
        given["metadata"] = merged(found["metadata"] if found else {}, metadata)
    details = said(parameters) if found is not None else {}
    if found is not None and details:
        given["cancellation_details"] = {**found["cancellation_details"], **details}
    return given


def settings(parameters: Parameters, world: World, customer: str, found: Object | None = None) -> Object:
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


def cancellation(parameters: Parameters, found: Object, now: int) -> Object:
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
    return changes | asked_to_cancel(found, cancel_at, now)


def asked_to_cancel(found: Object, cancel_at: int | None, now: int) -> Object:
    reason = None if cancel_at is None else "cancellation_requested"
    details = {**found["cancellation_details"], "reason": reason}
    return {"canceled_at": None if cancel_at is None else now, "cancellation_details": details}


def said(parameters: Parameters) -> Object:
    details = parameters.level("cancellation_details")
    if details is None:
        return {}
    return {field: details.text(field) for field in ("comment", "feedback") if details.has(field)}


def check_accepted(parameters: Parameters) -> None:
    """What may be said because it changes nothing here."""
    parameters.choice("collection_method", ("charge_automatically",))
    parameters.flag("off_session")
    parameters.currency()
    mode = parameters.level("billing_mode")
    if mode is not None:
        mode.choice("type", ("flexible",))


def _pause(parameters: Parameters, now: int) -> Object | None:
    paused = parameters.level("pause_collection")
    if paused is None:
        return None
    resumes_at = paused.integer("resumes_at", minimum=now)
    return {"behavior": paused.require(paused.choice("behavior", _PAUSES), "behavior"), "resumes_at": resumes_at}
