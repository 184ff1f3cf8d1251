"""Sessions of the customer portal: a link for one customer, to be used soon."""

from tallystick.sandbox.stripe import portal_configuration
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_UNUSED_S, _USED_S = 5 * 60, 60 * 60
_FLOWS = ("payment_method_update", "subscription_cancel", "subscription_update", "subscription_update_confirm")
_NO_FLOW = (
    "customer_update",
    "subscription_cancel",
    "subscription_pause",
    "subscription_update",
    "subscription_update_confirm",
)


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    customer = parameters.require(parameters.text("customer"), "customer")
    named = parameters.text("configuration")
    return_url, locale = parameters.url("return_url"), parameters.text("locale")
    asked = parameters.level("flow_data")
    flow = None if asked is None else _read_flow(world, asked, customer)
    parameters.finish()
    world.living("customer", customer, param="customer")
    kind = "billing_portal.configuration"
    used = portal_configuration.default(world) if named is None else world.get(kind, named, param="configuration")
    identifier = world.identifiers.new("bps_")
    session: Object = {
        "id": identifier,
        "object": "billing_portal.session",
        "after_expiration": None,
        "configuration": used["id"],
        "created": world.now(),
        "customer": customer,
        "customer_account": None,
        "flow": flow,
        "livemode": False,
        "locale": locale,
        "on_behalf_of": None,
        "return_url": return_url or used["default_return_url"],
        "url": f"{world.base_url}/c/portal/{identifier}",
    }
    world.emit("billing_portal.session.created", world.add(session))
    return session


def use(world: World, session: Object) -> bool:
    """Whether it still opens; from the first use on it does so as long as it is used."""
    seen = world.keep("portal_used").get(session["id"])
    until = session["created"] + _UNUSED_S if seen is None else seen + _USED_S
    if world.now() > until:
        return False
    world.keep("portal_used")[session["id"]] = world.now()
    return True


def _read_flow(world: World, asked: Parameters, customer: str) -> Object:
    """Where the portal opens, and where it leads when that is done."""
    kind = asked.require(asked.choice("type", _FLOWS), "type")
    flow: Object = {"type": kind, **dict.fromkeys(_NO_FLOW)}
    details = asked.level(kind)
    if kind != "payment_method_update":
        details = asked.require(details, kind)
        named = details.require(details.text("subscription"), "subscription")
        found = world.get("subscription", named, param=details.name("subscription"))
        if found["customer"] != customer:
            raise Refusal(400, f"No such subscription: '{named}'", code="resource_missing", param="flow_data")
        flow[kind] = {"subscription": named}
        if kind == "subscription_update_confirm":
            items = [_read_item(world, item) for item in details.levels("items")]
            flow[kind] |= {"discounts": None, "items": items}
    flow["after_completion"] = _read_completion(asked)
    return flow


def _read_item(world: World, item: Parameters) -> Object:
    price = item.require(item.text("price"), "price")
    world.get("price", price, param=item.name("price"))
    return {"id": item.require(item.text("id"), "id"), "price": price, "quantity": item.integer("quantity", minimum=1)}


def _read_completion(asked: Parameters) -> Object:
    completion: Object = {"hosted_confirmation": None, "redirect": None, "type": "portal_homepage"}
    given = asked.level("after_completion")
    if given is None:
        return completion
    completion["type"] = given.require(
        given.choice("type", ("hosted_confirmation", "portal_homepage", "redirect")), "type"
    )
    redirect, confirmation = given.level("redirect"), given.level("hosted_confirmation")
    if redirect is not None:
        completion["redirect"] = {"return_url": redirect.require(redirect.url("return_url"), "return_url")}
    if confirmation is not None:
        completion["hosted_confirmation"] = {"custom_message": confirmation.text("custom_message")}
    return completion


routes = (Route("POST", "/v1/billing_portal/sessions", create),)
