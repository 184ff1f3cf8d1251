"""Invoice payments: which payment intent pays an invoice. The invoice itself does not name it."""

from tallystick.sandbox.stripe.call import Call, Route
from tallystick.sandbox.stripe.listing import page
from tallystick.sandbox.stripe.world import Object, World


def make(world: World, invoice: Object, intent: Object) -> Object:
    made: Object = {
        "id": world.identifiers.new("inpay_"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": world.now(),
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    world.keep("payment_of_intent")[intent["id"]] = made["id"]
    return world.add(made)


def of_invoice(world: World, invoice: str) -> list[Object]:
    return world.of("invoice_payment", "invoice", invoice)


def of_intent(world: World, intent: str) -> Object | None:
    named = world.keep("payment_of_intent").get(intent)
    return None if named is None else world.get("invoice_payment", named)


def settle(world: World, made: Object) -> None:
    made |= {"amount_paid": made["amount_requested"], "status": "paid"}
    made["status_transitions"]["paid_at"] = world.now()
    world.emit("invoice_payment.paid", made)


def cancel(world: World, made: Object) -> None:
    made["status"] = "canceled"
    made["status_transitions"]["canceled_at"] = world.now()


def retrieve(call: Call) -> Object:
    call.parameters.finish()
    return call.world.get("invoice_payment", call.id)


def list_all(call: Call) -> Object:
    invoice, status = call.parameters.text("invoice"), call.parameters.choice("status", ("canceled", "open", "paid"))
    found = call.world.all("invoice_payment") if invoice is None else of_invoice(call.world, invoice)
    payment = call.parameters.level("payment")
    if payment is not None:
        payment.require(payment.choice("type", ("payment_intent",)), "type")
        made = of_intent(call.world, payment.require(payment.text("payment_intent"), "payment_intent"))
        found = [row for row in found if made is not None and row["id"] == made["id"]]
    return page(call, found, keep=lambda row: status in {None, row["status"]})


routes = (
    Route("GET", "/v1/invoice_payments", list_all),
    Route("GET", "/v1/invoice_payments/{id}", retrieve),
)
