"""Products: what a price is for."""

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.world import Object, World


def make(world: World, parameters: Parameters, *, active: bool = True) -> Object:
    """A product from `name`, `description` and `metadata`, as given alone or as `product_data` of a line item."""
    now = world.now()
    name = parameters.require(parameters.text("name"), "name")
    return {
        "id": world.identifiers.new("prod_"),
        "object": "product",
        "active": active,
        "created": now,
        "default_price": None,
        "description": parameters.text("description"),
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": merged({}, parameters.metadata()),
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": parameters.text("tax_code"),
        "tax_details": None,
        "type": "service",
        "unit_label": parameters.text("unit_label"),
        "updated": now,
        "url": None,
    }


def create(call: Call) -> Object:
    product = make(call.world, call.parameters)
    call.parameters.finish()
    call.world.emit("product.created", call.world.add(product))
    return product


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("product", call.id)


def list_all(call: Call) -> Object:
    active = call.parameters.flag("active")
    return page(call, call.world.all("product"), keep=lambda row: active is None or row["active"] == active)


routes = (
    Route("POST", "/v1/products", create),
    Route("GET", "/v1/products", list_all),
    Route("GET", "/v1/products/{id}", retrieve),
)
