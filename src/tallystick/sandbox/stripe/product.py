"""Products: what a price is for."""

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_TEXTS = ("description", "statement_descriptor", "tax_code", "unit_label")


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
    product, named = make(call.world, call.parameters), call.parameters.text("id")
    active = call.parameters.flag("active")
    call.parameters.finish()
    product |= {"id": named or product["id"], "active": active is not False}
    if product["id"] in call.world.objects.get("product", {}):
        message = f"Product already exists: {product['id']}"
        raise Refusal(400, message, code="resource_already_exists", param="id")
    call.world.emit("product.created", call.world.add(product))
    return product


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("product", call.id)


def update(call: Call) -> Object:
    product, parameters = call.world.get("product", call.id), call.parameters
    changed: Object = {field: parameters.text(field) for field in _TEXTS if parameters.has(field)}
    changed["metadata"] = merged(product["metadata"], parameters.metadata())
    active, name, default = parameters.flag("active"), parameters.text("name"), parameters.text("default_price")
    parameters.finish()
    if active is not None:
        changed["active"] = active
    if default is not None:
        changed["default_price"] = call.world.get("price", default, param="default_price")["id"]
    changed |= {"name": name or product["name"], "updated": call.world.now()}
    call.world.change(product, "product.updated", changed)
    return product


def list_all(call: Call) -> Object:
    active, ids = call.parameters.flag("active"), call.parameters.texts("ids")
    return page(
        call,
        call.world.all("product"),
        keep=lambda row: (active is None or row["active"] == active) and (not ids or row["id"] in ids),
    )


routes = (
    Route("POST", "/v1/products", create),
    Route("GET", "/v1/products", list_all),
    Route("GET", "/v1/products/{id}", retrieve),
    Route("POST", "/v1/products/{id}", update),
)
