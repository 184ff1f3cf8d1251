"""Configurations of the customer portal: what customers may change by themselves. One is there from the beginning."""

from typing import Final

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_KIND: Final = "billing_portal.configuration"
_PRORATIONS: Final = ("always_invoice", "create_prorations", "none")
_SWITCHED: Final = ("invoice_history", "payment_method_update")


def default(world: World) -> Object:
    """The configuration of sessions that name none."""
    found = next((one for one in world.all(_KIND) if one["is_default"]), None)
    return found or world.add(_make(world, _features(), is_default=True))


def create(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    asked = parameters.require(parameters.level("features"), "features")
    made = _make(world, _read_features(world, asked, _features(enabled=False)), is_default=False)
    made |= _described(parameters, made)
    parameters.finish()
    default(world)
    world.emit("billing_portal.configuration.created", world.add(made))
    return made


def update(call: Call) -> Object:
    world, parameters = call.world, call.parameters
    found = world.get(_KIND, call.id)
    changed = _described(parameters, found)
    asked = parameters.level("features")
    if asked is not None:
        changed["features"] = _read_features(world, asked, found["features"])
    active = parameters.flag("active")
    parameters.finish()
    if active is not None:
        changed["active"] = active
    world.change(found, "billing_portal.configuration.updated", {**changed, "updated": world.now()})
    return found


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get(_KIND, call.id)


def list_all(call: Call) -> Object:
    default(call.world)
    active, is_default = call.parameters.flag("active"), call.parameters.flag("is_default")
    return page(
        call,
        call.world.all(_KIND),
        keep=lambda row: active in {None, row["active"]} and is_default in {None, row["is_default"]},
    )


def _make(world: World, features: Object, *, is_default: bool) -> Object:
    now = world.now()
    return {
        "id": world.identifiers.new("bpc_"),
        "object": _KIND,
        "active": True,
        "application": None,
        "business_profile": dict.fromkeys(("headline", "privacy_policy_url", "terms_of_service_url")),
        "created": now,
        "default_return_url": None,
        "features": features,
        "is_default": is_default,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": now,
    }


def _features(*, enabled: bool = True) -> Object:
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": enabled},
        "payment_method_update": {"enabled": enabled, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "feedback_options": None, "options": []},
            "enabled": enabled,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_pause": {"duration": {"interval_options": [], "type": "indefinite"}, "enabled": False},
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": ["price"] if enabled else [],
            "enabled": enabled,
            "products": None,
            "proration_behavior": "create_prorations",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "continue_trial",
        },
    }


def _described(parameters: Parameters, present: Object) -> Object:
    changed: Object = {field: parameters.text(field) for field in ("name",) if parameters.has(field)}
    if parameters.has("default_return_url"):
        changed["default_return_url"] = parameters.url("default_return_url")
    profile = parameters.level("business_profile")
    if profile is not None:
        changed["business_profile"] = {field: profile.text(field) for field in present["business_profile"]}
    metadata = parameters.metadata()
    return changed if metadata is None else {**changed, "metadata": merged(present["metadata"], metadata)}


def _read_features(world: World, asked: Parameters, present: Object) -> Object:
    features = {name: dict(settings) for name, settings in present.items()}
    for name in _SWITCHED:
        level = asked.level(name)
        if level is not None:
            features[name]["enabled"] = level.require(level.flag("enabled"), "enabled")
    cancel, change = asked.level("subscription_cancel"), asked.level("subscription_update")
    if cancel is not None:
        settings = features["subscription_cancel"]
        settings["enabled"] = cancel.require(cancel.flag("enabled"), "enabled")
        settings["mode"] = cancel.choice("mode", ("at_period_end", "immediately")) or settings["mode"]
        behavior = cancel.choice("proration_behavior", _PRORATIONS)
        settings["proration_behavior"] = behavior or settings["proration_behavior"]
    if change is not None:
        features["subscription_update"] |= _read_update(world, change, features["subscription_update"])
    for unused in ("customer_update", "subscription_pause"):
        level = asked.level(unused)
        if level is not None and level.flag("enabled"):
            raise invalid_parameter(level.name("enabled"), f"The sandbox does not simulate {unused}.")
    return features


def _read_update(world: World, change: Parameters, present: Object) -> Object:
    allowed = change.texts("default_allowed_updates")
    if unknown := [one for one in allowed if one not in {"price", "quantity"}]:
        raise invalid_parameter(change.name("default_allowed_updates"), f"The sandbox does not simulate {unknown[0]}.")
    products = []
    for given in change.levels("products"):
        product = given.require(given.text("product"), "product")
        prices = given.texts("prices")
        for named in prices:
            if world.get("price", named, param=given.name("prices"))["product"] != product:
                raise invalid_parameter(given.name("prices"), f"The price {named} is not of the product {product}.")
        fixed = {"adjustable_quantity": {"enabled": False, "maximum": None, "minimum": 1}}
        products.append({**fixed, "prices": prices, "product": product})
    return {
        "default_allowed_updates": allowed or present["default_allowed_updates"],
        "enabled": change.require(change.flag("enabled"), "enabled"),
        "products": products or present["products"],
        "proration_behavior": change.choice("proration_behavior", _PRORATIONS) or present["proration_behavior"],
    }


routes = (
    Route("POST", "/v1/billing_portal/configurations", create),
    Route("GET", "/v1/billing_portal/configurations", list_all),
    Route("GET", "/v1/billing_portal/configurations/{id}", retrieve),
    Route("POST", "/v1/billing_portal/configurations/{id}", update),
)
