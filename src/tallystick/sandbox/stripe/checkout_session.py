"""Checkout sessions: one hosted page for a payment or for a subscription, open until complete or expired."""

from collections.abc import Mapping

from tallystick.sandbox.stripe import line_item, payment_intent, subscription_checkout
from tallystick.sandbox.stripe.amount import check_amount
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.session_fields import defaults
from tallystick.sandbox.stripe.world import Object, World

_HOUR_S = 3600
_OPEN_S_MIN, _OPEN_S_MAX = _HOUR_S // 2, 24 * _HOUR_S
_KINDS = ("card", "us_bank_account")
_SWITCHES = ("adaptive_pricing", "automatic_tax", "invoice_creation", "phone_number_collection")


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    mode = parameters.choice("mode", ("payment", "setup", "subscription"))
    if mode not in {"payment", "subscription"}:
        raise invalid_parameter("mode", "The sandbox simulates Checkout in `payment` and `subscription` mode only.")
    items = line_item.read(call)
    given = _read(parameters, world.now())
    subscribes = mode == "subscription"
    if subscribes:
        template = subscription_checkout.read(parameters, items, world.now())
        given |= subscription_checkout.fields(parameters, given)
    else:
        template = _read_payment(parameters, items)
    free = subscribes and subscription_checkout.has_trial(template)
    parameters.finish()
    if given["customer"] is not None:
        world.living("customer", given["customer"], param="customer")
    unpaid = [free and found["recurring"] is not None for found, _, _ in items]
    total = sum(line_item.cost(found, n) for (found, _, n), nothing in zip(items, unpaid, strict=True) if not nothing)
    currency = items[0][0]["currency"]
    if total or not subscribes:
        check_amount(total, currency, what="The Checkout Session's total amount due", param="line_items")
    identifier = world.identifiers.new("cs_test_")
    session = defaults(identifier, world.now()) | given
    session |= {"amount_subtotal": total, "amount_total": total, "currency": currency, "mode": mode}
    session["url"] = f"{world.base_url}/c/pay/{identifier}"
    world.keep("line_items")[identifier] = {
        "object": "list",
        "data": [line_item.make(world, *item, free=nothing) for item, nothing in zip(items, unpaid, strict=True)],
        "has_more": False,
        "url": f"/v1/checkout/sessions/{identifier}/line_items",
    }
    world.keep("subscription_template" if subscribes else "intent_template")[identifier] = template
    world.later(session["expires_at"], "checkout_session.expire", identifier)
    return world.add(session)


def intent_of(world: World, session: Object) -> Object:
    """The intent of a session, made when somebody first tries to pay, as Stripe does."""
    if session["payment_intent"] is None:
        intent = payment_intent.make(
            world,
            session["amount_total"],
            session["currency"],
            customer=session["customer"],
            kinds=list(session["payment_method_types"]),
            described=dict(world.keep("intent_template")[session["id"]]),
        )
        session["payment_intent"] = intent["id"]
        world.index(session)
        world.keep("session_of_intent")[intent["id"]] = session["id"]
    return world.get("payment_intent", session["payment_intent"])


def follow(world: World, event: Object) -> None:
    """Told of every event: brings the session of a payment intent up to date with it."""
    if event["type"] not in {"payment_intent.succeeded", "payment_intent.processing", "payment_intent.payment_failed"}:
        return
    named = world.keep("session_of_intent").get(event["data"]["object"]["id"])
    if named is None:
        return
    session = world.get("checkout.session", named)
    was_open = session["status"] == "open"
    if event["type"] == "payment_intent.succeeded" and was_open:
        complete(world, session, "paid")
    elif event["type"] == "payment_intent.succeeded":
        session["payment_status"] = "paid"
        world.emit("checkout.session.async_payment_succeeded", session)
    elif event["type"] == "payment_intent.processing":
        complete(world, session, "unpaid")
    elif not was_open:
        world.emit("checkout.session.async_payment_failed", session)


def complete(world: World, session: Object, payment_status: str) -> None:
    """The customer has done all there is to do on the page."""
    session |= {"status": "complete", "payment_status": payment_status, "url": None}
    if session["mode"] == "subscription":
        session |= subscription_checkout.result(world, session)
        world.index(session)
    world.emit("checkout.session.completed", session)


