"""Prices: what one unit of a product costs. One-time prices only; subscriptions are not simulated."""

from tallystick.sandbox.stripe import product
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import matching, page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import invalid_parameter
from tallystick.sandbox.stripe.world import Object, World

_UNIT_AMOUNT_MAX = 99_999_999
_TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")


def make(world: World, parameters: Parameters, *, active: bool = True) -> tuple[Object, Object | None]:
    """A price, and its product when that is described on the spot by `product_data`. Neither is stored yet: a call
    whose next parameter is refused must leave nothing behind."""
    currency = parameters.require(parameters.currency(), "currency")
    unit_amount = parameters.integer("unit_amount", minimum=0, maximum=_UNIT_AMOUNT_MAX)
    unit_amount = parameters.require(unit_amount, "unit_amount")
    described = parameters.level("product_data")
    new_product = None if described is None else product.make(world, described, active=active)
    named = parameters.text("product")
    if new_product is None:
        named = parameters.require(named, "product")
        world.get("product", named, param=parameters.name("product"))
    elif named is not None:
        raise invalid_parameter(parameters.name("product"), "You may only specify one of: product, product_data.")
    price = {
        "id": world.identifiers.new("price_"),
        "object": "price",
        "active": active,
        "billing_scheme": "per_unit",
        "created": world.now(),
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": parameters.text("lookup_key"),
        "metadata": merged({}, parameters.metadata()),
        "nickname": parameters.text("nickname"),
        "product": named if new_product is None else new_product["id"],
        "recurring": None,
        "tax_behavior": parameters.choice("tax_behavior", _TAX_BEHAVIORS) or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
    }
    return price, new_product


def store(world: World, price: Object, new_product: Object | None) -> None:
    if new_product is not None:
        world.emit("product.created", world.add(new_product))
    world.emit("price.created", world.add(price))


def create(call: Call) -> Object:
    price, new_product = make(call.world, call.parameters)
    call.parameters.finish()
    store(call.world, price, new_product)
    return price


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("price", call.id)


def list_all(call: Call) -> Object:
    active = call.parameters.flag("active")
    same = matching(call, product="product", currency="currency")
    return page(
        call, call.world.all("price"), keep=lambda row: same(row) and (active is None or row["active"] == active)
    )


routes = (
    Route("POST", "/v1/prices", create),
    Route("GET", "/v1/prices", list_all),
    Route("GET", "/v1/prices/{id}", retrieve),
)
