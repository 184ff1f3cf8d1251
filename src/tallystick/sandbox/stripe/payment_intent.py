"""Payment intents: one sum to be paid, over as many attempts as it takes."""

from tallystick.sandbox.stripe import payment
from tallystick.sandbox.stripe.amount import check_amount
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.payment_method import check_reusable, resolve
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter, missing
from tallystick.sandbox.stripe.world import Object, World

_DESCRIBED = ("description", "receipt_email", "statement_descriptor", "statement_descriptor_suffix")
_KINDS = ("card", "us_bank_account")
_CANCELLATIONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")


def description(parameters: Parameters) -> Object:
    """The fields an intent takes from its own parameters or from `payment_intent_data` of a checkout session."""
    given: Object = {field: parameters.text(field) for field in _DESCRIBED}
    given["setup_future_usage"] = parameters.choice("setup_future_usage", ("off_session", "on_session"))
    given["metadata"] = merged({}, parameters.metadata())
    return given


def make(
    world: World, amount: int, currency: str, *, customer: str | None, kinds: list[str], described: Object
) -> Object:
    """Stores an intent that nobody has tried to pay yet."""
    identifier = world.identifiers.new("pi_")
    intent: Object = {
        "id": identifier,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{identifier}_secret_{world.identifiers.new('')}",
        "confirmation_method": "automatic",
        "created": world.now(),
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {kind: {} for kind in kinds},
        "payment_method_types": kinds,
        "processing": None,
        "review": None,
        "shipping": None,
        "source": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        **described,
    }
    world.emit("payment_intent.created", world.add(intent))
    return intent


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    amount = parameters.require(parameters.integer("amount"), "amount")
    currency = parameters.require(parameters.currency(), "currency")
    customer = parameters.text("customer")
    described = description(parameters)
    kinds = _read_kinds(parameters)
    method = parameters.text("payment_method")
    confirm, off_session = parameters.flag("confirm"), parameters.flag("off_session")
    parameters.finish()
    if off_session and not confirm:
        raise invalid_parameter("off_session", "You cannot set `off_session` unless `confirm` is true.")
    if confirm:
        parameters.require(method, "payment_method")
    check_amount(amount, currency, what="Amount", param="amount")
    if customer is not None and "deleted" in world.get("customer", customer, param="customer"):
        raise missing("customer", customer, param="customer")
    used = method and resolve(world, method, "payment_method")
    intent = make(world, amount, currency, customer=customer, kinds=kinds, described=described)
    if used:
        intent |= {"payment_method": used["id"], "status": "requires_confirmation"}
    if confirm and used:
        _confirm(world, intent, used, off_session=bool(off_session))
    return intent


def confirm(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    intent = world.get("payment_intent", call.id)
    named = parameters.text("payment_method") or intent["payment_method"]
    off_session = parameters.flag("off_session")
    parameters.url("return_url")
    parameters.finish()
    method = resolve(world, parameters.require(named, "payment_method"), "payment_method")
    _confirm(world, intent, method, off_session=bool(off_session))
    return intent


def cancel(call: Call) -> Object:
    intent = call.world.get("payment_intent", call.id)
    reason = call.parameters.choice("cancellation_reason", _CANCELLATIONS)
    call.parameters.finish()
    if intent["id"] in call.world.keep("payment_of_intent"):
        message = "You cannot cancel this PaymentIntent because it pays an invoice. Void the invoice instead."
        raise Refusal(400, message, code="payment_intent_unexpected_state")
    if intent["status"] in {"succeeded", "processing", "canceled"}:
        message = f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
        raise Refusal(400, message, code="payment_intent_unexpected_state")
    call_off(call.world, intent, reason)
    return intent


def call_off(world: World, intent: Object, reason: str | None) -> None:
    intent |= {"status": "canceled", "canceled_at": world.now(), "cancellation_reason": reason, "next_action": None}
    world.emit("payment_intent.canceled", intent)


def update(call: Call) -> Object:
    intent = call.world.get("payment_intent", call.id)
    changes: Object = {field: call.parameters.text(field) for field in _DESCRIBED if call.parameters.has(field)}
    changes["metadata"] = merged(intent["metadata"], call.parameters.metadata())
    call.parameters.finish()
    intent.update(changes)
    return intent


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("payment_intent", call.id)


def list_all(call: Call) -> Object:
    return page(call, select(call, "payment_intent", customer="customer"))


def _confirm(world: World, intent: Object, method: Object, *, off_session: bool) -> None:
    if method["customer"] is not None and method["customer"] != intent["customer"]:
        message = "The provided PaymentMethod belongs to another Customer than the PaymentIntent."
        raise Refusal(400, message, param="payment_method")
    check_reusable(world, method)
    payment.attempt(world, intent, method, present=not off_session)
    if intent["last_payment_error"] is not None:
        raise payment.declined(intent)


def _read_kinds(parameters: Parameters) -> list[str]:
    kinds = parameters.texts("payment_method_types") or ["card"]
    automatic = parameters.level("automatic_payment_methods")
    if automatic is not None:
        automatic.flag("enabled")
        automatic.choice("allow_redirects", ("always", "never"))
    for kind in kinds:
        if kind not in _KINDS:
            raise invalid_parameter(
                "payment_method_types", f"The sandbox simulates {' and '.join(_KINDS)}, not {kind}."
            )
    return kinds


routes = (
    Route("POST", "/v1/payment_intents", create),
    Route("GET", "/v1/payment_intents", list_all),
    Route("GET", "/v1/payment_intents/{id}", retrieve),
    Route("POST", "/v1/payment_intents/{id}", update),
    Route("POST", "/v1/payment_intents/{id}/confirm", confirm),
    Route("POST", "/v1/payment_intents/{id}/cancel", cancel),
)
