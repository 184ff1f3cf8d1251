"""Invoice items: amounts that wait for the next invoice, as the differences of a change of plan do."""

from tallystick.sandbox.stripe import invoice_line
from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page, select
from tallystick.sandbox.stripe.world import Object, World


def add(world: World, subscription: Object, item: Object, amount: int, description: str, end: int) -> Object:
    """Stores an amount that a change of plan gives back (below zero) or asks for, from now until `end`."""
    now = world.now()
    made: Object = {
        "id": world.identifiers.new("ii_"),
        "object": "invoiceitem",
        "amount": amount,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "customer_account": None,
        "date": now,
        "description": description,
        "discountable": False,
        "discounts": [],
        "frozen_fields": [],
        "invoice": None,
        "invoicing_rules": [],
        "livemode": False,
        "metadata": {},
        "net_amount": amount,
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": subscription["id"], "subscription_item": item["id"]},
        },
        "period": {"end": end, "start": now},
        "pricing": invoice_line.pricing(item["price"]),
        "proration": True,
        "proration_details": {"discount_amounts": []},
        "quantity": item.get("quantity", 1),
        "quantity_decimal": str(item.get("quantity", 1)),
        "tax_rates": [],
        "test_clock": None,
    }
    world.emit("invoiceitem.created", world.add(made))
    return made


def waiting(world: World, subscription: Object) -> list[Object]:
    """What no invoice has taken up yet, oldest first."""
    found = [
        row
        for row in world.of("invoiceitem", "customer", subscription["customer"])
        if row["invoice"] is None and row["parent"]["subscription_details"]["subscription"] == subscription["id"]
    ]
    return found[::-1]


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("invoiceitem", call.id)


def list_all(call: Call) -> Object:
    pending = call.parameters.flag("pending")
    found = select(call, "invoiceitem", customer="customer", invoice="invoice")
    return page(call, found, keep=lambda row: pending is None or (row["invoice"] is None) == pending)


routes = (
    Route("GET", "/v1/invoiceitems", list_all),
    Route("GET", "/v1/invoiceitems/{id}", retrieve),
)
