"""Subscription items: a recurring price and how many of it, with the period that is paid for."""

from dataclasses import dataclass, field

from tallystick.sandbox.stripe import price
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_QUANTITY_MAX = 999_999
_ITEMS_MAX = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item as it was asked for; its price may be one that is described on the spot and not stored yet."""

    price: Object
    new_product: Object | None = None
    quantity: int | None = 1
    metadata: dict[str, str] = field(default_factory=dict)


def read(world: World, parameters: Parameters) -> list[Wanted]:
    """The `items` of a new subscription, nothing of them stored yet."""
    wanted = [read_one(world, item) for item in parameters.levels("items")]
    if not wanted:
        raise invalid_parameter("items", "Missing required param: items.", "parameter_missing")
    check([item.price for item in wanted], "items")
    return wanted


def read_one(world: World, item: Parameters) -> Wanted:
    named, described = item.text("price"), item.level("price_data")
    if (named is None) == (described is None):
        raise invalid_parameter(item.name("price"), "Each item needs exactly one of `price` and `price_data`.")
    new_product = None
    if described is not None:
        found, new_product = price.make(world, described, active=False)
    else:
        found = usable(world, str(named), item.name("price"))
    quantity = item.integer("quantity", minimum=0, maximum=_QUANTITY_MAX)
    return Wanted(found, new_product, counted(found, quantity, item), merged({}, item.metadata()))


def usable(world: World, named: str, param: str) -> Object:
    """A stored price that may be subscribed to."""
    found = world.get("price", named, param=param)
    if found["recurring"] is None:
        message = f"This field only accepts prices with `type=recurring`, and {named} is `type=one_time`."
        raise Refusal(400, message, param=param)
    if not found["active"]:
        message = f"The price specified is inactive. This field only accepts active prices: {named}"
        raise Refusal(400, message, param=param)
    return found


def counted(found: Object, quantity: int | None, item: Parameters) -> int | None:
    """How many of a price: what is metered has no quantity, everything else has one."""
    if found["recurring"]["usage_type"] == "metered":
        if quantity is not None:
            raise invalid_parameter(
                item.name("quantity"), "Quantity should not be specified where usage_type is metered."
            )
        return None
    return 1 if quantity is None else quantity


def check(prices: list[Object], param: str) -> None:
    """Refuses a set of prices that the sandbox cannot bill together."""
    if len(prices) > _ITEMS_MAX:
        raise Refusal(400, f"A subscription can have up to {_ITEMS_MAX} items.", param=param)
    if len({found["id"] for found in prices}) < len(prices):
        raise Refusal(400, "Cannot add multiple subscription items with the same price.", param=param)
    if len({found["currency"] for found in prices}) > 1:
        raise Refusal(400, "All prices of a subscription must use the same currency.", param=param)
    if len({(found["recurring"]["interval"], found["recurring"]["interval_count"]) for found in prices}) > 1:
        message = "The sandbox does not simulate subscriptions whose prices recur at different intervals."
        raise Refusal(400, message, param=param)


def make(world: World, subscription: str, wanted: Wanted, start: int, end: int) -> Object:
    if wanted.price["id"] not in world.objects.get("price", {}):
        price.store(world, wanted.price, wanted.new_product)
    item: Object = {
        "id": world.identifiers.new("si_"),
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": world.now(),
        "current_period_end": end,
        "current_period_start": start,
        "current_trial": None,
        "discounts": [],
        "metadata": wanted.metadata,
        "plan": plan(wanted.price),
        "price": wanted.price,
        "subscription": subscription,
        "tax_rates": [],
    }
    return item if wanted.quantity is None else {**item, "quantity": wanted.quantity}


def is_metered(item: Object) -> bool:
    return bool(item["price"]["recurring"]["usage_type"] == "metered")


def plan(found: Object) -> Object:
    """A price as its predecessor, the plan, which items still show."""
    recurring = found["recurring"]
    return {
        "id": found["id"],
        "object": "plan",
        "active": found["active"],
        "amount": found["unit_amount"],
        "amount_decimal": found["unit_amount_decimal"],
        "billing_scheme": found["billing_scheme"],
        "created": found["created"],
        "currency": found["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": found["metadata"],
        "meter": recurring["meter"],
        "nickname": found["nickname"],
        "product": found["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }
