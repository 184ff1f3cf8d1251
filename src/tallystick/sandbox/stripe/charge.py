"""Charges: one attempt to move money, successful, pending or failed."""

from typing import Literal

from tallystick.sandbox.stripe import balance_transaction
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.instrument import Decline
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.payment_method import instrument_of
from tallystick.sandbox.stripe.world import Object, World

_RISK_SCORE = 12
_BANK_FIELDS = ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
_CARD_FIELDS = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4", "wallet")


def make(world: World, intent: Object, method: Object) -> Object:
    """Stores a pending charge of an intent; `succeed` or `fail` ends it."""
    used = instrument_of(method)
    charge: Object = {
        "id": world.identifiers.new("ch_" if used.kind == "card" else "py_"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": False,
        "created": world.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": None,
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {used.kind: _details(method), "type": used.kind},
        "presentment_details": None,
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": "pending",
        "transfer_data": None,
        "transfer_group": None,
    }
    return world.add(charge)


def begin_debit(world: World, charge: Object) -> None:
    """Money from a bank account is in the balance, pending, before the bank has answered."""
    charge["balance_transaction"] = _record(world, charge, "payment")
    world.emit("charge.pending", charge)


def succeed(world: World, charge: Object) -> None:
    charge |= {
        "amount_captured": charge["amount"],
        "balance_transaction": charge["balance_transaction"] or _record(world, charge, "charge"),
        "captured": True,
        "outcome": _outcome("approved_by_network", None, "Payment complete."),
        "paid": True,
        "receipt_url": f"{world.base_url}/receipts/{charge['id']}",
        "status": "succeeded",
    }
    world.emit("charge.succeeded", charge)


def fail(world: World, charge: Object, decline: Decline) -> None:
    charge |= {
        "captured": False,
        "failure_balance_transaction": _take_out(world, charge),
        "failure_code": decline.code,
        "failure_message": decline.message,
        "outcome": _outcome("declined_by_network", decline.decline_code, "The bank did not accept the payment."),
        "paid": False,
        "status": "failed",
    }
    world.emit("charge.failed", charge)


def _record(world: World, charge: Object, kind: str) -> str:
    amount, currency = charge["amount"], charge["currency"]
    at_once = instrument_of(world.get("payment_method", charge["payment_method"])).available_at_once
    fee = balance_transaction.processing_fee(kind, amount, currency)
    made = balance_transaction.record(
        world, charge, kind, amount, fee=fee, description=charge["description"], at_once=at_once
    )
    return str(made["id"])


def _take_out(world: World, charge: Object) -> str | None:
    """A debit that fails takes its pending money out of the balance again, and Stripe's fee with it."""
    if charge["balance_transaction"] is None:
        return None
    taken = world.get("balance_transaction", charge["balance_transaction"])
    made = balance_transaction.record(
        world,
        charge,
        "payment_failure_refund",
        -taken["amount"],
        fee=-taken["fee"],
        description=f"Payment failure refund ({charge['description']})",
    )
    return str(made["id"])


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("charge", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "charge", customer="customer", payment_intent="payment_intent"))


def _outcome(network: str, reason: str | None, seller: str) -> Object:
    kind: Literal["authorized", "issuer_declined"]
    kind = "authorized" if network == "approved_by_network" else "issuer_declined"
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": network,
        "reason": reason,
        "risk_level": "normal",
        "risk_score": _RISK_SCORE,
        "seller_message": seller,
        "type": kind,
    }


def _details(method: Object) -> Object:
    shown = method[method["type"]]
    if method["type"] == "us_bank_account":
        return {**{field: shown[field] for field in _BANK_FIELDS}, "mandate": None, "payment_reference": None}
    unused = dict.fromkeys(("installments", "mandate", "three_d_secure"))
    return {**{field: shown[field] for field in _CARD_FIELDS}, **unused, "network": shown["brand"]}


routes = (
    Route("GET", "/v1/charges", list_all),
    Route("GET", "/v1/charges/{id}", retrieve),
)
