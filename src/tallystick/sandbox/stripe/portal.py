"""What a customer can do in the portal: another plan, an end and a change of mind, another card."""

from tallystick.sandbox.stripe import billing, payment_method, plan_change, portal_configuration, renewal, standing
from tallystick.sandbox.stripe.instrument import Instrument
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.subscription import schedule_cancellation
from tallystick.sandbox.stripe.subscription_item import Wanted, is_metered, usable
from tallystick.sandbox.stripe.world import Object, World


def change_plan(world: World, subscription: Object, named: str, settings: Object | None = None) -> None:
    """Another price for what is paid ahead; what is metered stays."""
    settings = settings or portal_configuration.default(world)["features"]["subscription_update"]
    _check_alive(subscription)
    found = usable(world, named, "price")
    if found["id"] not in {price["id"] for price in plans(world, subscription, settings)}:
        raise Refusal(400, f"This subscription cannot change to the price {named}.", param="price")
    item = main_item(subscription)
    edit = plan_change.Edit(item, Wanted(found, None, item["quantity"], item["metadata"]))
    plan_change.apply(world, subscription, [edit], settings["proration_behavior"], anchor_now=False)
    renewal.plan(world, subscription)


def cancel(world: World, subscription: Object, settings: Object | None = None) -> None:
    """At the end of the period it names that moment in `cancel_at`, and leaves `cancel_at_period_end` alone."""
    settings = settings or portal_configuration.default(world)["features"]["subscription_cancel"]
    _check_alive(subscription)
    if settings["mode"] == "at_period_end":
        schedule_cancellation(world, subscription, billing.period(subscription)[1])
        return
    if settings["proration_behavior"] != "none":
        billing.settle_up(world, subscription, credit=plan_change.credit_lines(world, subscription))
    standing.end(world, subscription, "cancellation_requested")


def keep(world: World, subscription: Object) -> None:
    """It goes on after all."""
    _check_alive(subscription)
    if subscription["cancel_at"] is None:
        raise Refusal(400, "This subscription is not going to end.")
    schedule_cancellation(world, subscription, None)


def replace_card(world: World, customer: Object, used: Instrument) -> Object:
    """A card becomes the default of the customer, and of every subscription that has one of its own."""
    method = payment_method.give(world, payment_method.make(world, used, email=customer["email"])["id"], customer["id"])
    world.emit("payment_method.attached", method)
    settings = {**customer["invoice_settings"], "default_payment_method": method["id"]}
    world.change(customer, "customer.updated", {"invoice_settings": settings})
    for subscription in alive(world, customer):
        if subscription["default_payment_method"] is not None:
            standing.change(world, subscription, default_payment_method=method["id"])
    return method


def alive(world: World, customer: Object) -> list[Object]:
    found = world.of("subscription", "customer", customer["id"])
    return [one for one in found if one["status"] not in standing.ENDED]


def plans(world: World, subscription: Object, settings: Object) -> list[Object]:
    """The prices it can change to: those that the configuration names, else whatever is sold for a period."""
    item = main_item(subscription) if _has_main(subscription) else None
    if item is None:
        return []
    named = {price for product in settings["products"] or [] for price in product["prices"]}
    return [
        price
        for price in reversed(world.all("price"))
        if price["active"]
        and (price["recurring"] or {}).get("usage_type") == "licensed"
        and price["currency"] == subscription["currency"]
        and price["id"] != item["price"]["id"]
        and (not named or price["id"] in named)
    ]


def main_item(subscription: Object) -> Object:
    """What a plan is: the first item that is not metered."""
    found: Object = next(item for item in subscription["items"]["data"] if not is_metered(item))
    return found


def _has_main(subscription: Object) -> bool:
    return any(not is_metered(item) for item in subscription["items"]["data"])


def _check_alive(subscription: Object) -> None:
    if subscription["status"] in standing.ENDED:
        raise Refusal(400, "This subscription has ended.")
