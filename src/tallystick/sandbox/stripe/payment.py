"""The attempt to be paid: what a bank answers to an intent, and what that does to intent and charge.

    attempt -> authentication wanted | declined | processing (a bank debit) | succeeded

A checkout session follows its intent by the events told here (see checkout_session.follow).
"""

from tallystick.sandbox.stripe import charge, dispute, instrument
from tallystick.sandbox.stripe.instrument import Decline
from tallystick.sandbox.stripe.payment_method import acting, instrument_of
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_PAYABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def attempt(world: World, intent: Object, method: Object, *, present: bool = True, authenticated: bool = False) -> None:
    """Charges a payment method for an intent. `present` says that the customer is there to authenticate; the result
    is the intent's status, and for a decline its `last_payment_error`."""
    if intent["status"] not in _PAYABLE:
        message = f"This PaymentIntent's status is {intent['status']}, which does not allow confirmation."
        raise Refusal(400, message, code="payment_intent_unexpected_state")
    used = acting(world, method)
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    saved = method["customer"] is not None
    wanted = used.authenticates == "always" or (used.authenticates == "until_saved" and not saved)
    if wanted and not authenticated and present:
        _ask_for_authentication(world, intent)
    elif wanted and not authenticated:
        _decline(world, intent, method, instrument.NOT_AUTHENTICATED)
    elif used.kind == "us_bank_account":
        _start_debit(world, intent, method)
    elif used.decline is not None:
        _decline(world, intent, method, used.decline)
    else:
        _succeed(world, intent, charge.make(world, intent, method))


def authenticate(world: World, intent: Object, *, passed: bool) -> None:
    """The customer came back from the bank's authentication step."""
    if intent["status"] != "requires_action":
        raise Refusal(
            400, "This PaymentIntent is not waiting for authentication.", code="payment_intent_unexpected_state"
        )
    method = world.get("payment_method", intent["payment_method"])
    if passed:
        attempt(world, intent, method, authenticated=True)
    else:
        _refuse(world, intent, method, instrument.FAILED_AUTHENTICATION, charged=None)


def settle_debit(world: World, intent: Object, *, succeeded: bool | None = None) -> None:
    """The bank's late answer to a debit: as its test account says, or as told."""
    if intent["status"] != "processing":
        raise Refusal(400, "This PaymentIntent is not processing.", code="payment_intent_unexpected_state")
    method = world.get("payment_method", intent["payment_method"])
    made = world.get("charge", intent["latest_charge"])
    decline = instrument_of(method).decline
    if succeeded is None:
        succeeded = decline is None
    if succeeded:
        _succeed(world, intent, made)
    else:
        reason = decline or instrument.ACCOUNT_EMPTY
        charge.fail(world, made, reason)
        _refuse(world, intent, method, reason, charged=made)


def declined(intent: Object) -> Refusal:
    """The 402 that tells an API caller what `last_payment_error` tells a webhook."""
    error = dict(intent["last_payment_error"])
    message, code, kind = error.pop("message"), error.pop("code"), error.pop("type")
    return Refusal(402, message, kind=kind, code=code, more={**error, "payment_intent": intent})


def _ask_for_authentication(world: World, intent: Object) -> None:
    url = f"{world.base_url}/c/authenticate/{intent['id']}"
    redirect = {"return_url": None, "url": url}
    intent |= {"status": "requires_action", "next_action": {"type": "redirect_to_url", "redirect_to_url": redirect}}
    world.emit("payment_intent.requires_action", intent)


def _start_debit(world: World, intent: Object, method: Object) -> None:
    made = charge.make(world, intent, method)
    intent |= {"status": "processing", "latest_charge": made["id"]}
    if world.debit_delay_s is not None:
        world.later(world.now() + world.debit_delay_s, "payment.settle_debit", intent["id"])
    charge.begin_debit(world, made)
    world.emit("payment_intent.processing", intent)


def _succeed(world: World, intent: Object, made: Object) -> None:
    charge.succeed(world, made)
    method = world.get("payment_method", intent["payment_method"])
    _dispute(world, made, method)
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": made["id"],
        "next_action": None,
    }
    if intent["setup_future_usage"] and intent["customer"] and method["customer"] is None:
        method["customer"] = intent["customer"]
        world.index(method)
        world.emit("payment_method.attached", method)
    if method["customer"] is None:
        world.keep("used_method")[method["id"]] = True
    world.emit("payment_intent.succeeded", intent)


def _dispute(world: World, made: Object, method: Object) -> None:
    """The owners of some test cards go to their bank at once."""
    kind = instrument_of(method).dispute
    if kind == "inquiry":
        dispute.begin(world, made, inquiry=True)
    elif kind is not None:
        dispute.begin(world, made, reason=kind)


def _decline(world: World, intent: Object, method: Object, reason: Decline) -> None:
    made = charge.make(world, intent, method)
    intent["latest_charge"] = made["id"]
    charge.fail(world, made, reason)
    _refuse(world, intent, method, reason, charged=made)


def _refuse(world: World, intent: Object, method: Object, reason: Decline, *, charged: Object | None) -> None:
    error: Object = {"code": reason.code, "message": reason.message, "payment_method": method, "type": "card_error"}
    if reason.decline_code is not None:
        error["decline_code"] = reason.decline_code
    if charged is not None:
        error["charge"] = charged["id"]
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_payment_error": error,
    }
    world.emit("payment_intent.payment_failed", intent)
