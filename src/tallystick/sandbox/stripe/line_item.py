"""Line items: what a checkout session sells, by a stored price or by `price_data` on the spot."""

from tallystick.sandbox.stripe import invoice_line, price
from tallystick.sandbox.stripe.call import Call
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal, invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_QUANTITY_MAX = 999_999


def read(call: Call) -> list[tuple[Object, Object | None, int | None]]:
    """(price, new product, quantity) of each item, nothing of it stored yet. What is metered has no quantity."""
    items = [_read_one(call.world, item) for item in call.parameters.levels("line_items")]
    if not items:
        raise invalid_parameter("line_items", "Missing required param: line_items.", "parameter_missing")
    currencies = {item_price["currency"] for item_price, _, _ in items}
    if len(currencies) > 1:
        raise Refusal(400, "All prices on a Checkout Session must use the same currency.", param="line_items")
    return items


def make(
    world: World, item_price: Object, new_product: Object | None, quantity: int | None, *, free: bool = False
) -> Object:
    """An item, its price stored with it. What a trial makes free costs nothing yet."""
    if item_price["id"] not in world.objects.get("price", {}):
        price.store(world, item_price, new_product)
    amount = 0 if free else cost(item_price, quantity)
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


def cost(item_price: Object, quantity: int | None) -> int:
    return invoice_line.cost(item_price, quantity or 0)


def _read_one(world: World, item: Parameters) -> tuple[Object, Object | None, int | None]:
    quantity = item.integer("quantity", minimum=1, maximum=_QUANTITY_MAX)
    named, described = item.text("price"), item.level("price_data")
    if (named is None) == (described is None):
        raise invalid_parameter(item.name("price"), "Each line item needs exactly one of `price` and `price_data`.")
    if described is not None:
        # A price made on the spot sells once: it is stored inactive, like at Stripe.
        found, new_product = price.make(world, described, active=False)
    else:
        found, new_product = world.get("price", str(named), param=item.name("price")), None
        if not found["active"]:
            message = f"The price specified is inactive. This field only accepts active prices: {named}"
            raise Refusal(400, message, param=item.name("price"))
    if (found["recurring"] or {}).get("usage_type") != "metered":
        return found, new_product, item.require(quantity, "quantity")
    if quantity is not None:
        raise invalid_parameter(item.name("quantity"), "Quantity should not be specified where usage_type is metered.")
    return found, new_product, None
