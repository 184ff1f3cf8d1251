"""Disputes: a customer went to their bank about a charge."""

from typing import Final

from tallystick.sandbox.stripe import dispute_course, refund_outcome
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

# A reason, and the number that Visa has for it where it has one.
REASONS: Final = {
    "bank_cannot_process": None,
    "credit_not_processed": "13.6",
    "duplicate": "12.6",
    "fraudulent": "10.4",
    "general": None,
    "product_not_received": "13.1",
    "product_unacceptable": "13.3",
    "subscription_canceled": "13.2",
    "unrecognized": None,
}
# Evidence as text. Stripe takes files too; the sandbox has none.
_TEXTS: Final = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
)
_FILES: Final = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)


def begin(
    world: World, charge: Object, *, amount: int | None = None, reason: str = "fraudulent", inquiry: bool = False
) -> Object:
    """Somebody disputes a charge, or their bank asks about it first."""
    earlier = world.of("dispute", "charge", charge["id"])
    left = charge["amount_captured"] - sum(one["amount"] for one in earlier)
    if amount is None:
        amount = left - charge["amount_refunded"]
    if charge["status"] != "succeeded" or not 0 < amount <= left:
        raise Refusal(400, f"Of charge {charge['id']} {max(left, 0)} can be disputed, not {amount}.", param="amount")
    dispute = world.add(_fields(world, charge, amount, reason, inquiry=inquiry))
    charge["disputed"] = True
    dispute_course.begin(world, dispute)
    if not inquiry:
        for refund in world.of("refund", "charge", charge["id"]):
            if refund["status"] == "pending":
                refund_outcome.fail(world, refund, reason="charge_for_pending_refund_disputed")
    return dispute


def refundable(world: World, charge: Object) -> bool:
    """Money that the bank has taken back is not given back a second time."""
    lost = {*dispute_course.OPEN, "lost"}
    return not any(one["status"] in lost for one in world.of("dispute", "charge", charge["id"]))


def follow_refund(world: World, charge: Object) -> None:
    """An inquiry about a charge that was given back in full is settled with it."""
    for dispute in world.of("dispute", "charge", charge["id"]):
        if charge["refunded"] and dispute["status"] in dispute_course.INQUIRY:
            dispute_course.end_inquiry(world, dispute)


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("dispute", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "dispute", charge="charge", payment_intent="payment_intent"))


def update(call: Call) -> Object:
    world, dispute, parameters = call.world, call.world.get("dispute", call.id), call.parameters
    given = _read_evidence(parameters)
    metadata, submitted = merged(dispute["metadata"], parameters.metadata()), parameters.flag("submit")
    parameters.finish()
    changes: Object = {"metadata": metadata}
    if given:
        details = {**dispute["evidence_details"], "has_evidence": True}
        changes |= {"evidence": {**dispute["evidence"], **given}, "evidence_details": details}
    # Evidence that is given is handed in at once, unless it is only to be staged.
    handed_in = bool(submitted) or (bool(given) and submitted is None)
    if handed_in:
        changes |= dispute_course.submission(world, dispute)
    world.change(dispute, "charge.dispute.updated", changes)
    if handed_in:
        _decide(world, dispute)
    return dispute


def close(call: Call) -> Object:
    """Gives up: the dispute is lost."""
    call.parameters.finish()
    dispute = call.world.get("dispute", call.id)
    dispute_course.lose(call.world, dispute)
    return dispute


def _decide(world: World, dispute: Object) -> None:
    """Stripe's test mode reads its answer in the evidence; other evidence waits for a control to decide."""
    text, inquiry = dispute["evidence"]["uncategorized_text"], dispute["status"] in dispute_course.INQUIRY
    if text == "escalate_inquiry_evidence" and inquiry:
        dispute_course.escalate(world, dispute)
    elif text in {"winning_evidence", "losing_evidence"} and inquiry:
        dispute_course.end_inquiry(world, dispute)
    elif text == "winning_evidence":
        dispute_course.win(world, dispute)
    elif text == "losing_evidence":
        dispute_course.lose(world, dispute)


def _read_evidence(parameters: Parameters) -> Object:
    level = parameters.level("evidence")
    return {} if level is None else {field: level.text(field) for field in _TEXTS if level.has(field)}


def _fields(world: World, charge: Object, amount: int, reason: str, *, inquiry: bool) -> Object:
    now, number = world.now(), REASONS[reason]
    card = charge["payment_method_details"].get("card")
    known = {
        "customer_email_address": charge["billing_details"]["email"],
        "customer_name": charge["billing_details"]["name"],
    }
    shown = card and {
        "brand": card["brand"],
        "case_type": "inquiry" if inquiry else "chargeback",
        "network": card["network"],
        "network_reason_code": number,
    }
    return {
        "id": world.identifiers.new("du_"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(sorted(_TEXTS + _FILES)), **known, "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + dispute_course.RESPOND_WITHIN_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {"card": shown, "type": "card"} if shown else None,
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }


routes = (
    Route("GET", "/v1/disputes", list_all),
    Route("GET", "/v1/disputes/{id}", retrieve),
    Route("POST", "/v1/disputes/{id}", update),
    Route("POST", "/v1/disputes/{id}/close", close),
)
