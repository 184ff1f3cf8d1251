"""Customers: who pays."""

from tallystick.sandbox.stripe import standing
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import matching, page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.payment_method import give
from tallystick.sandbox.stripe.refusal import Refusal
from tallystick.sandbox.stripe.world import Object, World

_TEXTS = ("email", "name", "description", "phone", "business_name", "individual_name")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def make(world: World, *, email: str | None = None, name: str | None = None) -> Object:
    """A customer, not stored yet."""
    identifier = world.identifiers.new("cus_")
    return {
        "id": identifier,
        "object": "customer",
        "address": None,
        "balance": 0,
        "business_name": None,
        "created": world.now(),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": email,
        "individual_name": None,
        "invoice_prefix": identifier[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": name,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def create(call: Call) -> Object:
    world = call.world
    customer = make(world)
    identifier = customer["id"]
    named = call.parameters.text("payment_method")
    customer |= _changes(call.parameters, customer)
    method = None if named is None else give(world, named, identifier)
    default = customer["invoice_settings"]["default_payment_method"]
    if method is not None and default in {named, method["id"]}:
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    else:
        _check_default(world, customer, default)
    world.emit("customer.created", world.add(customer))
    if method is not None:
        world.emit("payment_method.attached", method)
    return customer


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("customer", call.id)


def update(call: Call) -> Object:
    customer = call.world.get("customer", call.id)
    changes = _changes(call.parameters, customer)
    _check_default(call.world, customer, changes.get("invoice_settings", {}).get("default_payment_method"))
    call.world.change(customer, "customer.updated", changes)
    return customer


def delete(call: Call) -> Object:
    customer = call.world.get("customer", call.id)
    call.parameters.finish()
    for subscription in call.world.of("subscription", "customer", call.id):
        if subscription["status"] not in standing.ENDED:
            standing.end(call.world, subscription, None)
    for method in call.world.of("payment_method", "customer", customer["id"]):
        method["customer"] = None
        call.world.keep("used_method")[method["id"]] = True
    call.world.emit("customer.deleted", customer)
    return call.world.add({"id": customer["id"], "object": "customer", "deleted": True})


def list_all(call: Call) -> Object:
    customers = [customer for customer in call.world.all("customer") if "deleted" not in customer]
    return page(call, customers, keep=matching(call, email="email"))


def _check_default(world: World, customer: Object, method: str | None) -> None:
    if method is None:
        return
    found = world.objects.get("payment_method", {}).get(method)
    if found is None or found["customer"] != customer["id"]:
        message = (
            f"The customer does not have a payment method with the ID {method}. The payment method must be attached "
            "to the customer."
        )
        raise Refusal(400, message, code="resource_missing", param="invoice_settings[default_payment_method]")


def _changes(parameters: Parameters, customer: Object) -> Object:
    changes: Object = {field: parameters.text(field) for field in _TEXTS if parameters.has(field)}
    if parameters.has("address"):
        address = parameters.level("address")
        changes["address"] = address and {field: address.text(field) for field in _ADDRESS}
    settings = parameters.level("invoice_settings")
    if settings is not None:
        method = settings.text("default_payment_method")
        changes["invoice_settings"] = {**customer["invoice_settings"], "default_payment_method": method}
    changes["metadata"] = merged(customer["metadata"], parameters.metadata())
    parameters.finish()
    return changes


routes = (
    Route("POST", "/v1/customers", create),
    Route("GET", "/v1/customers", list_all),
    Route("GET", "/v1/customers/{id}", retrieve),
    Route("POST", "/v1/customers/{id}", update),
    Route("DELETE", "/v1/customers/{id}", delete),
)
