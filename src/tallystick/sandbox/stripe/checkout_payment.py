"""Paying a checkout session, by the hosted page or by a control of the sandbox: both come through here."""

from tallystick.sandbox.stripe import checkout_session, payment, payment_method, subscription_checkout
from tallystick.sandbox.stripe.instrument import Instrument
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World


def pay(
    world: World, session: Object, used: Instrument | None, *, email: str | None = None, name: str | None = None
) -> Object | None:
    """Tries to pay and returns the intent, if there is anything to pay. A session that is already complete is left
    as it is: the second click of an impatient customer pays nothing."""
    close_when_due(world, session)
    if session["status"] == "expired":
        raise Refusal(400, "This Checkout Session has expired.")
    if session["status"] == "complete":
        return intent_of(world, session)
    if used is None and needs_method(session):
        raise Refusal(400, "This Checkout Session needs a payment method.")
    if used is not None and used.kind not in session["payment_method_types"]:
        raise Refusal(400, f"This Checkout Session does not take {used.kind}.")
    email = email or email_of(world, session)
    session["customer_details"] = _details(email, name)
    method = None if used is None else payment_method.make(world, used, email=email, name=name)
    if session["mode"] == "payment" and method is not None:
        payment.attempt(world, checkout_session.intent_of(world, session), method)
    elif session["mode"] == "subscription" and subscription_checkout.pay(world, session, method):
        # There was nothing to pay.
        checkout_session.complete(world, session, "no_payment_required")
    return intent_of(world, session)


def needs_method(session: Object) -> bool:
    """Whether it asks for a card or an account, even if nothing is due yet."""
    return bool(session["amount_total"] or session["payment_method_collection"] == "always")


def intent_of(world: World, session: Object) -> Object | None:
    """The intent that somebody has tried to pay, of the session itself or of the subscription's first invoice."""
    if session["mode"] == "subscription":
        return subscription_checkout.intent_of(world, session)
    return None if session["payment_intent"] is None else world.get("payment_intent", session["payment_intent"])


def problem_of(world: World, session: Object) -> str:
    """Why the last attempt came to nothing."""
    intent = intent_of(world, session)
    error = None if intent is None else intent["last_payment_error"]
    return str(error["message"]) if error else str(world.keep("setup_problem").get(session["id"], ""))


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
