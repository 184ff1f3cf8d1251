"""Line items: what a checkout session sells, by a stored price or by `price_data` on the spot."""

from tallystick.sandbox.stripe import price
from tallystick.sandbox.stripe.call import Call
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_QUANTITY_MAX = 999_999


def read(call: Call) -> list[tuple[Object, Object | None, int]]:
    """(price, new product, quantity) of each item, nothing of it stored yet."""
    items = [_read_one(call.world, item) for item in call.parameters.levels("line_items")]
    if not items:
        raise invalid_parameter("line_items", "Missing required param: line_items.", "parameter_missing")
    currencies = {item_price["currency"] for item_price, _, _ in items}
    if len(currencies) > 1:
        raise Refusal(400, "All prices on a Checkout Session must use the same currency.", param="line_items")
    return items


def make(world: World, item_price: Object, new_product: Object | None, quantity: int) -> Object:
    if item_price["id"] not in world.objects.get("price", {}):
        price.store(world, item_price, new_product)
    amount = item_price["unit_amount"] * quantity
    return {
        "id": world.identifiers.new("li_"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": item_price["currency"],
        "description": world.get("product", item_price["product"])["name"],
        "metadata": {},
        "price": item_price,
        "quantity": quantity,
    }


def _read_one(world: World, item: Parameters) -> tuple[Object, Object | None, int]:
    quantity = item.require(item.integer("quantity", minimum=1, maximum=_QUANTITY_MAX), "quantity")
    named, described = item.text("price"), item.level("price_data")
    if (named is None) == (described is None):
        raise invalid_parameter(item.name("price"), "Each line item needs exactly one of `price` and `price_data`.")
    if described is not None:
        # A price made on the spot sells once: it is stored inactive, like at Stripe.
        made, new_product = price.make(world, described, active=False)
        return made, new_product, quantity
    return world.get("price", str(named), param=item.name("price")), None, quantity
