"""Checkout of a subscription: what the session says of it, and how it begins when the customer pays."""

from tallystick.sandbox.stripe import collection, customer, invoice, invoice_line, standing, subscribe
from tallystick.sandbox.stripe.amount import format_amount
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.payment_method import give, instrument_of
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.subscription_item import Wanted, check
from tallystick.sandbox.stripe.subscription_parameters import read_trial, read_trial_settings
from tallystick.sandbox.stripe.world import Object, World

_DAY_S = 24 * 3600
_TRIAL_AHEAD_S_MIN = 2 * _DAY_S


def read(parameters: Parameters, items: list[tuple[Object, Object | None, int | None]], now: int) -> Object:
    """What the subscription is to say, from `subscription_data`."""
    recurring = [found for found, _, _ in items if found["recurring"] is not None]
    if not recurring:
        message = "When using `subscription` mode, you must have at least one recurring price."
        raise Refusal(400, message, param="line_items")
    check(recurring, "line_items")
    given = parameters.level("subscription_data") or Parameters({})
    # Days are counted from the moment of payment, so they are kept as days.
    days = given.text("trial_period_days")
    at = read_trial(given, now)
    if days is None and at is not None and at < now + _TRIAL_AHEAD_S_MIN:
        message = "The `trial_end` date has to be at least 2 days in the future."
        raise invalid_parameter(given.name("trial_end"), message)
    mode = given.level("billing_mode")
    if mode is not None:
        mode.choice("type", ("flexible",))
    settings = read_trial_settings(given)
    fields: Object = {"description": given.text("description"), "metadata": merged({}, given.metadata())}
    if settings is not None:
        fields["trial_settings"] = settings
    return {"fields": fields, "trial_days": int(days) if days else None, "trial_end": None if days else at}


def fields(parameters: Parameters, given: Object) -> Object:
    """The fields that only a session of this mode has."""
    collected = parameters.choice("payment_method_collection", ("always", "if_required")) or "always"
    created = None if given["customer"] else "always"
    return {"customer_creation": created, "payment_method_collection": collected}


def has_trial(template: Object) -> bool:
    return bool(template["trial_days"] or template["trial_end"])


def pay(world: World, session: Object, method: Object | None) -> bool:
    """Begins the subscription of a session; True when nothing is to be paid. Otherwise the first invoice's payment
    decides, and the session follows it. A second attempt goes on with the subscription of the first one."""
    world.keep("setup_problem").pop(session["id"], None)
    if not session["amount_total"]:
        return _begin_free(world, session, method)
    begun = _begun(world, session)
    if begun is None or begun["status"] != "incomplete":
        begun = _begin(world, session)
    bill = world.get("invoice", begun["latest_invoice"])
    intent = invoice.intent_of(world, bill)
    if intent is not None:
        world.keep("session_of_intent")[intent["id"]] = session["id"]
    collection.collect(world, bill, method, present=True)
    return False


def abandon(world: World, session: Object) -> None:
    """Nobody comes back to pay: a subscription that waits for it is over."""
    begun = _begun(world, session)
    if begun is not None and begun["status"] == "incomplete":
        standing.expire(world, begun)


def result(world: World, session: Object) -> Object:
    """What a complete session names."""
    begun = _begun(world, session)
    if begun is None:
        return {}
    return {"customer": begun["customer"], "invoice": begun["latest_invoice"], "subscription": begun["id"]}


def intent_of(world: World, session: Object) -> Object | None:
    begun = _begun(world, session)
    if begun is None or begun["latest_invoice"] is None:
        return None
    return invoice.intent_of(world, world.get("invoice", begun["latest_invoice"]))


def button(world: World, session: Object) -> str:
    if session["mode"] == "payment":
        return f"Pay {format_amount(session['amount_total'], session['currency'])}"
    return "Start the trial" if has_trial(world.keep("subscription_template")[session["id"]]) else "Subscribe"


def terms(world: World, session: Object) -> str:
    """What a customer agrees to for the time after today, in one sentence."""
    if session["mode"] == "payment":
        return ""
    template, items = (
        world.keep("subscription_template")[session["id"]],
        world.keep("line_items")[session["id"]]["data"],
    )
    sold = [item for item in items if item["price"]["recurring"] is not None]
    amount = sum(invoice_line.cost(item["price"], item["quantity"] or 0) for item in sold)
    rhythm = invoice_line.rhythm(sold[0]["price"])
    regular = f"{format_amount(amount, session['currency'])} every {rhythm}, until you cancel"
    if any(item["quantity"] is None for item in sold):
        regular += ", and what you use"
    ends = _trial_end(template, world.now())
    return f"Free until {invoice_line.day(ends)}, then {regular}." if ends else f"Then {regular}."


def _begin(world: World, session: Object) -> Object:
    """Stores the customer, if there is none yet, and the subscription."""
    if session["customer"] is None:
        details = session["customer_details"] or {}
        made = customer.make(world, email=details.get("email"), name=details.get("name"))
        world.emit("customer.created", world.add(made))
        session["customer"] = made["id"]
        world.index(session)
    template = world.keep("subscription_template")[session["id"]]
    sold = world.keep("line_items")[session["id"]]["data"]
    recurring = [item for item in sold if item["price"]["recurring"] is not None]
    agreed = subscribe.Terms(
        customer=session["customer"],
        items=[Wanted(item["price"], None, item["quantity"]) for item in recurring],
        trial_end=_trial_end(template, world.now()),
        extras=[(item["price"], item["quantity"]) for item in sold if item["price"]["recurring"] is None],
        fields=dict(template["fields"]),
        attempt=False,
    )
    begun = subscribe.start(world, agreed)
    world.keep("subscription_of_session")[session["id"]] = begun["id"]
    world.keep("session_of_subscription")[begun["id"]] = session["id"]
    return begun


def _begin_free(world: World, session: Object, method: Object | None) -> bool:
    """Nothing is due: the card is saved, without a question of its bank, and the subscription is there."""
    used = None if method is None else instrument_of(method)
    if used is not None and used.decline is not None and not used.saves:
        world.keep("setup_problem")[session["id"]] = used.decline.message
        return False
    begun = _begin(world, session)
    if method is not None:
        world.emit("payment_method.attached", give(world, method["id"], begun["customer"]))
        standing.change(world, begun, default_payment_method=method["id"])
    return True


def _begun(world: World, session: Object) -> Object | None:
    named = world.keep("subscription_of_session").get(session["id"])
    return None if named is None else world.get("subscription", named)


def _trial_end(template: Object, now: int) -> int | None:
    if template["trial_days"]:
        return now + int(template["trial_days"]) * _DAY_S
    at: int | None = template["trial_end"]
    return at if at is not None and at > now else None