def close(world: World, session: Object) -> None:
    """Ends an open session unpaid. Nobody can pay then what somebody tried to pay before."""
    if session["status"] != "open":
        message = f'Only Checkout Sessions with a status in ["open"] can be expired. This one is {session["status"]}.'
        raise Refusal(400, message)
    session |= {"status": "expired", "url": None}
    if session["mode"] == "subscription":
        subscription_checkout.abandon(world, session)
    elif session["payment_intent"] is not None:
        payment_intent.call_off(world, world.get("payment_intent", session["payment_intent"]), "expired")
    world.emit("checkout.session.expired", session)


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("checkout.session", call.id)


def update(call: Call) -> Object:
    session = call.world.get("checkout.session", call.id)
    metadata = merged(session["metadata"], call.parameters.metadata())
    call.parameters.finish()
    session["metadata"] = metadata
    return session


def expire(call: Call) -> Object:
    session = call.world.get("checkout.session", call.id)
    call.parameters.finish()
    close(call.world, session)
    return session


def list_all(call: Call) -> Object:
    found = select(call, "checkout.session", customer="customer", payment_intent="payment_intent", status="status")
    return page(call, found)


def list_line_items(call: Call) -> Object:
    call.world.get("checkout.session", call.id)
    return page(call, call.world.keep("line_items")[call.id]["data"])


def _read_payment(parameters: Parameters, items: list[tuple[Object, Object | None, int | None]]) -> Object:
    """What the intent of a payment is to say."""
    if any(item_price["recurring"] is not None for item_price, _, _ in items):
        message = "You specified `payment` mode but passed a recurring price. Switch to `subscription` mode."
        raise Refusal(400, message, param="line_items")
    return payment_intent.description(parameters.level("payment_intent_data") or Parameters({}))


def _read(parameters: Parameters, now: int) -> Object:
    """The fields a session takes over as they are given."""
    expires_at = parameters.integer("expires_at")
    if expires_at is not None and not now + _OPEN_S_MIN <= expires_at <= now + _OPEN_S_MAX:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise invalid_parameter("expires_at", message)
    customer, email = parameters.text("customer"), parameters.text("customer_email")
    if customer is not None and email is not None:
        raise invalid_parameter(
            "customer_email", "You may only specify one of these parameters: customer, customer_email."
        )
    kinds = parameters.texts("payment_method_types") or ["card", "us_bank_account"]
    if unknown := [kind for kind in kinds if kind not in _KINDS]:
        message = f"The sandbox simulates {' and '.join(_KINDS)}, not {unknown[0]}."
        raise invalid_parameter("payment_method_types", message)
    parameters.choice("ui_mode", ("hosted_page",))
    given_off = {feature: _switched_off(parameters, feature) for feature in _SWITCHES}
    adaptive = parameters.level("adaptive_pricing")
    given: Mapping[str, object] = {
        "adaptive_pricing": {"enabled": bool(adaptive and adaptive.flag("enabled"))},
        "allow_promotion_codes": parameters.flag("allow_promotion_codes"),
        "cancel_url": parameters.url("cancel_url"),
        "client_reference_id": parameters.text("client_reference_id", max_length=200),
        "customer": customer,
        "customer_creation": None
        if customer
        else parameters.choice("customer_creation", ("if_required",)) or "if_required",
        "customer_email": email,
        "expires_at": expires_at or now + _OPEN_S_MAX,
        "locale": parameters.text("locale"),
        "metadata": merged({}, parameters.metadata()),
        "payment_method_types": kinds,
        "submit_type": parameters.choice("submit_type", ("auto", "pay")),
        "success_url": parameters.require(parameters.url("success_url"), "success_url"),
    }
    return {**given, **{feature: value for feature, value in given_off.items() if value is not None}}


def _switched_off(parameters: Parameters, feature: str) -> Object | None:
    """A feature may be named to switch it off; switching it on would promise what the sandbox does not do."""
    asked = parameters.level(feature)
    if asked is None:
        return None
    if asked.flag("enabled"):
        raise invalid_parameter(asked.name("enabled"), f"The sandbox does not simulate {feature}.")
    return defaults("", 0)[feature] or {"enabled": False}


routes = (
    Route("POST", "/v1/checkout/sessions", create),
    Route("GET", "/v1/checkout/sessions", list_all),
    Route("GET", "/v1/checkout/sessions/{id}", retrieve),
    Route("POST", "/v1/checkout/sessions/{id}", update),
    Route("POST", "/v1/checkout/sessions/{id}/expire", expire),
    Route("GET", "/v1/checkout/sessions/{id}/line_items", list_line_items),
)
