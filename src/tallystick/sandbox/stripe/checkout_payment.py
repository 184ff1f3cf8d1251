"""Paying a checkout session, by the hosted page or by a control of the sandbox: both come through here."""

from tallystick.sandbox.stripe import checkout_session, payment, payment_method
from tallystick.sandbox.stripe.instrument import Instrument
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World


def pay(
    world: World, session: Object, used: Instrument, *, email: str | None = None, name: str | None = None
) -> Object:
    """Tries to pay and returns the intent. A session that is already complete is left as it is: the second click
    of an impatient customer pays nothing."""
    close_when_due(world, session)
    if session["status"] == "expired":
        raise Refusal(400, "This Checkout Session has expired.")
    intent = checkout_session.intent_of(world, session)
    if session["status"] == "complete":
        return intent
    if used.kind not in session["payment_method_types"]:
        raise Refusal(400, f"This Checkout Session does not take {used.kind}.")
    email = email or email_of(world, session)
    session["customer_details"] = _details(email, name)
    method = payment_method.make(world, used, email=email, name=name)
    payment.attempt(world, intent, method)
    return intent


def email_of(world: World, session: Object) -> str | None:
    """The e-mail address that is already known: typed at an earlier attempt, the customer's, or the session's."""
    typed: str | None = (session["customer_details"] or {}).get("email")
    if typed is None and session["customer"] is not None:
        typed = world.get("customer", session["customer"]).get("email")
    return typed or session["customer_email"]


def expire_due(world: World, named: str) -> None:
    """The time of a session has come."""
    close_when_due(world, world.get("checkout.session", named))


def settle_due(world: World, named: str) -> None:
    """The bank answers a debit, unless it was told to answer before."""
    intent = world.get("payment_intent", named)
    if intent["status"] == "processing":
        payment.settle_debit(world, intent)


def close_when_due(world: World, session: Object) -> None:
    if session["status"] == "open" and session["expires_at"] <= world.now():
        checkout_session.close(world, session)


def _details(email: str | None, name: str | None) -> Object:
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    unasked = dict.fromkeys(("business_name", "individual_name", "phone"))
    return {**unasked, "address": address, "email": email, "name": name, "tax_exempt": "none", "tax_ids": []}
