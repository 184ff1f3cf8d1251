"""Payment methods: a test card or bank account that a customer used."""

from dataclasses import replace

from tallystick.sandbox.stripe import instrument
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.instrument import Instrument
from tallystick.sandbox.stripe.listing import matching, page, select
from tallystick.sandbox.stripe.refusal import Refusal, missing
from tallystick.sandbox.stripe.world import Object, World

_EXPIRES_MONTH, _EXPIRES_YEAR = 12, 2034
_ROUTING_NUMBER = "110000000"


def make(world: World, used: Instrument, *, email: str | None = None, name: str | None = None) -> Object:
    """Stores a payment method for an instrument, belonging to no customer yet."""
    method: Object = {
        "id": world.identifiers.new("pm_"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": _no_address(), "email": email, "name": name, "phone": None, "tax_id": None},
        "created": world.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "radar_options": {},
        "type": used.kind,
    }
    method[used.kind] = _card(used) if used.kind == "card" else _bank_account(used)
    return world.add(method)


def resolve(world: World, named: str, param: str) -> Object:
    """The method of an id, or a new one for a test id such as `pm_card_visa`."""
    used = instrument.by_name(named)
    return world.get("payment_method", named, param=param) if used is None else make(world, used)


def instrument_of(method: Object) -> Instrument:
    return instrument.by_fingerprint(method[method["type"]]["fingerprint"])


def acting(world: World, method: Object) -> Instrument:
    """The instrument of a method as it acts now: a control may have told a saved card to decline."""
    used, told = instrument_of(method), world.keep("told_to_decline").get(method["id"])
    if told is None:
        return used
    if told == "authentication_required":
        return replace(used, authenticates="always")
    return replace(used, decline=instrument.DECLINES[told])


def tell_to_decline(world: World, method: Object, reason: str | None) -> None:
    """From now on, or until it is taken back with None."""
    world.keep("told_to_decline")[method["id"]] = reason


def check_reusable(world: World, method: Object) -> None:
    """A method that nobody's customer owns pays once."""
    if method["customer"] is None and method["id"] in world.keep("used_method"):
        message = (
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, or was "
            "detached from a Customer. It may not be used again."
        )
        raise Refusal(400, message, code="payment_method_unexpected_state", param="payment_method")


def attach(call: Call) -> Object:
    customer = call.parameters.require(call.parameters.text("customer"), "customer")
    call.parameters.finish()
    if "deleted" in call.world.get("customer", customer, param="customer"):
        raise missing("customer", customer, param="customer")
    method = give(call.world, call.id, customer)
    call.world.emit("payment_method.attached", method)
    return method


def give(world: World, named: str, customer: str) -> Object:
    """A method becomes a customer's own, unless its card is declined, which is tried first."""
    method = resolve(world, named, "id")
    check_reusable(world, method)
    used = instrument_of(method)
    if used.decline is not None and not used.saves:
        decline = used.decline
        more = {} if decline.decline_code is None else {"decline_code": decline.decline_code}
        raise Refusal(402, decline.message, kind="card_error", code=decline.code, more=more)
    if method["customer"] not in {None, customer}:
        raise Refusal(400, "This payment method has already been attached to another customer.", param="payment_method")
    method["customer"] = customer
    world.index(method)
    return method


def detach(call: Call) -> Object:
    call.parameters.finish()
    method = call.world.get("payment_method", call.id)
    if method["customer"] is None:
        message = "The payment method you provided is not attached to a customer so detachment is impossible."
        raise Refusal(400, message, param="payment_method")
    settings = call.world.get("customer", method["customer"])["invoice_settings"]
    if settings["default_payment_method"] == method["id"]:
        settings["default_payment_method"] = None
    call.world.keep("used_method")[method["id"]] = True
    call.world.change(method, "payment_method.detached", {"customer": None})
    return method


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("payment_method", call.id)


def list_all(call: Call) -> Object:
    found = select(call, "payment_method", customer="customer", type="type")
    return page(call, found, keep=lambda row: row["customer"] is not None)


def list_of_customer(call: Call) -> Object:
    call.world.get("customer", call.id)
    same = matching(call, type="type")
    return page(call, call.world.of("payment_method", "customer", call.id), keep=same)


def _card(used: Instrument) -> Object:
    return {
        "brand": used.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": used.brand,
        "exp_month": _EXPIRES_MONTH,
        "exp_year": _EXPIRES_YEAR,
        "fingerprint": used.fingerprint,
        "funding": "credit",
        "generated_from": None,
        "last4": used.last4,
        "networks": {"available": [used.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _bank_account(used: Instrument) -> Object:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": used.brand,
        "financial_connections_account": None,
        "fingerprint": used.fingerprint,
        "last4": used.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": _ROUTING_NUMBER,
        "status_details": {},
    }


def _no_address() -> Object:
    return dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


routes = (
    Route("GET", "/v1/payment_methods", list_all),
    Route("GET", "/v1/payment_methods/{id}", retrieve),
    Route("POST", "/v1/payment_methods/{id}/attach", attach),
    Route("POST", "/v1/payment_methods/{id}/detach", detach),
    Route("GET", "/v1/customers/{id}/payment_methods", list_of_customer),
)
