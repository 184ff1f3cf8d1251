"""Refunds: money given back from a charge, in full or in parts, never more than was taken."""

from tallystick.sandbox.stripe import balance_transaction, dispute, refund_outcome
from tallystick.sandbox.stripe.amount import format_amount
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    charge = _charge(world, parameters)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = parameters.integer("amount", minimum=1) or left
    reason = parameters.choice("reason", _REASONS)
    metadata = merged({}, parameters.metadata())
    parameters.finish()
    _check(world, charge, amount, left)
    planned = refund_outcome.plan(world, charge)
    refund = world.add(_fields(world, charge, amount, reason, planned["status"]) | {"metadata": metadata})
    refund["balance_transaction"] = _set_aside(world, charge, refund)
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    dispute.follow_refund(world, charge)
    refund_outcome.follow(world, refund, planned)
    return refund


def update(call: Call) -> Object:
    refund = call.world.get("refund", call.id)
    metadata = merged(refund["metadata"], call.parameters.metadata())
    call.parameters.finish()
    refund_outcome.change(call.world, refund, {"metadata": metadata})
    return refund


def cancel(call: Call) -> Object:
    call.parameters.finish()
    refund = call.world.get("refund", call.id)
    refund_outcome.cancel(call.world, refund)
    return refund


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("refund", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "refund", charge="charge", payment_intent="payment_intent"))


def _charge(world: World, parameters: Parameters) -> Object:
    named, intent = parameters.text("charge"), parameters.text("payment_intent")
    if (named is None) == (intent is None):
        raise invalid_parameter("charge", "One of the following params should be provided: payment_intent or charge.")
    if named is not None:
        return world.get("charge", named, param="charge")
    latest = world.get("payment_intent", str(intent), param="payment_intent")["latest_charge"]
    if latest is None:
        raise Refusal(
            400, f"PaymentIntent {intent} does not have a successful charge to refund.", param="payment_intent"
        )
    return world.get("charge", latest)


def _set_aside(world: World, charge: Object, refund: Object) -> str:
    """The money leaves the balance when the refund is made, not when the bank takes it."""
    of_bank = charge["payment_method_details"]["type"] == "us_bank_account"
    kind, about = ("payment_refund", "REFUND FOR PAYMENT") if of_bank else ("refund", "REFUND FOR CHARGE")
    if charge["description"]:
        about = f"{about} ({charge['description']})"
    return str(balance_transaction.record(world, refund, kind, -refund["amount"], description=about)["id"])


def _check(world: World, charge: Object, amount: int, left: int) -> None:
    if charge["status"] != "succeeded":
        raise Refusal(400, f"Charge {charge['id']} was not successful and cannot be refunded.", param="charge")
    if not dispute.refundable(world, charge):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise Refusal(400, message, code="charge_disputed")
    if left == 0:
        raise Refusal(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if amount > left:
        asked, remaining = (format_amount(minor, charge["currency"]) for minor in (amount, left))
        message = f"Refund amount ({asked}) is greater than unrefunded amount on charge ({remaining})"
        raise Refusal(400, message, param="amount")


def _fields(world: World, charge: Object, amount: int, reason: str | None, status: str) -> Object:
    of_bank = charge["payment_method_details"]["type"] == "us_bank_account"
    card = {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"}
    refund: Object = {
        "id": world.identifiers.new("pyr_" if of_bank else "re_"),
        "object": "refund",
        "amount": amount,
        "charge": charge["id"],
        "created": world.now(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "description": None,
        "destination_details": {"us_bank_transfer": {}, "type": "us_bank_transfer"}
        if of_bank
        else {"card": card, "type": "card"},
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "pending":
        refund["pending_reason"] = "processing"
    return refund


routes = (
    Route("POST", "/v1/refunds", create),
    Route("GET", "/v1/refunds", list_all),
    Route("GET", "/v1/refunds/{id}", retrieve),
    Route("POST", "/v1/refunds/{id}", update),
    Route("POST", "/v1/refunds/{id}/cancel", cancel),
)
