"""Customers: who pays."""

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import matching, page
from tallystick.sandbox.stripe.metadata import merged
from tallystick.sandbox.stripe.parameters import Parameters
from tallystick.sandbox.stripe.world import Object

_TEXTS = ("email", "name", "description", "phone", "business_name", "individual_name")
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")


def create(call: Call) -> Object:
    world = call.world
    identifier = world.identifiers.new("cus_")
    customer: Object = {
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
        "email": None,
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
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    customer |= _changes(call.parameters, customer)
    world.emit("customer.created", world.add(customer))
    return customer


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("customer", call.id)


def update(call: Call) -> Object:
    customer = call.world.get("customer", call.id)
    customer.update(_changes(call.parameters, customer))
    call.world.emit("customer.updated", customer)
    return customer


def delete(call: Call) -> Object:
    customer = call.world.get("customer", call.id)
    call.parameters.finish()
    call.world.emit("customer.deleted", customer)
    return call.world.add({"id": customer["id"], "object": "customer", "deleted": True})


def list_all(call: Call) -> Object:
    customers = [customer for customer in call.world.all("customer") if "deleted" not in customer]
    return page(call, customers, keep=matching(call, email="email"))


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
